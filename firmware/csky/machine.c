/* The machine by way of Linux' system calls: start, console, end, clock, randomness, the line to the agent (standard input). */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

enum { LINE = 0, MOST_SOCKETS = 32 };

/* Number and arguments in r7 and r0 to r5, `trap 0`, the result in r0. */
__asm__("    .text\n"
        "    .global linux_call_with\n"
        "linux_call_with:\n"
        "    subi sp, 8\n"
        "    st.w r4, (sp, 0)\n"
        "    st.w r5, (sp, 4)\n"
        "    mov r12, r7\n"
        "    mov r7, a0\n"
        "    mov r13, a1\n"
        "    ld.w r0, (r13, 0)\n"
        "    ld.w r1, (r13, 4)\n"
        "    ld.w r2, (r13, 8)\n"
        "    ld.w r3, (r13, 12)\n"
        "    ld.w r4, (r13, 16)\n"
        "    ld.w r5, (r13, 20)\n"
        "    trap 0\n"
        "    mov r7, r12\n"
        "    ld.w r5, (sp, 4)\n"
        "    ld.w r4, (sp, 0)\n"
        "    addi sp, 8\n"
        "    rts\n"
        "    .global __start\n"
        "__start:\n"
        "    bsr board_main\n"
        "    bkpt\n");

/* ---- out, and the end ---- */

void board_write(const char *text, size_t len)
{
    while (len > 0) {
        long written = linux_call(LINUX_WRITE, 1, (long)text, (long)len);
        if (written <= 0) return;
        text += written;
        len -= (size_t)written;
    }
}

void board_exit(int status)
{
    for (;;) linux_call(LINUX_EXIT_GROUP, status);
}

void _exit(int status) { board_exit(status); }

/* ---- what newlib asks for ---- */

/* Its files take their buffers by these names, but setvbuf() by malloc(): one heap for both. */
void *_malloc_r(struct _reent *unused, size_t size)
{
    (void)unused;
    return harness_malloc(size);
}

void *_calloc_r(struct _reent *unused, size_t count, size_t size)
{
    (void)unused;
    return harness_calloc(count, size);
}

void *_realloc_r(struct _reent *unused, void *block, size_t size)
{
    (void)unused;
    return harness_realloc(block, size);
}

void _free_r(struct _reent *unused, void *block)
{
    (void)unused;
    free(block);
}

int fstat(int fd, struct stat *status)
{
    (void)fd;
    (void)status;
    return -1;
}

int isatty(int fd) { return fd <= 2; }

void _init(void) {}




/* ---- time ---- */

static uint64_t nanoseconds(int clock)
{
    struct {
        int32_t seconds, nanoseconds;
    } now;
    configASSERT(linux_call(LINUX_CLOCK_GETTIME, clock, (long)&now) == 0);
    return (uint64_t)now.seconds * 1000000000 + (uint32_t)now.nanoseconds;
}

uint64_t board_now_us(void)
{
    enum { MONOTONIC = 1 };
    return nanoseconds(MONOTONIC) / 1000;
}

uint64_t board_instructions(void)
{
    enum { PROCESS_CPUTIME = 2 };
    return nanoseconds(PROCESS_CPUTIME);
}

static uint64_t counted_ms;

void machine_start_ticks(void) { counted_ms = board_now_us() / 1000; }

/* ---- devices ---- */

static bool line_wanted;

bool random_bytes(uint8_t *to, size_t len) { return linux_call(LINUX_GETRANDOM, (long)to, (long)len, 0) == (long)len; }

bool line_send(const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        long sent = linux_call(LINUX_SENDTO, LINE, (long)bytes, (long)len, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

size_t line_receive(uint8_t *to, size_t len)
{
    long received = linux_call(LINUX_RECVFROM, LINE, (long)to, (long)len, MSG_DONTWAIT);
    if (received > 0) return (size_t)received;
    if (received != -LINUX_EAGAIN) board_exit(4); /* the agent is gone */
    line_wanted = true;
    return 0;
}

bool machine_look(int ms)
{
    static struct pollfd fds[1 + MOST_SOCKETS]; /* not on the stack of whichever task runs */
    fds[0] = (struct pollfd){.fd = line_wanted ? LINE : -1, .events = POLLIN};
    size_t count = network_wanted(fds + 1, MOST_SOCKETS);
    struct {
        int32_t seconds, nanoseconds;
    } timeout = {0, ms * 1000000};
    if (linux_call(LINUX_PPOLL, (long)fds, (long)(1 + count), (long)&timeout) > 0) {
        if (fds[0].revents) {
            line_wanted = false;
            agent_interrupt();
        }
        network_ready(fds + 1, count);
    }
    bool switch_wanted = false;
    for (uint64_t now = board_now_us() / 1000; counted_ms < now; counted_ms++)
        if (xTaskIncrementTick()) switch_wanted = true;
    return switch_wanted;
}

void machine_start(void) {}

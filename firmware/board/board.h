/* QEMU's `virt` machine and what the firmware makes of it. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the W800's 288 KB, what a larger application leaves to malloc. */
#define DEVICE_HEAP  (200 * 1024)
#define HARNESS_HEAP (40 * 1024 * 1024)

uint64_t board_now_us(void);
/* The instructions that were executed so far, where the emulator counts them; elsewhere something that takes time. */
uint64_t board_instructions(void);
void board_write(const char *text, size_t len);
void board_exit(int status) __attribute__((noreturn));
void board_failed(const char *what, const char *where, int line) __attribute__((noreturn));

/* The device's heap: now, and at most since the peak was restarted, with 24 bytes for each block, as the SDK's. */
size_t board_heap_used(void);
size_t board_heap_peak(void);
void board_heap_restart_peak(void);
/* Takes the heap but for so many bytes, which it leaves in pieces of this size; and gives it back. */
void **board_heap_take(size_t left, size_t piece);
void board_heap_give_back(void **blocks);
/* Unless NULL, called behind each free(), where another task may run. */
extern void (*board_heap_freed)(void);

/* Bytes of stack that the library's task and that of TLS handshakes have needed at most. */
size_t board_task_stack(void);
size_t board_handshake_stack(void);

void *harness_malloc(size_t size);
void *harness_calloc(size_t count, size_t size);
void *harness_realloc(void *block, size_t size);
void harness_free(void *block);

/* Before the first task runs: looks for the devices, and lets them interrupt. */
void machine_start(void);

/* Devices: src/lib.rs, and of the C-SKY machine csky/machine.c. */
uint32_t devices_open(void);
void card_address(uint8_t *to);
bool card_send(const uint8_t *frame, size_t len);
size_t card_receive(uint8_t *to, size_t room);
bool line_send(const uint8_t *bytes, size_t len);
size_t line_receive(uint8_t *to, size_t len);
bool random_bytes(uint8_t *to, size_t len);

/* Called in an interrupt of a device: they have something to look for. */
void network_interrupt(void);
void agent_interrupt(void);

/* Starts lwIP and waits until it has an address. */
void network_start(void);
/* lwIP drops what it still has of connections whose sockets are closed: on a busy machine QEMU's network loses their last
 * segments, and lwIP sends them again for minutes. */
void network_forget_closed(void);
/* Before a task is deleted: gives back what the network keeps for it. */
void network_task_ends(void *task);
/* Begins to serve the calls to the host's agent. */
void agent_start(void);
/* The program's arguments and environment, from the agent. */
char **agent_arguments(int *count);

#endif

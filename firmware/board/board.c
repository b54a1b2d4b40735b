/* The machine: interrupts, clock, serial line, the end; and the task that runs main(). */
#include "board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "lwip/sys.h"
#include "wm_task_config.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

enum { UART = 0x10000000, PLIC = 0x0c000000, FINISHER = 0x100000, VIRTIO = 0x10001000, MTIME = 0x0200bff8 };

/* ---- out ---- */

void board_write(const char *text, size_t len)
{
    for (; len; text++, len--) {
        while (!(*(volatile uint8_t *)(UART + 5) & 0x20)) {
        }
        *(volatile uint8_t *)UART = (uint8_t)*text;
    }
}

static int put(char c, FILE *file)
{
    (void)file;
    board_write(&c, 1);
    return (unsigned char)c;
}

static FILE serial = FDEV_SETUP_STREAM(put, NULL, NULL, _FDEV_SETUP_WRITE);
FILE *const stdin = &serial;
FILE *const stdout = &serial;
FILE *const stderr = &serial;

void board_exit(int status)
{
    REGISTER(FINISHER) = status == 0 ? 0x5555 : (uint32_t)(status & 0xff) << 16 | 0x3333;
    for (;;) {
    }
}

void _exit(int status) { board_exit(status); }

void board_failed(const char *what, const char *where, int line)
{
    portDISABLE_INTERRUPTS();
    char text[200];
    const char *name = xTaskGetSchedulerState() == taskSCHEDULER_NOT_STARTED ? "" : pcTaskGetName(NULL);
    board_write(text, (size_t)snprintf(text, sizeof text, "\nSTOPPED: %.80s, %.60s:%d, task %s\n", what, where, line, name));
    board_exit(3);
}

void abort(void) { board_failed("abort", "", 0); }

void __assert_func(const char *file, int line, const char *function, const char *what)
{
    (void)function;
    board_failed(what, file, line);
}

/* ---- time ---- */

uint64_t board_now_us(void)
{
    uint32_t high, low;
    do {
        high = REGISTER(MTIME + 4);
        low = REGISTER(MTIME);
    } while (high != REGISTER(MTIME + 4));
    return ((uint64_t)high << 32 | low) / 10;
}

/* ---- interrupts ---- */

static void enable_interrupts(uint32_t slots)
{
    for (int slot = 0; slot < 8; slot++)
        if (slots & 1u << slot) REGISTER(PLIC + 4 * (slot + 1)) = 1;
    REGISTER(PLIC + 0x2000) = slots << 1;
    REGISTER(PLIC + 0x200000) = 0;
    __asm volatile("csrs mie, %0" ::"r"(1 << 11));
}

void freertos_risc_v_application_interrupt_handler(void)
{
    for (uint32_t source; (source = REGISTER(PLIC + 0x200004));) {
        uint32_t device = VIRTIO + (source - 1) * 0x1000;
        REGISTER(device + 0x64) = REGISTER(device + 0x60);
        REGISTER(PLIC + 0x200004) = source;
    }
    network_interrupt();
    agent_interrupt();
}

void freertos_risc_v_application_exception_handler(void)
{
    uint32_t cause, place, value;
    char text[60];
    __asm volatile("csrr %0, mcause; csrr %1, mepc; csrr %2, mtval" : "=r"(cause), "=r"(place), "=r"(value));
    snprintf(text, sizeof text, "exception %u at %08x, %08x", (unsigned)cause, (unsigned)place, (unsigned)value);
    board_failed(text, "", 0);
}

/* ---- tasks ---- */

void vApplicationIdleHook(void) { __asm volatile("wfi"); }

void vApplicationStackOverflowHook(TaskHandle_t task, char *name)
{
    (void)task;
    char text[60];
    snprintf(text, sizeof text, "the stack of %s overflows", name);
    board_failed(text, "", 0);
}

/* Tasks of the library: one serves all clients, the other is there for a step of a TLS handshake. Most of their stack, and of
 * the heap that was allocated while they ran. */
static struct {
    const char *name;
    size_t stack, used, heap_before, heap;
} library_tasks[] = {{"mqtt", CONFIG_MQTT_CLIENT_TASK_STACK, 0, 0, 0}, {"mqtt tls", CONFIG_MQTT_CLIENT_HANDSHAKE_STACK, 0, 0, 0}};

enum { TASK, STEP };

static bool is(TaskHandle_t task, int which) { return strcmp(pcTaskGetName(task), library_tasks[which].name) == 0; }

static void look_at_stack(TaskHandle_t task)
{
    for (int i = TASK; i <= STEP; i++) {
        if (!is(task, i)) continue;
        size_t used = library_tasks[i].stack - uxTaskGetStackHighWaterMark(task) * sizeof(StackType_t);
        if (used > library_tasks[i].used) library_tasks[i].used = used;
    }
}

size_t board_task_stack(void)
{
    static TaskStatus_t tasks[64];
    int n = (int)uxTaskGetSystemState(tasks, sizeof tasks / sizeof tasks[0], NULL);
    for (int i = 0; i < n; i++) look_at_stack(tasks[i].xHandle);
    return library_tasks[TASK].used;
}

size_t board_handshake_stack(void) { return library_tasks[STEP].used; }
size_t board_handshake_heap(void) { return library_tasks[STEP].heap; }

void board_task_begins(void *task)
{
    if (is(task, STEP)) library_tasks[STEP].heap_before = board_heap_restart_step();
}

void board_task_ends(void *task)
{
    look_at_stack(task);
    if (is(task, STEP)) {
        size_t heap = board_heap_step() - library_tasks[STEP].heap_before;
        if (heap > library_tasks[STEP].heap) library_tasks[STEP].heap = heap;
    }
    sys_task_ends(task);
}

extern int main(int argc, char **argv);
void __libc_init_array(void);

static void run(void *unused)
{
    (void)unused;
    agent_start();
    network_start();
    int count;
    char **arguments = agent_arguments(&count);
    __libc_init_array();
    int status = main(count, arguments);
    printf("STACK %u %u\n", (unsigned)board_task_stack(), (unsigned)board_handshake_stack());
    exit(status);
}

void board_main(void)
{
    enum { STACK = 240 * 1024 };
    static StackType_t stack[STACK / sizeof(StackType_t)];
    static StaticTask_t task;
    enable_interrupts(devices_open());
    /* Tests keep much on the stack of main(): it is not the device's. */
    xTaskCreateStatic(run, "main", STACK / sizeof(StackType_t), NULL, WM_TASK_MAIN_PRIO, stack, &task);
    vTaskStartScheduler();
}

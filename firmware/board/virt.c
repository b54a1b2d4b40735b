/* QEMU's `virt` machine: interrupts, clock, serial line, the end. */
#include "board.h"

#include <stdio.h>

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "lwip/sys.h"

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

/* With QEMU's -icount shift=0: a nanosecond is an instruction, or a wait for one. */
uint64_t board_counter(void)
{
    uint32_t high, low, again;
    do {
        __asm volatile("csrr %0, minstreth; csrr %1, minstret; csrr %2, minstreth" : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

uint64_t board_instructions(void) { return board_counter() - ulTaskGetIdleRunTimeCounter(); }

/* ---- interrupts ---- */

void machine_start(void)
{
    uint32_t slots = devices_open();
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

void vApplicationIdleHook(void) { __asm volatile("wfi"); }

void network_task_ends(void *task) { sys_task_ends(task); }

/* The FreeRTOS kernel on C-SKY: the stack of a new task, and the way from one task to another. See portmacro.h. */
#include "machine.h"

#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

enum { LOOK_EVERY = 64 }; /* critical sections from one look for interrupts to the next */

/* What port_switch keeps: the registers that the ABI lets a function expect to find again. */
typedef struct {
    uint32_t r4_to_r11[8];
    uint32_t r15;
    float vr8_to_vr15[8];
    uint32_t unused;
} frame_t;

extern void *volatile pxCurrentTCB;
static unsigned masks, sections;
static bool switch_wanted;

/* Saves the stack of one task in its TCB, whose first member says where it is, and goes on with that of another. */
void port_switch(StackType_t **from, StackType_t **to);
void port_start_task(void);
__asm__("    .text\n"
        "    .global port_switch\n"
        "port_switch:\n"
        "    subi sp, 72\n"
        "    stm r4-r11, (sp)\n"
        "    st.w r15, (sp, 32)\n"
        "    addi a2, sp, 36\n"
        "    fstms vr8-vr15, (a2)\n"
        "    st.w sp, (a0)\n"
        "    ld.w sp, (a1)\n"
        "    addi a2, sp, 36\n"
        "    fldms vr8-vr15, (a2)\n"
        "    ldm r4-r11, (sp)\n"
        "    ld.w r15, (sp, 32)\n"
        "    addi sp, 72\n"
        "    rts\n"
        "    .global port_start_task\n"
        "port_start_task:\n"
        "    mov a0, r5\n"
        "    jsr r4\n"
        "    bkpt\n");

StackType_t *pxPortInitialiseStack(StackType_t *top, TaskFunction_t code, void *parameters)
{
    _Static_assert(sizeof(frame_t) == 72, "as port_switch has it");
    frame_t *frame = (frame_t *)((uintptr_t)top & ~(uintptr_t)7) - 1;
    memset(frame, 0, sizeof *frame);
    frame->r4_to_r11[0] = (uint32_t)code;
    frame->r4_to_r11[1] = (uint32_t)parameters;
    frame->r15 = (uint32_t)port_start_task;
    return (StackType_t *)frame;
}

BaseType_t xPortStartScheduler(void)
{
    StackType_t *nobody;
    machine_start_ticks();
    port_switch(&nobody, pxCurrentTCB);
    return pdFALSE;
}

void vPortEndScheduler(void) {}

void port_yield(void)
{
    if (masks > 0) {
        switch_wanted = true;
        return;
    }
    void *from = pxCurrentTCB;
    vTaskSwitchContext();
    if (pxCurrentTCB != from) port_switch(from, pxCurrentTCB);
}

void port_mask(void) { masks++; }

static void leave(void)
{
    if (--masks == 0 && switch_wanted) {
        switch_wanted = false;
        port_yield();
    }
}

void port_interrupts(int ms)
{
    port_mask();
    if (machine_look(ms)) switch_wanted = true;
    leave();
}

void port_unmask(void)
{
    leave();
    if (masks == 0 && ++sections % LOOK_EVERY == 0 && xTaskGetSchedulerState() == taskSCHEDULER_RUNNING) port_interrupts(0);
}

void vApplicationIdleHook(void) { port_interrupts(1); }

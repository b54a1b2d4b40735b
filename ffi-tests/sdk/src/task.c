/*
 * Delays, ticks, notifications and the critical section. A tick is a millisecond.
 */
#define _GNU_SOURCE /* PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP */
#include <sched.h>
#include <stdlib.h>

#include "host.h"
#include "kernel.h"

static pthread_mutex_t g_critical = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void *pvPortMalloc(size_t size)
{
    return malloc(size);
}

void vPortFree(void *block)
{
    free(block);
}

void vPortEnterCritical(void)
{
    pthread_mutex_lock(&g_critical);
}

void vPortExitCritical(void)
{
    pthread_mutex_unlock(&g_critical);
}

void vPortYield(void)
{
    sched_yield();
}

TickType_t xTaskGetTickCount(void)
{
    return (TickType_t)wm_host_now_ms();
}

TickType_t xTaskGetTickCountFromISR(void)
{
    return xTaskGetTickCount();
}

TaskHandle_t xTaskGetCurrentTaskHandle(void)
{
    return wm_host_self();
}

char *pcTaskGetName(TaskHandle_t task)
{
    return (task ? task : wm_host_self())->name;
}

void vTaskDelay(TickType_t ticks)
{
    if (ticks == 0) {
        sched_yield();
    }
    struct wm_host_timeout timeout = wm_host_timeout(ticks);
    wm_host_kernel_lock();
    /* Notifications end a wait on this condition, but not a delay. */
    while (ticks && wm_host_kernel_wait(&wm_host_self()->wake, &timeout)) {
    }
    wm_host_kernel_unlock();
}

void vTaskDelayUntil(TickType_t *previous_wake, TickType_t increment)
{
    TickType_t next = *previous_wake + increment;
    int32_t left    = (int32_t)(next - xTaskGetTickCount());
    *previous_wake  = next;
    vTaskDelay(left > 0 ? (TickType_t)left : 0);
}

BaseType_t xTaskNotify(TaskHandle_t task, uint32_t value, eNotifyAction action)
{
    BaseType_t ret = pdPASS;
    wm_host_kernel_lock();
    switch (action) {
        case eNoAction:
            break;
        case eSetBits:
            task->value |= value;
            break;
        case eIncrement:
            task->value++;
            break;
        case eSetValueWithOverwrite:
            task->value = value;
            break;
        case eSetValueWithoutOverwrite:
            if (task->notified) {
                ret = pdFAIL;
            } else {
                task->value = value;
            }
            break;
    }
    task->notified = true;
    pthread_cond_broadcast(&task->wake);
    wm_host_kernel_unlock();
    return ret;
}

BaseType_t xTaskNotifyWait(uint32_t clear_on_entry, uint32_t clear_on_exit, uint32_t *value, TickType_t ticks)
{
    struct wm_host_timeout timeout   = wm_host_timeout(ticks);
    struct tskTaskControlBlock *self = wm_host_self();
    BaseType_t ret                   = pdFALSE;

    wm_host_kernel_lock();
    if (!self->notified) {
        self->value &= ~clear_on_entry;
    }
    while (!self->notified && wm_host_kernel_wait(&self->wake, &timeout)) {
    }
    if (value) {
        *value = self->value;
    }
    if (self->notified) {
        self->value &= ~clear_on_exit;
        ret = pdTRUE;
    }
    self->notified = false;
    wm_host_kernel_unlock();
    return ret;
}

uint32_t ulTaskNotifyTake(BaseType_t clear_on_exit, TickType_t ticks)
{
    struct wm_host_timeout timeout   = wm_host_timeout(ticks);
    struct tskTaskControlBlock *self = wm_host_self();

    wm_host_kernel_lock();
    while (self->value == 0 && wm_host_kernel_wait(&self->wake, &timeout)) {
    }
    uint32_t was = self->value;
    if (was) {
        self->value = clear_on_exit ? 0 : was - 1;
    }
    self->notified = false;
    wm_host_kernel_unlock();
    return was;
}

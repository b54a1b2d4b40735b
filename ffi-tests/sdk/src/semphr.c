/*
 * Semaphores and mutexes. The count of their queue is the number of times they can be taken.
 */
#include "freertos/semphr.h"
#include "kernel.h"

SemaphoreHandle_t xSemaphoreCreateBinary(void)
{
    return wm_host_queue_new(WM_HOST_SEMAPHORE, 1, 0, 0);
}

SemaphoreHandle_t xSemaphoreCreateCounting(UBaseType_t max, UBaseType_t initial)
{
    return initial > max ? NULL : wm_host_queue_new(WM_HOST_SEMAPHORE, max, 0, initial);
}

SemaphoreHandle_t xSemaphoreCreateMutex(void)
{
    return wm_host_queue_new(WM_HOST_MUTEX, 1, 0, 1);
}

SemaphoreHandle_t xSemaphoreCreateRecursiveMutex(void)
{
    return xSemaphoreCreateMutex();
}

void vSemaphoreDelete(SemaphoreHandle_t sem)
{
    vQueueDelete(sem);
}

BaseType_t xSemaphoreTake(SemaphoreHandle_t sem, TickType_t ticks)
{
    struct wm_host_timeout timeout = wm_host_timeout(ticks);
    BaseType_t ret                 = pdFALSE;

    wm_host_kernel_lock();
    while (sem->count == 0 && wm_host_kernel_wait(&sem->changed, &timeout)) {
    }
    if (sem->count) {
        sem->count--;
        if (sem->kind == WM_HOST_MUTEX) {
            sem->holder = wm_host_self();
            sem->depth  = 1;
        }
        ret = pdTRUE;
    }
    wm_host_kernel_unlock();
    return ret;
}

/* With the lock held. */
static BaseType_t give(SemaphoreHandle_t sem)
{
    if (sem->count == sem->length || (sem->kind == WM_HOST_MUTEX && sem->holder != wm_host_self())) {
        return pdFALSE;
    }
    sem->holder = NULL;
    sem->depth  = 0;
    sem->count++;
    pthread_cond_broadcast(&sem->changed);
    return pdTRUE;
}

BaseType_t xSemaphoreGive(SemaphoreHandle_t sem)
{
    wm_host_kernel_lock();
    BaseType_t ret = give(sem);
    wm_host_kernel_unlock();
    return ret;
}

BaseType_t xSemaphoreGiveFromISR(SemaphoreHandle_t sem, BaseType_t *woken)
{
    if (woken) {
        *woken = pdFALSE;
    }
    return xSemaphoreGive(sem);
}

BaseType_t xSemaphoreTakeRecursive(SemaphoreHandle_t sem, TickType_t ticks)
{
    wm_host_kernel_lock();
    bool mine = sem->holder == wm_host_self();
    if (mine) {
        sem->depth++;
    }
    wm_host_kernel_unlock();
    return mine ? pdTRUE : xSemaphoreTake(sem, ticks);
}

BaseType_t xSemaphoreGiveRecursive(SemaphoreHandle_t sem)
{
    BaseType_t ret = pdFALSE;
    wm_host_kernel_lock();
    if (sem->holder == wm_host_self()) {
        ret = pdTRUE;
        if (--sem->depth == 0) {
            give(sem);
        }
    }
    wm_host_kernel_unlock();
    return ret;
}

UBaseType_t uxSemaphoreGetCount(SemaphoreHandle_t sem)
{
    return uxQueueMessagesWaiting(sem);
}

TaskHandle_t xSemaphoreGetMutexHolder(SemaphoreHandle_t sem)
{
    wm_host_kernel_lock();
    TaskHandle_t holder = sem->holder;
    wm_host_kernel_unlock();
    return holder;
}

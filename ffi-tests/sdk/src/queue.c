/*
 * Queues. Semaphores (semphr.c) are queues of items without size.
 */
#include <stdlib.h>
#include <string.h>

#include "freertos/queue.h"
#include "host.h"
#include "kernel.h"

struct QueueDefinition *wm_host_queue_new(enum wm_host_queue_kind kind, UBaseType_t length, UBaseType_t item_size,
                                          UBaseType_t count)
{
    size_t bytes;
    if (length == 0 || __builtin_mul_overflow(length, item_size, &bytes) ||
        bytes > SIZE_MAX - sizeof(struct QueueDefinition)) {
        return NULL;
    }
    struct QueueDefinition *q = calloc(1, sizeof *q + bytes);
    if (q) {
        q->kind      = kind;
        q->length    = length;
        q->item_size = item_size;
        q->count     = count;
        wm_host_cond_init(&q->changed);
    }
    return q;
}

QueueHandle_t xQueueCreate(UBaseType_t length, UBaseType_t item_size)
{
    return wm_host_queue_new(WM_HOST_QUEUE, length, item_size, 0);
}

void vQueueDelete(QueueHandle_t q)
{
    if (q) {
        pthread_cond_destroy(&q->changed);
        free(q);
    }
}

static unsigned char *slot(QueueHandle_t q, UBaseType_t index)
{
    return q->items + (q->head + index) % q->length * q->item_size;
}

/* memcpy must not see a NULL, which is what users of semaphores pass. */
static void copy(void *to, const void *from, size_t size)
{
    if (size) {
        memcpy(to, from, size);
    }
}

static BaseType_t send(QueueHandle_t q, const void *item, TickType_t ticks, bool front)
{
    struct wm_host_timeout timeout = wm_host_timeout(ticks);
    BaseType_t ret                 = errQUEUE_FULL;

    wm_host_kernel_lock();
    while (q->count == q->length && wm_host_kernel_wait(&q->changed, &timeout)) {
    }
    if (q->count < q->length) {
        if (front) {
            q->head = (q->head + q->length - 1) % q->length;
        }
        copy(slot(q, front ? 0 : q->count), item, q->item_size);
        q->count++;
        pthread_cond_broadcast(&q->changed);
        ret = pdPASS;
    }
    wm_host_kernel_unlock();
    return ret;
}

static BaseType_t receive(QueueHandle_t q, void *buffer, TickType_t ticks, bool take)
{
    struct wm_host_timeout timeout = wm_host_timeout(ticks);
    BaseType_t ret                 = errQUEUE_EMPTY;

    wm_host_kernel_lock();
    while (q->count == 0 && wm_host_kernel_wait(&q->changed, &timeout)) {
    }
    if (q->count) {
        copy(buffer, slot(q, 0), q->item_size);
        if (take) {
            q->head = (q->head + 1) % q->length;
            q->count--;
            pthread_cond_broadcast(&q->changed);
        }
        ret = pdPASS;
    }
    wm_host_kernel_unlock();
    return ret;
}

BaseType_t xQueueSendToBack(QueueHandle_t q, const void *item, TickType_t ticks)
{
    return send(q, item, ticks, false);
}

BaseType_t xQueueSendToFront(QueueHandle_t q, const void *item, TickType_t ticks)
{
    return send(q, item, ticks, true);
}

BaseType_t xQueueReceive(QueueHandle_t q, void *buffer, TickType_t ticks)
{
    return receive(q, buffer, ticks, true);
}

BaseType_t xQueuePeek(QueueHandle_t q, void *buffer, TickType_t ticks)
{
    return receive(q, buffer, ticks, false);
}

BaseType_t xQueueOverwrite(QueueHandle_t q, const void *item)
{
    wm_host_kernel_lock();
    copy(slot(q, 0), item, q->item_size);
    q->count = 1;
    pthread_cond_broadcast(&q->changed);
    wm_host_kernel_unlock();
    return pdPASS;
}

BaseType_t xQueueReset(QueueHandle_t q)
{
    wm_host_kernel_lock();
    q->count = 0;
    pthread_cond_broadcast(&q->changed);
    wm_host_kernel_unlock();
    return pdPASS;
}

UBaseType_t uxQueueMessagesWaiting(QueueHandle_t q)
{
    wm_host_kernel_lock();
    UBaseType_t n = q->count;
    wm_host_kernel_unlock();
    return n;
}

UBaseType_t uxQueueSpacesAvailable(QueueHandle_t q)
{
    wm_host_kernel_lock();
    UBaseType_t n = q->length - q->count;
    wm_host_kernel_unlock();
    return n;
}

BaseType_t xQueueSendFromISR(QueueHandle_t q, const void *item, BaseType_t *woken)
{
    if (woken) {
        *woken = pdFALSE;
    }
    return send(q, item, 0, false);
}

BaseType_t xQueueReceiveFromISR(QueueHandle_t q, void *buffer, BaseType_t *woken)
{
    if (woken) {
        *woken = pdFALSE;
    }
    return receive(q, buffer, 0, true);
}

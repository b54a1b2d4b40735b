/**
 * @file queue.h
 * @brief Host stand-in: queues of items of one size. Semaphores are queues too, see semphr.h.
 */
#ifndef WM_HOST_FREERTOS_QUEUE_H
#define WM_HOST_FREERTOS_QUEUE_H

#include "task.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A queue. */
typedef struct QueueDefinition *QueueHandle_t;

/** Makes a queue of @p length items of @p item_size bytes; NULL without memory. */
QueueHandle_t xQueueCreate(UBaseType_t length, UBaseType_t item_size);

/** Frees a queue nobody waits for. */
void vQueueDelete(QueueHandle_t queue);

/** Appends a copy of an item, waiting for room; pdPASS or errQUEUE_FULL. */
BaseType_t xQueueSendToBack(QueueHandle_t queue, const void *item, TickType_t ticks);

/** Puts a copy of an item before all others, waiting for room; pdPASS or errQUEUE_FULL. */
BaseType_t xQueueSendToFront(QueueHandle_t queue, const void *item, TickType_t ticks);

/** Replaces the item of a queue of length 1; pdPASS. */
BaseType_t xQueueOverwrite(QueueHandle_t queue, const void *item);

/** Takes the first item, waiting for one; pdPASS or errQUEUE_EMPTY. */
BaseType_t xQueueReceive(QueueHandle_t queue, void *buffer, TickType_t ticks);

/** Copies the first item and leaves it there; pdPASS or errQUEUE_EMPTY. */
BaseType_t xQueuePeek(QueueHandle_t queue, void *buffer, TickType_t ticks);

/** Empties a queue; pdPASS. */
BaseType_t xQueueReset(QueueHandle_t queue);

/** Number of items in a queue. */
UBaseType_t uxQueueMessagesWaiting(QueueHandle_t queue);

/** Number of items a queue has room for. */
UBaseType_t uxQueueSpacesAvailable(QueueHandle_t queue);

/** xQueueSendToBack() for interrupt handlers: does not wait. @p woken may be NULL. */
BaseType_t xQueueSendFromISR(QueueHandle_t queue, const void *item, BaseType_t *woken);

/** xQueueReceive() for interrupt handlers: does not wait. @p woken may be NULL. */
BaseType_t xQueueReceiveFromISR(QueueHandle_t queue, void *buffer, BaseType_t *woken);

/** The usual name of xQueueSendToBack(). */
#define xQueueSend(queue, item, ticks) xQueueSendToBack((queue), (item), (ticks))

#ifdef __cplusplus
}
#endif

#endif

/**
 * @file semphr.h
 * @brief Host stand-in: semaphores and mutexes.
 */
#ifndef WM_HOST_FREERTOS_SEMPHR_H
#define WM_HOST_FREERTOS_SEMPHR_H

#include "queue.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A semaphore or mutex. */
typedef QueueHandle_t SemaphoreHandle_t;

/** Makes a binary semaphore that has to be given before it can be taken; NULL without memory. */
SemaphoreHandle_t xSemaphoreCreateBinary(void);

/** Makes a counting semaphore; NULL without memory. */
SemaphoreHandle_t xSemaphoreCreateCounting(UBaseType_t max, UBaseType_t initial);

/** Makes a mutex, free at first, that its holder gives back; NULL without memory. */
SemaphoreHandle_t xSemaphoreCreateMutex(void);

/** Makes a mutex that its holder may take again; NULL without memory. */
SemaphoreHandle_t xSemaphoreCreateRecursiveMutex(void);

/** Frees a semaphore nobody waits for. */
void vSemaphoreDelete(SemaphoreHandle_t sem);

/** Takes a semaphore, waiting for it; pdTRUE or, on time-out, pdFALSE. */
BaseType_t xSemaphoreTake(SemaphoreHandle_t sem, TickType_t ticks);

/** Gives a semaphore; pdFALSE if it is at its maximum, or a mutex that somebody else holds. */
BaseType_t xSemaphoreGive(SemaphoreHandle_t sem);

/** Takes a recursive mutex; the holder gets it at once. */
BaseType_t xSemaphoreTakeRecursive(SemaphoreHandle_t sem, TickType_t ticks);

/** Gives a recursive mutex once; pdFALSE if the caller does not hold it. */
BaseType_t xSemaphoreGiveRecursive(SemaphoreHandle_t sem);

/** xSemaphoreGive() for interrupt handlers. @p woken may be NULL. */
BaseType_t xSemaphoreGiveFromISR(SemaphoreHandle_t sem, BaseType_t *woken);

/** Number of times a semaphore can be taken now. */
UBaseType_t uxSemaphoreGetCount(SemaphoreHandle_t sem);

/** Holder of a mutex, NULL if it is free. */
TaskHandle_t xSemaphoreGetMutexHolder(SemaphoreHandle_t sem);

#ifdef __cplusplus
}
#endif

#endif

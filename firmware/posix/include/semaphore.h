/* What the harness uses of POSIX semaphores, over FreeRTOS. */
#ifndef FIRMWARE_SEMAPHORE_H
#define FIRMWARE_SEMAPHORE_H

#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"

typedef struct {
    SemaphoreHandle_t handle;
    StaticSemaphore_t place;
} sem_t;

static inline int sem_init(sem_t *sem, int shared, unsigned value)
{
    (void)shared;
    sem->handle = xSemaphoreCreateCountingStatic((UBaseType_t)-1, value, &sem->place);
    return 0;
}

static inline int sem_post(sem_t *sem)
{
    return xSemaphoreGive(sem->handle) == pdTRUE ? 0 : -1;
}

static inline int sem_wait(sem_t *sem)
{
    return xSemaphoreTake(sem->handle, portMAX_DELAY) == pdTRUE ? 0 : -1;
}

#endif

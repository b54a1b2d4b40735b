/**
 * @file task.h
 * @brief Host stand-in: tasks, time and notifications.
 *
 * A task is a thread of its own; priorities and stack sizes are ignored. Threads that were not made by xTaskCreate()
 * (main, the event task, the library's own) may call everything here. A task that another one deletes ends at its
 * next, or current, wait inside one of these functions: unlike on the device it cannot be stopped elsewhere.
 */
#ifndef WM_HOST_FREERTOS_TASK_H
#define WM_HOST_FREERTOS_TASK_H

#include "FreeRTOS.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A task. */
typedef struct tskTaskControlBlock *TaskHandle_t;

/** What xTaskNotify() does to the value. */
typedef enum {
    eNoAction = 0,            /**< only notify */
    eSetBits,                 /**< or the bits in */
    eIncrement,               /**< add one */
    eSetValueWithOverwrite,   /**< replace */
    eSetValueWithoutOverwrite /**< replace unless a notification is pending */
} eNotifyAction;

#define tskIDLE_PRIORITY ((UBaseType_t)0U) /**< lowest priority */

/** Starts a task; pdPASS, or errCOULD_NOT_ALLOCATE_REQUIRED_MEMORY. @p created may be NULL. */
BaseType_t xTaskCreate(TaskFunction_t code, const char *name, configSTACK_DEPTH_TYPE stack_depth, void *parameters,
                       UBaseType_t priority, TaskHandle_t *created);

/** Ends a task, the calling one for NULL (no destructors run). */
void vTaskDelete(TaskHandle_t task);

/** Sleeps for a number of ticks; 0 yields. */
void vTaskDelay(TickType_t ticks);

/** Sleeps until @p increment ticks after @p previous_wake, and moves @p previous_wake there. */
void vTaskDelayUntil(TickType_t *previous_wake, TickType_t increment);

/** Ticks since the start of the program. */
TickType_t xTaskGetTickCount(void);

/** xTaskGetTickCount() for interrupt handlers, which a host has none of. */
TickType_t xTaskGetTickCountFromISR(void);

/** The calling task. */
TaskHandle_t xTaskGetCurrentTaskHandle(void);

/** Name of a task, the calling one for NULL. */
char *pcTaskGetName(TaskHandle_t task);

/** Number of tasks that xTaskCreate() started and that have not ended. */
UBaseType_t uxTaskGetNumberOfTasks(void);

/** Notifies a task and changes its value; pdFAIL only for eSetValueWithoutOverwrite. */
BaseType_t xTaskNotify(TaskHandle_t task, uint32_t value, eNotifyAction action);

/** Waits for a notification and puts it in @p value (may be NULL); clears bits before and after. pdFALSE: time-out. */
BaseType_t xTaskNotifyWait(uint32_t clear_on_entry, uint32_t clear_on_exit, uint32_t *value, TickType_t ticks);

/** Waits until the value is not 0, then clears or decrements it; returns what it was. */
uint32_t ulTaskNotifyTake(BaseType_t clear_on_exit, TickType_t ticks);

/** Adds one to a task's value. */
#define xTaskNotifyGive(task) xTaskNotify((task), 0, eIncrement)

/** Enters the one critical section of the program; it may be nested. */
void vPortEnterCritical(void);

/** Leaves it. */
void vPortExitCritical(void);

#define taskENTER_CRITICAL() vPortEnterCritical() /**< see vPortEnterCritical() */
#define taskEXIT_CRITICAL()  vPortExitCritical()  /**< see vPortExitCritical() */

/** Lets another thread run. */
void vPortYield(void);

#define taskYIELD() vPortYield() /**< see vPortYield() */

#ifdef __cplusplus
}
#endif

#endif

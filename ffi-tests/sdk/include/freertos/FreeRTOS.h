/**
 * @file FreeRTOS.h
 * @brief Host stand-in: FreeRTOS' basic types and constants, over threads.
 */
#ifndef WM_HOST_FREERTOS_H
#define WM_HOST_FREERTOS_H

#include "wmsdk_config.h"
#include <stddef.h>
#include <stdint.h>
/* On the SDK this header is where applications get free(), strlen() and friends from. */
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if CONFIG_FREERTOS_HZ != 1000
#error "the host stand-in counts milliseconds: CONFIG_FREERTOS_HZ must be 1000"
#endif

typedef long BaseType_t;           /**< a small number or a truth value */
typedef unsigned long UBaseType_t; /**< a small natural number */
typedef uint32_t TickType_t;       /**< ticks; wraps after 49.7 days */
typedef uint32_t StackType_t;      /**< an item of a stack */

#define configTICK_RATE_HZ       ((TickType_t)CONFIG_FREERTOS_HZ)  /**< ticks per second */
#define configMAX_PRIORITIES     (16)                              /**< number of priorities */
#define configMAX_TASK_NAME_LEN  CONFIG_FREERTOS_MAX_TASK_NAME_LEN /**< task name with its final NUL */
#define configMINIMAL_STACK_SIZE ((unsigned short)256)             /**< smallest stack */
#define configSTACK_DEPTH_TYPE   uint16_t                          /**< type of xTaskCreate()'s stack size */

#define pdFALSE               ((BaseType_t)0)  /**< no */
#define pdTRUE                ((BaseType_t)1)  /**< yes */
#define pdPASS                (pdTRUE)         /**< it worked */
#define pdFAIL                (pdFALSE)        /**< it did not */
#define errQUEUE_EMPTY        ((BaseType_t)0)  /**< nothing to receive */
#define errQUEUE_FULL         ((BaseType_t)0)  /**< no room to send */
#define errCOULD_NOT_ALLOCATE_REQUIRED_MEMORY (-1) /**< the heap is exhausted */

#define portMAX_DELAY         ((TickType_t)0xffffffffUL)               /**< wait for ever */
#define portTICK_PERIOD_MS    ((TickType_t)1000 / configTICK_RATE_HZ)  /**< milliseconds per tick */
/** Ticks for a number of milliseconds. */
#define pdMS_TO_TICKS(ms)     ((TickType_t)(((TickType_t)(ms) * configTICK_RATE_HZ) / (TickType_t)1000))
/** Milliseconds for a number of ticks. */
#define pdTICKS_TO_MS(ticks)  ((TickType_t)(((TickType_t)(ticks) * (TickType_t)1000) / configTICK_RATE_HZ))

/** A task's function. It ends by vTaskDelete(NULL); on a host it may also return. */
typedef void (*TaskFunction_t)(void *);

/** malloc() under its FreeRTOS name. */
void *pvPortMalloc(size_t size);

/** free() under its FreeRTOS name. */
void vPortFree(void *block);

#ifdef __cplusplus
}
#endif

#endif

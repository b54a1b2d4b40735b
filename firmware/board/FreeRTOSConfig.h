/* FreeRTOS as the SDK configures it, on QEMU's `virt` machine. */
#ifndef FREERTOS_CONFIG_H
#define FREERTOS_CONFIG_H

#include <stdint.h>
/* As with the SDK applications have these from FreeRTOS.h. */
#include <stdlib.h>
#include <string.h>

/* The machine: its CLINT, and mtime at 10 MHz. */
#define configMTIME_BASE_ADDRESS    0x0200bff8UL
#define configMTIMECMP_BASE_ADDRESS 0x02004000UL
#define configCPU_CLOCK_HZ          10000000UL
#define configISR_STACK_SIZE_WORDS  1024

/* The tick wraps ten seconds after the start: after 49.7 days on the device. */
#define configINITIAL_TICK_COUNT ((TickType_t)-10000)

#define configTICK_RATE_HZ               1000
#define configTICK_TYPE_WIDTH_IN_BITS    TICK_TYPE_WIDTH_32_BITS
#define configUSE_PREEMPTION             1
#define configUSE_TIME_SLICING           1
#define configIDLE_SHOULD_YIELD          1
#define configUSE_PORT_OPTIMISED_TASK_SELECTION 0
#define configMAX_PRIORITIES             16
#define configMINIMAL_STACK_SIZE         256
#define configSTACK_DEPTH_TYPE           uint16_t
#define configMAX_TASK_NAME_LEN          16
#define configUSE_IDLE_HOOK              1
#define configUSE_TICK_HOOK              0
#define configCHECK_FOR_STACK_OVERFLOW   2
#define configUSE_MALLOC_FAILED_HOOK     0
#define configSUPPORT_STATIC_ALLOCATION  1
#define configSUPPORT_DYNAMIC_ALLOCATION 1
#define configKERNEL_PROVIDED_STATIC_MEMORY 1
#define configUSE_TRACE_FACILITY         1
#define configUSE_MUTEXES                1
#define configUSE_RECURSIVE_MUTEXES      1
#define configUSE_COUNTING_SEMAPHORES    1
#define configUSE_TASK_NOTIFICATIONS     1
#define configQUEUE_REGISTRY_SIZE        0
#define configNUM_THREAD_LOCAL_STORAGE_POINTERS 2

#define configUSE_TIMERS             1
#define configTIMER_TASK_PRIORITY    (configMAX_PRIORITIES - 1)
#define configTIMER_QUEUE_LENGTH     16
#define configTIMER_TASK_STACK_DEPTH 1024

#ifdef __riscv
/* What the idle task takes is no work: see board_instructions(). */
#define configGENERATE_RUN_TIME_STATS    1
#define configRUN_TIME_COUNTER_TYPE      uint64_t
#define portCONFIGURE_TIMER_FOR_RUN_TIME_STATS()
#define portGET_RUN_TIME_COUNTER_VALUE() board_counter()
uint64_t board_counter(void);
#define INCLUDE_xTaskGetIdleTaskHandle      1
#endif

#define INCLUDE_vTaskPrioritySet            1
#define INCLUDE_uxTaskPriorityGet           1
#define INCLUDE_vTaskDelete                 1
#define INCLUDE_vTaskSuspend                1
#define INCLUDE_vTaskDelayUntil             1
#define INCLUDE_vTaskDelay                  1
#define INCLUDE_xTaskGetCurrentTaskHandle   1
#define INCLUDE_xTaskGetSchedulerState      1
#define INCLUDE_xTimerPendFunctionCall      1
#define INCLUDE_xQueueGetMutexHolder        1
#define INCLUDE_xSemaphoreGetMutexHolder    1
#define INCLUDE_uxTaskGetStackHighWaterMark 1

/* heap_device.c says how large. */
#define configTOTAL_HEAP_SIZE 1

void board_task_ends(void *task);
#define portCLEAN_UP_TCB(task) board_task_ends(task)

void board_failed(const char *what, const char *where, int line) __attribute__((noreturn));
#define configASSERT(condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) board_failed(#condition, __FILE__, __LINE__);                                                \
    } while (0)

/* freertos-rust's shim is written for the SDK's kernel, version 10. */
#define configENABLE_BACKWARD_COMPATIBILITY 1

#endif

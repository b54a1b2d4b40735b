/* The FreeRTOS kernel on C-SKY where a program of a user has no interrupts: tasks are switched in calls of the kernel, and what
 * would interrupt (ticks, devices) is looked for when a critical section ends and while all tasks wait. */
#ifndef PORTMACRO_H
#define PORTMACRO_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t StackType_t;
typedef long BaseType_t;
typedef unsigned long UBaseType_t;
typedef uint32_t TickType_t;
#define portMAX_DELAY              ((TickType_t)0xffffffff)
#define portTICK_TYPE_IS_ATOMIC    1
#define portSTACK_GROWTH           (-1)
#define portBYTE_ALIGNMENT         8
#define portTICK_PERIOD_MS         ((TickType_t)1000 / configTICK_RATE_HZ)
#define portPOINTER_SIZE_TYPE      size_t

void port_yield(void);
void port_mask(void);
void port_unmask(void);
#define portYIELD()                port_yield()
#define portEND_SWITCHING_ISR(woken) \
    do {                             \
        if (woken) port_yield();     \
    } while (0)
#define portYIELD_FROM_ISR(woken)  portEND_SWITCHING_ISR(woken)
#define portENTER_CRITICAL()       port_mask()
#define portEXIT_CRITICAL()        port_unmask()
#define portDISABLE_INTERRUPTS()   ((void)0)
#define portENABLE_INTERRUPTS()    ((void)0)
#define portSET_INTERRUPT_MASK_FROM_ISR()       0
#define portCLEAR_INTERRUPT_MASK_FROM_ISR(mask) ((void)(mask))

#define portTASK_FUNCTION_PROTO(function, parameters) void function(void *parameters)
#define portTASK_FUNCTION(function, parameters)       void function(void *parameters)

#endif

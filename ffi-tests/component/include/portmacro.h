/* The kernel's types and macros on the device, as far as the component's C files see them. */
#ifndef COMPONENT_PORTMACRO_H
#define COMPONENT_PORTMACRO_H

#include <stdint.h>

typedef uint32_t StackType_t;
typedef long BaseType_t;
typedef unsigned long UBaseType_t;
typedef uint32_t TickType_t;

#define portSTACK_GROWTH      (-1)
#define portBYTE_ALIGNMENT    8
#define portPOINTER_SIZE_TYPE uint32_t
#define portMAX_DELAY         ((TickType_t)0xffffffffUL)
#define portTICK_PERIOD_MS    ((TickType_t)(1000 / configTICK_RATE_HZ))
#define portDONT_DISCARD      __attribute__((used))

void vPortEnterCritical(void);
void vPortExitCritical(void);
void vPortYield(void);
#define portENTER_CRITICAL() vPortEnterCritical()
#define portEXIT_CRITICAL()  vPortExitCritical()
#define portYIELD()          vPortYield()
#define portEND_SWITCHING_ISR(wanted) do { if (wanted) vPortYield(); } while (0)
#define portYIELD_FROM_ISR(wanted)    portEND_SWITCHING_ISR(wanted)
#define portDISABLE_INTERRUPTS()      vPortEnterCritical()
#define portENABLE_INTERRUPTS()       vPortExitCritical()
#define portTASK_FUNCTION_PROTO(function, parameters) void function(void *parameters)
#define portTASK_FUNCTION(function, parameters)       void function(void *parameters)

#endif

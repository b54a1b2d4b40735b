/* What all machines have: how a failure ends, and the task that runs main(). */
#include "board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "wm_task_config.h"

void board_failed(const char *what, const char *where, int line)
{
    portDISABLE_INTERRUPTS();
    char text[200];
    const char *name = xTaskGetSchedulerState() == taskSCHEDULER_NOT_STARTED ? "" : pcTaskGetName(NULL);
    board_write(text, (size_t)snprintf(text, sizeof text, "\nSTOPPED: %.80s, %.60s:%d, task %s\n", what, where, line, name));
    board_exit(3);
}

void abort(void) { board_failed("abort", "", 0); }

void __assert_func(const char *file, int line, const char *function, const char *what)
{
    (void)function;
    board_failed(what, file, line);
}

/* ---- tasks ---- */

void vApplicationStackOverflowHook(TaskHandle_t task, char *name)
{
    (void)task;
    char text[60];
    snprintf(text, sizeof text, "the stack of %s overflows", name);
    board_failed(text, "", 0);
}

static size_t handshake_left = SIZE_MAX;

size_t board_handshake_left(void) { return handshake_left; }

void board_task_ends(void *task)
{
    /* The library runs the steps of a TLS handshake in tasks of their own. */
    size_t left = uxTaskGetStackHighWaterMark(task) * sizeof(StackType_t);
    if (strcmp(pcTaskGetName(task), "mqtt tls") == 0 && left < handshake_left) handshake_left = left;
    network_task_ends(task);
}

extern int main(int argc, char **argv);
void __libc_init_array(void);

static void run(void *unused)
{
    (void)unused;
    agent_start();
    network_start();
    int count;
    char **arguments = agent_arguments(&count);
    __libc_init_array();
    exit(main(count, arguments));
}

void board_main(void)
{
    enum { STACK = 240 * 1024 };
    static StackType_t stack[STACK / sizeof(StackType_t)];
    static StaticTask_t task;
    machine_start();
    /* Tests keep much on the stack of main(): it is not the device's. */
    xTaskCreateStatic(run, "main", STACK / sizeof(StackType_t), NULL, WM_TASK_MAIN_PRIO, stack, &task);
    vTaskStartScheduler();
}

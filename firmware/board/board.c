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

/* Tasks of the library: one serves all clients, the other is there while any of them is in a TLS handshake. Most of their stack. */
static struct {
    const char *name;
    size_t stack, used;
} library_tasks[] = {{"mqtt", CONFIG_MQTT_CLIENT_TASK_STACK, 0}, {"mqtt tls", CONFIG_MQTT_CLIENT_HANDSHAKE_STACK, 0}};

enum { TASK, HANDSHAKES };

static bool is(TaskHandle_t task, int which) { return strcmp(pcTaskGetName(task), library_tasks[which].name) == 0; }

static void look_at_stack(TaskHandle_t task)
{
    for (int i = TASK; i <= HANDSHAKES; i++) {
        if (!is(task, i)) continue;
        size_t used = library_tasks[i].stack - uxTaskGetStackHighWaterMark(task) * sizeof(StackType_t);
        if (used > library_tasks[i].used) library_tasks[i].used = used;
    }
}

size_t board_task_stack(void)
{
    static TaskStatus_t tasks[64];
    int n = (int)uxTaskGetSystemState(tasks, sizeof tasks / sizeof tasks[0], NULL);
    for (int i = 0; i < n; i++) look_at_stack(tasks[i].xHandle);
    return library_tasks[TASK].used;
}

size_t board_handshake_stack(void) { return library_tasks[HANDSHAKES].used; }

void board_task_ends(void *task)
{
    look_at_stack(task);
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
    int status = main(count, arguments);
    printf("STACK %u %u\n", (unsigned)board_task_stack(), (unsigned)board_handshake_stack());
    exit(status);
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

/*
 * Tests of the host stand-in: FreeRTOS. Tasks, time, queues, semaphores, event groups, notifications.
 */
#include "sdk_check.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/event_groups.h"
#include "freertos/semphr.h"
#include "wm_log.h"
#include "wm_task_config.h"

static SemaphoreHandle_t g_done;

static void count_and_delete(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    xSemaphoreGive(g_done);
    vTaskDelete(NULL);
    atomic_fetch_add((atomic_int *)arg, 100); /* never */
}

static void count_and_return(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    xSemaphoreGive(g_done);
}

static void sleep_for_ever(void *arg)
{
    xSemaphoreGive(g_done);
    vTaskDelay(portMAX_DELAY);
    atomic_fetch_add((atomic_int *)arg, 100); /* never */
}

static bool tasks_end(UBaseType_t n)
{
    for (int i = 0; i < 2000 && uxTaskGetNumberOfTasks() != n; i++) {
        vTaskDelay(5);
    }
    return uxTaskGetNumberOfTasks() == n;
}

static void test_tasks(void)
{
    atomic_int count = 0;
    TaskHandle_t sleeper;
    g_done = xSemaphoreCreateCounting(10, 0);
    CHECK(xTaskCreate(count_and_delete, "one", 512, &count, 1, NULL) == pdPASS);
    CHECK(xTaskCreate(count_and_return, "two", 512, &count, 1, NULL) == pdPASS);
    CHECK(xTaskCreate(sleep_for_ever, "a name that is too long", 512, &count, WM_TASK_MAIN_PRIO, &sleeper) == pdPASS);
    for (int i = 0; i < 3; i++) {
        CHECK(xSemaphoreTake(g_done, pdMS_TO_TICKS(2000)) == pdTRUE);
    }
    CHECK(tasks_end(1));
    CHECK(strlen(pcTaskGetName(sleeper)) == configMAX_TASK_NAME_LEN - 1);
    CHECK(xTaskGetCurrentTaskHandle() != NULL && xTaskGetCurrentTaskHandle() != sleeper);
    vTaskDelete(sleeper);
    CHECK(tasks_end(0));
    CHECK(atomic_load(&count) == 2);
    vSemaphoreDelete(g_done);
}

static void test_time(void)
{
    TickType_t t0 = xTaskGetTickCount();
    double start  = now();
    vTaskDelay(pdMS_TO_TICKS(30));
    CHECK(now() - start >= 0.029);
    CHECK(xTaskGetTickCount() - t0 >= 29);
    CHECK((int32_t)(wm_os_internal_get_time_ms() - xTaskGetTickCount()) < 1000);
    TickType_t wake = xTaskGetTickCount();
    TickType_t was  = wake;
    for (int i = 0; i < 3; i++) {
        vTaskDelayUntil(&wake, 10);
    }
    CHECK(wake == was + 30 && xTaskGetTickCount() - was >= 30);
    wake = xTaskGetTickCount() - 100;
    start = now();
    vTaskDelayUntil(&wake, 10); /* late already: does not sleep */
    CHECK(now() - start < 1.0);
    taskENTER_CRITICAL();
    taskENTER_CRITICAL();
    taskEXIT_CRITICAL();
    taskEXIT_CRITICAL();
    taskYIELD();
    void *p = pvPortMalloc(10);
    CHECK(p != NULL);
    vPortFree(p);
}

static void send_numbers(void *queue)
{
    for (int i = 0; i < 1000; i++) {
        xQueueSend(queue, &i, portMAX_DELAY);
    }
    vTaskDelete(NULL);
}

static void test_queues(void)
{
    QueueHandle_t q = xQueueCreate(3, sizeof(int));
    int v = 1, got = 0;
    CHECK(xQueueReceive(q, &got, 0) == errQUEUE_EMPTY);
    CHECK(xQueueSend(q, &v, 0) == pdPASS);
    v = 2;
    CHECK(xQueueSendToBack(q, &v, 0) == pdPASS);
    v = 3;
    CHECK(xQueueSendToFront(q, &v, 0) == pdPASS);
    double start = now();
    CHECK(xQueueSend(q, &v, 20) == errQUEUE_FULL && now() - start >= 0.019);
    CHECK(uxQueueMessagesWaiting(q) == 3 && uxQueueSpacesAvailable(q) == 0);
    CHECK(xQueuePeek(q, &got, 0) == pdPASS && got == 3);
    CHECK(xQueueReceive(q, &got, 0) == pdPASS && got == 3);
    CHECK(xQueueReceive(q, &got, 0) == pdPASS && got == 1);
    BaseType_t woken = pdTRUE;
    CHECK(xQueueReceiveFromISR(q, &got, &woken) == pdPASS && got == 2 && woken == pdFALSE);
    CHECK(xQueueSendFromISR(q, &v, NULL) == pdPASS);
    xQueueReset(q);
    CHECK(uxQueueMessagesWaiting(q) == 0);

    xTaskCreate(send_numbers, "numbers", 512, q, 1, NULL);
    int wrong = 0;
    for (int i = 0; i < 1000; i++) {
        wrong += xQueueReceive(q, &got, 5000) != pdPASS || got != i;
    }
    CHECK(wrong == 0);
    CHECK(tasks_end(0));
    vQueueDelete(q);

    q = xQueueCreate(1, sizeof(int));
    v = 7;
    xQueueOverwrite(q, &v);
    v = 8;
    xQueueOverwrite(q, &v);
    CHECK(xQueueReceive(q, &got, 0) == pdPASS && got == 8);
    vQueueDelete(q);
    CHECK(xQueueCreate(0, 4) == NULL);
}

static void try_mutex(void *mutex)
{
    CHECK(xSemaphoreTake(mutex, 10) == pdFALSE);
    CHECK(xSemaphoreGive(mutex) == pdFALSE); /* not the holder */
    CHECK(xSemaphoreGiveRecursive(mutex) == pdFALSE);
    xSemaphoreGive(g_done);
    vTaskDelete(NULL);
}

static void test_semaphores(void)
{
    SemaphoreHandle_t s = xSemaphoreCreateBinary();
    CHECK(xSemaphoreTake(s, 10) == pdFALSE);
    CHECK(xSemaphoreGive(s) == pdTRUE && xSemaphoreGive(s) == pdFALSE);
    CHECK(xSemaphoreTake(s, 0) == pdTRUE);
    vSemaphoreDelete(s);

    s = xSemaphoreCreateCounting(3, 1);
    CHECK(xSemaphoreGive(s) == pdTRUE && xSemaphoreGiveFromISR(s, NULL) == pdTRUE && xSemaphoreGive(s) == pdFALSE);
    CHECK(uxSemaphoreGetCount(s) == 3);
    vSemaphoreDelete(s);
    CHECK(xSemaphoreCreateCounting(1, 2) == NULL);

    g_done = xSemaphoreCreateBinary();
    s      = xSemaphoreCreateMutex();
    CHECK(xSemaphoreGetMutexHolder(s) == NULL);
    CHECK(xSemaphoreTake(s, 0) == pdTRUE && xSemaphoreTake(s, 0) == pdFALSE);
    CHECK(xSemaphoreGetMutexHolder(s) == xTaskGetCurrentTaskHandle());
    xTaskCreate(try_mutex, "mutex", 512, s, 1, NULL);
    CHECK(xSemaphoreTake(g_done, 2000) == pdTRUE);
    CHECK(xSemaphoreGive(s) == pdTRUE && xSemaphoreGive(s) == pdFALSE);
    CHECK(tasks_end(0));
    vSemaphoreDelete(s);

    s = xSemaphoreCreateRecursiveMutex();
    CHECK(xSemaphoreTakeRecursive(s, 0) == pdTRUE && xSemaphoreTakeRecursive(s, 0) == pdTRUE);
    CHECK(xSemaphoreGiveRecursive(s) == pdTRUE && xSemaphoreGetMutexHolder(s) != NULL);
    CHECK(xSemaphoreGiveRecursive(s) == pdTRUE && xSemaphoreGetMutexHolder(s) == NULL);
    CHECK(xSemaphoreGiveRecursive(s) == pdFALSE);
    vSemaphoreDelete(s);
    vSemaphoreDelete(g_done);
}

static atomic_uint g_bits_seen[2];

static void wait_for_bit(void *group)
{
    static atomic_int n;
    unsigned i = (unsigned)atomic_fetch_add(&n, 1) % 2;
    atomic_store(&g_bits_seen[i], xEventGroupWaitBits(group, 4, pdTRUE, pdFALSE, 5000));
    xSemaphoreGive(g_done);
    vTaskDelete(NULL);
}

static void test_event_groups(void)
{
    EventGroupHandle_t g = xEventGroupCreate();
    CHECK(xEventGroupGetBits(g) == 0);
    CHECK(xEventGroupSetBits(g, 3) == 3);
    CHECK(xEventGroupClearBits(g, 1) == 3 && xEventGroupGetBits(g) == 2);
    CHECK(xEventGroupWaitBits(g, 3, pdFALSE, pdFALSE, 0) == 2);
    CHECK(xEventGroupWaitBits(g, 3, pdFALSE, pdTRUE, 10) == 2); /* time-out: not both */
    CHECK(xEventGroupWaitBits(g, 2, pdTRUE, pdTRUE, 0) == 2 && xEventGroupGetBits(g) == 0);

    /* Both waiters see the bit although each clears it. */
    g_done = xSemaphoreCreateCounting(2, 0);
    xTaskCreate(wait_for_bit, "w1", 512, g, 1, NULL);
    xTaskCreate(wait_for_bit, "w2", 512, g, 1, NULL);
    vTaskDelay(200);
    xEventGroupSetBits(g, 4);
    CHECK(xSemaphoreTake(g_done, 2000) == pdTRUE && xSemaphoreTake(g_done, 2000) == pdTRUE);
    CHECK(atomic_load(&g_bits_seen[0]) == 4 && atomic_load(&g_bits_seen[1]) == 4);
    CHECK(xEventGroupGetBits(g) == 0);
    CHECK(tasks_end(0));
    vSemaphoreDelete(g_done);

    /* A task deleted while it waits leaves nothing behind in the group. */
    TaskHandle_t waiter;
    g_done = xSemaphoreCreateBinary();
    xTaskCreate(wait_for_bit, "w3", 512, g, 1, &waiter);
    vTaskDelay(200);
    vTaskDelete(waiter);
    CHECK(tasks_end(0));
    CHECK(xEventGroupSetBits(g, 4) == 4);
    vSemaphoreDelete(g_done);
    vEventGroupDelete(g);
}

static void answer(void *asker)
{
    uint32_t value = 0;
    CHECK(xTaskNotifyWait(0, UINT32_MAX, &value, 2000) == pdTRUE);
    CHECK(value == 5);
    xTaskNotifyGive((TaskHandle_t)asker);
    xTaskNotifyGive((TaskHandle_t)asker);
    vTaskDelete(NULL);
}

static void test_notifications(void)
{
    TaskHandle_t task;
    CHECK(ulTaskNotifyTake(pdTRUE, 10) == 0);
    CHECK(xTaskNotifyWait(0, 0, NULL, 0) == pdFALSE);
    xTaskCreate(answer, "answer", 512, xTaskGetCurrentTaskHandle(), 1, &task);
    xTaskNotify(task, 5, eSetValueWithOverwrite);
    CHECK(tasks_end(0));
    CHECK(ulTaskNotifyTake(pdFALSE, 0) == 2 && ulTaskNotifyTake(pdTRUE, 0) == 1 && ulTaskNotifyTake(pdTRUE, 0) == 0);
    TaskHandle_t me = xTaskGetCurrentTaskHandle();
    CHECK(xTaskNotify(me, 1, eSetValueWithoutOverwrite) == pdPASS);
    CHECK(xTaskNotify(me, 2, eSetValueWithoutOverwrite) == pdFAIL);
    CHECK(xTaskNotify(me, 2, eSetBits) == pdPASS && xTaskNotify(me, 0, eNoAction) == pdPASS);
    CHECK(ulTaskNotifyTake(pdTRUE, 0) == 3);
}

int main(void)
{
    test_tasks();
    test_time();
    test_queues();
    test_semaphores();
    test_event_groups();
    test_notifications();
    return report();
}

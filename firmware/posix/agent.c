/* The line to the agent. Requests and answers are
 *
 *     length of what follows, tag, call, a, b, c, bytes        32 bits each, little endian
 *     length of what follows, tag, result, errno, bytes
 *
 * Calls of several tasks are under way at the same time; the tag is the place of a call in the table. */
#include "agent.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "board.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "wm_task_config.h"

enum { CALLS = 64, STACK = 4096, CHUNK = 4096 };

typedef struct {
    agent_call_t *data;
    SemaphoreHandle_t answered;
    StaticSemaphore_t place;
    int32_t result, error;
} slot_t;

static slot_t slots[CALLS];
static SemaphoreHandle_t sending, device, free_slots;
static TaskHandle_t reader;

void agent_interrupt(void)
{
    BaseType_t woken = pdFALSE;
    if (reader) vTaskNotifyGiveFromISR(reader, &woken);
    portYIELD_FROM_ISR(woken);
}

static void read_bytes(void *to, size_t len)
{
    uint8_t *at = to;
    while (len) {
        xSemaphoreTake(device, portMAX_DELAY);
        size_t got = line_receive(at, len);
        xSemaphoreGive(device);
        if (!got) ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
        at += got;
        len -= got;
    }
}

static void read_answers(void *unused)
{
    static uint8_t lost[256];
    (void)unused;
    for (;;) {
        struct {
            uint32_t len, tag;
            int32_t result, error;
        } head;
        read_bytes(&head, sizeof head);
        configASSERT(head.tag < CALLS && slots[head.tag].data);
        slot_t *slot = &slots[head.tag];
        size_t len = head.len - 12, kept = len < slot->data->room ? len : slot->data->room;
        read_bytes(slot->data->receive, kept);
        slot->data->received = kept;
        for (len -= kept; len;) {
            size_t n = len < sizeof lost ? len : sizeof lost;
            read_bytes(lost, n);
            len -= n;
        }
        slot->result = head.result;
        slot->error = head.error;
        xSemaphoreGive(slot->answered);
    }
}

static void send_bytes(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len) {
        size_t n = len < CHUNK ? len : CHUNK;
        xSemaphoreTake(device, portMAX_DELAY);
        configASSERT(line_send(at, n));
        xSemaphoreGive(device);
        at += n;
        len -= n;
    }
}

int agent_call(enum agent_call call, agent_call_t *data)
{
    slot_t *slot = NULL;
    xSemaphoreTake(free_slots, portMAX_DELAY);
    vTaskSuspendAll();
    for (slot = slots; slot->data; slot++) {
    }
    slot->data = data;
    xTaskResumeAll();
    struct {
        uint32_t len, tag, call;
        int32_t a, b, c;
    } head = {20 + data->send_len, (uint32_t)(slot - slots), call, data->a, data->b, data->c};
    xSemaphoreTake(sending, portMAX_DELAY);
    send_bytes(&head, sizeof head);
    send_bytes(data->send, data->send_len);
    xSemaphoreGive(sending);
    xSemaphoreTake(slot->answered, portMAX_DELAY);
    int result = slot->result, error = slot->error;
    slot->data = NULL;
    xSemaphoreGive(free_slots);
    if (result < 0) errno = error;
    return result;
}

void agent_start(void)
{
    static StaticSemaphore_t places[3];
    static StackType_t stack[STACK / sizeof(StackType_t)];
    static StaticTask_t task;
    sending = xSemaphoreCreateMutexStatic(&places[0]);
    device = xSemaphoreCreateMutexStatic(&places[1]);
    free_slots = xSemaphoreCreateCountingStatic(CALLS, CALLS, &places[2]);
    for (int i = 0; i < CALLS; i++) slots[i].answered = xSemaphoreCreateBinaryStatic(&slots[i].place);
    reader = xTaskCreateStatic(read_answers, "agent", STACK / sizeof(StackType_t), NULL, WM_TASK_TCPIP_PRIO + 2, stack,
                               &task);
}

char **agent_arguments(int *count)
{
    enum { ROOM = 8192, MOST = 32 };
    static char text[ROOM];
    static char *words[2 * MOST + 2];
    extern char **environ;
    agent_call_t data = {.receive = text, .room = ROOM - 1};
    *count = agent_call(AGENT_ARGUMENTS, &data);
    char **word = words, *end = text + data.received;
    int left = *count;
    for (char *at = text; at < end && word < words + 2 * MOST; at += strlen(at) + 1) {
        *word++ = at;
        if (--left == 0) *word++ = NULL; /* here the environment begins */
    }
    *word = NULL;
    environ = words + *count + 1;
    return words;
}

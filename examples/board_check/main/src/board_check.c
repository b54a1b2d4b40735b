/*
 * Checks of a board, one after the other: computations whose results are known, the random number generator, and a broker
 * over each scheme; and what time, heap and stack they took. Nothing here needs more stack than the SDK gives to main(), but
 * for the computations, which have a task of their own.
 */
#include "board_check.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "wm_mqtt_client.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "wm_task_config.h"

#define ROUNDS             100
#define WAIT_TICKS         pdMS_TO_TICKS(10000)
#define COMPUTATIONS_STACK 16384 /* bytes */
#define WATCH_STACK        2048
#define RANDOM_READS       16
#define RANDOM_LEN         256
#define RANDOM_BITS        (RANDOM_READS * RANDOM_LEN * 8)
#define RANDOM_TOLERANCE   500 /* five and a half standard deviations */

static const board_t *board;
static unsigned wrong;
static TaskHandle_t checks; /* the task that checks; others notify it */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    static char line[200];
    va_list list;

    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    board->print(line);
}

/* A line about something that is not as it should be. */
#define WRONG(...) (wrong++, say("WRONG: " __VA_ARGS__))

/* ---- stacks ---- */

/* What was never used of each task's stack, by name. A TLS handshake has a task for each step: one has to look meanwhile. */
static struct {
    char name[configMAX_TASK_NAME_LEN];
    unsigned bytes;
} stacks[24];
enum { STACKS = sizeof stacks / sizeof stacks[0] };

static void look_at_stacks(void)
{
    static TaskStatus_t tasks[STACKS];
    UBaseType_t count = uxTaskGetSystemState(tasks, STACKS, NULL);

    for (UBaseType_t i = 0; i < count; i++) {
        unsigned place = 0, bytes = (unsigned)(tasks[i].usStackHighWaterMark * sizeof(StackType_t));
        while (place < STACKS && stacks[place].name[0] && strcmp(stacks[place].name, tasks[i].pcTaskName) != 0) place++;
        if (place == STACKS || (stacks[place].name[0] && stacks[place].bytes <= bytes)) continue;
        strncpy(stacks[place].name, tasks[i].pcTaskName, sizeof stacks[place].name - 1);
        stacks[place].bytes = bytes;
    }
}

static volatile bool watching;

static void watch(void *unused)
{
    (void)unused;
    while (watching) {
        look_at_stacks();
        vTaskDelay(pdMS_TO_TICKS(5));
    }
    xTaskNotifyGive(checks);
    vTaskSuspend(NULL);
}

/* ---- computations ---- */

static const struct {
    const char *name;
    uint64_t result;
} expected[] = {
#include "expected.h"
};
enum { COMPUTATIONS = sizeof expected / sizeof expected[0] };

static struct {
    const char *name;
    uint64_t result;
} computed[COMPUTATIONS + 1]; /* the last is none */

static void compute_all(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i <= COMPUTATIONS; i++) computed[i].name = board->compute(i, &computed[i].result);
    look_at_stacks();
    xTaskNotifyGive(checks);
    vTaskSuspend(NULL);
}

/* Some of them write warnings into the log, which nobody wants in the report. */
static bool do_computations(void)
{
    TaskHandle_t task;

    if (!board->compute ||
        xTaskCreate(compute_all, "computations", COMPUTATIONS_STACK / sizeof(StackType_t), NULL, WM_TASK_MAIN_PRIO, &task) !=
            pdPASS)
        return false;
    ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
    vTaskDelete(task);
    return true;
}

static void report_computations(bool done)
{
    unsigned right = 0;

    if (!board->compute) {
        say("computations: not in this library, see CONFIG_MQTT_CLIENT_CHECKS");
        return;
    }
    if (!done) {
        WRONG("no memory for the task of the computations");
        return;
    }
    for (unsigned i = 0; i < COMPUTATIONS; i++) {
        uint64_t is = computed[i].result, should_be = expected[i].result;
        if (!computed[i].name || strcmp(computed[i].name, expected[i].name) != 0) {
            WRONG("%s: the library does not compute that", expected[i].name);
        } else if (is != should_be) {
            WRONG("%s: %08lx%08lx, not %08lx%08lx", expected[i].name, (unsigned long)(is >> 32), (unsigned long)is,
                  (unsigned long)(should_be >> 32), (unsigned long)should_be);
        } else {
            right++;
        }
    }
    if (computed[COMPUTATIONS].name) WRONG("%s: nobody knows what comes out", computed[COMPUTATIONS].name);
    say("computations: %u of %d right", right, COMPUTATIONS);
}

/* ---- random numbers ---- */

static void check_random(void)
{
    static uint8_t bytes[2][RANDOM_LEN];
    unsigned ones = 0;

    for (int i = 0; i < RANDOM_READS; i++) {
        uint8_t *now = bytes[i % 2], *last = bytes[(i + 1) % 2];
        memset(now, 0, RANDOM_LEN);
        if (board->fill_random(now, RANDOM_LEN) != 0) {
            WRONG("random numbers: none");
            return;
        }
        if (memcmp(now, now + 1, RANDOM_LEN - 1) == 0) {
            WRONG("random numbers: all are %u", now[0]);
            return;
        }
        if (i > 0 && memcmp(now, last, RANDOM_LEN) == 0) {
            WRONG("random numbers: the same twice");
            return;
        }
        for (int n = 0; n < RANDOM_LEN; n++) ones += (unsigned)__builtin_popcount(now[n]);
    }
    if (ones < RANDOM_BITS / 2 - RANDOM_TOLERANCE || ones > RANDOM_BITS / 2 + RANDOM_TOLERANCE)
        WRONG("random numbers: %u of %d bits are 1", ones, RANDOM_BITS);
    else
        say("random numbers: %u of %d bits are 1: right", ones, RANDOM_BITS);
}

/* ---- a broker ---- */

static struct {
    volatile int number; /* of the message that is awaited */
    volatile bool came;
} message;

/* In the event task. */
static void on_message(wm_event_group_t group, int event, void *data, void *priv)
{
    wm_mqtt_event_data_t *info = data;
    char *payload = info->mqtt_client_data_info.payload;

    (void)group, (void)event, (void)priv;
    if (payload && atoi(payload) == message.number) {
        message.came = true;
        xTaskNotifyGive(checks);
    }
    free(info->mqtt_client_data_info.topic);
    free(payload);
}

static unsigned long since(TickType_t start)
{
    return (unsigned long)((uint64_t)(xTaskGetTickCount() - start) * 1000 / configTICK_RATE_HZ);
}

static bool connect_to(wm_mqtt_client_handle_t client, unsigned long *took)
{
    TickType_t start = xTaskGetTickCount();
    int result = wm_mqtt_client_connect(client);

    *took = since(start);
    if (result != 0) WRONG("connect: error %d after %lu ms", result, *took);
    return result == 0;
}

static int by_size(const void *a, const void *b)
{
    unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;
    return (x > y) - (x < y);
}

static void round_trips(wm_mqtt_client_handle_t client, const char *topic, int qos)
{
    static unsigned long took[ROUNDS];
    unsigned count = 0;

    for (int i = 0; i < ROUNDS; i++) {
        char payload[12];
        TickType_t start;
        int result;

        snprintf(payload, sizeof payload, "%d", ++message.number);
        message.came = false;
        ulTaskNotifyTake(pdTRUE, 0);
        start = xTaskGetTickCount();
        result = wm_mqtt_client_publish(client, topic, payload, 0, (uint8_t)qos, 0);
        if (result < 0) {
            WRONG("publish with QoS %d: error %d", qos, result);
            return;
        }
        ulTaskNotifyTake(pdTRUE, WAIT_TICKS);
        if (message.came) {
            took[count++] = since(start);
        } else {
            WRONG("QoS %d: message %d did not come back", qos, message.number);
            return;
        }
    }
    qsort(took, count, sizeof took[0], by_size);
    say("  QoS %d: %u of %d came back, after %lu ms at least, %lu (half of them), %lu (99 of 100), %lu at most", qos, count,
        ROUNDS, took[0], took[count / 2 - 1], took[count * 99 / 100 - 1], took[count - 1]);
}

/* Connected: messages to oneself. */
static void converse(wm_mqtt_client_handle_t client)
{
    char topic[80];
    int result;

    snprintf(topic, sizeof topic, "wm/board_check/%s", client->client_id);
    result = wm_mqtt_client_subscribe(client, topic, 1);
    if (result < 0) {
        WRONG("subscribe: error %d", result);
        return;
    }
    round_trips(client, topic, 0);
    round_trips(client, topic, 1);
}

static bool uses_tls(const char *uri)
{
    return strncmp(uri, "mqtts:", 6) == 0 || strncmp(uri, "ssl:", 4) == 0 || strncmp(uri, "wss:", 4) == 0;
}

static wm_mqtt_client_handle_t client_for(const char *uri)
{
    wm_mqtt_client_config_t config = {
        .uri           = (char *)uri,
        .clean_session = 1,
        .auth_mode     = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT, /* no meaning without TLS */
        .ca            = (char *)board->ca,
    };

    return wm_mqtt_client_init(&config);
}

static void check_broker(const char *uri)
{
    const char *scheme_end = strstr(uri, "://"), *user_end = strrchr(uri, '@');
    const char *host = scheme_end ? scheme_end + 3 : uri;
    size_t before = xPortGetFreeHeapSize(), connected;
    unsigned long first, again;
    wm_mqtt_client_handle_t client;

    say("%.*s%s", (int)(host - uri), uri, user_end ? user_end + 1 : host);
    client = client_for(uri);
    if (!client) {
        WRONG("init: no memory, or this is no address of a broker");
        return;
    }
    if (connect_to(client, &first)) {
        wm_mqtt_client_disconnect(client);
        if (connect_to(client, &again)) {
            connected = xPortGetFreeHeapSize();
            say("  connect: %lu ms, again: %lu ms", first, again);
            converse(client);
            say("  heap: %lu bytes free before, %lu connected", (unsigned long)before, (unsigned long)connected);
            wm_mqtt_client_disconnect(client);
        }
    }
    wm_mqtt_client_deinit(client);
}

/* A handshake of which the time does not count, since somebody looks at the stacks meanwhile. */
static void watch_handshake(const char *uri)
{
    wm_mqtt_client_handle_t client = client_for(uri);
    TaskHandle_t task;

    if (!client) return;
    watching = true;
    ulTaskNotifyTake(pdTRUE, 0);
    if (xTaskCreate(watch, "watch", WATCH_STACK / sizeof(StackType_t), NULL, WM_TASK_MQTT_CLIENT_PRIO + 1, &task) == pdPASS) {
        wm_mqtt_client_connect(client);
        watching = false;
        ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
        vTaskDelete(task);
    }
    wm_mqtt_client_disconnect(client);
    wm_mqtt_client_deinit(client);
}

/* ---- all of it ---- */

unsigned board_check(const board_t *of)
{
    size_t before = xPortGetFreeHeapSize();
    bool done;

    board = of;
    wrong = 0;
    checks = xTaskGetCurrentTaskHandle();
    memset(stacks, 0, sizeof stacks);
    done = do_computations();
    say("-----BEGIN BOARD CHECK-----");
    say("compiler: %s; ticks of a second: %lu", __VERSION__, (unsigned long)configTICK_RATE_HZ);
    report_computations(done);
    check_random();
    wm_event_add_callback(WM_MQTT_EV, WM_EVENT_MQTT_CLIENT_DATA, on_message, NULL);
    for (const char *const *uri = board->uris; *uri; uri++) {
        check_broker(*uri);
        if (uses_tls(*uri)) watch_handshake(*uri);
    }
    wm_event_remove_callback(WM_MQTT_EV, WM_EVENT_MQTT_CLIENT_DATA, on_message, NULL);
    vTaskDelay(pdMS_TO_TICKS(500)); /* the idle task frees what tasks that are gone had */
    say("heap: %lu bytes free before, %lu after, %lu at least", (unsigned long)before, (unsigned long)xPortGetFreeHeapSize(),
        (unsigned long)xPortGetMinimumEverFreeHeapSize());
    look_at_stacks();
    for (unsigned i = 0; i < STACKS && stacks[i].name[0]; i++)
        say("stack: %s has never used %u bytes", stacks[i].name, stacks[i].bytes);
    if (wrong) say("result: %u WRONG", wrong);
    else say("result: all is right");
    say("-----END BOARD CHECK-----");
    return wrong;
}

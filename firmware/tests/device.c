/* What only the device can show: calls from tasks with 2 KB of stack, a lookup that gets no answer, the tick's wrap;
 * and what the client needs, as lines for `make size`:
 *
 *     MEASURE CORE SCHEME NAME BYTES
 *
 * Heap is what malloc() gave away, with 24 bytes for each block; lwIP's and the kernel's part of a connection counts too, the
 * copies of certificates that the application gave do not. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "auto_broker.h"
#include "board.h"
#include "check.h"
#include "client.h"
#include "scheme.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "wm_task_config.h"

#ifdef __csky__
#define CORE "csky"
#else
#define CORE "rv32"
#endif

enum { SMALL_STACK = 2048 };

static void measured(const char *name, long bytes) { printf("MEASURE " CORE " %s %s %ld\n", scheme_name(), name, bytes); }

/* ---- calls in a task with the smallest stack ---- */

typedef struct {
    const char *name;
    int (*run)(handle_t handle);
    handle_t handle;
    int result;
    long left;
} small_call_t;

static void *run_small(void *arg)
{
    small_call_t *call = arg;
    call->result = call->run(call->handle);
    call->left = (long)uxTaskGetStackHighWaterMark(NULL) * (long)sizeof(StackType_t);
    return NULL;
}

static handle_t made; /* by do_init() */

static int nothing(handle_t handle) { return handle == NULL; }
static int do_init(handle_t config) { return (made = wm_mqtt_client_init((config_t *)config)) ? 0 : -1; }
static int do_connect(handle_t handle) { return wm_mqtt_client_connect(handle); }
static int do_subscribe(handle_t handle) { return wm_mqtt_client_subscribe(handle, "device/topic", 1) > 0 ? 0 : -1; }
static int do_publish(handle_t handle) { return wm_mqtt_client_publish(handle, "device/topic", "m", 1, 1, 0) > 0 ? 0 : -1; }
static int do_unsubscribe(handle_t handle) { return wm_mqtt_client_unsubscribe(handle, "device/topic") > 0 ? 0 : -1; }
static int do_reconnect(handle_t handle) { return wm_mqtt_client_reconnect(handle); }
static int do_disconnect(handle_t handle) { return wm_mqtt_client_disconnect(handle); }
static int do_deinit(handle_t handle) { return client_deinit(handle); }

static long small_call(small_call_t call)
{
    pthread_t thread;
    REQUIRE_EQ(pthread_create_with(&thread, SMALL_STACK, WM_TASK_MAIN_PRIO, run_small, &call), 0);
    pthread_join(thread, NULL);
    check_row("%s", call.name);
    CHECK_EQ(call.result, 0);
    return SMALL_STACK - call.left;
}

/* What the device's heap has given for a copy of this text. */
static long copy_of(const char *text)
{
    if (!text) return 0;
    long before = (long)board_heap_used();
    void *copy = pvPortMalloc(strlen(text) + 1);
    long size = (long)board_heap_used() - before;
    vPortFree(copy);
    return size;
}

/* Everything that an application calls, from such a task; and what the MQTT task needed for it. */
static void measurements(void)
{
    static const small_call_t calls[] = {
        {.name = "connect", .run = do_connect},       {.name = "subscribe", .run = do_subscribe},
        {.name = "publish", .run = do_publish},       {.name = "unsubscribe", .run = do_unsubscribe},
        {.name = "reconnect", .run = do_reconnect},   {.name = "disconnect", .run = do_disconnect},
    };
    auto_broker_t *broker = auto_broker_open();
    config_t config = {.uri = auto_broker_uri(broker), .client_id = "c", .clean_session = 1};
    scheme_config(&config);
    long task = small_call((small_call_t){.name = "nothing", .run = nothing, .handle = (handle_t)&config});
    measured("stack_of_an_empty_task", task);

    /* The first handle brings what all share; the second shows what one needs. */
    handle_t first = client_new(&config);
    CHECK_EQ(wm_mqtt_client_connect(first), 0);
    long before = (long)board_heap_used() + copy_of(config.ca);
    small_call_t init = {.name = "init", .run = do_init, .handle = (handle_t)&config};
    long stack_of_init = small_call(init);
    handle_t handle = made;
    measured("heap_idle", (long)board_heap_used() - before);
    board_heap_restart_peak();
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    long peak = (long)board_heap_peak() - before;
    sleep_ms(300); /* what the handshake and the network had is given back */
    measured("heap_connected", (long)board_heap_used() - before);
    measured("heap_peak_of_connect", peak);
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    sleep_ms(300);
    measured("heap_idle_after_a_connection", (long)board_heap_used() - before);

    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        small_call_t call = calls[i];
        call.handle = handle;
        char name[40];
        snprintf(name, sizeof name, "stack_of_%s", call.name);
        measured(name, small_call(call) - task);
    }
    measured("stack_of_deinit", small_call((small_call_t){.name = "deinit", .run = do_deinit, .handle = handle}) - task);
    /* init does not wait, but may be interrupted where it has most: then the context of the task is there too, once. */
    for (int i = 0; i < 2; i++) {
        long again = small_call(init);
        if (again < stack_of_init) stack_of_init = again;
        CHECK_EQ(client_deinit(made), 0);
    }
    measured("stack_of_init", stack_of_init - task);
}

/* ---- a lookup that gets no answer ---- */

static void silent_name(void)
{
    auto_broker_t *broker = auto_broker_open();
    handle_t lost = client_for("mqtt://nobody.silent", true), other = client_for(auto_broker_uri(broker), true);
    call_t *connect = start_connect(lost);
    CHECK(!call_done(connect, 100));
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(call_result_within(start_connect(other), 5000), 0);
        CHECK(wm_mqtt_client_publish(other, "t", "m", 1, 1, 0) > 0);
        CHECK_EQ(wm_mqtt_client_disconnect(other), 0);
    }
    CHECK(!call_done(connect, 0));
    /* Its answer may still come: to nobody. */
    CHECK_EQ(call_result_within(start_deinit(lost), 5000), 0);
    CHECK_EQ(call_result(connect), WM_MQTT_CLIENT_ERROR_FAILURE);
}

/* lwIP has places for four lookups at a time; here are more, also while some get no answer. */
static void many_lookups(void)
{
    enum { HANDLES = 10, LOST = 4 };
    auto_broker_t *broker = auto_broker_open();
    char *uri = test_alloc(60), *after = strstr(auto_broker_uri(broker), "//") + 2;
    snprintf(uri, 60, "%s://localhost%s", scheme_name(), strchr(after, ':'));
    handle_t handles[HANDLES], lost[LOST];
    call_t *connects[HANDLES], *silent[LOST];
    for (int i = 0; i < HANDLES; i++) handles[i] = client_for(uri, true);
    for (int round = 0; round <= LOST; round++) {
        check_row("%d without an answer", round);
        /* All places taken, and lwIP has forgotten localhost: all ten wait, some for an answer that lwIP knows by then. */
        if (round == LOST) sleep_ms(2500);
        for (int i = 0; i < HANDLES; i++) connects[i] = start_connect(handles[i]);
        for (int i = 0; i < HANDLES; i++) CHECK_EQ(call_result_within(connects[i], 10000), 0);
        for (int i = 0; i < HANDLES; i++) CHECK_EQ(wm_mqtt_client_disconnect(handles[i]), 0);
        for (int i = 0; i < round && round < LOST; i++) CHECK(!call_done(silent[i], 0)); /* nobody has waited for these */
        if (round < LOST) {
            lost[round] = client_for("mqtt://nobody.silent", true);
            silent[round] = start_connect(lost[round]);
        }
    }
    /* Five without an answer are one too many: it waits, and is gone with the last of them. */
    for (int i = 0; i < HANDLES; i++) CHECK_EQ(client_deinit(handles[i]), 0);
    for (int i = 0; i <= LOST; i++) {
        call_t *late = start_connect(client_for("mqtt://other.silent", true));
        CHECK(!call_done(late, 20));
    }
}

/* Lookups cannot be cancelled: those of handles that are gone, with their task, have all of lwIP's places. */
static void lookups_of_gone_handles(void)
{
    enum { LOST = 6 };
    handle_t lost[LOST];
    call_t *connects[LOST];
    for (int i = 0; i < LOST; i++) connects[i] = start_connect(lost[i] = client_for("mqtt://more.silent", true));
    for (int i = 0; i < LOST; i++) CHECK(!call_done(connects[i], 20));
    for (int i = 0; i < LOST; i++) CHECK_EQ(client_deinit(lost[i]), 0);
    sleep_ms(2500); /* lwIP has forgotten localhost */
    auto_broker_t *broker = auto_broker_open();
    char *uri = test_alloc(60), *after = strstr(auto_broker_uri(broker), "//") + 2;
    snprintf(uri, 60, "%s://localhost%s", scheme_name(), strchr(after, ':'));
    CHECK_EQ(call_result_within(start_connect(client_for(uri, true)), 20000), 0);
}

static void unknown_name(void)
{
    handle_t handle = client_for("mqtt://nobody.invalid", true);
    CHECK_EQ(call_result(start_connect(handle)), WM_MQTT_CLIENT_ERROR_FAILURE);
}

/* ---- the tick wraps: FreeRTOSConfig.h starts it ten seconds before ---- */

static void tick_wraps(void)
{
    broker_t *broker = broker_open();
    config_t config = {.uri = broker_uri(broker), .client_id = "c", .clean_session = 1, .keep_alive = 1};
    handle_t handle = client_new(&config);
    REQUIRE(xTaskGetTickCount() > 0x80000000u); /* this test stands first */
    conn_t *conn = client_connect(handle, broker, false);
    int pings = 0;
    long last = now_ms();
    while (xTaskGetTickCount() > 0x80000000u || xTaskGetTickCount() < 3000) {
        expect_bytes(conn, "c0 00");
        CHECK(now_ms() - last < scaled(2000));
        last = now_ms();
        send_bytes(conn, "d0 00");
        CHECK(wm_mqtt_client_publish(handle, "t", "m", 1, 0, 0) == 0);
        expect_bytes(conn, "30 [ s't' 'm' ]");
        pings++;
    }
    CHECK(pings >= 3);
    CHECK(pings <= 20);
    CHECK(still_serving(conn));
    client_leave(handle, conn);
}

/* ---- a server that fills the window ---- */

static void bulk(void)
{
    enum { N = 8, LEN = 50000 };
    broker_t *broker = NULL;
    conn_t *conn;
    connected_client(&broker, &conn, true);
    uint8_t *payload = test_alloc(LEN);
    memset(payload, 'x', LEN);
    long started = now_ms();
    for (int i = 0; i < N; i++) {
        send_publish(conn, 0x30, "t", 0, payload, LEN);
        CHECK_EQ(expect_event(DATA)->payload_len, LEN);
    }
    /* With segments that lwIP drops, and which come again after a time-out, it is some seconds for each. */
    CHECK(now_ms() - started < scaled(3000));
}

/* ---- bursts: the socket's buffer is full, and what is in front is acknowledged already ---- */

static void bursts(void)
{
    enum { N = 60 };
    static const uint16_t sizes[] = {600, 1500, 3000};
    auto_broker_t *broker = auto_broker_open();
    handle_t handle = client_for(auto_broker_uri(broker), true);
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    char *payload = test_alloc(3000);
    memset(payload, 'x', 3000);
    int published = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int qos = 1; qos <= 2; qos++) {
            check_row("%u bytes, QoS %d", sizes[i], qos);
            for (int n = 0; n < N; n++) CHECK(wm_mqtt_client_publish(handle, "t", payload, sizes[i], (uint8_t)qos, 0) > 0);
            published += N;
            CHECK(wait_count(PUBLISHED, published, 20000));
            CHECK_EQ(event_count(PUBLISHED), published);
            CHECK_EQ(event_count(DISCONNECTED), 0);
        }
    }
}

static const test_t tests[] = {
    LONG_TEST(tick_wraps, 60),
    TEST(measurements),
    TEST(unknown_name),
    LONG_TEST(many_lookups, 60), /* no lookup of a test before has a place of lwIP's */
    TEST(silent_name),
    LONG_TEST(lookups_of_gone_handles, 60),
    TEST(bulk),
    LONG_TEST(bursts, 60),
};
TESTS_MAIN(tests)

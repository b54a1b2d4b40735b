/* TLS on the device: who ends a handshake in its middle, several at a time, and a heap that has no room for one. To be run over
 * mqtts or wss. */
#include <stdio.h>
#include <string.h>

#include "auto_broker.h"
#include "board.h"
#include "check.h"
#include "client.h"
#include "peers.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "wm_task_config.h"

/* Milliseconds after which lwIP and the kernel have freed what is freed by tasks of theirs, and what may still be left. */
enum { SETTLE = 400, SLACK = 512 };
/* What docs/memory.md promises of each handle. */
enum { WITH_CONNECTION = 16 * 1024, WITH_TICKET = 8 * 1024 };

/* The state of the task that computes handshakes; eDeleted when there is none. */
static eTaskState handshakes_task(void)
{
    static TaskStatus_t tasks[64];
    int n = (int)uxTaskGetSystemState(tasks, sizeof tasks / sizeof tasks[0], NULL);
    for (int i = 0; i < n; i++)
        if (strcmp(tasks[i].pcTaskName, "mqtt tls") == 0) return tasks[i].eCurrentState;
    return eDeleted;
}

static bool step_runs(void)
{
    eTaskState state = handshakes_task();
    return state == eReady || state == eRunning;
}

/* A URI whose server is the test itself, which says nothing of TLS. */
static char *silent_uri(const broker_t *broker)
{
    char *uri = test_alloc(40);
    snprintf(uri, 40, "%s://localhost:%d", scheme_name(), broker_port(broker));
    return uri;
}

/* Up to the ClientHello, which gets no answer. */
static conn_t *accept_hello(broker_t *broker)
{
    conn_t *conn = broker_accept(broker);
    expect_bytes(conn, "16 03 01");
    return conn;
}

/* ---- who ends a handshake ---- */

static void silent_server(void)
{
    static const struct {
        const char *name;
        int (*end)(handle_t);
    } ends[] = {{"disconnect", wm_mqtt_client_disconnect}, {"deinit", client_deinit}, {"reset", NULL}};
    broker_t *broker = broker_open();
    handle_t other = client_for(auto_broker_uri(auto_broker_open()), true);
    CHECK_EQ(wm_mqtt_client_connect(other), 0);
    sleep_ms(SETTLE);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
            check_row("%s, round %d", ends[i].name, round);
            long before = (long)board_heap_used();
            handle_t handle = client_for(silent_uri(broker), true);
            call_t *connect = start_connect(handle);
            conn_t *conn = accept_hello(broker);
            CHECK(!call_done(connect, 100));
            CHECK(!step_runs());
            /* It waits for the server alone. */
            CHECK(wm_mqtt_client_publish(other, "t", "m", 1, 1, 0) > 0);
            if (ends[i].end) CHECK_EQ(ends[i].end(handle), 0);
            else conn_reset(conn);
            CHECK_EQ(call_result_within(connect, 1000), WM_MQTT_CLIENT_ERROR_FAILURE);
            if (ends[i].end) expect_eof_after_anything(conn, 1000);
            conn_close(conn);
            if (ends[i].end != client_deinit) CHECK_EQ(client_deinit(handle), 0);
            sleep_ms(SETTLE);
            CHECK_EQ(handshakes_task(), eDeleted);
            /* The first round fills the places for ended handles and the lists of what waits. */
            if (round == 2) CHECK((long)board_heap_used() - before < SLACK);
        }
    }
}

/* Ended while a step runs: nobody may pull the stack from under it. */
static void in_a_step(void)
{
    auto_broker_t *broker = auto_broker_open();
    char *uri = auto_broker_uri(broker);
    int caught = 0;
    for (int i = 0; i < 24; i++) {
        check_row("round %d", i);
        handle_t handle = client_for(uri, true);
        call_t *connect = start_connect(handle);
        /* Another step of it each time: it parses certificates, says hello, verifies, finishes. Above the step's priority,
         * or it would be over before we see it. */
        vTaskPrioritySet(NULL, WM_TASK_MQTT_CLIENT_PRIO + 1);
        for (int step = 0; step < 1 + i % 4; step++) {
            while (step_runs()) vTaskDelay(1);
            for (long until = now_ms() + 300; !step_runs() && now_ms() < until;) vTaskDelay(1);
        }
        caught += step_runs();
        if (i % 3 == 2) CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
        CHECK_EQ(client_deinit(handle), 0);
        vTaskPrioritySet(NULL, WM_TASK_MAIN_PRIO);
        int result = call_result(connect);
        CHECK(result == 0 || result == WM_MQTT_CLIENT_ERROR_FAILURE);
        CHECK(!step_runs());
        events_reset();
    }
    CHECK(caught >= 8);
    handle_t handle = client_for(uri, true);
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
}

/* Waits for a step that has run for so long, which only a signature with RSA-4096 does. */
static bool long_step_runs(call_t *connect, int least)
{
    for (int ms = 0; ms < least; ms++) {
        if (!step_runs()) ms = 0;
        if (call_done(connect, 0)) return false;
        vTaskDelay(pdMS_TO_TICKS(1));
    }
    return true;
}

/* Meanwhile the other handles go on, and nobody who ends the connection waits. */
static void long_step(void)
{
    auto_broker_t *broker = auto_broker_open();
    relay_t *relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key --client-ca @ca.pem");
    config_t config = {
        .uri = relay_uri(relay, "mqtts"),
        .client_id = "c",
        .clean_session = 1,
        .auth_mode = WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH,
        .ca = cert_text("ca.pem"),
        .cert = cert_text("client-rsa4096.pem"),
        .key = cert_text("client-rsa4096.key"),
    };
    handle_t other = client_for(auto_broker_uri(broker), true);
    CHECK_EQ(wm_mqtt_client_connect(other), 0);
    sleep_ms(SETTLE);
    int published = 0, ended = 0;
    for (int round = 0; round < 20 && (!published || !ended); round++) {
        handle_t handle = client_new(&config);
        call_t *connect = start_connect(handle);
        /* Below the handshakes' priority we would get no time from them. */
        vTaskPrioritySet(NULL, WM_TASK_MQTT_CLIENT_PRIO + 1);
        bool caught = long_step_runs(connect, 40);
        if (caught && !published) {
            /* More than the outgoing queue holds: the MQTT task takes it. What the server answers QEMU brings in only when
             * the processor has nothing to do. */
            static char payload[1000];
            for (int i = 0; i < 6; i++) CHECK_EQ(wm_mqtt_client_publish(other, "t", payload, sizeof payload, 0, 0), 0);
            published += step_runs();
        }
        caught = step_runs();
        CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
        ended += caught && step_runs();
        vTaskPrioritySet(NULL, WM_TASK_MAIN_PRIO);
        CHECK_EQ(client_deinit(handle), 0);
        int result = call_result(connect);
        CHECK(result == 0 || result == WM_MQTT_CLIENT_ERROR_FAILURE);
        events_reset();
    }
    CHECK(published > 0);
    CHECK(ended > 0);
}

/* ---- several at a time ---- */

static void several_handles(void)
{
    enum { HANDLES = 5, ROUNDS = 4 };
    auto_broker_t *broker = auto_broker_open();
    char *uri = auto_broker_uri(broker);
    handle_t handles[HANDLES];
    call_t *connects[HANDLES];
    long before = (long)board_heap_used();
    for (int i = 0; i < HANDLES; i++) handles[i] = client_for(uri, true);
    for (int round = 0; round < ROUNDS; round++) {
        check_row("round %d", round);
        for (int i = 0; i < HANDLES; i++) connects[i] = start_connect(handles[i]);
        for (int i = 0; i < HANDLES; i++) CHECK_EQ(call_result(connects[i]), 0);
        /* The stack of the handshakes is given back. */
        sleep_ms(SETTLE);
        CHECK_EQ(handshakes_task(), eDeleted);
        CHECK((long)board_heap_used() - before < HANDLES * WITH_CONNECTION);
        for (int i = 0; i < HANDLES; i++) {
            CHECK(wm_mqtt_client_subscribe(handles[i], "t", 1) > 0);
            CHECK(wm_mqtt_client_publish(handles[i], "t", "m", 1, i % 3, 0) >= 0);
        }
        for (int i = 0; i < HANDLES; i++) CHECK_EQ(wm_mqtt_client_disconnect(handles[i]), 0);
        sleep_ms(SETTLE);
        CHECK((long)board_heap_used() - before < HANDLES * WITH_TICKET);
        events_reset();
    }
    CHECK_EQ(auto_broker_stats(broker).connections, ROUNDS * HANDLES);
}

/* ---- no room ---- */

static void no_room_for_a_handshake(void)
{
    auto_broker_t *broker = auto_broker_open();
    char *uri = auto_broker_uri(broker);
    handle_t other = client_for(uri, true), handle = client_for(uri, true);
    CHECK_EQ(wm_mqtt_client_connect(other), 0);
    sleep_ms(SETTLE);
    int refused = 0, made = 0;
    /* How much it takes depends on where in the heap lies what stays: in the middle of what is left it leaves no large block. */
    for (size_t left = 8 * 1024; left <= 96 * 1024 || (made == 0 && left < DEVICE_HEAP); left += 1024) {
        check_row("%u bytes left", (unsigned)left);
        /* There must be one for a stack. */
        void **blocks = board_heap_take(left, CONFIG_MQTT_CLIENT_HANDSHAKE_STACK + 1024);
        int result = wm_mqtt_client_connect(handle);
        board_heap_give_back(blocks);
        CHECK(result == 0 || result == WM_MQTT_CLIENT_ERROR_FAILURE);
        if (result == 0) made++;
        else refused++;
        CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
        CHECK(!step_runs());
        int id = wm_mqtt_client_publish(other, "t", "m", 1, 1, 0);
        CHECK(id > 0);
        /* Its answer comes while there is memory for it: without, the connection ends after a while. */
        expect_published(id);
        events_reset();
    }
    CHECK(refused > 0);
    CHECK(made > 0);
    check_row("with all of it");
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
}

/* ---- another task takes what memory there is ---- */

static void *all_there_is(void *list)
{
    for (size_t size = 64 * 1024; size >= sizeof(void *); size /= 2) {
        for (void **block; (block = pvPortMalloc(size)) != NULL; list = block) *block = list;
    }
    return list;
}

/* One of a higher priority, in the middle of a step: what is in reserve is not for it. */
static void others_take_the_heap_in_a_step(void)
{
    char *uri = auto_broker_uri(auto_broker_open());
    int caught = 0;
    for (int i = 0; i < 24; i++) {
        check_row("round %d", i);
        handle_t handle = client_for(uri, true);
        call_t *connect = start_connect(handle);
        void *list = NULL;
        vTaskPrioritySet(NULL, WM_TASK_MQTT_CLIENT_PRIO + 1);
        for (int step = 0; step < 1 + i % 4; step++) {
            while (step_runs()) vTaskDelay(1);
            for (long until = now_ms() + 300; !step_runs() && now_ms() < until;) vTaskDelay(1);
        }
        vTaskDelay((TickType_t)(i / 4));
        caught += step_runs();
        /* What is left of the step, and somewhat longer. */
        for (int idle = 0; idle < 5; idle = step_runs() ? 0 : idle + 1) {
            list = all_there_is(list);
            vTaskDelay(1);
        }
        board_heap_give_back(list);
        vTaskPrioritySet(NULL, WM_TASK_MAIN_PRIO);
        int result = call_result_within(connect, 40000);
        CHECK(result == 0 || result == WM_MQTT_CLIENT_ERROR_FAILURE);
        CHECK_EQ(client_deinit(handle), 0);
        sleep_ms(SETTLE);
        events_reset();
    }
    printf("%d times in a step\n", caught);
    CHECK(caught > 0);
}

static void *taken;

static void take_what_it_frees(void)
{
    if (strcmp(pcTaskGetName(NULL), "mqtt tls") == 0) taken = all_there_is(taken);
}

/* Whenever the task of handshakes has freed something, up to its end. */
static void others_take_what_a_task_frees(void)
{
    broker_t *broker = broker_open();
    handle_t handle = client_for(silent_uri(broker), true);
    call_t *connect = start_connect(handle);
    conn_t *conn = accept_hello(broker);
    sleep_ms(50);
    board_heap_freed = take_what_it_frees;
    conn_reset(conn);
    CHECK_EQ(call_result(connect), WM_MQTT_CLIENT_ERROR_FAILURE);
    sleep_ms(100);
    board_heap_freed = NULL;
    board_heap_give_back(taken);
    sleep_ms(SETTLE);
    CHECK_EQ(handshakes_task(), eDeleted);
}

static const test_t tests[] = {
    LONG_TEST(silent_server, 60),
    LONG_TEST(in_a_step, 60),
    LONG_TEST(long_step, 60),
    LONG_TEST(several_handles, 60),
    LONG_TEST(no_room_for_a_handshake, 120),
    LONG_TEST(others_take_the_heap_in_a_step, 120),
    TEST(others_take_what_a_task_frees),
};
TESTS_MAIN(tests)

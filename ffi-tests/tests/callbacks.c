/* Every API call from inside an event callback, and handlers that never give up. */
#include <stdatomic.h>
#include <string.h>

#include "auto_broker.h"
#include "check.h"
#include "client.h"
#include "wm_host.h"

/* What a handler does, once, when an event of this kind comes. */
typedef struct {
    int kind;
    int (*act)(handle_t);
    handle_t handle;
    gate_t *done;
    int result;
} action_t;

static void on_event(const event_t *event, void *arg)
{
    action_t *a = arg;
    if (event->kind != a->kind || !a->act) return;
    int (*act)(handle_t) = a->act;
    a->act = NULL;
    CHECK(wm_host_in_event_task());
    a->result = act(a->handle);
    gate_open(a->done);
}

static int publish0(handle_t h) { return wm_mqtt_client_publish(h, "t", "m", 1, 0, 0); }
static int publish1(handle_t h) { return wm_mqtt_client_publish(h, "t", "m", 1, 1, 0); }
static int publish2(handle_t h) { return wm_mqtt_client_publish(h, "t", "m", 1, 2, 0); }
static int subscribe(handle_t h) { return wm_mqtt_client_subscribe(h, "t", 1); }
static int unsubscribe(handle_t h) { return wm_mqtt_client_unsubscribe(h, "t"); }

/* The window is 20: the last of these waits in the callback until the task has seen an acknowledgement. */
static int publish_many(handle_t h)
{
    int result = 0;
    for (int i = 0; i < 200 && result >= 0; i++) result = wm_mqtt_client_publish(h, "t", "m", 1, 1 + i % 2, 0);
    return result;
}

static int several(handle_t h)
{
    for (int i = 0; i < 10; i++) {
        if (subscribe(h) <= 0 || publish2(h) <= 0 || unsubscribe(h) <= 0) return -1;
    }
    return 1;
}

enum { ZERO, POSITIVE };

static const struct {
    const char *name;
    int (*act)(handle_t);
    int want;
} calls[] = {
    {"publish QoS 0", publish0, ZERO},
    {"publish QoS 1", publish1, POSITIVE},
    {"publish QoS 2", publish2, POSITIVE},
    {"publish 200 times", publish_many, POSITIVE},
    {"subscribe", subscribe, POSITIVE},
    {"unsubscribe", unsubscribe, POSITIVE},
    {"several", several, POSITIVE},
    {"connect", wm_mqtt_client_connect, ZERO},
    {"disconnect", wm_mqtt_client_disconnect, ZERO},
    {"reconnect", wm_mqtt_client_reconnect, ZERO},
    {"deinit", wm_mqtt_client_deinit, ZERO},
};

static void run(int kind, size_t i, handle_t handle, auto_broker_t *broker, action_t *a, bool connected)
{
    *a = (action_t){kind, calls[i].act, handle, gate_new(), 0};
    if (calls[i].act == wm_mqtt_client_deinit) client_forget(handle);
    events_hook(on_event, a);
    bool ends = calls[i].act == wm_mqtt_client_disconnect || calls[i].act == wm_mqtt_client_reconnect ||
                calls[i].act == wm_mqtt_client_deinit;
    if (kind == CONNECTED) {
        int result = wm_mqtt_client_connect(handle);
        if (!ends) CHECK_EQ(result, 0); /* else the handler may have ended it before it returned */
    } else if (kind == PUBLISHED) {
        CHECK_EQ(wm_mqtt_client_publish(handle, "p", "m", 1, 1, 0), 1);
    } else {
        auto_broker_drop_all(broker);
    }
    REQUIRE(gate_wait(a->done, 15000));
    if (connected || ends || calls[i].act == wm_mqtt_client_connect) {
        if (calls[i].want == ZERO) CHECK_EQ(a->result, 0);
        else CHECK(a->result > 0);
    } else {
        CHECK(a->result < 0);
    }
    events_hook(NULL, NULL);
}

static void from_callbacks(int kind)
{
    action_t action;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        check_row("%s in %s", calls[i].name, event_name(kind));
        auto_broker_t *broker = auto_broker_open();
        handle_t handle = client_for(auto_broker_uri(broker), true);
        if (kind != CONNECTED) {
            CHECK_EQ(wm_mqtt_client_connect(handle), 0);
            events_flush();
        }
        run(kind, i, handle, broker, &action, kind != DISCONNECTED);
        if (calls[i].act != wm_mqtt_client_deinit) {
            CHECK_EQ(client_deinit(handle), 0);
        } else {
            CHECK_EQ(wm_mqtt_client_deinit(handle), WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE);
        }
        events_reset();
    }
}

static void from_connected(void) { from_callbacks(CONNECTED); }
static void from_published(void) { from_callbacks(PUBLISHED); }
static void from_disconnected(void) { from_callbacks(DISCONNECTED); }

static void from_data(void)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        check_row("%s in DATA", calls[i].name);
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, true);
        action_t a = {DATA, calls[i].act, handle, gate_new(), 0};
        if (calls[i].act == wm_mqtt_client_deinit) client_forget(handle);
        events_hook(on_event, &a);
        /* More messages than the queue has room for stand before the answers. */
        for (int k = 0; k < 100; k++) send_bytes(conn, "30 [ s't' '%d' ]", k);
        for (packet_t p; !gate_wait(a.done, 0);) {
            if (read_packet(conn, &p, 20)) {
                if (p.first == 0x32) send_bytes(conn, "40 02 %04x", p.id);
                if (p.first == 0x34) send_bytes(conn, "50 02 %04x", p.id);
                if (p.first == 0x62) send_bytes(conn, "70 02 %04x", p.id);
                if (p.first == 0x82) send_bytes(conn, "90 03 %04x 01", p.id);
                if (p.first == 0xa2) send_bytes(conn, "b0 02 %04x", p.id);
            } else if (calls[i].act == wm_mqtt_client_reconnect) {
                conn_t *next = broker_accept_within(broker, 20);
                if (!next) continue;
                conn = next;
                expect_packet(conn, 0x10);
                serve_connack(conn, false, 0);
            }
        }
        if (calls[i].want == ZERO) CHECK_EQ(a.result, 0);
        else CHECK(a.result > 0);
        events_hook(NULL, NULL);
        conn_close(conn);
        if (calls[i].act != wm_mqtt_client_deinit) CHECK_EQ(client_deinit(handle), 0);
        events_reset();
    }
}

/* ---- handlers that never give up ---- */

static atomic_int reconnects;

static void reconnect_always(const event_t *event, void *handle)
{
    if (event->kind != DISCONNECTED) return;
    wm_mqtt_client_reconnect(handle);
    atomic_fetch_add(&reconnects, 1);
}

/* With every DISCONNECTED a reconnect, also with the one that deinit causes, and with that of reconnect itself. */
static void deinit_against_reconnect(void)
{
    auto_broker_t *broker = auto_broker_open();
    for (int i = 0; i < 20; i++) {
        check_row("round %d", i);
        handle_t handle = client_for(auto_broker_uri(broker), i % 2);
        atomic_store(&reconnects, 0);
        events_hook(reconnect_always, handle);
        CHECK_EQ(wm_mqtt_client_connect(handle), 0);
        if (i % 4) auto_broker_drop_all(broker);
        if (i % 4 > 1) CHECK(wait_count(DISCONNECTED, 1, 5000));
        call_t *deinit = start_deinit(handle);
        CHECK_EQ(call_result(deinit), 0);
        events_flush(); /* the handler is through as well */
        CHECK_EQ(wm_mqtt_client_connect(handle), WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE);
        events_hook(NULL, NULL);
        events_reset();
    }
}

/* The same when nobody answers the handler's reconnect. */
static void deinit_against_reconnect_to_nobody(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    atomic_store(&reconnects, 0);
    events_hook(reconnect_always, handle);
    conn_close(conn);
    conn = accept_connect(broker); /* from the handler; it gets no CONNACK */
    CHECK_EQ(atomic_load(&reconnects), 0);
    CHECK_EQ(call_result_within(start_deinit(handle), 3000), 0);
    expect_eof_after_anything(conn, 2000);
    events_flush();
    CHECK_EQ(atomic_load(&reconnects), 1);
}

/* It keeps the connection up through 20 losses, and nobody else has to do anything. */
static void kept_up_by_its_handler(void)
{
    auto_broker_t *broker = auto_broker_open();
    handle_t handle = client_for(auto_broker_uri(broker), true);
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    for (int i = 1; i <= 20; i++) {
        check_row("loss %d", i);
        action_t a = {DISCONNECTED, wm_mqtt_client_reconnect, handle, gate_new(), -1};
        events_hook(on_event, &a);
        auto_broker_drop_all(broker);
        REQUIRE(gate_wait(a.done, 10000));
        CHECK_EQ(a.result, 0);
        CHECK(wait_count(CONNECTED, i + 1, 5000));
        CHECK(subscribe(handle) > 0);
        events_flush(); /* CONNECTED is recorded before the hook sees it */
        events_hook(NULL, NULL);
    }
    CHECK_EQ(auto_broker_stats(broker).connections, 21);
    CHECK_EQ(event_count(DISCONNECTED), 20);
}

/* A callback that blocks does not stop connects and calls of other threads. */
static void hold(const event_t *event, void *gate)
{
    if (event->kind == CONNECTED) gate_wait(gate, 20000);
}

static void callback_blocks(void)
{
    gate_t *gate = gate_new();
    auto_broker_t *broker = auto_broker_open();
    handle_t first = client_for(auto_broker_uri(broker), true), second = client_for(auto_broker_uri(broker), true);
    events_hook(hold, gate);
    CHECK_EQ(call_result_within(start_connect(first), 5000), 0);
    CHECK_EQ(call_result_within(start_connect(second), 5000), 0);
    CHECK(call_result_within(start_subscribe(first, "t", 1), 5000) > 0);
    CHECK(call_result_within(start_publish(second, "t", "m", 1, 2), 5000) > 0);
    CHECK_EQ(call_result_within(start_disconnect(first), 5000), 0);
    CHECK_EQ(call_result_within(start_deinit(second), 5000), 0);
    CHECK(wait_count(CONNECTED, 1, 1000));
    CHECK_EQ(event_count(ANY_EVENT), 1);
    gate_open(gate);
}

static const test_t tests[] = {
    LONG_TEST(from_connected, 60),
    LONG_TEST(from_published, 60),
    LONG_TEST(from_disconnected, 60),
    LONG_TEST(from_data, 60),
    LONG_TEST(deinit_against_reconnect, 60),
    TEST(deinit_against_reconnect_to_nobody),
    TEST(kept_up_by_its_handler),
    TEST(callback_blocks),
};
TESTS_MAIN(tests)

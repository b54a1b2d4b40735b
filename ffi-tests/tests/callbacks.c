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
    /* PUBLISHED names no client: a former one's last messages, which may be delivered now, have other identifiers. */
    if (event->kind == PUBLISHED && event->msgid != 1) return;
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
static call_t *start_pub(handle_t h) { return start_publish(h, "t", "m", 1, 1); }
static call_t *start_sub(handle_t h) { return start_subscribe(h, "t", 1); }

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

/* ---- callbacks that end handles and make new ones ---- */

/* Whatever the other one is at: it is ended at once, and who waits on it is told. */
static void deinit_of_another(void)
{
    static const struct {
        const char *name;
        call_t *(*start)(handle_t);
        int want;
    } rows[] = {
        {"never connected", NULL, 0},
        {"connecting", start_connect, WM_MQTT_CLIENT_ERROR_FAILURE},
        {"reconnecting", start_reconnect, WM_MQTT_CLIENT_ERROR_FAILURE},
        {"connected", NULL, 0},
        {"subscribing", start_sub, WM_MQTT_CLIENT_ERROR_DISCONNECTED},
        {"publishing", start_pub, WM_MQTT_CLIENT_ERROR_DISCONNECTED},
    };
    broker_t *broker = NULL;
    conn_t *conn, *others = NULL;
    connected_client(&broker, &conn, true);
    for (int i = 0; i < (int)(sizeof rows / sizeof rows[0]); i++) {
        check_row("%s", rows[i].name);
        handle_t other = client_for(broker_uri(broker), true);
        void *client = other->client;
        call_t *call = NULL;
        if (i >= 3) others = client_connect(other, broker, false);
        if (i == 5) {
            /* Its window is full. */
            for (int id = 1; id <= 20; id++) CHECK_EQ(publish1(other), id);
            for (int id = 1; id <= 20; id++) expect_packet(others, 0x32);
        }
        if (rows[i].start) call = rows[i].start(other);
        if (i == 1 || i == 2) others = accept_connect(broker);
        if (i == 4) expect_packet(others, 0x82);
        if (call) CHECK(call_waits(call));
        action_t a = {DATA, wm_mqtt_client_deinit, other, gate_new(), -1};
        client_forget(other);
        events_hook(on_event, &a);
        send_bytes(conn, "30 [ s't' 'm' ]");
        if (call) CHECK_EQ(call_result_within(call, 2000), rows[i].want);
        if (i == 5) for (int id = 1; id <= 20; id++) send_bytes(others, "40 02 %04x", id);
        REQUIRE(gate_wait(a.done, 3000));
        CHECK_EQ(a.result, 0);
        events_hook(NULL, NULL);
        if (i == 1 || i == 2) expect_eof_after_anything(others, 2000);
        if (i >= 3) expect_disconnect(others);
        CHECK_EQ(wm_mqtt_client_deinit(other), WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE);
        check_row("%s: its memory stays", rows[i].name);
        CHECK(other->client == client && !other->uri && !other->client_id && !other->alpn);
        check_row("%s: the first one does not notice", rows[i].name);
        CHECK(still_serving(conn));
        if (i >= 3) expect_requested_disconnect();
        CHECK_EQ(event_count(DISCONNECTED), i >= 3);
        events_reset();
    }
}

/* A handle in a callback while another task ends it: it is none any more. */
static int every_call(handle_t h)
{
    static int (*const all[])(handle_t) = {publish0, publish1, publish2, subscribe, unsubscribe, wm_mqtt_client_connect,
                                           wm_mqtt_client_reconnect, wm_mqtt_client_disconnect, wm_mqtt_client_deinit};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) CHECK_EQ(all[i](h), WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE);
    return 0;
}

static void in_the_middle_of_deinit(void)
{
    broker_t *broker = NULL;
    conn_t *conn, *others;
    handle_t handle = connected_client(&broker, &conn, true), other = connected_client(&broker, &others, true);
    void *client = other->client;
    CHECK_EQ(publish1(other), 1);
    expect_packet(others, 0x32);
    call_t *deinit = start_deinit(other);
    CHECK(call_waits(deinit));
    action_t a = {DATA, every_call, other, gate_new(), -1};
    events_hook(on_event, &a);
    /* Its own message, and then one of the first handle. */
    send_bytes(others, "30 [ s't' 'm' ]");
    REQUIRE(gate_wait(a.done, 3000));
    CHECK(expect_data("t", "m", 1, 0)->client == client);
    a = (action_t){DATA, every_call, other, gate_new(), -1};
    send_bytes(conn, "30 [ s't' 'm' ]");
    REQUIRE(gate_wait(a.done, 3000));
    CHECK(expect_data("t", "m", 1, 0)->client == handle->client);
    CHECK(!call_done(deinit, 0));
    send_bytes(others, "40 02 0001");
    expect_disconnect(others);
    CHECK_EQ(call_result_within(deinit, 2000), 0);
    expect_published(1);
    expect_requested_disconnect();
    CHECK(still_serving(conn));
    expect_no_event(0);
}

/* Of what has come before the end, what is delivered comes in order, and matches nobody. */
static void deinit_before_other_messages(void)
{
    enum { N = 100 };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    void *client = handle->client;
    action_t a = {DATA, wm_mqtt_client_deinit, handle, gate_new(), -1};
    client_forget(handle);
    events_hook(on_event, &a);
    for (int i = 0; i < N; i++) send_bytes(conn, "32 [ s't' %04x '%d' ]", i + 1, i);
    REQUIRE(gate_wait(a.done, 3000));
    CHECK_EQ(a.result, 0);
    expect_eof_after_anything(conn, 2000);
    CHECK(wait_count(DISCONNECTED, 1, 5000));
    events_flush();
    int n = 0;
    for (const event_t *e = events_first(); e; e = e->next) {
        if (e->kind == DATA) {
            CHECK(e->client == client);
            CHECK_STR(e->payload, test_printf("%d", n));
            n++;
        } else if (e->kind == DISCONNECTED) {
            CHECK(!e->has_data && !e->next);
        }
    }
    CHECK(n >= 1);
}

/* The event task's stack is small. */
static config_t new_one;

static int use(handle_t h)
{
    CHECK_EQ(wm_mqtt_client_connect(h), 0);
    CHECK(several(h) > 0);
    CHECK_EQ(wm_mqtt_client_disconnect(h), 0);
    CHECK_EQ(wm_mqtt_client_connect(h), 0);
    CHECK_EQ(wm_mqtt_client_reconnect(h), 0);
    CHECK(several(h) > 0);
    return wm_mqtt_client_deinit(h);
}

static int make_beside(handle_t h)
{
    handle_t other = wm_mqtt_client_init(&new_one);
    CHECK(other && other != h && other->client != h->client);
    return use(other);
}

/* The old one may be the last: the MQTT task is about to end. */
static int make_instead(handle_t h)
{
    CHECK_EQ(wm_mqtt_client_deinit(h), 0);
    return make_beside(h);
}

static int make_before(handle_t h)
{
    handle_t other = wm_mqtt_client_init(&new_one);
    CHECK_EQ(wm_mqtt_client_connect(other), 0);
    CHECK_EQ(wm_mqtt_client_deinit(h), 0);
    return use(other);
}

static int connect_anew(handle_t h)
{
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(wm_mqtt_client_disconnect(h), 0);
        CHECK_EQ(wm_mqtt_client_connect(h), 0);
        CHECK(several(h) > 0);
    }
    return 0;
}

/* Callbacks that make a handle, use it and end it, beside their own or instead of it. */
static void new_handles_in_callbacks(void)
{
    static const struct {
        const char *name;
        int (*act)(handle_t);
        bool ends;
    } rows[] = {
        {"beside", make_beside, false},
        {"instead", make_instead, true},
        {"before", make_before, true},
        {"the same, connected anew", connect_anew, false},
    };
    static const int kinds[] = {CONNECTED, DISCONNECTED, PUBLISHED};
    new_one = (config_t){.uri = auto_broker_uri(auto_broker_open()), .client_id = "new", .clean_session = 1};
    scheme_config(&new_one);
    for (int k = 0; k < 3; k++) {
        int kind = kinds[k];
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            check_row("%s, in %s", rows[i].name, event_name(kind));
            auto_broker_t *broker = auto_broker_open();
            handle_t handle = client_for(auto_broker_uri(broker), true);
            action_t a = {kind, rows[i].act, handle, gate_new(), -1};
            if (rows[i].ends) client_forget(handle);
            if (kind != CONNECTED) {
                CHECK_EQ(wm_mqtt_client_connect(handle), 0);
                events_flush();
            }
            events_hook(on_event, &a);
            if (kind == CONNECTED) wm_mqtt_client_connect(handle); /* the handler may have ended it before it returned */
            if (kind == DISCONNECTED) auto_broker_drop_all(broker);
            if (kind == PUBLISHED) publish2(handle);
            REQUIRE(gate_wait(a.done, 15000));
            CHECK_EQ(a.result, 0);
            events_hook(NULL, NULL);
            if (rows[i].ends) CHECK_EQ(wm_mqtt_client_deinit(handle), WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE);
            else CHECK_EQ(client_deinit(handle), 0);
            events_reset();
        }
    }
}

/* The last client ends in its callback, where nobody waits for the MQTT task: no more is left of that either. */
static void last_deinit_in_a_callback(void)
{
    auto_broker_t *broker = auto_broker_open();
    handle_t handle = client_for(auto_broker_uri(broker), true);
    action_t a;
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    events_flush();
    run(DISCONNECTED, sizeof calls / sizeof calls[0] - 1, handle, broker, &a, false);
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
    TEST(deinit_of_another),
    TEST(in_the_middle_of_deinit),
    TEST(deinit_before_other_messages),
    LONG_TEST(new_handles_in_callbacks, 60),
    TEST(last_deinit_in_a_callback), /* last: valgrind and ThreadSanitizer look for what is left when the program ends */
};
TESTS_MAIN(tests)

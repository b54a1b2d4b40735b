/* Handles from init to deinit: memory, threads, stale handles, and what deinit does to calls that are running. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auto_broker.h"
#include "check.h"
#include "client.h"

#define NULL_PARAMETER WM_MQTT_CLIENT_ERROR_NULL_PARAMETER
#define BAD_STRUCTURE WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE

/* ---- handles that are none ---- */

static void check_refused(handle_t handle, int want)
{
    CHECK_EQ(wm_mqtt_client_connect(handle), want);
    CHECK_EQ(wm_mqtt_client_disconnect(handle), want);
    CHECK_EQ(wm_mqtt_client_reconnect(handle), want);
    CHECK_EQ(wm_mqtt_client_deinit(handle), want);
    CHECK_EQ(wm_mqtt_client_subscribe(handle, "t", 0), want);
    CHECK_EQ(wm_mqtt_client_unsubscribe(handle, "t"), want);
    CHECK_EQ(wm_mqtt_client_unsubcribe(handle, "t"), want);
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 0, 0), want);
    CHECK_EQ(wm_mqtt_client_subscribe(handle, "#bad", 9), want);
    CHECK_EQ(wm_mqtt_client_publish(handle, "\xff", "m", 1, 9, 0), want);
    CHECK_EQ(wm_mqtt_client_subscribe(handle, NULL, 0), NULL_PARAMETER);
    CHECK_EQ(wm_mqtt_client_unsubscribe(handle, NULL), NULL_PARAMETER);
    CHECK_EQ(wm_mqtt_client_publish(handle, NULL, "m", 1, 0, 0), NULL_PARAMETER);
}

/* INCUMBENT 7: init(NULL) crashed. */
static void null_arguments(void)
{
    CHECK(wm_mqtt_client_init(NULL) == WM_INVALID_HANDLE);
    CHECK(wm_mqtt_client_init(&(config_t){0}) == WM_INVALID_HANDLE);
    check_refused(NULL, NULL_PARAMETER);
}

static void not_a_handle(void)
{
    static char zeros[256], ones[256];
    memset(ones, 0xff, sizeof ones);
    check_refused((handle_t)(void *)zeros, BAD_STRUCTURE);
    check_refused((handle_t)(void *)ones, BAD_STRUCTURE);
    check_refused((handle_t)(void *)(ones + 1), BAD_STRUCTURE);
    check_refused((handle_t)(uintptr_t)8, BAD_STRUCTURE); /* no memory at all: it may not be read */
    check_refused((handle_t)UINTPTR_MAX, BAD_STRUCTURE);
    handle_t handle = client_for("127.0.0.1", true);
    check_refused((handle_t)(void *)((char *)handle + 1), BAD_STRUCTURE);
    struct wm_mqtt_client_handle_st copy = *handle;
    check_refused(&copy, BAD_STRUCTURE);
}

/* INCUMBENT 7: a second deinit, or publish after deinit: use after free, SIGSEGV. */
static void stale(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(client_deinit(handle), 0);
    check_refused(handle, BAD_STRUCTURE);
    check_row("its address is not given to the next eight");
    for (int i = 0; i < 8; i++) {
        handle_t other = client_for("127.0.0.1", true);
        CHECK(other != handle);
        check_refused(handle, BAD_STRUCTURE);
        if (i % 2 == 0) client_deinit(other);
        if (i >= 6) break;
    }
}

/* ---- memory of the configuration ---- */

static char *heap(const char *text) { return strcpy(check_alloc(strlen(text) + 1), text); }

static void overwrite(char *text)
{
    memset(text, '#', strlen(text));
    free(text);
}

static void config_is_copied(void)
{
    broker_t *broker = broker_open();
    config_t *config = check_alloc(sizeof *config);
    char *alpn[] = {heap("mqtt"), heap("x-mqtt"), NULL};
    *config = (config_t){.uri = heap(broker_uri(broker)),
                         .client_id = heap("id"),
                         .username = heap("user"),
                         .password = heap("pass"),
                         .ca = heap("ca"),
                         .cert = heap("cert"),
                         .key = heap("key"),
                         .alpn = alpn,
                         .will_topic = heap("wt"),
                         .will_msg = heap("wm"),
                         .will_qos = 1,
                         .keep_alive = 7};
    handle_t handle = client_new(config);
    overwrite(config->uri);
    overwrite(config->client_id);
    overwrite(config->username);
    overwrite(config->password);
    overwrite(config->ca);
    overwrite(config->cert);
    overwrite(config->key);
    overwrite(config->will_topic);
    overwrite(config->will_msg);
    overwrite(alpn[0]);
    overwrite(alpn[1]);
    memset(alpn, 0x5a, sizeof alpn);
    memset(config, 0x5a, sizeof *config);
    free(config);

    CHECK_STR(handle->uri, broker_uri(broker));
    CHECK_STR(handle->client_id, "id");
    CHECK_STR(handle->username, "user");
    CHECK_STR(handle->password, "pass");
    CHECK_STR(handle->will_topic, "wt");
    CHECK_STR(handle->will_msg, "wm");
    call_t *connect = start_connect(handle);
    conn_t *conn = broker_accept(broker);
    expect_bytes(conn, "10 [ s'MQTT' 04 cc 0007 s'id' s'wt' s'wm' s'user' s'pass' ]");
    serve_connack(conn, false, 0);
    CHECK_EQ(call_result(connect), 0);
}

/* INCUMBENT 7: the copy of alpn was written beyond its block. */
static void alpn_lists(void)
{
    static char *lists[][6] = {{NULL}, {"a", NULL}, {"mqtt", "http/1.1", "x", "", "longer-than-the-others", NULL}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        check_row("list %zu", i);
        static char *const uris[] = {"mqtt://127.0.0.1", "mqtts://127.0.0.1", "wss://127.0.0.1"};
        for (size_t k = 0; k < 3; k++) {
            handle_t handle = client_new(&(config_t){.uri = uris[k], .alpn = lists[i]});
            CHECK_EQ(client_deinit(handle), 0);
        }
    }
}

/* The SDK's own example passes a `ca` without a final NUL where nobody needs it: it may not be read. */
static void certificates_that_are_not_needed(void)
{
    static const struct {
        char *uri;
        int mode;
        bool ca, pair; /* may be read */
    } rows[] = {
        {"mqtts://h", 0, false, false}, {"wss://h", 0, false, false}, {"mqtt://h", 0, false, false},
        {"mqtt://h", 1, false, false},  {"ws://h", 2, false, false},  {"mqtt://h", 3, false, false},
        {"mqtts://h", 1, true, false},  {"mqtts://h", 2, false, true},
    };
    long page = sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, (size_t)page * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    memset(pages, 'x', (size_t)page);
    REQUIRE_EQ(mprotect(pages + page, (size_t)page, PROT_NONE), 0);
    char *endless = pages + page - 10;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s, mode %d", rows[i].uri, rows[i].mode);
        config_t config = {.uri = rows[i].uri,
                           .client_id = "c",
                           .auth_mode = (wm_mqtt_client_auth_mode_t)rows[i].mode,
                           .ca = rows[i].ca ? "ca" : endless,
                           .cert = rows[i].pair ? "cert" : endless,
                           .key = rows[i].pair ? "key" : endless};
        CHECK_EQ(client_deinit(client_new(&config)), 0);
    }
    munmap(pages, (size_t)page * 2);
}

/* ---- many ---- */

static void many_handles(void)
{
    enum { N = 10, ROUNDS = 20 };
    auto_broker_t *broker = auto_broker_open();
    handle_t handles[N];
    for (int round = 0; round < ROUNDS; round++) {
        check_row("round %d", round);
        for (int i = 0; i < N; i++) handles[i] = client_for(auto_broker_uri(broker), i % 2);
        for (int i = 0; i < N; i++)
            for (int k = 0; k < i; k++) CHECK(handles[i]->client != handles[k]->client);
        for (int i = 0; i < N; i++) CHECK_EQ(wm_mqtt_client_connect(handles[i]), 0);
        for (int i = 0; i < N; i++) CHECK_EQ(wm_mqtt_client_subscribe(handles[i], "t", 2), 1);
        for (int i = 0; i < N; i++) CHECK_EQ(wm_mqtt_client_publish(handles[i], "t", "m", 1, 1, 0), 2);
        for (int i = 0; i < N; i++) CHECK_EQ(client_deinit(handles[(i + round) % N]), 0);
    }
    REQUIRE(auto_broker_wait(broker, 14, N * ROUNDS, 5000));
    CHECK(wait_count(CONNECTED, N * ROUNDS, 5000));
    auto_stats_t stats = auto_broker_stats(broker);
    CHECK_EQ(stats.connections, N * ROUNDS);
    CHECK_EQ(stats.count[3], N * ROUNDS);
    events_flush();
    CHECK_EQ(event_count(CONNECTED), N * ROUNDS);
}

static void one_handle_often(void)
{
    enum { ROUNDS = 200 };
    auto_broker_t *broker = auto_broker_open();
    handle_t handle = client_for(auto_broker_uri(broker), true);
    for (int i = 0; i < ROUNDS; i++) {
        check_row("round %d", i);
        CHECK_EQ(i % 3 ? wm_mqtt_client_connect(handle) : wm_mqtt_client_reconnect(handle), 0);
        CHECK(wm_mqtt_client_subscribe(handle, "t", 0) > 0);
        CHECK(wm_mqtt_client_publish(handle, "t", "m", 1, 2, 0) > 0);
        CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
        CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    }
    CHECK(wait_count(DISCONNECTED, ROUNDS, 5000));
    events_flush();
    CHECK_EQ(event_count(CONNECTED), ROUNDS);
    CHECK_EQ(event_count(DISCONNECTED), ROUNDS);
    CHECK_EQ(event_count(PUBLISHED), ROUNDS);
}

typedef struct {
    handle_t handle;
    int qos;
} publisher_t;

enum { MESSAGES = 500 };

static int publish_often(void *arg)
{
    publisher_t *p = arg;
    for (int i = 0; i < MESSAGES; i++) {
        int result = wm_mqtt_client_publish(p->handle, "t", "payload", 7, (uint8_t)p->qos, 0);
        if (result < 0 || (result == 0) != (p->qos == 0)) return result - 1;
    }
    return 0;
}

static void many_publishers(void)
{
    enum { N = 6 };
    auto_broker_t *broker = auto_broker_open();
    handle_t handle = client_for(auto_broker_uri(broker), true);
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    publisher_t publishers[N];
    call_t *calls[N];
    for (int i = 0; i < N; i++) {
        publishers[i] = (publisher_t){handle, i % 3};
        calls[i] = start_call(publish_often, &publishers[i]);
    }
    for (int i = 0; i < N; i++) CHECK_EQ(call_result(calls[i]), 0);
    REQUIRE(wait_count(PUBLISHED, N / 3 * 2 * MESSAGES, 10000));
    CHECK_EQ(client_deinit(handle), 0);
    REQUIRE(auto_broker_wait(broker, 14, 1, 5000));
    CHECK_EQ(auto_broker_stats(broker).count[3], N * MESSAGES);
    CHECK_EQ(auto_broker_stats(broker).bytes, 7L * N * MESSAGES);
    CHECK_EQ(auto_broker_stats(broker).count[6], N / 3 * MESSAGES);
    events_flush();
    CHECK_EQ(event_count(PUBLISHED), N / 3 * 2 * MESSAGES);
}

/* ---- deinit and what is running ---- */

/* INCUMBENT 7: it took 10.1 s. */
static void deinit_while_publish_waits(void)
{
    enum { WINDOW = 20 };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    for (int id = 1; id <= WINDOW; id++) {
        CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0), id);
        expect_bytes(conn, "32 [ s't' %04x 'm' ]", id);
    }
    call_t *blocked[3];
    for (int i = 0; i < 3; i++) blocked[i] = start_publish(handle, "t", "m", 1, 1 + i % 2);
    for (int i = 0; i < 3; i++) CHECK(call_waits(blocked[i]));
    call_t *deinit = start_deinit(handle);
    for (int i = 0; i < 3; i++) CHECK_EQ(call_result(blocked[i]), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    for (int id = 1; id <= WINDOW; id++) send_bytes(conn, "40 02 %04x", id);
    CHECK_EQ(call_result_within(deinit, 2000), 0);
    expect_disconnect(conn);
    CHECK(wait_count(PUBLISHED, WINDOW, 5000));
}

static void deinit_while_everything_waits(void)
{
    broker_t *broker = NULL, *silent = broker_open();
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true), connecting = client_for(broker_uri(silent), true);
    call_t *connect = start_connect(connecting);
    accept_connect(silent);
    call_t *subscribe = start_subscribe(handle, "t", 0);
    expect_packet(conn, 0x82);
    call_t *unsubscribe = start_unsubscribe(handle, "t");
    expect_packet(conn, 0xa2);
    call_t *first = start_deinit(handle), *second = start_deinit(connecting);
    CHECK_EQ(call_result_within(subscribe, 2000), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    CHECK_EQ(call_result_within(unsubscribe, 2000), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    CHECK_EQ(call_result_within(connect, 2000), WM_MQTT_CLIENT_ERROR_FAILURE);
    CHECK_EQ(call_result_within(first, 2000), 0);
    CHECK_EQ(call_result_within(second, 2000), 0);
}

static atomic_bool publishing;

static int publish_until_refused(void *handle)
{
    int result = 0;
    while (result >= 0) {
        result = wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0);
        atomic_store(&publishing, true);
    }
    return result;
}

/* Threads that do not know of it call on and on: they see DISCONNECTED or BAD_STRUCTURE, and nothing else happens. */
static void deinit_under_fire(void)
{
    enum { N = 4, ROUNDS = 10 };
    auto_broker_t *broker = auto_broker_open();
    for (int round = 0; round < ROUNDS; round++) {
        handle_t handle = client_for(auto_broker_uri(broker), round % 2);
        CHECK_EQ(wm_mqtt_client_connect(handle), 0);
        atomic_store(&publishing, false);
        call_t *calls[N];
        for (int i = 0; i < N; i++) calls[i] = start_call(publish_until_refused, handle);
        while (!atomic_load(&publishing)) sleep_ms(1);
        CHECK_EQ(call_result(start_deinit(handle)), 0);
        for (int i = 0; i < N; i++) {
            int result = call_result(calls[i]);
            CHECK(result == WM_MQTT_CLIENT_ERROR_DISCONNECTED || result == BAD_STRUCTURE);
        }
    }
}

static void deinit_sends_what_was_published(void)
{
    enum { N = 200 };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    for (int i = 0; i < N; i++) CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 0, 0), 0);
    call_t *deinit = start_deinit(handle);
    for (int i = 0; i < N; i++) expect_bytes(conn, "30 [ s't' 'm' ]");
    expect_disconnect(conn);
    CHECK_EQ(call_result(deinit), 0);
    expect_requested_disconnect();

    check_row("QoS 2: to the end of the handshake");
    handle = connected_client(&broker, &conn, true);
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 2, 0), 1);
    deinit = start_deinit(handle);
    expect_bytes(conn, "34 [ s't' 0001 'm' ]");
    CHECK(!call_done(deinit, 30));
    send_bytes(conn, "50 02 0001");
    expect_bytes(conn, "62 02 0001");
    send_bytes(conn, "70 02 0001");
    expect_disconnect(conn);
    CHECK_EQ(call_result(deinit), 0);
}

static void deinit_without_acknowledgement(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0), 1);
    expect_bytes(conn, "32 [ s't' 0001 'm' ]");
    call_t *deinit = start_deinit(handle);
    CHECK_EQ(call_result(deinit), 0);
    CHECK(call_duration(deinit) <= 10000 + scaled(1500));
    expect_disconnect(conn);
}

/* The MQTT task still serves the handle whose end has begun first: its deinit is the one that waits for the task. */
static void deinit_does_not_wait_for_another(void)
{
    broker_t *broker = NULL;
    conn_t *slow_conn;
    handle_t slow = connected_client(&broker, &slow_conn, true);
    CHECK_EQ(wm_mqtt_client_publish(slow, "t", "m", 1, 1, 0), 1);
    expect_bytes(slow_conn, "32 [ s't' 0001 'm' ]");
    handle_t quick     = client_for(broker_uri(broker), true);
    conn_t *quick_conn = client_connect(quick, broker, false);
    call_t *first      = start_deinit(slow);
    CHECK(call_waits(first));
    client_leave(quick, quick_conn);
    CHECK(!call_done(first, 0));
    send_bytes(slow_conn, "40 02 0001");
    expect_disconnect(slow_conn);
    CHECK_EQ(call_result(first), 0);
}

static void disconnect_when_not_connected(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = client_for("127.0.0.1", true);
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    handle = connected_client(&broker, &conn, true);
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    expect_disconnect(conn);
    expect_requested_disconnect();
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    CHECK_EQ(client_deinit(handle), 0);
    expect_no_event(0);
}

static const test_t tests[] = {
    TEST(null_arguments),
    TEST(not_a_handle),
    TEST(stale),
    TEST(config_is_copied),
    TEST(alpn_lists),
    TEST(certificates_that_are_not_needed),
    LONG_TEST(many_handles, 60),
    TEST(one_handle_often),
    LONG_TEST(many_publishers, 60),
    TEST(deinit_while_publish_waits),
    TEST(deinit_while_everything_waits),
    TEST(deinit_under_fire),
    TEST(deinit_sends_what_was_published),
    SLOW_TEST(deinit_without_acknowledgement),
    TEST(deinit_does_not_wait_for_another),
    TEST(disconnect_when_not_connected),
};
TESTS_MAIN(tests)

/* CONNECT on the wire, every CONNACK, and what ends or shares a connect under way. */
#include <ctype.h>
#include <string.h>

#include "check.h"
#include "client.h"

#define FAILURE WM_MQTT_CLIENT_ERROR_FAILURE

/* ---- the packet ---- */

static void connect_packet(void)
{
    static const struct {
        const char *name;
        config_t config;
        const char *bytes;
    } rows[] = {
        {"minimal", {.client_id = "c", .clean_session = 1}, "10 0d 00 04 4d 51 54 54 04 02 00 3c 00 01 63"},
        {"persistent session", {.client_id = "c"}, "10 0d 00 04 4d 51 54 54 04 00 00 3c 00 01 63"},
        {"any clean_session but 0", {.client_id = "c", .clean_session = 255}, "10 [ s'MQTT' 04 02 003c s'c' ]"},
        {"keep alive", {.client_id = "c", .keep_alive = 65535}, "10 [ s'MQTT' 04 00 ffff s'c' ]"},
        {"keep alive 1", {.client_id = "c", .keep_alive = 1}, "10 [ s'MQTT' 04 00 0001 s'c' ]"},
        {"empty client id", {.client_id = "", .clean_session = 1}, "10 0c 00 04 4d 51 54 54 04 02 00 3c 00 00"},
        {"UTF-8 client id", {.client_id = "\xe6\xb8\xa9"}, "10 [ s'MQTT' 04 00 003c 0003 e6b8a9 ]"},
        {"user", {.client_id = "c", .username = "u", .password = "pw"}, "10 [ s'MQTT' 04 c0 003c s'c' s'u' s'pw' ]"},
        /* INCUMBENT 7: crashed in init. */
        {"user without password", {.client_id = "c", .username = "u"}, "10 [ s'MQTT' 04 80 003c s'c' s'u' ]"},
        {"password without user", {.client_id = "c", .password = "pw"}, "10 [ s'MQTT' 04 00 003c s'c' ]"},
        {"empty user and password",
         {.client_id = "c", .username = "", .password = ""},
         "10 [ s'MQTT' 04 c0 003c s'c' 0000 0000 ]"},
        {"will",
         {.client_id = "c", .will_topic = "w/t", .will_msg = "gone"},
         "10 [ s'MQTT' 04 04 003c s'c' s'w/t' s'gone' ]"},
        {"will QoS 1",
         {.client_id = "c", .will_topic = "w", .will_msg = "m", .will_qos = 1},
         "10 [ s'MQTT' 04 0c 003c s'c' s'w' s'm' ]"},
        {"will QoS 2 retained",
         {.client_id = "c", .will_topic = "w", .will_msg = "m", .will_qos = 2, .will_retain = 1},
         "10 [ s'MQTT' 04 34 003c s'c' s'w' s'm' ]"},
        {"will_retain 7",
         {.client_id = "c", .will_topic = "w", .will_msg = "m", .will_retain = 7},
         "10 [ s'MQTT' 04 24 003c s'c' s'w' s'm' ]"},
        /* INCUMBENT 7: crashed in init. */
        {"will without message", {.client_id = "c", .will_topic = "w"}, "10 [ s'MQTT' 04 04 003c s'c' s'w' 0000 ]"},
        {"will message without topic", {.client_id = "c", .will_msg = "m"}, "10 [ s'MQTT' 04 00 003c s'c' ]"},
        {"everything",
         {.client_id = "client",
          .username = "user",
          .password = "pass",
          .will_topic = "w",
          .will_msg = "m",
          .will_qos = 1,
          .will_retain = 1,
          .keep_alive = 300,
          .clean_session = 1,
          .debug = true},
         "10 [ s'MQTT' 04 ee 012c s'client' s'w' s'm' s'user' s'pass' ]"},
    };
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].name);
        config_t config = rows[i].config;
        config.uri = broker_uri(broker);
        handle_t handle = client_new(&config);
        call_t *connect = start_connect(handle);
        conn_t *conn = broker_accept(broker);
        expect_bytes(conn, "%s", rows[i].bytes);
        CHECK(!call_done(connect, 5));
        serve_connack(conn, false, 0);
        CHECK_EQ(call_result(connect), 0);
        CHECK(!expect_event(CONNECTED)->has_data);
        client_leave(handle, conn);
        expect_no_event(0);
    }
}

static void default_client_id(void)
{
    char ids[2][32] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        broker_t *broker = broker_open();
        handle_t handle = client_new(&(config_t){.uri = broker_uri(broker), .clean_session = 1});
        call_t *connect = start_connect(handle);
        conn_t *conn = broker_accept(broker);
        packet_t p = expect_packet(conn, 0x10);
        REQUIRE_EQ(p.len, 10 + 2 + 11);
        memcpy(ids[i], p.body + 12, 11);
        CHECK_STR(handle->client_id, ids[i]);
        serve_connack(conn, false, 0);
        CHECK_EQ(call_result(connect), 0);
    }
    CHECK_STR(ids[0], ids[1]);
    CHECK(memcmp(ids[0], "W800_", 5) == 0);
    for (int i = 5; i < 11; i++) {
        char c = ids[0][i];
        CHECK(isdigit(c) || (i < 7 ? c >= 'a' && c <= 'f' : c >= 'A' && c <= 'F'));
    }
}

/* ---- CONNACK ---- */

static void refused_by_the_broker(void)
{
    static const int want[] = {
        0,
        WM_MQTT_CLIENT_CONNACK_BAD_VERSION,
        WM_MQTT_CLIENT_CONNACK_ID_REJECTED,
        WM_MQTT_CLIENT_CONNACK_SERVER_UNAVAILABLE,
        WM_MQTT_CLIENT_CONNACK_BAD_CREDENTIALS,
        WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED,
    };
    broker_t *broker = broker_open();
    handle_t handle = client_for(broker_uri(broker), true);
    for (int code = 1; code <= 5; code++) {
        check_row("code %d", code);
        call_t *connect = start_connect(handle);
        conn_t *conn = accept_connect(broker);
        serve_connack(conn, false, code);
        CHECK_EQ(call_result(connect), want[code]);
        expect_eof(conn, 2000);
        /* The vendor's client tries again with MQTT 3.1: a wrong password counts as two login attempts. */
        expect_no_connection(broker, 50);
        expect_no_event(0);
    }
    check_row("then accepted");
    client_connect(handle, broker, false);
}

static void bad_answers(void)
{
    static const struct {
        const char *name, *bytes; /* NULL: the connection just ends */
    } rows[] = {
        {"code 6", "20 02 00 06"},
        {"code 0x80", "20 02 00 80"},
        {"code 6, session present", "20 02 01 06"},
        {"CONNACK of 0 bytes", "20 00"},
        {"CONNACK of 1 byte", "20 01 00"},
        {"CONNACK of 3 bytes", "20 03 00 00 00"},
        {"CONNACK with flags", "21 02 00 00"},
        {"PINGRESP first", "d0 00 20 02 00 00"},
        {"SUBACK first", "90 03 0001 00"},
        {"PUBACK first", "40 02 0001"},
        {"PUBLISH first", "30 [ s'a' 'x' ] 20 02 00 00"},
        {"DISCONNECT", "e0 00"},
        {"CONNECT", "10 [ s'MQTT' 04 02 003c s'c' ]"},
        {"type 0", "00 00"},
        {"type 15", "f0 00"},
        {"5-byte length", "20 80 80 80 80 01"},
        {"HTTP", "'HTTP/1.1 400 Bad Request' 0d0a 0d0a"},
        {"end of the stream", NULL},
        {"reset", NULL},
        {"end within CONNACK", "20 02 00"},
    };
    broker_t *broker = broker_open();
    handle_t handle = client_for(broker_uri(broker), true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].name);
        call_t *connect = start_connect(handle);
        conn_t *conn = accept_connect(broker);
        if (rows[i].bytes) send_bytes(conn, "%s", rows[i].bytes);
        if (strncmp(rows[i].name, "end", 3) == 0) conn_half_close(conn);
        if (strcmp(rows[i].name, "reset") == 0) conn_reset(conn);
        CHECK_EQ(call_result_within(connect, 2000), FAILURE);
        expect_eof(conn, 2000);
        expect_no_connection(broker, 20);
        expect_no_event(0);
    }
    check_row("the handle is still good");
    client_connect(handle, broker, false);
}

static void connack_in_pieces(void)
{
    broker_t *broker = broker_open();
    handle_t handle = client_for(broker_uri(broker), false);
    call_t *connect = start_connect(handle);
    conn_t *conn = accept_connect(broker);
    send_bytes_slowly(conn, 5, "20 02 01 00"); /* a session present is fine for clean_session 0 */
    CHECK_EQ(call_result(connect), 0);
    expect_event(CONNECTED);
}

static void second_connack(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    serve_connack(conn, false, 0);
    expect_eof(conn, 2000);
    expect_lost(handle);
    client_connect(handle, broker, false);
}

/* ---- a connect under way ---- */

static void already_connected(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    expect_silence(conn, 50);
    expect_no_connection(broker, 0);
    expect_no_event(0);
}

static void shared_connect(void)
{
    static const struct {
        int code, want;
    } rows[] = {{0, 0}, {5, WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED}};
    for (int i = 0; i < 2; i++) {
        check_row("CONNACK %d", rows[i].code);
        broker_t *broker = broker_open();
        handle_t handle = client_for(broker_uri(broker), true);
        call_t *first = start_connect(handle);
        conn_t *conn = accept_connect(broker);
        call_t *second = start_connect(handle);
        CHECK(call_waits(second));
        expect_no_connection(broker, 0);
        serve_connack(conn, false, rows[i].code);
        CHECK_EQ(call_result(first), rows[i].want);
        CHECK_EQ(call_result(second), rows[i].want);
        if (rows[i].code == 0) expect_event(CONNECTED);
        expect_no_connection(broker, 20);
        expect_no_event(0);
        if (rows[i].code == 0) CHECK_EQ(client_deinit(handle), 0);
        events_reset();
    }
}

static void ended_by_another_thread(void)
{
    static const struct {
        const char *name;
        call_t *(*end)(handle_t);
    } rows[] = {{"disconnect", start_disconnect}, {"deinit", start_deinit}, {"reconnect", start_reconnect}};
    for (size_t i = 0; i < 3; i++) {
        check_row("%s", rows[i].name);
        broker_t *broker = broker_open();
        handle_t handle = client_for(broker_uri(broker), true);
        call_t *connect = start_connect(handle);
        conn_t *conn = accept_connect(broker);
        CHECK(!call_done(connect, 20));
        call_t *end = rows[i].end(handle);
        CHECK_EQ(call_result_within(connect, 2000), FAILURE);
        expect_eof_after_anything(conn, 2000);
        if (rows[i].end == start_reconnect) {
            conn = accept_connect(broker);
            serve_connack(conn, false, 0);
            CHECK_EQ(call_result(end), 0);
            expect_event(CONNECTED);
        } else {
            CHECK_EQ(call_result_within(end, 2000), 0);
            expect_no_connection(broker, 20);
        }
        expect_no_event(0);
    }
}

/* The same while TCP itself gets no answer. */
static void ended_before_tcp_is_up(void)
{
    broker_t *broker = broker_open_deaf();
    if (!broker) return; /* not to be had on this machine */
    handle_t handle = client_for(broker_uri(broker), true);
    call_t *connect = start_connect(handle);
    CHECK(!call_done(connect, 100));
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    CHECK_EQ(call_result_within(connect, 2000), FAILURE);
    connect = start_connect(handle);
    CHECK(!call_done(connect, 100));
    CHECK_EQ(client_deinit(handle), 0);
    CHECK_EQ(call_result_within(connect, 2000), FAILURE);
    expect_no_event(0);
}

/* INCUMBENT 2: another handle's connect, reconnect and deinit waited for the silent broker. */
static void others_do_not_wait(void)
{
    broker_t *silent = broker_open(), *broker = NULL;
    handle_t waiting = client_for(broker_uri(silent), true);
    call_t *connect = start_connect(waiting);
    accept_connect(silent);
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 0, 0, 0), 0);
    expect_bytes(conn, "30 [ s't' 'm' ]");
    CHECK_EQ(client_deinit(handle), 0);
    expect_disconnect(conn);
    CHECK(!call_done(connect, 0));
    CHECK_EQ(wm_mqtt_client_disconnect(waiting), 0);
    CHECK_EQ(call_result_within(connect, 2000), FAILURE);
}

static void no_connack(void)
{
    broker_t *broker = broker_open();
    handle_t handle = client_for(broker_uri(broker), true);
    call_t *connect = start_connect(handle);
    conn_t *conn = accept_connect(broker);
    CHECK(!call_done(connect, 25000));
    CHECK_EQ(call_result_within(connect, 8000), FAILURE);
    expect_eof(conn, 2000);
    expect_no_connection(broker, 50);
    expect_no_event(0);
}

static const test_t tests[] = {
    TEST(connect_packet),
    TEST(default_client_id),
    TEST(refused_by_the_broker),
    TEST(bad_answers),
    TEST(connack_in_pieces),
    TEST(second_connack),
    TEST(already_connected),
    TEST(shared_connect),
    TEST(ended_by_another_thread),
    TEST(ended_before_tcp_is_up),
    TEST(others_do_not_wait),
    SLOW_TEST(no_connack),
};
TESTS_MAIN(tests)

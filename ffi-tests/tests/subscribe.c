/* subscribe and unsubscribe: every answer, none, the wrong one, and many callers at once. */
#include <string.h>

#include "auto_broker.h"
#include "check.h"
#include "client.h"

#define FAILURE WM_MQTT_CLIENT_ERROR_FAILURE
#define LOST WM_MQTT_CLIENT_ERROR_DISCONNECTED

static void granted(void)
{
    static const struct {
        int asked, granted;
    } rows[] = {{0, 0}, {1, 1}, {2, 2}, {2, 1}, {2, 0}, {1, 0}};
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    int id = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("asked %d, granted %d", rows[i].asked, rows[i].granted);
        call_t *call = start_subscribe(handle, "a/b", rows[i].asked);
        expect_bytes(conn, "82 08 %04x 0003 61 2f 62 %02x", ++id, rows[i].asked);
        CHECK(!call_done(call, 5));
        send_bytes(conn, "90 03 %04x %02x", id, rows[i].granted);
        CHECK_EQ(call_result(call), id);
    }
    check_row("unsubscribe");
    call_t *call = start_unsubscribe(handle, "a/b");
    expect_bytes(conn, "a2 07 %04x 0003 61 2f 62", ++id);
    CHECK(!call_done(call, 5));
    send_bytes(conn, "b0 02 %04x", id);
    CHECK_EQ(call_result(call), id);
    expect_no_event(0);
}

static int call_unsubcribe(void *handle)
{
    return wm_mqtt_client_unsubcribe(handle, "a/b");
}

static void alias(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    call_t *call = start_call(call_unsubcribe, handle);
    expect_bytes(conn, "a2 [ 0001 s'a/b' ]");
    send_bytes(conn, "b0 02 0001");
    CHECK_EQ(call_result(call), 1);
}

static void refused_by_the_broker(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    for (int id = 1; id <= 3; id++) {
        call_t *call = start_subscribe(handle, "secret", id - 1);
        expect_bytes(conn, "82 [ %04x s'secret' %02x ]", id, id - 1);
        send_bytes(conn, "90 03 %04x 80", id);
        CHECK_EQ(call_result(call), WM_MQTT_CLIENT_SUBSCRIBE_REFUSED);
    }
    CHECK(still_serving(conn));
    expect_no_event(0);
}

static void filters(void)
{
    char *longest = test_alloc(65537), *too_long = test_alloc(65537);
    memset(longest, 'f', 65535);
    memset(too_long, 'f', 65536);
    const struct {
        const char *filter;
        int qos, want; /* want 1: good */
    } rows[] = {
        {"#", 0, 1},
        {"+", 0, 1},
        {"/", 0, 1},
        {"/#", 0, 1},
        {"a/#", 0, 1},
        {"+/+", 0, 1},
        {"+/#", 0, 1},
        {"a/+/b", 0, 1},
        {"a//b", 0, 1},
        {"$SYS/#", 0, 1},
        {"\xe6\xb8\xa9/+", 0, 1},
        {longest, 0, 1},
        {NULL, 0, WM_MQTT_CLIENT_ERROR_NULL_PARAMETER},
        {"\xff", 0, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"a#\xc3(", 3, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {too_long, 3, WM_MQTT_CLIENT_ERROR_TOPICNAME_TRUNCATED},
        {"", 0, FAILURE},
        {"a/#/b", 0, FAILURE},
        {"a+", 0, FAILURE},
        {"+a", 0, FAILURE},
        {"#a", 0, FAILURE},
        {"a#", 0, FAILURE},
        {"a/b+/c", 0, FAILURE},
        {"##", 0, FAILURE},
        {"#/", 0, FAILURE},
        {"a+", 3, FAILURE},
        {"a", 3, WM_MQTT_CLIENT_ERROR_BAD_QOS},
        {"a", 4, WM_MQTT_CLIENT_ERROR_BAD_QOS},
        {"a", 0x80, WM_MQTT_CLIENT_ERROR_BAD_QOS},
    };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    int id = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *filter = rows[i].filter;
        check_row("row %zu: %.20s, QoS %d", i, filter ? filter : "NULL", rows[i].qos);
        if (rows[i].want == 1) {
            call_t *call = start_subscribe(handle, filter, rows[i].qos);
            packet_t p = expect_packet(conn, 0x82);
            CHECK_EQ(p.id, ++id);
            CHECK_BYTES(p.body + 4, p.len - 5, filter, strlen(filter));
            send_bytes(conn, "90 03 %04x 00", id);
            CHECK_EQ(call_result(call), id);
            call = start_unsubscribe(handle, filter);
            p = expect_packet(conn, 0xa2);
            CHECK_EQ(p.id, ++id);
            CHECK_BYTES(p.body + 4, p.len - 4, filter, strlen(filter));
            send_bytes(conn, "b0 02 %04x", id);
            CHECK_EQ(call_result(call), id);
        } else {
            CHECK_EQ(wm_mqtt_client_subscribe(handle, filter, (uint8_t)rows[i].qos), rows[i].want);
            if (rows[i].want != WM_MQTT_CLIENT_ERROR_BAD_QOS)
                CHECK_EQ(wm_mqtt_client_unsubscribe(handle, filter), rows[i].want);
        }
    }
    expect_silence(conn, 20);
    conn_close(conn);
    expect_lost(handle);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("not connected, row %zu", i);
        int want = rows[i].filter ? LOST : WM_MQTT_CLIENT_ERROR_NULL_PARAMETER;
        CHECK_EQ(wm_mqtt_client_subscribe(handle, rows[i].filter, (uint8_t)rows[i].qos), want);
        CHECK_EQ(wm_mqtt_client_unsubscribe(handle, rows[i].filter), want);
    }
}

/* ---- bad answers ---- */

static void malformed_answers(void)
{
    static const struct {
        bool unsubscribe;
        const char *bytes;
    } rows[] = {
        {false, "90 04 0001 00 00"}, /* two codes for one filter */
        {false, "90 02 0001"},       {false, "90 01 00"},         {false, "90 00"},
        {false, "90 03 0001 03"},    {false, "90 03 0001 7f"},
        {false, "91 03 0001 00"},    {false, "92 03 0001 00"},
        {true, "b0 03 0001 00"},     {true, "b0 01 00"},          {true, "b0 00"},
        {true, "b1 02 0001"},        {true, "b2 02 0001"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].bytes);
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, true);
        call_t *call = rows[i].unsubscribe ? start_unsubscribe(handle, "f") : start_subscribe(handle, "f", 1);
        expect_packet(conn, rows[i].unsubscribe ? 0xa2 : 0x82);
        send_bytes(conn, "%s", rows[i].bytes);
        expect_eof(conn, 2000);
        CHECK_EQ(call_result_within(call, 2000), LOST);
        expect_lost(handle);
        CHECK_EQ(client_deinit(handle), 0);
    }
}

static void wrong_id(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    call_t *call = start_subscribe(handle, "f", 1);
    expect_bytes(conn, "82 [ 0001 s'f' 01 ]");
    send_bytes(conn, "90 03 0063 01 90 03 0063 80");
    CHECK(still_serving(conn));
    CHECK(!call_done(call, 0));
    send_bytes(conn, "90 03 0001 01");
    CHECK_EQ(call_result(call), 1);
    call = start_unsubscribe(handle, "f");
    expect_bytes(conn, "a2 [ 0002 s'f' ]");
    send_bytes(conn, "b0 02 0001");
    CHECK(still_serving(conn));
    CHECK(!call_done(call, 0));
    send_bytes(conn, "b0 02 0002");
    CHECK_EQ(call_result(call), 2);
    expect_no_event(0);
}

/* The right id in a packet of the other kind: ignored, or the end of the connection, but no success. */
static void wrong_kind(void)
{
    static const struct {
        bool unsubscribe;
        const char *wrong, *right;
    } rows[] = {
        {false, "b0 02 0001", "90 03 0001 00"},
        {false, "40 02 0001", "90 03 0001 00"},
        {false, "50 02 0001", "90 03 0001 00"},
        {false, "70 02 0001", "90 03 0001 00"},
        {true, "90 03 0001 00", "b0 02 0001"},
        {true, "40 02 0001", "b0 02 0001"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s for %s", rows[i].wrong, rows[i].right);
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, true);
        call_t *call = rows[i].unsubscribe ? start_unsubscribe(handle, "f") : start_subscribe(handle, "f", 1);
        expect_packet(conn, -1);
        send_bytes(conn, "%s", rows[i].wrong);
        if (still_serving(conn)) {
            CHECK(!call_done(call, 0));
            send_bytes(conn, "%s", rows[i].right);
            CHECK_EQ(call_result(call), 1);
        } else {
            CHECK_EQ(call_result_within(call, 2000), LOST);
            expect_lost(handle);
        }
        expect_no_event(0);
        CHECK_EQ(client_deinit(handle), 0);
        events_reset();
    }
}

/* INCUMBENT 7: a CONNACK right behind the SUBACK was taken for it: SIGSEGV. */
static void connack_behind_suback(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    call_t *call = start_subscribe(handle, "f", 1);
    expect_packet(conn, 0x82);
    send_bytes(conn, "90 03 0001 01 20 02 00 00");
    int result = call_result_within(call, 2000);
    CHECK(result == 1 || result == LOST);
    expect_eof(conn, 2000);
    expect_lost(handle);
    client_connect(handle, broker, false);
}

/* ---- waiting ---- */

static void data_before_the_answer(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    call_t *call = start_subscribe(handle, "f", 1);
    expect_packet(conn, 0x82);
    send_bytes(conn, "31 [ s'f' 'retained' ]");
    expect_data("f", "retained", 8, 0);
    CHECK(!call_done(call, 0));
    send_bytes(conn, "90 03 0001 01");
    CHECK_EQ(call_result(call), 1);
}

/* INCUMBENT 1: the call went on for its 10 s after the link had gone. */
static void link_drops(void)
{
    for (int how = 0; how < 4; how++) {
        static const char *const names[] = {"FIN", "RST", "disconnect", "deinit"};
        check_row("%s", names[how]);
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, true);
        call_t *sub = start_subscribe(handle, "f", 1);
        expect_packet(conn, 0x82);
        call_t *unsub = start_unsubscribe(handle, "g");
        expect_packet(conn, 0xa2);
        call_t *end = NULL;
        if (how == 0) conn_close(conn);
        if (how == 1) conn_reset(conn);
        if (how == 2) end = start_disconnect(handle);
        if (how == 3) end = start_deinit(handle);
        CHECK_EQ(call_result_within(sub, 2000), LOST);
        CHECK_EQ(call_result_within(unsub, 2000), LOST);
        if (end) {
            CHECK_EQ(call_result_within(end, 2000), 0);
            expect_disconnect(conn);
            expect_requested_disconnect();
        } else {
            expect_lost(handle);
        }
        expect_no_event(0);
    }
}

/* INCUMBENT 1 and 3: after 10 s the vendor's client ended the connection. */
static void no_answer(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    call_t *sub = start_subscribe(handle, "f", 1);
    expect_bytes(conn, "82 [ 0001 s'f' 01 ]");
    call_t *unsub = start_unsubscribe(handle, "f");
    expect_bytes(conn, "a2 [ 0002 s'f' ]");
    CHECK_EQ(call_result(sub), FAILURE);
    CHECK_EQ(call_result(unsub), FAILURE);
    CHECK(call_duration(sub) >= 9500 && call_duration(sub) <= 10000 + scaled(1500));
    CHECK(call_duration(unsub) >= 9500 && call_duration(unsub) <= 10000 + scaled(1500));
    check_row("late answers");
    send_bytes(conn, "90 03 0001 01 b0 02 0002");
    CHECK(still_serving(conn));
    call_t *call = start_subscribe(handle, "g", 0);
    int id = expect_packet(conn, 0x82).id;
    send_bytes(conn, "90 03 %04x 00", id);
    CHECK_EQ(call_result(call), id);
    expect_no_event(0);
}

/* ---- several callers ---- */

static void answered_in_another_order(void)
{
    enum { N = 8 };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    call_t *calls[N];
    for (int i = 0; i < N; i++) {
        calls[i] = i % 2 ? start_unsubscribe(handle, "f") : start_subscribe(handle, "f", 0);
        CHECK_EQ(expect_packet(conn, i % 2 ? 0xa2 : 0x82).id, i + 1);
    }
    for (int i = N - 1; i >= 0; i--) {
        CHECK(!call_done(calls[i], 0));
        if (i % 2) send_bytes(conn, "b0 02 %04x", i + 1);
        else send_bytes(conn, "90 03 %04x %02x", i + 1, i == 4 ? 0x80 : 0);
        CHECK_EQ(call_result(calls[i]), i == 4 ? WM_MQTT_CLIENT_SUBSCRIBE_REFUSED : i + 1);
    }
}

static int subscribe_often(void *handle)
{
    int result = 1;
    for (int i = 0; i < 50 && result > 0; i++) result = wm_mqtt_client_subscribe(handle, "f/+", i % 3);
    return result;
}

static int unsubscribe_often(void *handle)
{
    int result = 1;
    for (int i = 0; i < 50 && result > 0; i++) result = wm_mqtt_client_unsubscribe(handle, "f/+");
    return result;
}

/* INCUMBENT 7: use after free, a time-out, and the end of the connection, in 3 of 3 runs. */
static void from_many_threads(void)
{
    enum { N = 8 };
    auto_broker_t *broker = auto_broker_open();
    handle_t handle = client_for(auto_broker_uri(broker), true);
    REQUIRE_EQ(wm_mqtt_client_connect(handle), 0);
    expect_event(CONNECTED);
    call_t *calls[N];
    for (int i = 0; i < N; i++) calls[i] = start_call(i % 2 ? unsubscribe_often : subscribe_often, handle);
    for (int i = 0; i < N; i++) CHECK(call_result(calls[i]) > 0);
    auto_stats_t stats = auto_broker_stats(broker);
    CHECK_EQ(stats.count[8], N / 2 * 50);
    CHECK_EQ(stats.count[10], N / 2 * 50);
    expect_no_event(0);
}

/* INCUMBENT 2: one at a time across all handles. */
static void handles_do_not_wait(void)
{
    broker_t *broker = NULL;
    conn_t *one, *two;
    handle_t first = connected_client(&broker, &one, true), second = connected_client(&broker, &two, true);
    call_t *waiting = start_subscribe(first, "f", 0);
    expect_packet(one, 0x82);
    call_t *call = start_subscribe(second, "f", 0);
    expect_packet(two, 0x82);
    send_bytes(two, "90 03 0001 00");
    CHECK_EQ(call_result(call), 1);
    CHECK(!call_done(waiting, 0));
    send_bytes(one, "90 03 0001 00");
    CHECK_EQ(call_result(waiting), 1);
}

static const test_t tests[] = {
    TEST(granted),
    TEST(alias),
    TEST(refused_by_the_broker),
    TEST(filters),
    TEST(malformed_answers),
    TEST(wrong_id),
    TEST(wrong_kind),
    TEST(connack_behind_suback),
    TEST(data_before_the_answer),
    TEST(link_drops),
    SLOW_TEST(no_answer),
    TEST(answered_in_another_order),
    TEST(from_many_threads),
    TEST(handles_do_not_wait),
};
TESTS_MAIN(tests)

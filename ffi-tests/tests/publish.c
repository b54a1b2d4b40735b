/* publish: exact bytes, return values, PUBLISHED, and what is refused before anything is sent. */
#include <string.h>

#include "check.h"
#include "client.h"

#define publish wm_mqtt_client_publish

/* ---- the flows ---- */

static void qos0(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(publish(handle, "a/b", "hey", 3, 0, 0), 0);
    expect_bytes(conn, "30 08 00 03 61 2f 62 68 65 79");
    expect_silence(conn, 20);
    expect_no_event(0);
}

static void qos1(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(publish(handle, "a/b", "hey", 3, 1, 0), 1);
    expect_bytes(conn, "32 0a 00 03 61 2f 62 00 01 68 65 79");
    expect_no_event(0);
    send_bytes(conn, "40 02 00 01");
    const event_t *e = expect_event(PUBLISHED);
    CHECK(e->has_data);
    CHECK_EQ(e->msgid, 1);
    expect_silence(conn, 20);
    expect_no_event(0);
}

static void qos2(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(publish(handle, "a/b", "hey", 3, 2, 0), 1);
    expect_bytes(conn, "34 0a 00 03 61 2f 62 00 01 68 65 79");
    send_bytes(conn, "50 02 00 01");
    expect_bytes(conn, "62 02 00 01");
    expect_no_event(0);
    send_bytes(conn, "70 02 00 01");
    expect_published(1);
    expect_silence(conn, 20);
    expect_no_event(0);
}

static void contents(void)
{
    static const struct {
        const char *topic, *message;
        int len, retain;
        const char *bytes;
    } rows[] = {
        {"t", "string", 0, 0, "30 [ s't' 'string' ]"}, /* length 0: of the string */
        {"t", "string", 3, 0, "30 [ s't' 'str' ]"},
        {"t", "a\0b", 3, 0, "30 [ s't' 61 00 62 ]"},
        {"t", "", 0, 0, "30 03 00 01 74"},
        {"t", NULL, 0, 0, "30 03 00 01 74"},
        {"t", NULL, 5, 0, "30 03 00 01 74"},
        {"t", "m", 1, 1, "31 [ s't' 'm' ]"},
        {"t", "m", 1, 255, "31 [ s't' 'm' ]"},
        {"t", NULL, 0, 1, "31 03 00 01 74"}, /* deletes a retained message */
        {"/", "m", 1, 0, "30 [ s'/' 'm' ]"},
        {"a b//c", "m", 1, 0, "30 [ s'a b//c' 'm' ]"},
        {"$SYS/x", "m", 1, 0, "30 [ s'$SYS/x' 'm' ]"},
        {"\xe6\xb8\xa9\xf0\x9f\x8c\xa1", "m", 1, 0, "30 [ 0007 e6b8a9 f09f8ca1 'm' ]"},
    };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("row %zu", i);
        int result = publish(handle, rows[i].topic, rows[i].message, (uint16_t)rows[i].len, 0, (uint8_t)rows[i].retain);
        CHECK_EQ(result, 0);
        expect_bytes(conn, "%s", rows[i].bytes);
    }
    check_row("QoS 1 and 2, retained");
    CHECK_EQ(publish(handle, "t", "m", 1, 1, 1), 1);
    CHECK_EQ(publish(handle, "t", "m", 1, 2, 1), 2);
    expect_bytes(conn, "33 [ s't' 0001 'm' ] 35 [ s't' 0002 'm' ]");
    conn_close(conn);
}

static char *filled(size_t len)
{
    char *text = test_alloc(len + 1);
    for (size_t i = 0; i < len; i++) text[i] = (char)('a' + i % 23);
    return text;
}

static void large(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    char *topic = filled(65535), *payload = filled(65535), *string = filled(100000);
    static const int firsts[] = {0x30, 0x32, 0x34};
    for (int qos = 0; qos <= 2; qos++) {
        check_row("QoS %d", qos);
        call_t *call = start_publish(handle, topic, payload, 65535, qos);
        packet_t p = expect_packet(conn, firsts[qos]);
        CHECK_BYTES(p.topic, p.topic_len, topic, 65535);
        CHECK_BYTES(p.payload, p.payload_len, payload, 65535);
        CHECK_EQ(p.id, qos);
        CHECK_EQ(call_result(call), qos);
        if (qos == 1) send_bytes(conn, "40 02 0001");
        if (qos == 2) send_bytes(conn, "50 02 0002 70 02 0002");
        if (qos) expect_published(qos);
    }
    expect_bytes(conn, "62 02 0002");
    check_row("a string longer than a uint16_t");
    call_t *call = start_publish(handle, "t", string, 0, 0);
    packet_t p = expect_packet(conn, 0x30);
    CHECK_BYTES(p.payload, p.payload_len, string, 100000);
    CHECK_EQ(call_result(call), 0);
}

/* The remaining length takes one to three bytes; the caller's memory may change right after the call. */
static void around_length_bytes(void)
{
    static const int lens[] = {1, 124, 125, 126, 127, 128, 1000, 16380, 16381, 16382, 16383, 65535};
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        check_row("%d bytes", lens[i]);
        char *payload = filled((size_t)lens[i]), *copy = filled((size_t)lens[i]);
        CHECK_EQ(publish(handle, "t", payload, (uint16_t)lens[i], 0, 0), 0);
        memset(payload, 'X', (size_t)lens[i]);
        packet_t p = expect_packet(conn, 0x30);
        CHECK_BYTES(p.payload, p.payload_len, copy, (size_t)lens[i]);
    }
}

static void one_counter(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(publish(handle, "t", "m", 1, 1, 0), 1);
    expect_bytes(conn, "32 [ s't' 0001 'm' ]");
    call_t *call = start_subscribe(handle, "s", 0);
    expect_bytes(conn, "82 [ 0002 s's' 00 ]");
    send_bytes(conn, "90 03 0002 00");
    CHECK_EQ(call_result(call), 2);
    CHECK_EQ(publish(handle, "t", "m", 1, 0, 0), 0);
    CHECK_EQ(publish(handle, "t", "m", 1, 2, 0), 3);
    expect_bytes(conn, "30 [ s't' 'm' ] 34 [ s't' 0003 'm' ]");
    call = start_unsubscribe(handle, "s");
    expect_bytes(conn, "a2 [ 0004 s's' ]");
    send_bytes(conn, "b0 02 0004");
    CHECK_EQ(call_result(call), 4);
    CHECK_EQ(publish(handle, "t", "m", 1, 1, 0), 5);
    expect_bytes(conn, "32 [ s't' 0005 'm' ]");
    expect_no_event(0); /* no PUBLISHED for subscribe and unsubscribe */
    conn_close(conn);
}

static void ids_wrap(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(publish(handle, "t", NULL, 0, 1, 0), 1); /* stays under way */
    expect_bytes(conn, "32 05 0001 't' 0001");
    for (int id = 2; id <= 65535; id++) {
        REQUIRE_EQ(publish(handle, "t", NULL, 0, 1, 0), id);
        REQUIRE_EQ(expect_packet(conn, 0x32).id, id);
        send_bytes(conn, "40 02 %04x", id);
        if (id % 64 == 0) REQUIRE(wait_count(PUBLISHED, id - 1, 5000));
    }
    REQUIRE(wait_count(PUBLISHED, 65534, 5000));
    CHECK_EQ(publish(handle, "t", NULL, 0, 1, 0), 2); /* never 0, and not the one under way */
    conn_close(conn);
}

/* ---- acknowledgements that do not belong ---- */

static void unknown_acks(void)
{
    static const struct {
        const char *bytes, *answer;
    } acks[] = {
        {"40 02 1234", ""},
        {"50 02 1234", "62 02 1234"}, /* [MQTT-4.3.3-1] */
        {"70 02 1234", ""},
        {"90 03 1234 00", ""},
        {"90 03 1234 80", ""},
        {"b0 02 1234", ""},
        {"d0 00", ""},
    };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK_EQ(publish(handle, "t", "m", 1, 1, 0), 1);
    CHECK_EQ(publish(handle, "t", "m", 1, 2, 0), 2);
    expect_bytes(conn, "32 [ s't' 0001 'm' ] 34 [ s't' 0002 'm' ]");
    for (size_t i = 0; i < sizeof acks / sizeof acks[0]; i++) {
        check_row("%s", acks[i].bytes);
        /* The answer to the message behind it shows that it has been read. */
        send_bytes(conn, "%s 32 [ s'x' 77%02x ]", acks[i].bytes, (int)i);
        expect_bytes(conn, "%s 40 02 77%02x", acks[i].answer, (int)i);
        expect_event(DATA);
        expect_no_event(0);
    }
    check_row("the real ones");
    send_bytes(conn, "40 02 0001 50 02 0002 70 02 0002");
    expect_published(1);
    expect_published(2);
}

static void acks_of_the_wrong_kind(void)
{
    static const struct {
        int qos;
        const char *bytes, *right;
    } rows[] = {
        {1, "50 02 0001", "40 02 0001"},
        {1, "70 02 0001", "40 02 0001"},
        {1, "62 02 0001", "40 02 0001"},
        {1, "90 03 0001 00", "40 02 0001"},
        {1, "b0 02 0001", "40 02 0001"},
        {2, "40 02 0001", "50 02 0001 70 02 0001"},
        {2, "70 02 0001", "50 02 0001 70 02 0001"},
        {2, "62 02 0001", "50 02 0001 70 02 0001"},
        {2, "50 02 0001 50 02 0001", "70 02 0001"},
        {2, "50 02 0001 40 02 0001", "70 02 0001"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("QoS %d: %s", rows[i].qos, rows[i].bytes);
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, true);
        CHECK_EQ(publish(handle, "t", "m", 1, (uint8_t)rows[i].qos, 0), 1);
        expect_packet(conn, 0x30 | rows[i].qos << 1);
        send_bytes(conn, "%s", rows[i].bytes);
        /* MQTT 3.1.1 lets the client ignore it or end the connection: it may not crash, hang or report success. */
        if (still_serving(conn)) {
            CHECK_EQ(event_count(PUBLISHED), 0);
            send_bytes(conn, "%s", rows[i].right);
            expect_published(1);
        } else {
            CHECK_EQ(event_count(PUBLISHED), 0);
            expect_lost(handle);
        }
        CHECK_EQ(client_deinit(handle), 0);
        events_reset();
    }
}

/* ---- refused ---- */

static void refused(void)
{
    char *long_topic = filled(65536), *long_bad = filled(65536), *long_wild = filled(65536), *million = filled(1000000);
    long_bad[100] = '\xff';
    long_wild[100] = '#';
    const struct {
        const char *name, *topic;
        int qos, want;
    } rows[] = {
        {"NULL", NULL, 0, WM_MQTT_CLIENT_ERROR_NULL_PARAMETER},
        {"NULL before QoS", NULL, 3, WM_MQTT_CLIENT_ERROR_NULL_PARAMETER},
        {"UTF-8", "a\xff", 0, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"overlong UTF-8", "a\xc0\x80", 0, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"surrogate", "\xed\xa0\x80", 0, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"beyond U+10FFFF", "\xf4\x90\x80\x80", 0, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"cut UTF-8", "\xe6\xb8", 0, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"UTF-8 before length", long_bad, 0, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"UTF-8 before wildcards", "#\xff", 3, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        /* INCUMBENT 5: the length was truncated on the wire and the link dropped. */
        {"length", long_topic, 0, WM_MQTT_CLIENT_ERROR_TOPICNAME_TRUNCATED},
        {"a million bytes", million, 1, WM_MQTT_CLIENT_ERROR_TOPICNAME_TRUNCATED},
        {"length before wildcards", long_wild, 3, WM_MQTT_CLIENT_ERROR_TOPICNAME_TRUNCATED},
        {"+", "a/+", 0, WM_MQTT_CLIENT_ERROR_FAILURE},
        {"#", "#", 1, WM_MQTT_CLIENT_ERROR_FAILURE},
        {"+ within", "a+b", 2, WM_MQTT_CLIENT_ERROR_FAILURE},
        {"empty", "", 0, WM_MQTT_CLIENT_ERROR_FAILURE},
        {"wildcards before QoS", "+", 3, WM_MQTT_CLIENT_ERROR_FAILURE},
        /* INCUMBENT 5 and 7: QoS 3 cost the link, QoS 4 corrupted the payload and hung the next publish for ever. */
        {"QoS 3", "t", 3, WM_MQTT_CLIENT_ERROR_BAD_QOS},
        {"QoS 4", "t", 4, WM_MQTT_CLIENT_ERROR_BAD_QOS},
        {"QoS 255", "t", 255, WM_MQTT_CLIENT_ERROR_BAD_QOS},
    };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].name);
        CHECK_EQ(publish(handle, rows[i].topic, "m", 1, (uint8_t)rows[i].qos, 0), rows[i].want);
    }
    check_row(NULL);
    CHECK_EQ(publish(NULL, "t", "m", 1, 0, 0), WM_MQTT_CLIENT_ERROR_NULL_PARAMETER);
    expect_silence(conn, 20);
    CHECK_EQ(publish(handle, "t", "m", 1, 1, 0), 1); /* no id was spent */
    expect_bytes(conn, "32 [ s't' 0001 'm' ]");
    conn_close(conn);
    expect_lost(handle);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("not connected, %s", rows[i].name);
        CHECK_EQ(publish(handle, rows[i].topic, "m", 1, (uint8_t)rows[i].qos, 0),
                 rows[i].topic ? WM_MQTT_CLIENT_ERROR_DISCONNECTED : WM_MQTT_CLIENT_ERROR_NULL_PARAMETER);
    }
    expect_no_event(0);
}

static const test_t tests[] = {
    TEST(qos0),           TEST(qos1),        TEST(qos2),
    TEST(contents),       TEST(large),       TEST(around_length_bytes),
    TEST(one_counter),    SLOW_TEST(ids_wrap), TEST(unknown_acks),
    TEST(acks_of_the_wrong_kind), TEST(refused),
};
TESTS_MAIN(tests)

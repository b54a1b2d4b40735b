/* Brokers that break the rules: the connection ends, the application hears of it, and the handle stays good. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "client.h"

/* Each on a connection of its own that has a QoS 1 publish (id 1), a QoS 2 publish (id 2) and a QoS 2 publish behind
 * its PUBREC (id 3) under way. */
static const struct {
    const char *what, *bytes;
} malformed[] = {
    {"remaining length of 5 bytes", "30 ff ff ff ff 01"},
    {"remaining length of 5 bytes, all zero", "d0 80 80 80 80 00"},
    {"type 0", "00 00"},
    {"type 0 with flags and a body", "0f 02 0001"},
    {"type 15", "f0 00"},
    {"type 15 with a body", "ff 02 0001"},
    {"CONNECT", "10 [ s'MQTT' 04 02 003c s'c' ]"},
    {"CONNACK", "20 02 00 00"},
    {"CONNACK, refusing", "20 02 00 05"},
    {"SUBSCRIBE", "82 [ 0001 s'a' 00 ]"},
    {"UNSUBSCRIBE", "a2 [ 0001 s'a' ]"},
    {"PINGREQ", "c0 00"},
    {"DISCONNECT", "e0 00"},

    {"PUBACK with flags", "42 02 0001"},
    {"PUBREC with flags", "52 02 0002"},
    {"PUBREL without flags", "60 02 0003"},
    {"PUBREL with all flags", "6f 02 0003"},
    {"PUBCOMP with flags", "72 02 0003"},
    {"SUBACK with flags", "92 03 0001 00"},
    {"UNSUBACK with flags", "b2 02 0001"},
    {"PINGRESP with flags", "d1 00"},

    {"PUBACK of 0 bytes", "40 00"},
    {"PUBACK of 1 byte", "40 01 00"},
    {"PUBACK of 3 bytes", "40 03 0001 00"},
    {"PUBREC of 1 byte", "50 01 00"},
    {"PUBREC of 3 bytes", "50 03 0002 00"},
    {"PUBREL of 1 byte", "62 01 00"},
    {"PUBREL of 3 bytes", "62 03 0003 00"},
    {"PUBCOMP of 0 bytes", "70 00"},
    {"PUBCOMP of 4 bytes", "70 04 0003 0000"},
    {"SUBACK of 0 bytes", "90 00"},
    {"SUBACK of 1 byte", "90 01 00"},
    {"SUBACK without a code", "90 02 0001"},
    {"UNSUBACK of 1 byte", "b0 01 00"},
    {"UNSUBACK of 3 bytes", "b0 03 0001 00"},
    {"PINGRESP with a body", "d0 01 00"},
    /* INCUMBENT 6: as much memory as the broker announces was allocated. */
    {"PUBACK of 256 MB", "40 ff ff ff 7f 0001"},
    {"CONNACK of 256 MB", "20 ff ff ff 7f 00 00"},
    {"SUBACK of 256 MB", "90 ff ff ff 7f 0001 00"},

    {"PUBLISH of 0 bytes", "30 00"},
    {"PUBLISH of 1 byte", "30 01 00"},
    {"PUBLISH: topic past the end", "30 03 0005 't'"},
    {"PUBLISH: topic of 65535 bytes past the end", "30 03 ffff 't'"},
    {"PUBLISH: empty topic", "30 [ 0000 'm' ]"},
    {"PUBLISH: nothing but an empty topic", "30 02 0000"},
    {"PUBLISH: topic with NUL", "30 [ 0003 61 00 62 'm' ]"}, /* INCUMBENT 3: over-read */
    {"PUBLISH: topic is NUL", "30 [ 0001 00 'm' ]"},
    {"PUBLISH: topic with +", "30 [ s'a/+' 'm' ]"},
    {"PUBLISH: topic with #", "30 [ s'#' 'm' ]"},
    {"PUBLISH: bad UTF-8", "30 [ 0001 ff 'm' ]"},
    {"PUBLISH: overlong UTF-8", "30 [ 0002 c0af 'm' ]"},
    {"PUBLISH: surrogate", "30 [ 0003 eda080 'm' ]"},
    {"PUBLISH: cut UTF-8", "30 [ 0002 e6b8 'm' ]"},
    {"PUBLISH: beyond U+10FFFF", "30 [ 0004 f4908080 'm' ]"},
    {"PUBLISH: QoS 3", "36 [ s't' 0001 'm' ]"},
    {"PUBLISH: QoS 3, DUP, retained", "3f [ s't' 0001 'm' ]"},
    {"PUBLISH: QoS 1 without an id", "32 [ s't' ]"},
    {"PUBLISH: QoS 1 with half an id", "32 [ s't' 00 ]"},
    {"PUBLISH: QoS 2 without an id", "34 [ s't' ]"},
    {"PUBLISH: QoS 1, id 0", "32 [ s't' 0000 'm' ]"},
    {"PUBLISH: QoS 2, id 0", "34 [ s't' 0000 'm' ]"},
    {"PUBLISH: QoS 1, id 0, of 256 MB", "32 ff ff ff 7f s't' 0000 'm'"},
};

static handle_t with_messages_under_way(broker_t *broker, conn_t **conn)
{
    handle_t handle = client_for(broker_uri(broker), true);
    *conn = client_connect(handle, broker, false);
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0), 1);
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 2, 0), 2);
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 2, 0), 3);
    expect_bytes(*conn, "32 [ s't' 0001 'm' ] 34 [ s't' 0002 'm' ] 34 [ s't' 0003 'm' ]");
    send_bytes(*conn, "50 02 0003");
    expect_bytes(*conn, "62 02 0003");
    return handle;
}

static void malformed_packets(void)
{
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        check_row("%s", malformed[i].what);
        conn_t *conn;
        handle_t handle = with_messages_under_way(broker, &conn);
        send_bytes(conn, "%s", malformed[i].bytes);
        expect_eof(conn, 3000); /* not even a DISCONNECT, which would make a broker forget the will */
        expect_lost(handle);
        expect_no_event(0);
        check_row("%s: the handle is still good", malformed[i].what);
        conn = client_connect(handle, broker, false);
        CHECK(still_serving(conn));
        client_leave(handle, conn);
    }
}

/* One byte at a time: no rule may depend on the whole packet being there. */
static void malformed_packets_in_pieces(void)
{
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        check_row("%s", malformed[i].what);
        handle_t handle = client_for(broker_uri(broker), true);
        conn_t *conn = client_connect(handle, broker, false);
        send_bytes_slowly(conn, 1, "%s", malformed[i].bytes);
        expect_eof(conn, 3000);
        expect_lost(handle);
        CHECK_EQ(client_deinit(handle), 0);
        expect_no_event(0);
    }
}

/* The messages before the bad packet count. */
static void good_packets_before(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    send_bytes(conn, "30 [ s't' 'good' ] 36 [ s't' 0001 'bad' ] 30 [ s't' 'after' ]");
    expect_eof(conn, 3000);
    CHECK_EQ(expect_event(ANY_EVENT)->kind, DATA);
    expect_lost(handle);
    expect_no_event(0);
}

/* Legal or not, by the reading of the specification: ignored, or the end of the connection; never a wrong event. */
static void doubtful_packets(void)
{
    static const char *const packets[] = {
        "40 02 0000",          /* acknowledgements of id 0 */
        "50 02 0000",
        "62 02 0000",
        "70 02 0000",
        "b0 02 0000",
        "90 03 0000 00",
        "d0 80 00",            /* a length of 0 in two bytes */
        "d0 00 d0 00 d0 00",   /* PINGRESP that nobody asked for */
        "90 04 1234 00 00",    /* SUBACK of nobody's, with two codes */
        "90 03 1234 03",
    };
    for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++) {
        check_row("%s", packets[i]);
        broker_t *broker = broker_open();
        conn_t *conn;
        handle_t handle = with_messages_under_way(broker, &conn);
        send_bytes(conn, "%s", packets[i]);
        if (still_serving(conn)) send_bytes(conn, "40 02 0001 50 02 0002 70 02 0002 70 02 0003");
        else expect_lost(handle);
        events_flush();
        CHECK_EQ(client_deinit(handle), 0);
        events_reset();
    }
}

#ifdef WM_MQTT_ON_DEVICE
#include "board.h"
enum { MUCH_KB = 64 };

static long status_kb(const char *field)
{
    return (long)(strcmp(field, "VmPeak:") == 0 ? board_heap_peak() : board_heap_used()) / 1024;
}
#else
enum { MUCH_KB = 64 * 1024 };

static long status_kb(const char *field)
{
    char line[200];
    long value = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0) value = atol(line + strlen(field) + 1);
    if (file) fclose(file);
    return value;
}
#endif

/* INCUMBENT 6: as much memory as the broker announces was allocated. A PUBLISH of 256 MB is legal: it is skipped. */
static void largest_announcement(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK(still_serving(conn));
    long before = status_kb("VmSize:"), peak_before = status_kb("VmPeak:");
    send_bytes(conn, "30 ff ff ff 7f s't'");
    char *block = test_alloc(65536);
    for (int i = 0; i < 64; i++) REQUIRE(send_raw(conn, block, 65536));
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 0, 0), 0);
    expect_bytes(conn, "30 [ s't' 'm' ]");
    CHECK(status_kb("VmSize:") - before < MUCH_KB);
    CHECK(status_kb("VmPeak:") - peak_before < MUCH_KB);
    conn_close(conn);
    expect_lost(handle);
    expect_no_event(0);
}

/* Whatever comes: no crash, no hang, and a DISCONNECTED at the latest when the broker goes. */
static void garbage(void)
{
    broker_t *broker = broker_open();
    handle_t handle = client_for(broker_uri(broker), true);
    for (uint32_t seed = 1; seed <= 100; seed++) {
        check_row("seed %u", (unsigned)seed);
        conn_t *conn = client_connect(handle, broker, false);
        uint32_t x = seed;
        uint8_t bytes[600];
        for (size_t i = 0; i < sizeof bytes; i++) {
            x = x * 1664525 + 1013904223;
            bytes[i] = (uint8_t)(x >> 24);
            /* Every other seed starts like something known. */
            if (i == 0 && seed % 2) bytes[i] = (uint8_t)(seed * 8 & 0xf0) | (bytes[i] & 2);
            if (i == 1 && seed % 2) bytes[i] &= 31;
        }
        send_raw(conn, bytes, sizeof bytes);
        conn_half_close(conn);
        expect_eof_after_anything(conn, 3000);
        expect_lost(handle);
        conn_close(conn);
    }
    check_row("the handle is still good");
    conn_t *conn = client_connect(handle, broker, false);
    CHECK(still_serving(conn));
}

static const test_t tests[] = {
    LONG_TEST(malformed_packets, 60),
    LONG_TEST(malformed_packets_in_pieces, 60),
    TEST(good_packets_before),
    TEST(doubtful_packets),
    TEST(largest_announcement),
    LONG_TEST(garbage, 60),
};
TESTS_MAIN(tests)

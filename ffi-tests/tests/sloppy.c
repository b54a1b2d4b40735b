/* Brokers that break rules while nothing is lost, doubled or forged by it, as some clouds do: everything works, and the log warns
 * once a connection. The table in docs/deviations.md has all of them; those that end the connection are in hostile.c, connect.c
 * and subscribe.c. */
#include <string.h>

#include "check.h"
#include "client.h"
#include "log_capture.h"

/* How often the log has warned with this text, and that it has not warned of anything else. */
#define expect_warnings(text, n)                                                                                       \
    do {                                                                                                               \
        CHECK_EQ(log_count(text), n);                                                                                  \
        CHECK_EQ(log_count(" with flags ") + log_count(" with unexpected id ") + log_count(" refused with code "), n); \
        log_clear();                                                                                                   \
    } while (0)

static void connack_flags(void)
{
    static const struct {
        bool clean;
        const char *connack;
        int want;
        const char *warning; /* NULL: none */
    } rows[] = {
        {true, "20 02 01 00", 0, "CONNACK with flags 1"}, /* OneNET, and others */
        {true, "20 02 02 00", 0, "CONNACK with flags 2"},
        {true, "20 02 ff 00", 0, "CONNACK with flags 255"},
        {false, "20 02 81 00", 0, "CONNACK with flags 129"},
        {false, "20 02 01 00", 0, NULL},
        {true, "20 02 01 05", WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED, "CONNACK with flags 1"},
        {false, "20 02 01 05", WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED, "CONNACK with flags 1"},
        {false, "20 02 80 01", WM_MQTT_CLIENT_CONNACK_BAD_VERSION, "CONNACK with flags 128"},
    };
    broker_t *broker = broker_open();
    log_capture();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s, clean %d", rows[i].connack, rows[i].clean);
        handle_t handle = client_for(broker_uri(broker), rows[i].clean);
        call_t *connect = start_connect(handle);
        conn_t *conn = accept_connect(broker);
        send_bytes(conn, "%s", rows[i].connack);
        CHECK_EQ(call_result(connect), rows[i].want);
        expect_warnings(rows[i].warning ? rows[i].warning : "CONNACK with", rows[i].warning != NULL);
        if (rows[i].want == 0) {
            expect_event(CONNECTED);
            CHECK(still_serving(conn));
            client_leave(handle, conn);
        } else {
            expect_eof(conn, 2000);
        }
        expect_no_event(0);
    }
}

static void dup_at_qos_0(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    log_capture();
    send_bytes(conn, "38 [ s't' 'one' ] 39 [ s't' 'two' ] 30 [ s't' 'three' ]");
    CHECK_EQ(expect_data("t", "one", 3, 0)->dup, 0);
    const event_t *e = expect_data("t", "two", 3, 0);
    CHECK_EQ(e->dup, 0);
    CHECK_EQ(e->retained, 1);
    expect_data("t", "three", 5, 0);
    CHECK(still_serving(conn));
    expect_warnings("PUBLISH with flags 8", 1);
    check_row("the next connection");
    conn_close(conn);
    expect_lost(handle);
    conn = client_connect(handle, broker, false);
    send_bytes(conn, "38 [ s't' 'four' ]");
    CHECK_EQ(expect_data("t", "four", 4, 0)->dup, 0);
    expect_warnings("PUBLISH with flags 8", 1);
    expect_no_event(0);
}

static void suback_codes(void)
{
    static const int codes[] = {0x81, 0x83, 0x87, 0x8f, 0xa2, 0xff};
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    log_capture();
    int id = 0;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        check_row("code %#x", codes[i]);
        call_t *call = start_subscribe(handle, "f", 1);
        expect_bytes(conn, "82 [ %04x s'f' 01 ]", ++id);
        send_bytes(conn, "90 03 %04x %02x", id, codes[i]);
        CHECK_EQ(call_result(call), WM_MQTT_CLIENT_SUBSCRIBE_REFUSED);
        CHECK(still_serving(conn));
    }
    expect_warnings("SUBSCRIBE refused with code 129", 1);
    expect_no_event(0);
}

static void pubrec_of_nothing(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    log_capture();
    send_bytes(conn, "50 02 0009 50 02 0009");
    expect_bytes(conn, "62 02 0009 62 02 0009");
    expect_warnings("PUBREC with unexpected id 9", 1);
    check_row("a QoS 2 message that is done");
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 2, 0), 1);
    expect_bytes(conn, "34 [ s't' 0001 'm' ]");
    send_bytes(conn, "50 02 0001 70 02 0001 50 02 0001");
    expect_published(1);
    expect_bytes(conn, "62 02 0001 62 02 0001");
    send_bytes(conn, "70 02 0001");
    CHECK(still_serving(conn));
    expect_warnings("PUBCOMP with unexpected id 1", 1);
    check_row("a QoS 1 message");
    conn_close(conn);
    expect_lost(handle);
    conn = client_connect(handle, broker, false);
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0), 1);
    expect_bytes(conn, "32 [ s't' 0001 'm' ]");
    send_bytes(conn, "50 02 0001");
    expect_silence(conn, 20);
    send_bytes(conn, "40 02 0001");
    expect_published(1);
    expect_warnings("PUBREC with unexpected id 1", 1);
    expect_no_event(0);
}

/* The event task stands in a callback, and what waits for it fills the queue: messages behind that are not accepted. */
typedef struct {
    gate_t *entered, *leave;
} held_t;

static void hold(const event_t *event, void *arg)
{
    (void)event;
    held_t *held = arg;
    gate_open(held->entered);
    gate_wait(held->leave, 20000);
}

static void qos_2_again_before_it_is_accepted(void)
{
    enum { MANY = 40 }; /* more than the queue has room for */
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, false);
    held_t held = {gate_new(), gate_new()};
    events_hook(hold, &held);
    for (int i = 0; i < MANY; i++) send_bytes(conn, "30 [ s't' 'm' ]");
    CHECK(gate_wait(held.entered, 5000));
    send_bytes(conn, "34 [ s't' 0007 'twice' ] 3c [ s't' 0007 'twice' ] 34 [ s't' 0008 'once' ]");
    expect_silence(conn, 100);
    gate_open(held.leave);
    expect_bytes(conn, "50 02 0007 50 02 0007 50 02 0008"); /* [MQTT-4.3.3-2] */
    send_bytes(conn, "62 02 0007 62 02 0008");
    expect_bytes(conn, "70 02 0007 70 02 0008");
    for (int i = 0; i < MANY; i++) expect_data("t", "m", 1, 0);
    expect_data("t", "twice", 5, 2);
    expect_data("t", "once", 4, 2);
    expect_no_event(0);

    check_row("what is owed ends with the connection");
    held = (held_t){gate_new(), gate_new()};
    for (int i = 0; i < MANY; i++) send_bytes(conn, "30 [ s't' 'm' ]");
    CHECK(gate_wait(held.entered, 5000));
    send_bytes(conn, "34 [ s't' 0009 'again' ] 3c [ s't' 0009 'again' ] 3c [ s't' 0009 'again' ]");
    expect_silence(conn, 100);
    conn_close(conn);
    call_t *call = start_connect(handle);
    /* It returns at once until the end of the old one has come. */
    while (call_done(call, scaled(100))) {
        sleep_ms(20);
        call = start_connect(handle);
    }
    conn = accept_connect(broker);
    serve_connack(conn, true, 0);
    CHECK_EQ(call_result(call), 0);
    send_bytes(conn, "3c [ s't' 0009 'again' ]");
    expect_silence(conn, 100);
    gate_open(held.leave);
    expect_bytes(conn, "50 02 0009");
    expect_silence(conn, 50);
    for (int i = 0; i < MANY; i++) expect_data("t", "m", 1, 0);
    expect_data("t", "again", 5, 2);
    expect_lost(handle);
    expect_event(CONNECTED);
    expect_no_event(0);
}

static void answers_that_nobody_waits_for(void)
{
    static const char *const rows[][2] = {
        {"40 02 1234", "PUBACK with unexpected id 4660"},     {"70 02 1234", "PUBCOMP with unexpected id 4660"},
        {"90 03 1234 00", "SUBACK with unexpected id 4660"},  {"90 03 1234 80", "SUBACK with unexpected id 4660"},
        {"90 03 1234 ff", "SUBACK with unexpected id 4660"},  {"b0 02 1234", "UNSUBACK with unexpected id 4660"},
        {"62 02 1234", "PUBREL with unexpected id 4660"},
    };
    broker_t *broker = broker_open();
    log_capture();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i][0]);
        handle_t handle = client_for(broker_uri(broker), true);
        conn_t *conn = client_connect(handle, broker, false);
        send_bytes(conn, "%s %s", rows[i][0], rows[i][0]);
        CHECK(still_serving(conn));
        expect_warnings(rows[i][1], 1);
        CHECK_EQ(client_deinit(handle), 0);
        events_reset();
    }
}

static void pingresp_unasked(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    connected_client(&broker, &conn, true);
    log_capture();
    send_bytes(conn, "d0 00 d0 00");
    CHECK(still_serving(conn));
    expect_warnings("PINGRESP", 0);
}

static const test_t tests[] = {
    TEST(connack_flags),
    TEST(dup_at_qos_0),
    TEST(suback_codes),
    TEST(pubrec_of_nothing),
    TEST(qos_2_again_before_it_is_accepted),
    TEST(answers_that_nobody_waits_for),
    TEST(pingresp_unasked),
};
TESTS_MAIN(tests)

/* What survives the connection: unacknowledged messages, half-done QoS 2 handshakes, and what clean_session 1 forgets. */
#include <string.h>

#include "check.h"
#include "client.h"

#define publish wm_mqtt_client_publish

/* A new connection after a lost one, by connect or by reconnect. */
static conn_t *again(handle_t handle, broker_t *broker, bool by_reconnect, bool session_present)
{
    call_t *call = by_reconnect ? start_reconnect(handle) : start_connect(handle);
    conn_t *conn = accept_connect(broker);
    serve_connack(conn, session_present, 0);
    REQUIRE_EQ(call_result(call), 0);
    expect_event(CONNECTED);
    return conn;
}

static void lose(handle_t handle, conn_t *conn)
{
    conn_close(conn);
    expect_lost(handle);
}

static void resent(void)
{
    for (int by_reconnect = 0; by_reconnect <= 1; by_reconnect++) {
        check_row("%s", by_reconnect ? "reconnect" : "connect");
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, false);
        CHECK_EQ(publish(handle, "t", "one", 3, 1, 0), 1);
        CHECK_EQ(publish(handle, "t", "zero", 4, 0, 0), 0); /* QoS 0 is never sent again */
        CHECK_EQ(publish(handle, "t", "two", 3, 2, 1), 2);
        CHECK_EQ(publish(handle, "t", "three", 5, 1, 0), 3);
        expect_bytes(conn, "32 [ s't' 0001 'one' ] 30 [ s't' 'zero' ] 35 [ s't' 0002 'two' ] 32 [ s't' 0003 'three' ]");
        lose(handle, conn);

        for (int round = 0; round < 2; round++) { /* as often as the connection is lost */
            conn = again(handle, broker, by_reconnect, true);
            expect_bytes(conn, "3a [ s't' 0001 'one' ] 3d [ s't' 0002 'two' ] 3a [ s't' 0003 'three' ]");
            expect_silence(conn, 20);
            expect_no_event(0);
            if (round == 0) lose(handle, conn);
        }
        check_row("what is new comes behind");
        CHECK_EQ(publish(handle, "t", "four", 4, 1, 0), 4);
        expect_bytes(conn, "32 [ s't' 0004 'four' ]");
        send_bytes(conn, "40 02 0001 50 02 0002 40 02 0003");
        expect_published(1);
        expect_published(3);
        expect_bytes(conn, "62 02 0002");
        send_bytes(conn, "70 02 0002 40 02 0004");
        expect_published(2);
        expect_published(4);
        client_leave(handle, conn);
        expect_no_event(0);
    }
}

/* A payload that is a segment of its own in the outgoing queue, and one that was cut by the loss. */
static void large_ones_resent(void)
{
#ifdef WM_MQTT_ON_DEVICE
    enum { LEN = 3500, N = 20 }; /* what its memory holds */
#else
    enum { LEN = 65000, N = 20 };
#endif
    broker_t *broker = broker_open_stalled();
    handle_t handle = client_for(broker_uri(broker), false);
    conn_t *conn = client_connect(handle, broker, false);
    char *payload = test_alloc(LEN);
    call_t *calls[N];
    memset(payload, 'p', LEN);
    for (int i = 0; i < N; i++) {
        calls[i] = start_publish(handle, "t", payload, LEN, 1);
        call_done(calls[i], 50); /* some of them may wait for room: the broker does not read */
    }
    conn_reset(conn);
    int kept = 0;
    for (int i = 0; i < N; i++) {
        int result = call_result(calls[i]);
        if (result > 0) kept++;
        else CHECK_EQ(result, WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    }
    CHECK(kept > 0);
    expect_lost(handle);
    conn = again(handle, broker, false, true);
    for (int i = 1; i <= kept; i++) {
        packet_t p = expect_packet(conn, -1);
        CHECK(p.first == 0x3a || p.first == 0x32); /* DUP only if it was sent before */
        CHECK_EQ(p.id, i);
        CHECK_BYTES(p.payload, p.payload_len, payload, LEN);
        send_bytes(conn, "40 02 %04x", i);
        expect_published(i);
    }
    expect_silence(conn, 20);
}

static void pubrel_resent(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, false);
    CHECK_EQ(publish(handle, "t", "m", 1, 2, 0), 1);
    CHECK_EQ(publish(handle, "t", "m", 1, 2, 0), 2);
    expect_bytes(conn, "34 [ s't' 0001 'm' ] 34 [ s't' 0002 'm' ]");
    send_bytes(conn, "50 02 0001 50 02 0002");
    expect_bytes(conn, "62 02 0001 62 02 0002");
    lose(handle, conn);
    conn = again(handle, broker, false, true);
    expect_bytes(conn, "62 02 0001 62 02 0002");
    expect_silence(conn, 20);
    send_bytes(conn, "70 02 0001");
    expect_published(1);
    lose(handle, conn);
    conn = again(handle, broker, true, true);
    expect_bytes(conn, "62 02 0002");
    send_bytes(conn, "70 02 0002");
    expect_published(2);
    expect_silence(conn, 20);
    expect_no_event(0);
}

/* PUBLISH and PUBREL mixed: each kind in its order. */
static void mixed(void)
{
    enum { N = 6 };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, false);
    for (int id = 1; id <= N; id++) CHECK_EQ(publish(handle, "t", "m", 1, 2, 0), id);
    for (int id = 1; id <= N; id++) expect_bytes(conn, "34 [ s't' %04x 'm' ]", id);
    send_bytes(conn, "50 02 0002 50 02 0004"); /* 2 and 4 go on; 6 too, and to its end */
    expect_bytes(conn, "62 02 0002 62 02 0004");
    send_bytes(conn, "50 02 0006");
    expect_bytes(conn, "62 02 0006");
    send_bytes(conn, "70 02 0006");
    expect_published(6);
    lose(handle, conn);
    conn = again(handle, broker, false, true);
    int last_publish = 0, last_pubrel = 0;
    for (int i = 0; i < 5; i++) {
        packet_t p = expect_packet(conn, -1);
        if (p.first == 0x3c) {
            CHECK(p.id % 2 == 1 && p.id > last_publish);
            last_publish = p.id;
        } else {
            CHECK_EQ(p.first, 0x62);
            CHECK(p.id % 2 == 0 && p.id > last_pubrel);
            last_pubrel = p.id;
        }
    }
    CHECK_EQ(last_publish, 5);
    CHECK_EQ(last_pubrel, 4);
    expect_silence(conn, 20);
}

/* INCUMBENT 6: reconnect destroyed what was under way. Here the connection is alive when reconnect is called; it may
 * wait up to 10 s for acknowledgements first. */
static void reconnect_while_connected(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, false);
    CHECK_EQ(publish(handle, "t", "m", 1, 1, 0), 1);
    expect_bytes(conn, "32 [ s't' 0001 'm' ]");
    call_t *call = start_reconnect(handle);
    expect_eof_after_anything(conn, 13000);
    conn = accept_connect(broker);
    serve_connack(conn, true, 0);
    CHECK_EQ(call_result(call), 0);
    expect_bytes(conn, "3a [ s't' 0001 'm' ]");
    send_bytes(conn, "40 02 0001");
    expect_requested_disconnect();
    expect_event(CONNECTED);
    expect_published(1);
}

/* The same with nothing under way: at once, for both kinds of session. */
static void reconnect_when_idle(void)
{
    for (int clean = 0; clean <= 1; clean++) {
        check_row("clean session %d", clean);
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, clean);
        void *client = handle->client;
        call_t *call = start_reconnect(handle);
        expect_disconnect(conn);
        conn = broker_accept(broker);
        expect_bytes(conn, "10 [ s'MQTT' 04 %02x 003c s'c' ]", clean ? 2 : 0);
        serve_connack(conn, !clean, 0);
        CHECK_EQ(call_result_within(call, 3000), 0);
        const event_t *e = expect_event(ANY_EVENT);
        CHECK_EQ(e->kind, DISCONNECTED);
        CHECK(!e->has_data);
        CHECK_EQ(expect_event(ANY_EVENT)->kind, CONNECTED);
        CHECK(handle->client == client);
        CHECK(still_serving(conn));
        CHECK_EQ(client_deinit(handle), 0);
        events_reset();
    }
}

/* reconnect on a handle that was never connected is a connect; after a failed one the handle is still good. */
static void reconnect_first(void)
{
    broker_t *broker = broker_open();
    handle_t handle = client_for(broker_uri(broker), true);
    call_t *call = start_reconnect(handle);
    conn_t *conn = accept_connect(broker);
    serve_connack(conn, false, 3);
    CHECK_EQ(call_result(call), WM_MQTT_CLIENT_CONNACK_SERVER_UNAVAILABLE);
    expect_eof(conn, 2000);
    expect_no_event(0);
    again(handle, broker, true, false);
    expect_no_event(0);
}

/* The broker has lost the session: what is not acknowledged is not lost with it. */
static void session_not_present(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, false);
    CHECK_EQ(publish(handle, "t", "one", 3, 1, 0), 1);
    CHECK_EQ(publish(handle, "t", "two", 3, 2, 0), 2);
    expect_bytes(conn, "32 [ s't' 0001 'one' ] 34 [ s't' 0002 'two' ]");
    send_bytes(conn, "34 [ s'in' 0007 'first' ]");
    expect_bytes(conn, "50 02 0007");
    expect_data("in", "first", 5, 2);
    lose(handle, conn);
    conn = again(handle, broker, false, false);
    expect_bytes(conn, "?? [ s't' 0001 'one' ] ?? [ s't' 0002 'two' ]"); /* with DUP or without */
    send_bytes(conn, "40 02 0001");
    expect_published(1);
    send_bytes(conn, "50 02 0002");
    expect_bytes(conn, "62 02 0002");
    send_bytes(conn, "70 02 0002");
    expect_published(2);
    check_row("a new session: its packet ids are new");
    send_bytes(conn, "34 [ s'in' 0007 'second' ]");
    expect_data("in", "second", 6, 2);
    expect_bytes(conn, "50 02 0007");
    expect_no_event(0);
}

static void inbound_qos2_across_a_reconnect(void)
{
    for (int by_reconnect = 0; by_reconnect <= 1; by_reconnect++) {
        check_row("%s", by_reconnect ? "reconnect" : "connect");
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, false);
        send_bytes(conn, "34 [ s't' 0005 'once' ] 34 [ s't' 0006 'released' ]");
        expect_data("t", "once", 4, 2);
        expect_data("t", "released", 8, 2);
        expect_bytes(conn, "50 02 0005 50 02 0006");
        send_bytes(conn, "62 02 0006");
        expect_bytes(conn, "70 02 0006");
        lose(handle, conn);
        conn = again(handle, broker, by_reconnect, true);
        send_bytes(conn, "3c [ s't' 0005 'once' ]");
        expect_bytes(conn, "50 02 0005");
        send_bytes(conn, "62 02 0005");
        expect_bytes(conn, "70 02 0005");
        expect_no_event(0);
        send_bytes(conn, "62 02 0006"); /* PUBCOMP was lost */
        expect_bytes(conn, "70 02 0006");
        send_bytes(conn, "34 [ s't' 0005 'new' ] 34 [ s't' 0006 'too' ]");
        expect_data("t", "new", 3, 2);
        expect_data("t", "too", 3, 2);
        expect_bytes(conn, "50 02 0005 50 02 0006");
        CHECK_EQ(client_deinit(handle), 0);
        events_reset();
    }
}

static void clean_session_forgets(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    for (int i = 1; i <= 20; i++) CHECK_EQ(publish(handle, "t", "m", 1, 1 + i % 2, 0), i);
    for (int i = 1; i <= 20; i++) CHECK_EQ(expect_packet(conn, -1).id, i);
    send_bytes(conn, "34 [ s't' 0005 'old' ]");
    expect_data("t", "old", 3, 2);
    lose(handle, conn);
    conn = again(handle, broker, false, false);
    expect_silence(conn, 50);
    expect_no_event(0);
    check_row("the window is empty");
    for (int i = 1; i <= 20; i++) CHECK(publish(handle, "t", "m", 1, 1, 0) > 0);
    for (int i = 1; i <= 20; i++) expect_packet(conn, 0x32);
    check_row("so is the set of received QoS 2 messages");
    send_bytes(conn, "34 [ s't' 0005 'new' ]");
    expect_data("t", "new", 3, 2);
    expect_bytes(conn, "50 02 0005");
    conn_close(conn);
}

/* Not connected: nothing is accepted, so nothing is sent later. */
static void nothing_is_stored_while_away(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, false);
    lose(handle, conn);
    for (int qos = 0; qos <= 2; qos++)
        CHECK_EQ(publish(handle, "t", "m", 1, (uint8_t)qos, 0), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    conn = again(handle, broker, false, true);
    expect_silence(conn, 50);
    CHECK_EQ(publish(handle, "t", "m", 1, 1, 0), 1);
    conn_close(conn);
}

/* A requested disconnect keeps the session of clean_session 0. */
static void kept_over_a_disconnect(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, false);
    CHECK_EQ(publish(handle, "t", "m", 1, 1, 0), 1);
    expect_bytes(conn, "32 [ s't' 0001 'm' ]");
    call_t *call = start_disconnect(handle);
    packet_t p;
    REQUIRE(read_packet(conn, &p, 13000)); /* it waits 10 s for the PUBACK */
    CHECK_EQ(p.first, 0xe0);
    expect_eof(conn, 2000);
    CHECK_EQ(call_result(call), 0);
    CHECK(call_duration(call) <= 10000 + scaled(1500));
    expect_requested_disconnect();
    conn = again(handle, broker, false, true);
    expect_bytes(conn, "3a [ s't' 0001 'm' ]");
    send_bytes(conn, "40 02 0001");
    expect_published(1);
}

/* A message that the broker never takes comes again with every connect, until its handle is gone: docs/errors.md. */
static void never_taken(void)
{
    for (int qos = 1; qos <= 2; qos++) {
        check_row("QoS %d", qos);
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, false);
        CHECK_EQ(publish(handle, "forbidden", "m", 1, (uint8_t)qos, 0), 1);
        expect_bytes(conn, "%02x [ s'forbidden' 0001 'm' ]", 0x30 | qos << 1);
        for (int round = 0; round < 3; round++) {
            lose(handle, conn);
            conn = again(handle, broker, round % 2, true);
            expect_bytes(conn, "%02x [ s'forbidden' 0001 'm' ]", 0x38 | qos << 1);
        }
        lose(handle, conn);
        check_row("QoS %d: deinit, and a connect with a clean session", qos);
        CHECK_EQ(client_deinit(handle), 0);
        handle = client_for(broker_uri(broker), true);
        conn = client_connect(handle, broker, false);
        expect_silence(conn, 50);
        client_leave(handle, conn);
        check_row("QoS %d: the persistent session begins anew", qos);
        handle = client_for(broker_uri(broker), false);
        conn = client_connect(handle, broker, false);
        expect_silence(conn, 50);
        CHECK_EQ(publish(handle, "t", "m", 1, (uint8_t)qos, 0), 1);
        expect_bytes(conn, "%02x [ s't' 0001 'm' ]", 0x30 | qos << 1);
        conn_close(conn);
        expect_lost(handle);
        expect_no_event(0);
        CHECK_EQ(client_deinit(handle), 0);
    }
}

static const test_t tests[] = {
    TEST(resent),
    TEST(large_ones_resent),
    TEST(pubrel_resent),
    TEST(mixed),
    SLOW_TEST(reconnect_while_connected),
    TEST(reconnect_when_idle),
    TEST(reconnect_first),
    TEST(session_not_present),
    TEST(inbound_qos2_across_a_reconnect),
    TEST(clean_session_forgets),
    TEST(nothing_is_stored_while_away),
    TEST(never_taken),
    SLOW_TEST(kept_over_a_disconnect),
};
TESTS_MAIN(tests)

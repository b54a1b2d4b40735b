/* Keep-alive from both sides, each handle by its own clock. */
#include "check.h"
#include "client.h"

/* When something happened: between these two, since this program's threads run when the machine lets them. */
typedef struct {
    long first, last;
} moment_t;

/* A handle with this keep-alive, connected; *since is when. */
static handle_t connected(broker_t *broker, int keep_alive, conn_t **conn, moment_t *since)
{
    config_t config = {
        .uri = broker_uri(broker), .client_id = "k", .clean_session = 1, .keep_alive = (uint16_t)keep_alive};
    handle_t handle = client_new(&config);
    since->first = now_ms();
    *conn = client_connect(handle, broker, false);
    since->last = now_ms();
    return handle;
}

/* Between ms - 150 and ms + 600 after `since`. */
static void check_time(moment_t since, long ms)
{
    long now = now_ms();
    if (now - since.first < ms - scaled(150) || now - since.last > ms + scaled(600))
        FAIL("after %ld to %ld ms, want %ld", now - since.last, now - since.first, ms);
}

/* The time of the next PINGREQ, so long after the last packet. */
static void expect_ping(conn_t *conn, moment_t *since, long ms)
{
    expect_bytes(conn, "c0 00");
    check_time(*since, ms);
    since->first += ms - scaled(150);
    since->last = now_ms();
}

static void answered(void)
{
    broker_t *broker = broker_open();
    conn_t *conn;
    moment_t since;
    connected(broker, 1, &conn, &since);
    for (int i = 0; i < 3; i++) {
        check_row("PINGREQ %d", i + 1);
        expect_ping(conn, &since, 1000);
        send_bytes(conn, "d0 00");
    }
    expect_no_event(0);
}

static void not_answered(void)
{
    broker_t *broker = broker_open();
    conn_t *conn;
    moment_t since;
    handle_t handle = connected(broker, 1, &conn, &since);
    expect_bytes(conn, "c0 00");
    expect_eof(conn, 3000); /* no second PINGREQ, and no DISCONNECT: the broker is to send the will */
    check_time(since, 2000);
    expect_lost(handle);
    check_time(since, 2000);
    client_connect(handle, broker, false);
    expect_no_event(0);
}

/* INCUMBENT 6: the interval of the checks was that of the last connect, for all handles. */
static void two_handles(void)
{
    broker_t *broker = broker_open();
    conn_t *fast_conn, *slow_conn, *never_conn;
    moment_t fast_since, slow_since, never_since;
    handle_t fast = connected(broker, 1, &fast_conn, &fast_since);
    handle_t slow = connected(broker, 2, &slow_conn, &slow_since);
    connected(broker, 60, &never_conn, &never_since);
    expect_bytes(fast_conn, "c0 00");
    check_time(fast_since, 1000);
    expect_ping(slow_conn, &slow_since, 2000);
    send_bytes(slow_conn, "d0 00");
    expect_eof(fast_conn, 2000);
    check_time(fast_since, 2000);
    expect_lost(fast);
    expect_bytes(slow_conn, "c0 00");
    check_time(slow_since, 2000);
    conn_close(slow_conn);
    expect_lost(slow);
    expect_silence(never_conn, 0);
}

/* Sends all the time, receives nothing: a dead peer is noticed all the same. */
static void nothing_received(void)
{
    broker_t *broker = broker_open();
    conn_t *conn;
    moment_t since;
    long pinged = 0;
    handle_t handle = connected(broker, 1, &conn, &since);
    packet_t p;
    while (now_ms() - since.last < scaled(4000)) {
        if (wm_mqtt_client_publish(handle, "t", "m", 1, 0, 0) != 0) break;
        bool more = read_packet(conn, &p, 1000);
        for (; more && p.first == 0xc0; more = read_packet(conn, &p, 1000))
            if (!pinged) pinged = now_ms();
        if (!more) break;
        CHECK_EQ(p.first, 0x30);
        sleep_ms(100);
    }
    CHECK(pinged >= since.first + 850 && pinged <= since.last + 1000 + scaled(500));
    expect_lost(handle);
    CHECK(now_ms() >= since.first + 1850);
}

/* Receives all the time, sends nothing: the broker wants to see a packet within 1.5 keep_alive. Any byte of the broker
 * shows that it is alive, with or without PINGRESP. */
static void nothing_sent(void)
{
    broker_t *broker = broker_open();
    conn_t *conn;
    moment_t since;
    handle_t handle = connected(broker, 1, &conn, &since);
    int pings = 0;
    long last = since.last;
    while (now_ms() - since.last < 3500) {
        packet_t p;
        send_bytes(conn, "30 [ s't' 'm' ]");
        if (!read_packet(conn, &p, 200 / slowness())) continue;
        CHECK_EQ(p.first, 0xc0);
        CHECK(now_ms() - last <= 1000 + scaled(400));
        last = now_ms();
        pings++;
    }
    CHECK(pings >= 2);
    CHECK_EQ(event_count(DISCONNECTED), 0);
    check_row("then the broker falls silent");
    expect_lost(handle);
    CHECK(now_ms() - since.last >= 3500);
}

/* Acknowledgements of what the broker sends count as sent; busy in both directions: no PINGREQ. */
static void busy(void)
{
    broker_t *broker = broker_open();
    conn_t *conn;
    moment_t since;
    connected(broker, 1, &conn, &since);
    for (int i = 1; i <= 12; i++) {
        send_bytes(conn, "32 [ s't' %04x 'm' ]", i);
        expect_bytes(conn, "40 02 %04x", i);
        sleep_ms(200);
        if (slowness() > 1 && now_ms() - since.last > 250 * i) return; /* too slow to stay below one second */
    }
}

static void quiet_for_60_seconds(void)
{
    broker_t *broker = broker_open();
    conn_t *conn;
    moment_t since;
    connected(broker, 0, &conn, &since); /* 0 means 60 */
    expect_silence(conn, 2500);
    expect_no_event(0);
}

/* A disconnected handle has no clock: nothing happens to it, and to its next connection nothing early. */
static void over_after_disconnect(void)
{
    broker_t *broker = broker_open();
    conn_t *conn;
    moment_t since;
    packet_t p;
    handle_t handle = connected(broker, 1, &conn, &since);
    sleep_ms(600);
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    do p = expect_packet(conn, -1);
    while (p.first == 0xc0); /* where the machine has let us sleep for longer */
    CHECK_EQ(p.first, 0xe0);
    expect_eof(conn, 10000);
    expect_requested_disconnect();
    since.first = now_ms();
    conn = client_connect(handle, broker, false);
    since.last = now_ms();
    expect_ping(conn, &since, 1000);
}

static const test_t tests[] = {
    TEST(answered),
    TEST(not_answered),
    TEST(two_handles),
    TEST(nothing_received),
    TEST(nothing_sent),
    TEST(busy),
    TEST(quiet_for_60_seconds),
    TEST(over_after_disconnect),
};
TESTS_MAIN(tests)

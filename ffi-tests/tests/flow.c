/* publish when there is no room: the window of 20 messages, and a connection that takes no more bytes. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "check.h"
#include "client.h"

enum { WINDOW = 20 };

#define publish wm_mqtt_client_publish

/* Publishes WINDOW messages with ids from `first` on; QoS 1 and 2 share the window. */
static void fill_window(handle_t handle, conn_t *conn, int first)
{
    for (int id = first; id < first + WINDOW; id++) {
        int qos = 1 + id % 2;
        REQUIRE_EQ(publish(handle, "t", "m", 1, (uint8_t)qos, 0), id);
        REQUIRE_EQ(expect_packet(conn, 0x30 | qos << 1).id, id);
    }
}

static void acknowledge(conn_t *conn, int id)
{
    if (id % 2 == 0) {
        send_bytes(conn, "40 02 %04x", id);
    } else {
        send_bytes(conn, "50 02 %04x", id);
        expect_bytes(conn, "62 02 %04x", id);
        send_bytes(conn, "70 02 %04x", id);
    }
}

/* INCUMBENT 2: the window was 1, and every publish behind it blocked, QoS 0 too. */
static void window(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    fill_window(handle, conn, 1);

    call_t *blocked = start_publish(handle, "t", "m", 1, 1);
    CHECK(!call_done(blocked, 50));
    expect_silence(conn, 10);
    CHECK_EQ(publish(handle, "t", "m", 1, 0, 0), 0);
    expect_bytes(conn, "30 [ s't' 'm' ]");
    call_t *subscribe = start_subscribe(handle, "s", 0);
    packet_t p = expect_packet(conn, 0x82);
    int sub_id = p.id;
    send_bytes(conn, "90 03 %04x 00", sub_id);
    CHECK_EQ(call_result(subscribe), sub_id);
    CHECK(!call_done(blocked, 0));

    check_row("a PUBREC makes no room, a PUBCOMP does");
    send_bytes(conn, "50 02 0001");
    expect_bytes(conn, "62 02 0001");
    CHECK(!call_done(blocked, 50));
    send_bytes(conn, "70 02 0001");
    int id = call_result_within(blocked, 2000);
    CHECK(id > WINDOW);
    expect_published(1);
    CHECK_EQ(expect_packet(conn, 0x32).id, id);

    check_row("acknowledged in another order");
    send_bytes(conn, "40 02 %04x", id);
    expect_published(id);
    for (int k = WINDOW; k >= 2; k--) {
        acknowledge(conn, k);
        expect_published(k);
    }
    expect_no_event(0);
}

/* Several callers wait; each acknowledgement lets one of them go on, in the order in which they came. */
static void several_wait(void)
{
    enum { CALLERS = 5 };
    static const char *const names[CALLERS] = {"0", "1", "2", "3", "4"};
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    fill_window(handle, conn, 1);
    call_t *calls[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        calls[i] = start_publish(handle, "t", names[i], 1, 1);
        CHECK(call_waits(calls[i]));
    }
    expect_silence(conn, 10);
    for (int i = 0; i < CALLERS; i++) {
        acknowledge(conn, 2 + 2 * i);
        packet_t p = expect_packet(conn, 0x32);
        CHECK_EQ(p.id, WINDOW + 1 + i);
        CHECK_EQ(p.payload[0], names[i][0]);
    }
    for (int i = 0; i < CALLERS; i++) CHECK_EQ(call_result_within(calls[i], 2000), WINDOW + 1 + i);
    conn_close(conn);
}

static int publish_again_and_again(void *handle)
{
    int result;
    do result = publish(handle, "eager", "m", 1, 1, 0);
    while (result > 0);
    return result;
}

/* Whoever publishes again and again does not keep those out who wait. One whose thread the machine does not run in its turn
 * is passed over: the next acknowledgement is the next one's turn. That is the machine's doing in some of the rounds; in all of
 * them it is not. */
static void eager_ones_queue_too(void)
{
    enum { ROUNDS = 20 };
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    call_t *eager[4];
    for (int i = 0; i < 4; i++) eager[i] = start_call(publish_again_and_again, handle);
    int passed_over = 0;
    for (int round = 0; round < ROUNDS; round++) {
        /* Nothing is acknowledged meanwhile: the window is full, and the new one waits behind the eager ones. */
        call_t *patient = start_publish(handle, "patient", "m", 1, 1);
        CHECK(threads_come_to_rest());
        int others = 0;
        for (bool served = false; !served; others++) {
            packet_t p = expect_packet(conn, 0x32);
            send_bytes(conn, "40 02 %04x", p.id);
            served = p.topic[0] == 'p';
        }
        /* Those on their way and those before it. */
        passed_over += others > 2 * WINDOW;
        CHECK(call_result_within(patient, 2000) > 0);
    }
    CHECK(passed_over < ROUNDS);
    conn_reset(conn);
    for (int i = 0; i < 4; i++) CHECK_EQ(call_result_within(eager[i], 2000), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    expect_lost(handle);
}

/* INCUMBENT 7: a QoS 1 message that is never acknowledged hung the next publish for ever. */
static void window_stays_full(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    fill_window(handle, conn, 1);
    call_t *blocked = start_publish(handle, "t", "m", 1, 2);
    CHECK_EQ(call_result(blocked), WM_MQTT_CLIENT_ERROR_MAX_MESSAGES_INFLIGHT);
    CHECK(call_duration(blocked) >= 9500 && call_duration(blocked) <= 10000 + scaled(1500));
    expect_silence(conn, 20);
    acknowledge(conn, 2);
    expect_published(2);
    CHECK(publish(handle, "t", "m", 1, 1, 0) > WINDOW);
    conn_close(conn);
}

static void link_drops(void)
{
    for (int how = 0; how < 3; how++) {
        check_row("%s", how == 0 ? "FIN" : how == 1 ? "RST" : "malformed packet");
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, true);
        fill_window(handle, conn, 1);
        call_t *blocked[3];
        for (int i = 0; i < 3; i++) blocked[i] = start_publish(handle, "t", "m", 1, 1 + i % 2);
        CHECK(call_waits(blocked[2]));
        if (how == 0) conn_close(conn);
        if (how == 1) conn_reset(conn);
        if (how == 2) send_bytes(conn, "00 00");
        for (int i = 0; i < 3; i++) CHECK_EQ(call_result_within(blocked[i], 2000), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
        expect_lost(handle);
        CHECK_EQ(publish(handle, "t", "m", 1, 1, 0), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
        CHECK_EQ(client_deinit(handle), 0);
        expect_no_event(0);
    }
}

/* disconnect waits for what is under way (10 s at most), but whoever has not got in yet does not get in any more. */
static void disconnect_while_blocked(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    handle_t handle = connected_client(&broker, &conn, true);
    fill_window(handle, conn, 1);
    call_t *blocked = start_publish(handle, "t", "m", 1, 1);
    CHECK(call_waits(blocked));
    call_t *disconnect = start_disconnect(handle);
    CHECK_EQ(call_result(blocked), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    for (int id = 1; id <= WINDOW; id++) {
        acknowledge(conn, id);
        expect_published(id);
    }
    expect_disconnect(conn);
    CHECK_EQ(call_result_within(disconnect, 2000), 0);
    expect_requested_disconnect();
    expect_no_event(0);
}

/* ---- the end of a connection ---- */

enum { MESSAGES = 6, LENGTH = 50000, ALL = MESSAGES * (LENGTH + 7) + 2 };

static int publish_and_disconnect(void *handle)
{
    char *payload = check_alloc(LENGTH);
    int result = 0;
    for (int i = 0; result == 0 && i < MESSAGES; i++) result = publish(handle, "t", payload, LENGTH, 0, 0);
    __builtin_free(payload);
    return result ? result : wm_mqtt_client_disconnect(handle);
}

/* 300,000 bytes in front of the DISCONNECT, and a server that reads so many bytes in 20 ms and talks all the time. All of
 * it arrives, or disconnect says that it may not have. */
static void read_slowly(handle_t handle, conn_t *conn, size_t bytes, bool in_time)
{
    call_t *call = start_call(publish_and_disconnect, handle);
    size_t count = 0;
    uint8_t last[2] = {0};
    long started = now_ms();
    for (bool open = true; open && now_ms() - started < scaled(12000) && (in_time || !call_done(call, 0));) {
        uint8_t *buffer = check_alloc(bytes);
        ssize_t len = recv(conn->fd, buffer, bytes, MSG_DONTWAIT);
        open = len > 0 || (len < 0 && errno == EAGAIN);
        if (len == 1) last[0] = last[1], last[1] = buffer[0];
        if (len >= 2) memcpy(last, buffer + len - 2, 2);
        if (len > 0) count += (size_t)len;
        __builtin_free(buffer);
        send_bytes(conn, "d0 00");
        sleep_ms(20);
    }
    if (in_time) {
        CHECK_EQ(count, ALL);
        CHECK(last[0] == 0xe0 && last[1] == 0);
        CHECK_EQ(call_result_within(call, 2000), 0);
    } else {
        CHECK_EQ(call_result(call), WM_MQTT_CLIENT_ERROR_FAILURE);
        CHECK(call_duration(call) >= 9500 && call_duration(call) <= 10000 + scaled(1500));
    }
    expect_requested_disconnect();
}

static void disconnect_loses_nothing(void)
{
    broker_t *broker = broker_open();
    handle_t handle = client_for(broker_uri(broker), true);
    read_slowly(handle, client_connect(handle, broker, false), 8000, true);
}

static void disconnect_says_what_may_be_lost(void)
{
    broker_t *broker = broker_open_stalled();
    handle_t handle = client_for(broker_uri(broker), true);
    read_slowly(handle, client_connect(handle, broker, false), 10, false);
}

/* A connect, too, waits behind a disconnect; ending that ends it at once, and nothing connects later. */
static void connect_behind_a_disconnect(void)
{
    static const struct {
        const char *name;
        call_t *(*end)(handle_t);
    } rows[] = {{"disconnect", start_disconnect}, {"deinit", start_deinit}};
    for (int i = 0; i < 2; i++) {
        check_row("%s", rows[i].name);
        broker_t *broker = NULL;
        conn_t *conn;
        handle_t handle = connected_client(&broker, &conn, true);
        CHECK_EQ(publish(handle, "t", "m", 1, 1, 0), 1);
        expect_packet(conn, 0x32);
        call_t *first = start_disconnect(handle);
        CHECK(call_waits(first));
        call_t *connect = start_connect(handle);
        CHECK(call_waits(connect));
        call_t *last = rows[i].end(handle);
        CHECK_EQ(call_result_within(connect, 2000), WM_MQTT_CLIENT_ERROR_FAILURE);
        CHECK(!call_done(first, 0));
        send_bytes(conn, "40 02 0001");
        expect_published(1);
        expect_disconnect(conn);
        CHECK_EQ(call_result_within(first, 2000), 0);
        CHECK_EQ(call_result_within(last, 2000), 0);
        expect_no_connection(broker, 300);
        expect_requested_disconnect();
        expect_no_event(0);
    }
}

/* ---- congestion ---- */

enum { CHUNK = 60000 };

typedef struct {
    handle_t handle;
    int count, sent; /* to publish; went well */
} flood_t;

static int flood(void *arg)
{
    flood_t *f = arg;
    char *payload = check_alloc(CHUNK);
    int result = 0;
    while (result == 0 && f->sent < f->count) {
        payload[0] = (char)f->sent;
        result = publish(f->handle, "flood", payload, CHUNK, 0, 0);
        if (result == 0) f->sent++;
    }
    __builtin_free(payload);
    return result;
}

static void check_flood(conn_t *conn, int count)
{
    for (int i = 0; i < count; i++) {
        packet_t p = expect_packet(conn, 0x30);
        REQUIRE_EQ(p.payload_len, CHUNK);
        REQUIRE_EQ(p.payload[0], (uint8_t)i);
        REQUIRE_EQ(p.payload[CHUNK - 1], 0);
    }
}

static void congested_for_a_while(void)
{
    broker_t *broker = broker_open_stalled();
    handle_t handle = client_for(broker_uri(broker), true);
    conn_t *conn = client_connect(handle, broker, false);
    flood_t f = {handle, 200, 0};
    call_t *call = start_call(flood, &f);
    CHECK(!call_done(call, 200));
    check_flood(conn, f.count);
    CHECK_EQ(call_result(call), 0);
    CHECK_EQ(f.sent, f.count);
    expect_no_event(0);
}

/* INCUMBENT 2: publish waited without a limit. */
static void congested(void)
{
    broker_t *broker = broker_open_stalled();
    handle_t handle = client_for(broker_uri(broker), true);
    conn_t *conn = client_connect(handle, broker, false);
    flood_t f = {handle, 5000, 0};
    long started = now_ms();
    call_t *call = start_call(flood, &f);
    CHECK_EQ(call_result_within(call, 20000), WM_MQTT_CLIENT_ERROR_FAILURE);
    CHECK(now_ms() - started >= 9500);
    check_row("what was refused was not sent in part, and the connection goes on");
    check_flood(conn, f.sent);
    expect_no_event(0);
    CHECK_EQ(publish(handle, "t", "m", 1, 0, 0), 0);
    expect_bytes(conn, "30 [ s't' 'm' ]");
}

static void congested_and_dropped(void)
{
    broker_t *broker = broker_open_stalled();
    handle_t handle = client_for(broker_uri(broker), true);
    conn_t *conn = client_connect(handle, broker, false);
    flood_t f = {handle, 5000, 0};
    call_t *call = start_call(flood, &f);
    CHECK(!call_done(call, 200));
    conn_reset(conn);
    CHECK_EQ(call_result_within(call, 3000), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    expect_lost(handle);
}

/* The other handles do not notice. */
static void others_go_on(void)
{
    broker_t *stalled = broker_open_stalled(), *broker = NULL;
    handle_t handle = client_for(broker_uri(stalled), true);
    conn_t *stalled_conn = client_connect(handle, stalled, false), *conn;
    flood_t f = {handle, 5000, 0};
    call_t *call = start_call(flood, &f);
    CHECK(!call_done(call, 200));
    handle_t other = connected_client(&broker, &conn, true);
    for (int i = 1; i <= 10; i++) {
        CHECK_EQ(publish(other, "t", "m", 1, 1, 0), i);
        expect_bytes(conn, "32 [ s't' %04x 'm' ]", i);
        send_bytes(conn, "40 02 %04x", i);
        expect_published(i);
    }
    CHECK_EQ(client_deinit(other), 0);
    expect_disconnect(conn);
    conn_reset(stalled_conn);
    CHECK_EQ(call_result_within(call, 3000), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
}

static const test_t tests[] = {
    TEST(window),
    TEST(several_wait),
    TEST(eager_ones_queue_too),
    SLOW_TEST(window_stays_full),
    TEST(link_drops),
    TEST(disconnect_while_blocked),
    TEST(disconnect_loses_nothing),
    SLOW_TEST(disconnect_says_what_may_be_lost),
    TEST(connect_behind_a_disconnect),
    TEST(congested_for_a_while),
    SLOW_TEST(congested),
    TEST(congested_and_dropped),
    TEST(others_go_on),
};
TESTS_MAIN(tests)

/* One MQTT thread for all handles, from the first connect to the last deinit, and asleep while nothing happens. */
#include "check.h"
#include "client.h"

enum { MAX = 64 };

static int before[MAX], before_count;

static void remember_threads(void)
{
    events_flush();
    before_count = thread_ids(before, MAX);
}

/* A thread that has ended is still listed for a moment. */
static bool back_to(int count)
{
    for (long until = now_ms() + scaled(3000); thread_count() != count; sleep_ms(1))
        if (now_ms() > until) return false;
    return true;
}

static void one_for_all(void)
{
    enum { N = 3 };
    broker_t *broker = broker_open();
    remember_threads();
    handle_t handles[N];
    for (int i = 0; i < N; i++) handles[i] = client_for(broker_uri(broker), true);
    CHECK_EQ(thread_count(), before_count); /* init needs none */
    for (int i = 0; i < N; i++) {
        client_connect(handles[i], broker, false);
        CHECK(back_to(before_count + 1));
    }
    int id = new_thread(before, before_count);
    CHECK(id > 0);
    check_row("it stays until the last handle goes");
    for (int i = 0; i < N; i++) CHECK_EQ(wm_mqtt_client_disconnect(handles[i]), 0);
    for (int i = 0; i < N - 1; i++) CHECK_EQ(client_deinit(handles[i]), 0);
    CHECK_EQ(new_thread(before, before_count), id);
    CHECK_EQ(client_deinit(handles[N - 1]), 0);
    CHECK(back_to(before_count));
    check_row("and comes back");
    handle_t handle = client_for(broker_uri(broker), true);
    client_connect(handle, broker, false);
    CHECK(back_to(before_count + 1));
    CHECK_EQ(client_deinit(handle), 0);
    CHECK(back_to(before_count));
}

static void deinit_in_callback(const event_t *event, void *handle)
{
    if (event->kind == DATA) CHECK_EQ(wm_mqtt_client_deinit(handle), 0);
}

static void ends_after_deinit_in_a_callback(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    remember_threads();
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK(back_to(before_count + 1));
    client_forget(handle);
    events_hook(deinit_in_callback, handle);
    send_bytes(conn, "30 [ s't' 'm' ]");
    expect_event(DATA);
    expect_disconnect(conn);
    CHECK(back_to(before_count));
}

static void failed_connect(void)
{
    remember_threads();
    handle_t handle = client_for(test_printf("%s://127.0.0.1:%d", scheme_name(), unused_port()), true);
    CHECK_EQ(wm_mqtt_client_connect(handle), WM_MQTT_CLIENT_ERROR_FAILURE);
    CHECK_EQ(client_deinit(handle), 0);
    CHECK(back_to(before_count));
}

/* How often this thread went to sleep within 3 s: each time it had been woken up. */
static long wake_ups(int id)
{
    long switches = thread_switches(id);
    /* Let it come to rest. */
    for (long now, until = now_ms() + scaled(5000); sleep_ms(200), (now = thread_switches(id)) != switches && now_ms() < until;)
        switches = now;
    sleep_ms(3000);
    return thread_switches(id) - switches;
}

/* INCUMBENT 6: 10 polls a second when connected and idle, 200 wake-ups a second when not connected. */
static void asleep(void)
{
    broker_t *broker = NULL;
    conn_t *one, *two;
    remember_threads();
    handle_t first = connected_client(&broker, &one, true), second = connected_client(&broker, &two, true);
    CHECK(back_to(before_count + 1));
    int id = new_thread(before, before_count);
    REQUIRE(id > 0);
    long limit = slowness() > 1 ? 50 : 0; /* valgrind's own scheduler switches too */
    check_row("connected");
    long n = wake_ups(id);
    if (n > limit) FAIL("%ld wake-ups", n);
    check_row("one lost, one disconnected");
    conn_close(one);
    expect_lost(first);
    CHECK_EQ(wm_mqtt_client_disconnect(second), 0);
    expect_disconnect(two);
    conn_close(two);
    n = wake_ups(id);
    if (n > limit) FAIL("%ld wake-ups", n);
}

/* After traffic, timers and buffers leave nothing ticking. */
static void asleep_after_work(void)
{
    broker_t *broker = NULL;
    conn_t *conn;
    remember_threads();
    handle_t handle = connected_client(&broker, &conn, true);
    CHECK(back_to(before_count + 1));
    int id = new_thread(before, before_count);
    REQUIRE(id > 0);
    for (int i = 1; i <= 50; i++) {
        CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0), i);
        expect_bytes(conn, "32 [ s't' %04x 'm' ]", i);
        send_bytes(conn, "40 02 %04x 32 [ s'u' %04x 'n' ]", i, i);
        expect_bytes(conn, "40 02 %04x", i);
    }
    CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0), 51); /* one stays under way */
    REQUIRE(wait_count(DATA, 50, 5000) && wait_count(PUBLISHED, 50, 5000));
    long n = wake_ups(id);
    if (n > (slowness() > 1 ? 50 : 0)) FAIL("%ld wake-ups", n);
    conn_close(conn);
}

static const test_t tests[] = {
    TEST(one_for_all),
    TEST(ends_after_deinit_in_a_callback),
    TEST(failed_connect),
    TEST(asleep),
    TEST(asleep_after_work),
};
TESTS_MAIN(tests)

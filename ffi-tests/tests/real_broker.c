/* End to end over mosquitto. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "client.h"
#include "mosquitto.h"
#include "raw_client.h"

#define publish wm_mqtt_client_publish

static handle_t connected(mosquitto_t *broker, char *id, bool clean)
{
    handle_t handle = client_new(&(config_t){.uri = mosquitto_uri(broker), .client_id = id, .clean_session = clean});
    REQUIRE_EQ(wm_mqtt_client_connect(handle), 0);
    expect_event(CONNECTED);
    return handle;
}

static int lower(int a, int b) { return a < b ? a : b; }

static void qos_matrix(void)
{
    mosquitto_t *broker = mosquitto_start(NULL);
    handle_t handle = connected(broker, "c", true);
    raw_client_t *raw = raw_connect(mosquitto_port(broker), "raw", true);
    for (int sub = 0; sub <= 2; sub++) {
        char *in = test_printf("in/%d", sub), *out = test_printf("out/%d", sub);
        CHECK(wm_mqtt_client_subscribe(handle, in, (uint8_t)sub) > 0);
        raw_subscribe(raw, out, sub);
        for (int pub = 0; pub <= 2; pub++) {
            check_row("published with QoS %d, subscribed with %d", pub, sub);
            raw_publish(raw, in, "to the library", 14, pub, false);
            CHECK_EQ(expect_data(in, "to the library", 14, lower(pub, sub))->retained, 0);
            int id = publish(handle, out, "from the library", 0, (uint8_t)pub, 0);
            CHECK_EQ(id > 0, pub > 0);
            raw_message_t message;
            REQUIRE(raw_receive(raw, &message, 5000));
            CHECK_STR(message.topic, out);
            CHECK_STR(message.payload, "from the library");
            CHECK_EQ(message.qos, lower(pub, sub));
            if (pub) expect_published(id);
        }
    }
    CHECK(raw_silence(raw, 50));
    expect_no_event(0);
}

/* To itself, as applications do. */
static void echo(void)
{
    enum { N = 1000 };
    mosquitto_t *broker = mosquitto_start("max_queued_messages 0");
    handle_t handle = connected(broker, "c", true);
    CHECK(wm_mqtt_client_subscribe(handle, "echo/#", 2) > 0);
    for (int qos = 0; qos <= 2; qos++) {
        check_row("QoS %d", qos);
        char text[16];
        for (int i = 0; i < N; i++) {
            snprintf(text, sizeof text, "%d", i);
            int result = publish(handle, "echo/x", text, 0, (uint8_t)qos, 0);
            if ((result > 0) != (qos > 0) || result < 0) FAIL("publish %d returns %d", i, result);
        }
        for (int i = 0; i < N; i++) {
            const event_t *e = expect_event(DATA);
            if (atoi(e->payload) != i || e->qos != qos) FAIL("message %s, QoS %d where %d was due", e->payload, e->qos, i);
        }
        CHECK(wait_count(PUBLISHED, qos ? N : 0, 5000));
        events_reset();
    }
}

/* As fast as publish lets; with small socket buffers most of it waits somewhere between us and the broker. */
static void bursts(void)
{
    enum { N = 100 };
#ifdef WM_MQTT_ON_DEVICE /* whose heap does not hold a window of larger ones */
    static const uint16_t sizes[] = {600, 1500, 3000};
#else
    static const uint16_t sizes[] = {600, 1500, 3000, 20000};
#endif
    mosquitto_t *broker = mosquitto_start("max_inflight_messages 0");
    handle_t handle = connected(broker, "c", false);
    char *payload = test_alloc(20001);
    memset(payload, 'x', 20000);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int qos = 1; qos <= 2; qos++) {
            check_row("%u bytes, QoS %d", sizes[i], qos);
            for (int n = 0; n < N; n++) CHECK(publish(handle, "t", payload, sizes[i], (uint8_t)qos, 0) > 0);
            CHECK(wait_count(PUBLISHED, N, 20000));
            CHECK_EQ(event_count(PUBLISHED), N);
            CHECK_EQ(event_count(DISCONNECTED), 0);
            check_row("%u bytes, QoS %d, with the connection anew in the middle", sizes[i], qos);
            CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
            CHECK_EQ(wm_mqtt_client_connect(handle), 0); /* no reconnect has made it, so one ends it */
            events_reset();
            for (int n = 0; n < N; n++) {
                if (n == N / 2) CHECK_EQ(wm_mqtt_client_reconnect(handle), 0);
                CHECK(publish(handle, "t", payload, sizes[i], (uint8_t)qos, 0) > 0);
            }
            CHECK(wait_count(PUBLISHED, N, 20000));
            CHECK_EQ(event_count(PUBLISHED), N);
            CHECK_EQ(event_count(DISCONNECTED), 1);
            events_reset();
        }
    }
}

static void retained(void)
{
    mosquitto_t *broker = mosquitto_start(NULL);
    handle_t handle = connected(broker, "c", true);
    CHECK(publish(handle, "r/1", "kept", 0, 1, 1) > 0);
    expect_event(PUBLISHED);
    CHECK(wm_mqtt_client_subscribe(handle, "r/+", 1) > 0);
    CHECK_EQ(expect_data("r/1", "kept", 4, 1)->retained, 1);
    check_row("what comes later is not");
    CHECK(publish(handle, "r/1", "changed", 0, 1, 1) > 0);
    CHECK_EQ(expect_data("r/1", "changed", 7, 1)->retained, 0);
    check_row("deleted");
    CHECK(publish(handle, "r/1", NULL, 0, 1, 1) > 0);
    expect_data("r/1", "", 0, 1);
    CHECK(wm_mqtt_client_unsubscribe(handle, "r/+") > 0);
    CHECK(wm_mqtt_client_subscribe(handle, "r/+", 1) > 0);
    events_flush();
    while (wait_event(PUBLISHED, 0)) {
    }
    expect_no_event(100);
}

static void large_payloads(void)
{
#ifdef WM_MQTT_ON_DEVICE
    enum { LEN = 65535, TOO_LARGE = 70000 }; /* what its memory holds */
#else
    enum { LEN = 65535, TOO_LARGE = 200000 };
#endif
    mosquitto_t *broker = mosquitto_start(NULL);
    handle_t handle = connected(broker, "c", true);
    raw_client_t *raw = raw_connect(mosquitto_port(broker), "raw", true);
    char *payload = test_alloc(TOO_LARGE + 1);
    for (int i = 0; i < TOO_LARGE; i++) payload[i] = (char)(1 + (i * 7 + i / 250) % 255);
    raw_subscribe(raw, "out", 2);
    CHECK(wm_mqtt_client_subscribe(handle, "in", 2) > 0);
    for (int qos = 0; qos <= 2; qos++) {
        check_row("QoS %d", qos);
        raw_publish(raw, "in", payload, LEN, qos, false);
        expect_data("in", payload, LEN, qos);
        raw_message_t message;
        CHECK(publish(handle, "out", payload, LEN, (uint8_t)qos, 0) >= 0);
        REQUIRE(raw_receive(raw, &message, 10000));
        CHECK_BYTES(message.payload, message.len, payload, LEN);
        check_row("QoS %d, larger than an event can say", qos);
        raw_publish(raw, "in", payload, TOO_LARGE, qos, false);
        raw_publish(raw, "in", "next", 4, qos, false);
        expect_data("in", "next", 4, qos);
        CHECK(publish(handle, "out", payload, 0, (uint8_t)qos, 0) >= 0); /* the length of the string */
        REQUIRE(raw_receive(raw, &message, 10000));
        CHECK_BYTES(message.payload, message.len, payload, TOO_LARGE);
    }
}

static void unsubscribed(void)
{
    mosquitto_t *broker = mosquitto_start(NULL);
    handle_t handle = connected(broker, "c", true);
    raw_client_t *raw = raw_connect(mosquitto_port(broker), "raw", true);
    CHECK(wm_mqtt_client_subscribe(handle, "a/#", 1) > 0);
    CHECK(wm_mqtt_client_subscribe(handle, "b/+", 2) > 0);
    raw_publish(raw, "a/x/y", "1", 1, 1, false);
    expect_data("a/x/y", "1", 1, 1);
    CHECK(wm_mqtt_client_unsubscribe(handle, "a/#") > 0);
    CHECK(wm_mqtt_client_unsubscribe(handle, "never/subscribed") > 0);
    raw_publish(raw, "a/x/y", "2", 1, 1, false);
    raw_publish(raw, "b/x", "3", 1, 2, false);
    expect_data("b/x", "3", 1, 2);
    expect_no_event(50);
}

static void persistent_session(void)
{
    enum { N = 100 };
    mosquitto_t *broker = mosquitto_start(NULL);
    handle_t handle = connected(broker, "c", false);
    CHECK(wm_mqtt_client_subscribe(handle, "p/#", 2) > 0);
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    expect_requested_disconnect();
    raw_client_t *raw = raw_connect(mosquitto_port(broker), "raw", true);
    raw_publish_many(raw, "p/1", N, 1);
    raw_publish_many(raw, "p/2", N, 2);
    check_row("a handle of its own, as after a restart of the device");
    CHECK_EQ(client_deinit(handle), 0);
    handle = connected(broker, "c", false);
    for (int qos = 1; qos <= 2; qos++) {
        for (int i = 0; i < N; i++) {
            char *text = test_printf("%d", i);
            expect_data(qos == 1 ? "p/1" : "p/2", text, strlen(text), qos);
        }
    }
    check_row("a clean session ends it");
    CHECK_EQ(client_deinit(handle), 0);
    expect_requested_disconnect();
    handle = connected(broker, "c", true);
    CHECK_EQ(client_deinit(handle), 0);
    expect_requested_disconnect();
    raw_publish(raw, "p/1", "lost", 4, 1, false);
    connected(broker, "c", false);
    expect_no_event(100);
}

static void same_client_id(void)
{
    mosquitto_t *broker = mosquitto_start(NULL);
    handle_t first = connected(broker, "same", true), second = connected(broker, "same", true);
    expect_lost(first);
    CHECK_EQ(publish(first, "t", "m", 1, 0, 0), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    CHECK(publish(second, "t", "m", 1, 1, 0) > 0);
    expect_event(PUBLISHED);
    CHECK_EQ(wm_mqtt_client_connect(first), 0);
    expect_lost(second);
    expect_event(CONNECTED);
    expect_no_event(50);
}

static void bad_credentials(void)
{
    mosquitto_t *broker = mosquitto_start("allow_anonymous false");
    config_t config = {.uri = mosquitto_uri(broker), .username = "nobody", .password = "wrong", .clean_session = 1};
    CHECK_EQ(wm_mqtt_client_connect(client_new(&config)), WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED);
    config.username = config.password = NULL;
    CHECK_EQ(wm_mqtt_client_connect(client_new(&config)), WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED);
    expect_no_event(0);
}

static void broker_restarts(void)
{
    mosquitto_t *broker = mosquitto_start(NULL);
    handle_t handle = connected(broker, "c", false);
    for (int i = 0; i < 3; i++) {
        check_row("round %d", i);
        if (i % 2) mosquitto_stop(broker);
        else mosquitto_kill(broker);
        expect_lost(handle);
        CHECK_EQ(wm_mqtt_client_connect(handle), WM_MQTT_CLIENT_ERROR_FAILURE);
        mosquitto_restart(broker);
        CHECK_EQ(i ? wm_mqtt_client_connect(handle) : wm_mqtt_client_reconnect(handle), 0);
        expect_event(CONNECTED);
        CHECK(wm_mqtt_client_subscribe(handle, "t", 1) > 0);
        int id = publish(handle, "t", "m", 1, 2, 0);
        expect_data("t", "m", 1, 1);
        expect_published(id);
    }
    expect_no_event(0);
}

/* The broker dies in the middle of a stream of messages: what was not acknowledged arrives after its return. */
static void nothing_lost_by_a_restart(void)
{
    enum { N = 15 }; /* within the window: nobody blocks while the broker is away */
    mosquitto_t *broker = mosquitto_start(NULL);
    handle_t handle = connected(broker, "c", false);
    mosquitto_freeze(broker);
    int ids[N];
    for (int i = 0; i < N; i++) ids[i] = publish(handle, "t", test_printf("%d", i), 0, (uint8_t)(1 + i % 2), 0);
    mosquitto_kill(broker);
    expect_lost(handle);
    expect_no_event(0);
    mosquitto_restart(broker);
    raw_client_t *raw = raw_connect(mosquitto_port(broker), "raw", true);
    raw_subscribe(raw, "t", 2);
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    for (int i = 0; i < N; i++) {
        raw_message_t message;
        REQUIRE(raw_receive(raw, &message, 5000));
    }
    CHECK(raw_silence(raw, 50));
    CHECK(wait_count(PUBLISHED, N, 5000));
    for (int i = 0; i < N; i++) CHECK(ids[i] > 0);
}

/* A message that is too large for the broker ends every connection, until the application does what docs/errors.md says. */
static void never_taken(void)
{
    static char large[1000];
    memset(large, 'x', sizeof large);
    mosquitto_t *broker = mosquitto_start("max_packet_size 500");
    for (int qos = 1; qos <= 2; qos++) {
        check_row("QoS %d", qos);
        handle_t handle = connected(broker, "c", false);
        CHECK(wm_mqtt_client_subscribe(handle, "t", 1) > 0);
        CHECK(publish(handle, "t", large, sizeof large, (uint8_t)qos, 0) > 0);
        expect_lost(handle);
        for (int round = 0; round < 3; round++) {
            CHECK_EQ(wm_mqtt_client_connect(handle), 0);
            expect_event(CONNECTED);
            expect_lost(handle);
        }
        CHECK_EQ(client_deinit(handle), 0);
        handle = connected(broker, "c", true);
        CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
        expect_requested_disconnect();
        CHECK_EQ(client_deinit(handle), 0);
        check_row("QoS %d, a new session", qos);
        handle = connected(broker, "c", false);
        CHECK(wm_mqtt_client_subscribe(handle, "t", 1) > 0);
        int id = publish(handle, "t", "m", 1, (uint8_t)qos, 0);
        expect_data("t", "m", 1, 1);
        expect_published(id);
        expect_no_event(50);
        CHECK_EQ(client_deinit(handle), 0);
        expect_requested_disconnect();
    }
}

static const test_t tests[] = {
    TEST(qos_matrix),
    TEST(echo),
    LONG_TEST(bursts, 120),
    TEST(retained),
    TEST(large_payloads),
    TEST(unsubscribed),
    TEST(persistent_session),
    TEST(same_client_id),
    TEST(bad_credentials),
    TEST(broker_restarts),
    TEST(nothing_lost_by_a_restart),
    TEST(never_taken),
};
TESTS_MAIN(tests)

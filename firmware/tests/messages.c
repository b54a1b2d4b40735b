/* What a message takes in a burst: instructions of all tasks over TCP, where the emulator counts them, from the call of publish, or from
 * its bytes in the socket, until its event was delivered. What is the same for any number of messages falls out between two numbers.
 * On C-SKY for firmware/instructions.py:
 *
 *     INSTRUCTIONS messages ; ROW ; COLUMN ; NUMBER */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "check.h"
#include "client.h"
#include "mosquitto.h"
#include "wm_event.h"

enum { ROUNDS = 8, FEW = 60, MANY = 260, LARGEST = 256 };
static const char topic[] = "bench/messages";
static const char payload[LARGEST];
static volatile int published, received;

/* Instead of the harness', which keeps them all. */
static void count(wm_event_group_t group, int event, void *data, void *priv)
{
    (void)group, (void)priv;
    if (event == PUBLISHED) published++;
    if (event != DATA) return;
    struct wm_mqtt_client_data_info *message = data;
    free(message->topic);
    free(message->payload);
    received++;
}

static void wait_for(volatile int *counter, int count)
{
    for (long until = now_ms() + scaled(20000); *counter < count; sleep_ms(2)) REQUIRE(now_ms() < until);
}

static void publish_all(handle_t handle, int count, int size, int qos)
{
    published = 0;
    for (int i = 0; i < count; i++) REQUIRE(wm_mqtt_client_publish(handle, topic, payload, size, (uint8_t)qos, 0) >= 0);
    /* A broker takes messages in their order. */
    if (qos == 0) REQUIRE(wm_mqtt_client_publish(handle, topic, "", 0, 1, 0) > 0);
    wait_for(&published, qos ? count : 1);
}

static uint64_t publishing(handle_t handle, handle_t receiver, int count, int size, int qos)
{
    (void)receiver;
    uint64_t before = board_instructions();
    publish_all(handle, count, size, qos);
    return board_instructions() - before;
}

/* They wait for the receiver in its session. */
static uint64_t receiving(handle_t handle, handle_t receiver, int count, int size, int qos)
{
    REQUIRE_EQ(wm_mqtt_client_connect(receiver), 0);
    REQUIRE(wm_mqtt_client_subscribe(receiver, topic, (uint8_t)qos) > 0);
    REQUIRE_EQ(wm_mqtt_client_disconnect(receiver), 0);
    publish_all(handle, count, size, qos);
    received = 0;
    uint64_t before = board_instructions();
    REQUIRE_EQ(wm_mqtt_client_connect(receiver), 0);
    wait_for(&received, count);
    uint64_t taken = board_instructions() - before;
    REQUIRE(wm_mqtt_client_unsubcribe(receiver, topic) > 0);
    REQUIRE_EQ(wm_mqtt_client_disconnect(receiver), 0);
    return taken;
}

/* Waiting costs ticks, and what the network is late with is sent again. */
static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void messages(void)
{
    static const struct {
        const char *name;
        uint64_t (*count)(handle_t, handle_t, int, int, int);
    } kinds[] = {{"publish", publishing}, {"receive", receiving}};
    static const int sizes[] = {16, LARGEST};
    mosquitto_t *broker = mosquitto_start("max_queued_messages 0\nmax_inflight_messages 0\nqueue_qos0_messages true");
    events_remove();
    REQUIRE_EQ(wm_event_add_callback(WM_MQTT_EV, WM_EVENT_ANY_TYPE, count, NULL), 0);
    config_t config = {.uri = mosquitto_uri(broker), .client_id = "receiver", .clean_session = 0};
    handle_t sender = client_for(mosquitto_uri(broker), true), receiver = client_new(&config);
    REQUIRE_EQ(wm_mqtt_client_connect(sender), 0);
    for (int k = 0; k < 2; k++) {
        for (int qos = 0; qos < 3; qos++) {
            for (int s = 0; s < 2; s++) {
                check_row("%s, QoS %d, %d bytes", kinds[k].name, qos, sizes[s]);
                uint64_t few = UINT64_MAX, many = UINT64_MAX;
                for (int round = 0; round < ROUNDS; round++) {
                    few = least(few, kinds[k].count(sender, receiver, FEW, sizes[s], qos));
                    many = least(many, kinds[k].count(sender, receiver, MANY, sizes[s], qos));
                }
                printf("INSTRUCTIONS messages ; %s, QoS %d ; %d bytes ; %lu\n", kinds[k].name, qos, sizes[s],
                       (unsigned long)((many - few) / (MANY - FEW)));
            }
        }
    }
    wm_event_remove_callback(WM_MQTT_EV, WM_EVENT_ANY_TYPE, count, NULL);
    events_install();
}

static const test_t TESTS[] = {LONG_TEST(messages, 300)};

TESTS_MAIN(TESTS)

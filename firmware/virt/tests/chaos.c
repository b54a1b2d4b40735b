/* Connections to mosquitto through a bad network: whatever that does to them, nothing of the heap is left over.
 * $WM_MQTT_CONNECTIONS of them, 300 without it. The large machine is make chaos. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "check.h"
#include "client.h"
#include "mosquitto.h"

/* Bytes that are no leak: lists that have grown, and some connections whose end QEMU's network lost (see bad_peers.c). A block in
 * each connection is more. */
enum { HANDLES = 8, SLACK = 4096, PATIENCE_MS = 1000 };

typedef struct {
    pthread_t thread;
    int number;
    unsigned dice;
    handle_t handle;
    volatile long since; /* it waits in connect; 0: it does not */
} worker_t;

static worker_t workers[HANDLES];
static char *uri;
static volatile int attempts_left, connected;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static unsigned next(worker_t *worker, unsigned most)
{
    worker->dice = worker->dice * 1664525 + 1013904223;
    return (worker->dice >> 8) % (most + 1);
}

/* Counts, not below 0. */
static bool one_more(volatile int *count, int change)
{
    pthread_mutex_lock(&lock);
    bool yes = *count + change >= 0;
    if (yes) *count += change;
    pthread_mutex_unlock(&lock);
    return yes;
}

static void use(worker_t *worker)
{
    static char payload[2000];
    if (next(worker, 1)) wm_mqtt_client_subscribe(worker->handle, "t/#", (uint8_t)next(worker, 2));
    for (unsigned n = next(worker, 4); n > 0; n--)
        wm_mqtt_client_publish(worker->handle, "t/1", payload, (uint16_t)(1 + next(worker, sizeof payload - 1)), (uint8_t)next(worker, 2), 0);
}

/* Whatever the calls return. */
static void *work(void *arg)
{
    worker_t *worker = arg;
    char id[8];
    snprintf(id, sizeof id, "w%d", worker->number);
    while (one_more(&attempts_left, -1)) {
        if (!worker->handle) {
            config_t config = {.uri = uri, .client_id = id, .keep_alive = 2, .clean_session = (uint8_t)next(worker, 1)};
            scheme_config(&config);
            worker->handle = wm_mqtt_client_init(&config);
            CHECK(worker->handle != NULL);
            if (!worker->handle) break;
        }
        worker->since = now_ms();
        int result = next(worker, 3) ? wm_mqtt_client_connect(worker->handle) : wm_mqtt_client_reconnect(worker->handle);
        worker->since = 0;
        if (result == 0) {
            one_more(&connected, 1);
            use(worker);
        }
        if (next(worker, 2) == 0) continue;
        CHECK_EQ(wm_mqtt_client_deinit(worker->handle), 0);
        worker->handle = NULL;
    }
    if (worker->handle) CHECK_EQ(wm_mqtt_client_deinit(worker->handle), 0);
    worker->handle = NULL;
    worker->since = -1;
    return NULL;
}

/* All handles at a time. Who waits for a silent server is called off after a while. */
static void connections(int attempts)
{
    attempts_left = attempts;
    connected = 0;
    for (int i = 0; i < HANDLES; i++) {
        workers[i] = (worker_t){.number = i, .dice = (unsigned)(attempts + i)};
        REQUIRE_EQ(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int working = HANDLES; working > 0; sleep_ms(100)) {
        working = 0;
        check_row("%d connections to come", attempts_left);
        for (int i = 0; i < HANDLES; i++) {
            long since = workers[i].since;
            working += since >= 0;
            if (since > 0 && now_ms() > since + PATIENCE_MS) wm_mqtt_client_disconnect(workers[i].handle);
        }
        events_reset();
    }
    for (int i = 0; i < HANDLES; i++) pthread_join(workers[i].thread, NULL);
}

static void storm(void)
{
    const char *wanted = getenv("WM_MQTT_CONNECTIONS");
    int attempts = wanted ? atoi(wanted) : 300;
    mosquitto_t *broker = mosquitto_start("max_queued_messages 100");
    /* One that stays, past the storm. */
    handle_t stays = client_for(mosquitto_uri(broker), true);
    REQUIRE_EQ(wm_mqtt_client_connect(stays), 0);
    relay_t *proxy = chaos_start("--storm 1 %s", strrchr(mosquitto_uri(broker), ':') + 1);
    uri = relay_uri(proxy, scheme_name());
    connections(40);
    sleep_ms(2000);
    long before = (long)board_heap_used(), left = 0;
    board_heap_restart_peak();
    connections(attempts);
    size_t peak = board_heap_peak();
    check_row("after %d connections", attempts);
    for (long until = now_ms() + scaled(20000); now_ms() < until && (left = (long)board_heap_used() - before) > SLACK / 4;) sleep_ms(50);
    if (left > SLACK) check_failed(__FILE__, __LINE__, false, "%ld bytes of heap are left", left);
    /* With TLS there is heap for some five handles: the others' connections come and go without memory. */
    bool tls = strcmp(scheme_name(), "mqtts") == 0 || strcmp(scheme_name(), "wss") == 0;
    CHECK(connected > attempts / (tls ? 20 : 4));
    CHECK(wm_mqtt_client_publish(stays, "t", "m", 1, 1, 0) > 0);
    printf("CHAOS %s: %d connections, %d of them stood, %ld bytes of heap left, %u at most\n", scheme_name(), attempts, connected, left, (unsigned)peak);
}

static const test_t tests[] = {LONG_TEST(storm, 300)};
TESTS_MAIN(tests)

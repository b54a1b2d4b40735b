/* Every function from eight threads, on handles of their own and on the same ones, callbacks that call everything, and deinit in
 * the middle of it. Here nothing is timed: what matters is that each call returns what it may return, and what ThreadSanitizer
 * and valgrind say of it. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "auto_broker.h"
#include "check.h"
#include "client.h"
#include "mosquitto.h"
#include "wm_host.h"

enum { THREADS = 8, SHARED = 2, LIVES = 10, CALLS = 500, ROUNDS = 100 };

#define DISCONNECTED_ERROR WM_MQTT_CLIENT_ERROR_DISCONNECTED
#define FAILURE WM_MQTT_CLIENT_ERROR_FAILURE
#define BAD_STRUCTURE WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE
#define WINDOW_FULL WM_MQTT_CLIENT_ERROR_MAX_MESSAGES_INFLIGHT

/* Under valgrind one thread runs at a time. */
static int times(int n) { return slowness() >= 10 ? n / 10 : n; }

static int publish0(handle_t h) { return wm_mqtt_client_publish(h, "t", "m", 1, 0, 0); }
static int publish1(handle_t h) { return wm_mqtt_client_publish(h, "t", "message", 0, 1, 0); }
static int publish2(handle_t h) { return wm_mqtt_client_publish(h, "t", NULL, 0, 2, 1); }
static int subscribe(handle_t h) { return wm_mqtt_client_subscribe(h, "t", 2); }
static int unsubscribe(handle_t h) { return wm_mqtt_client_unsubscribe(h, "t"); }
static int unsubcribe(handle_t h) { return wm_mqtt_client_unsubcribe(h, "t"); }

static const struct {
    const char *name;
    int (*act)(handle_t);
} calls[] = {
    {"publish QoS 0", publish0},
    {"publish QoS 1", publish1},
    {"publish QoS 2", publish2},
    {"subscribe", subscribe},
    {"unsubscribe", unsubscribe},
    {"unsubcribe", unsubcribe},
    {"connect", wm_mqtt_client_connect},
    {"reconnect", wm_mqtt_client_reconnect},
    {"disconnect", wm_mqtt_client_disconnect},
};
enum { CONNECT = 6, CALL_COUNT = sizeof calls / sizeof calls[0] };

/* How often each succeeded in a test. */
static atomic_int successes[CALL_COUNT];

/* What any of them may return while others do anything with the handle. */
static int call(size_t i, handle_t handle)
{
    int result = calls[i].act(handle);
    if (result >= 0) atomic_fetch_add(&successes[i], 1);
    bool is_allowed = result >= 0 || result == DISCONNECTED_ERROR || result == FAILURE || result == BAD_STRUCTURE ||
                      (result == WINDOW_FULL && i < 3);
    if (!is_allowed) check_failed(__FILE__, __LINE__, false, "%s returned %d", calls[i].name, result);
    return result;
}

/* Nothing was tried if one of them has only failed. */
static void check_successes(void)
{
    for (size_t i = 0; i < CALL_COUNT; i++) {
        if (!atomic_exchange(&successes[i], 0)) check_failed(__FILE__, __LINE__, false, "%s never succeeded", calls[i].name);
    }
}

typedef struct {
    int number, round;
    const config_t *config;
    handle_t *handles;
    pthread_barrier_t *barrier;
    atomic_int *ended;
} job_t;

static handle_t init(const job_t *job)
{
    char id[16];
    snprintf(id, sizeof id, "thread%d", job->number);
    config_t config = *job->config;
    config.client_id = id;
    return wm_mqtt_client_init(&config);
}

static void together(void *(*body)(void *), const config_t *config, handle_t *handles, int round, atomic_int *ended)
{
    pthread_t threads[THREADS];
    job_t jobs[THREADS];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job_t){i, round, config, handles, &barrier, ended};
        if (pthread_create(&threads[i], NULL, body, &jobs[i]) != 0) abort();
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
}

static config_t configuration(char *uri, bool clean)
{
    config_t config = {.uri = uri, .clean_session = clean};
    scheme_config(&config);
    return config;
}

/* ---- handles of their own: everything succeeds ---- */

static void *own_life(void *arg)
{
    job_t *job = arg;
    pthread_barrier_wait(job->barrier);
    for (int round = 0; round < times(LIVES); round++) {
        handle_t handle = init(job);
        CHECK(handle != WM_INVALID_HANDLE && handle->client != NULL);
        CHECK_EQ(wm_mqtt_client_connect(handle), 0);
        CHECK(subscribe(handle) > 0);
        for (int i = 0; i < 10; i++) {
            CHECK_EQ(publish0(handle), 0);
            CHECK(publish1(handle) > 0);
            CHECK(publish2(handle) > 0);
        }
        CHECK(unsubscribe(handle) > 0);
        CHECK(unsubcribe(handle) > 0);
        CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
        CHECK_EQ(wm_mqtt_client_connect(handle), 0);
        CHECK_EQ(wm_mqtt_client_reconnect(handle), 0);
        CHECK(publish1(handle) > 0);
        CHECK_EQ(wm_mqtt_client_deinit(handle), 0);
        CHECK_EQ(wm_mqtt_client_deinit(handle), BAD_STRUCTURE);
    }
    return NULL;
}

static void separate_handles(void)
{
    config_t config = configuration(auto_broker_uri(auto_broker_open()), true);
    together(own_life, &config, NULL, 0, NULL);
}

/* ---- the same handles, while connections break ---- */

/* Any of the calls, and mostly those that leave the connection alone. */
static size_t some_call(uint32_t *random)
{
    *random = *random * 1664525 + 1013904223;
    size_t n = (*random >> 16) % 60;
    return n < CALL_COUNT ? n : n % (CALL_COUNT - 2);
}

static void *share(void *arg)
{
    job_t *job = arg;
    uint32_t random = (uint32_t)job->number;
    pthread_barrier_wait(job->barrier);
    for (int i = 0; i < times(CALLS); i++) {
        handle_t handle = job->handles[(i + job->number) % SHARED];
        if (call(some_call(&random), handle) == DISCONNECTED_ERROR) call(CONNECT, handle);
    }
    return NULL;
}

typedef struct {
    auto_broker_t *broker;
    atomic_bool stop;
} breaker_t;

static void *break_connections(void *arg)
{
    breaker_t *breaker = arg;
    while (!atomic_load(&breaker->stop)) {
        sleep_ms(20);
        auto_broker_drop_all(breaker->broker);
    }
    return NULL;
}

static void shared_handles(void)
{
    breaker_t breaker = {.broker = auto_broker_open()};
    config_t config = configuration(auto_broker_uri(breaker.broker), false);
    handle_t handles[SHARED];
    for (int i = 0; i < SHARED; i++) {
        config.client_id = test_printf("shared%d", i);
        handles[i] = client_new(&config);
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, break_connections, &breaker) != 0) abort();
    together(share, &config, handles, 0, NULL);
    atomic_store(&breaker.stop, true);
    pthread_join(thread, NULL);
    for (int i = 0; i < SHARED; i++) CHECK_EQ(client_deinit(handles[i]), 0);
    check_successes();
}

/* ---- deinit against everything ---- */

/* A barrier, then one call: two threads end the handle, the others use it. */
static void *use_or_end(void *arg)
{
    job_t *job = arg;
    handle_t handle = job->handles[0];
    pthread_barrier_wait(job->barrier);
    if (job->number < 2) {
        for (int i = job->round % 10; i > 0; i--) sched_yield();
        int result = wm_mqtt_client_deinit(handle);
        CHECK(result == 0 || result == BAD_STRUCTURE);
        if (result == 0) atomic_fetch_add(job->ended, 1);
    } else {
        call((size_t)(job->number + job->round) % CALL_COUNT, handle);
        call((size_t)(job->number * job->round) % CALL_COUNT, handle);
    }
    return NULL;
}

static void deinit_against_everything(void)
{
    config_t config = configuration(auto_broker_uri(auto_broker_open()), true);
    for (int round = 0; round < times(ROUNDS); round++) {
        handle_t handle = client_new(&config);
        client_forget(handle);
        /* Sometimes it is connected, sometimes it connects meanwhile. */
        if (round % 3) CHECK_EQ(wm_mqtt_client_connect(handle), 0);
        atomic_int ended = 0;
        together(use_or_end, &config, &handle, round, &ended);
        CHECK_EQ(ended, 1);
    }
}

/* ---- callbacks that call everything ---- */

typedef struct {
    handle_t *handles;
    /* Of the event task alone. */
    int events;
    uint32_t random;
} handler_t;

static void on_event(const event_t *event, void *arg)
{
    handler_t *handler = arg;
    CHECK(wm_host_in_event_task());
    int n = handler->events++;
    /* Of the messages that these calls bring about, more would come than calls return. */
    handle_t handle = handler->handles[n % SHARED];
    if (event->kind == DISCONNECTED) call(CONNECT, handle);
    else if (n % 4 == 0) call(some_call(&handler->random), handle);
}

static void callbacks_call_everything(void)
{
    config_t config = configuration(mosquitto_uri(mosquitto_start("max_queued_messages 0")), true);
    handle_t handles[SHARED];
    for (int i = 0; i < SHARED; i++) {
        config.client_id = test_printf("shared%d", i);
        handles[i] = client_new(&config);
    }
    handler_t handler = {.handles = handles};
    events_hook(on_event, &handler);
    together(share, &config, handles, 0, NULL);
    events_hook(NULL, NULL);
    for (int i = 0; i < SHARED; i++) CHECK_EQ(client_deinit(handles[i]), 0);
    check_successes();
}

/* ---- and handles that come and go beside them ---- */

static void *own_or_shared(void *arg)
{
    job_t *job = arg;
    return job->number % 2 ? share(arg) : own_life(arg);
}

static void own_beside_shared_handles(void)
{
    config_t config = configuration(auto_broker_uri(auto_broker_open()), true);
    handle_t handles[SHARED];
    for (int i = 0; i < SHARED; i++) {
        config.client_id = test_printf("shared%d", i);
        handles[i] = client_new(&config);
    }
    together(own_or_shared, &config, handles, 0, NULL);
    for (int i = 0; i < SHARED; i++) CHECK_EQ(client_deinit(handles[i]), 0);
    check_successes();
}

/* ---- handles that callbacks, too, make and end ---- */

static _Atomic(handle_t) places[SHARED * 2];
static _Atomic(const config_t *) coming;

/* Makes a handle where there is none; else ends it, or calls something. Whoever takes it from its place ends it, once. */
static void come_or_go(uint32_t *random)
{
    *random = *random * 1664525 + 1013904223;
    uint32_t n = *random >> 16;
    _Atomic(handle_t) *place = &places[n % (SHARED * 2)];
    handle_t handle = atomic_load(place), none = NULL;
    if (!handle) {
        handle = wm_mqtt_client_init((config_t *)atomic_load(&coming));
        CHECK(handle != WM_INVALID_HANDLE);
        if (n / 4 % 4) call(CONNECT, handle);
        if (!atomic_compare_exchange_strong(place, &none, handle)) CHECK_EQ(wm_mqtt_client_deinit(handle), 0);
    } else if (n / 4 % 8) {
        if (call(some_call(random), handle) == DISCONNECTED_ERROR) call(CONNECT, handle);
    } else if ((handle = atomic_exchange(place, NULL)) != NULL) {
        CHECK_EQ(wm_mqtt_client_deinit(handle), 0);
    }
}

static void *stay_or_leave(void *arg)
{
    job_t *job = arg;
    uint32_t random = (uint32_t)job->number * 7919;
    pthread_barrier_wait(job->barrier);
    for (int i = 0; i < times(CALLS / 2); i++) come_or_go(&random);
    return NULL;
}

static void come_or_go_in_callback(const event_t *event, void *random)
{
    (void)event;
    if ((*(uint32_t *)random >> 20) % 3 == 0) come_or_go(random);
    else *(uint32_t *)random = *(uint32_t *)random * 1664525 + 1013904223;
}

static void callbacks_make_and_end_handles(void)
{
    static uint32_t random;
    breaker_t breaker = {.broker = auto_broker_open()};
    config_t config = configuration(auto_broker_uri(breaker.broker), true);
    coming = &config;
    random = 1;
    events_hook(come_or_go_in_callback, &random);
    pthread_t thread;
    if (pthread_create(&thread, NULL, break_connections, &breaker) != 0) abort();
    together(stay_or_leave, &config, NULL, 0, NULL);
    atomic_store(&breaker.stop, true);
    pthread_join(thread, NULL);
    events_hook(NULL, NULL);
    events_flush(); /* the last callback has come back, too */
    for (int i = 0; i < SHARED * 2; i++) {
        handle_t handle = atomic_exchange(&places[i], NULL);
        if (handle) CHECK_EQ(wm_mqtt_client_deinit(handle), 0);
    }
    /* Last events may wait for the queue. */
    for (long until = now_ms() + scaled(5000); event_count(DISCONNECTED) != event_count(CONNECTED) && now_ms() < until;)
        sleep_ms(10);
    CHECK_EQ(event_count(DISCONNECTED), event_count(CONNECTED));
    check_successes();
}

static const test_t tests[] = {
    LONG_TEST(separate_handles, 60),
    LONG_TEST(shared_handles, 120),
    LONG_TEST(deinit_against_everything, 120),
    LONG_TEST(callbacks_call_everything, 120),
    LONG_TEST(own_beside_shared_handles, 120),
    LONG_TEST(callbacks_make_and_end_handles, 120),
};
TESTS_MAIN(tests)

#include "client.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"

enum { MAX_HANDLES = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static handle_t handles[MAX_HANDLES];

static bool forget(handle_t handle)
{
    bool known = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_HANDLES; i++) {
        if (handles[i] != handle) continue;
        handles[i] = NULL;
        known = true;
    }
    pthread_mutex_unlock(&lock);
    return known;
}

static void deinit_at_end(void *arg)
{
    if (forget(arg)) CHECK_EQ(wm_mqtt_client_deinit(arg), WM_MQTT_CLIENT_ERROR_SUCCESS);
}

#ifdef __SANITIZE_THREAD__
/* A deinit in a callback, or while the queue has no room for the last events, does not wait for the end of the MQTT thread: who comes
 * next joins it. ThreadSanitizer wants that of the last one, too. */
static void come_next(void)
{
    config_t config = {.uri = "mqtt://localhost"};
    wm_mqtt_client_deinit(wm_mqtt_client_init(&config));
}

static void come_next_at_exit(void)
{
    atexit(come_next);
}
#endif

handle_t client_new(const config_t *config)
{
#ifdef __SANITIZE_THREAD__
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, come_next_at_exit);
#endif
    config_t own = *config;
    scheme_config(&own);
    handle_t handle = wm_mqtt_client_init(&own);
    memset(&own, 0x5a, sizeof own); /* nothing of it may be read from now on */
    REQUIRE(handle != WM_INVALID_HANDLE);
    REQUIRE(handle->client != NULL);
    bool stored = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_HANDLES && !stored; i++) {
        if (handles[i]) continue;
        handles[i] = handle;
        stored = true;
    }
    pthread_mutex_unlock(&lock);
    REQUIRE(stored);
    at_test_end(END_HANDLES, deinit_at_end, handle);
    return handle;
}

int client_deinit(handle_t handle)
{
    forget(handle);
    return wm_mqtt_client_deinit(handle);
}

void client_forget(handle_t handle)
{
    forget(handle);
}

handle_t client_for(const char *uri, bool clean)
{
    config_t config = {.uri = (char *)uri, .client_id = "c", .clean_session = clean};
    return client_new(&config);
}

conn_t *client_connect(handle_t handle, broker_t *broker, bool session_present)
{
    call_t *connect = start_connect(handle);
    conn_t *conn = accept_connect(broker);
    serve_connack(conn, session_present, 0);
    REQUIRE_EQ(call_result(connect), 0);
    expect_event(CONNECTED);
    return conn;
}

handle_t connected_client(broker_t **broker, conn_t **conn, bool clean)
{
    if (!*broker) *broker = broker_open();
    handle_t handle = client_for(broker_uri(*broker), clean);
    *conn = client_connect(handle, *broker, false);
    return handle;
}

void client_leave_at(const char *file, int line, handle_t handle, conn_t *conn)
{
    call_t *deinit = start_deinit(handle);
    expect_disconnect_at(file, line, conn);
    conn_close(conn);
    int result = call_result_at(file, line, deinit, 15000);
    if (result != 0) check_failed(file, line, false, "deinit returns %d", result);
    expect_requested_disconnect_at(file, line);
}

bool still_serving_at(const char *file, int line, conn_t *conn)
{
    enum { ID = 0x5157 };
    packet_t p;
    send_bytes(conn, "32 [ s'harness/sync' %04x ]", ID);
    long until = now_ms() + scaled(5000);
    while (read_packet(conn, &p, 5000)) {
        if (p.first != 0x40 || p.id != ID) continue;
        for (;;) {
            const event_t *e = wait_event(DATA, 5000);
            if (!e) check_failed(file, line, true, "a message was acknowledged, but there is no event");
            if (strcmp(e->topic, "harness/sync") == 0) return true;
        }
    }
    if (now_ms() >= until) check_failed(file, line, true, "neither an acknowledgement nor the end of the connection");
    return false;
}

/* ---- calls ---- */

struct call {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int (*run)(call_t *);
    handle_t handle;
    const char *topic, *message;
    int msg_len, qos;
    int (*fn)(void *);
    void *arg;
    bool done;
    int result;
    long ms;
};

static void *call_thread(void *arg)
{
    call_t *call = arg;
    long started = now_ms();
    int result = call->run(call);
    pthread_mutex_lock(&call->mutex);
    call->ms = now_ms() - started;
    call->result = result;
    call->done = true;
    pthread_cond_broadcast(&call->cond);
    pthread_mutex_unlock(&call->mutex);
    return NULL;
}

static void call_join(void *arg)
{
    call_t *call = arg;
    pthread_join(call->thread, NULL);
    pthread_cond_destroy(&call->cond);
    pthread_mutex_destroy(&call->mutex);
    free(call);
}

static call_t *start(call_t template)
{
    call_t *call = check_alloc(sizeof *call);
    *call = template;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&call->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&call->mutex, NULL);
    if (pthread_create(&call->thread, NULL, call_thread, call) != 0) abort();
    at_test_end(END_CALLS, call_join, call);
    return call;
}

static int run_connect(call_t *c) { return wm_mqtt_client_connect(c->handle); }
static int run_disconnect(call_t *c) { return wm_mqtt_client_disconnect(c->handle); }
static int run_reconnect(call_t *c) { return wm_mqtt_client_reconnect(c->handle); }
static int run_deinit(call_t *c) { return wm_mqtt_client_deinit(c->handle); }
static int run_subscribe(call_t *c) { return wm_mqtt_client_subscribe(c->handle, c->topic, (uint8_t)c->qos); }
static int run_unsubscribe(call_t *c) { return wm_mqtt_client_unsubscribe(c->handle, c->topic); }
static int run_publish(call_t *c)
{
    return wm_mqtt_client_publish(c->handle, c->topic, c->message, (uint16_t)c->msg_len, (uint8_t)c->qos, 0);
}
static int run_fn(call_t *c) { return c->fn(c->arg); }

call_t *start_connect(handle_t handle) { return start((call_t){.run = run_connect, .handle = handle}); }
call_t *start_disconnect(handle_t handle) { return start((call_t){.run = run_disconnect, .handle = handle}); }
call_t *start_reconnect(handle_t handle) { return start((call_t){.run = run_reconnect, .handle = handle}); }

call_t *start_deinit(handle_t handle)
{
    forget(handle);
    return start((call_t){.run = run_deinit, .handle = handle});
}

call_t *start_subscribe(handle_t handle, const char *topic, int qos)
{
    return start((call_t){.run = run_subscribe, .handle = handle, .topic = topic, .qos = qos});
}

call_t *start_unsubscribe(handle_t handle, const char *topic)
{
    return start((call_t){.run = run_unsubscribe, .handle = handle, .topic = topic});
}

call_t *start_publish(handle_t handle, const char *topic, const char *message, int msg_len, int qos)
{
    return start((call_t){.run = run_publish,
                          .handle = handle,
                          .topic = topic,
                          .message = message,
                          .msg_len = msg_len,
                          .qos = qos});
}

call_t *start_call(int (*fn)(void *), void *arg) { return start((call_t){.run = run_fn, .fn = fn, .arg = arg}); }

bool call_done(call_t *call, long ms)
{
    long until = now_ms() + ms;
    struct timespec t = {until / 1000, until % 1000 * 1000000};
    pthread_mutex_lock(&call->mutex);
    while (!call->done && pthread_cond_timedwait(&call->cond, &call->mutex, &t) == 0) {
    }
    bool done = call->done;
    pthread_mutex_unlock(&call->mutex);
    return done;
}

bool call_waits(call_t *call)
{
    CHECK(threads_come_to_rest());
    return !call_done(call, 0);
}

int call_result_at(const char *file, int line, call_t *call, long ms)
{
    if (!call_done(call, scaled(ms))) check_failed(file, line, true, "the call still runs after %ld ms", scaled(ms));
    return call->result;
}

long call_duration(call_t *call) { return call->ms; }

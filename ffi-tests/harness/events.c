#include "events.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"

WM_EVENT_DEFINE_GROUP(HARNESS_EV);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static event_t *first, *last;
static int counts[4];
static unsigned flushed, flush_asked;
static void (*hook)(const event_t *, void *);
static void *hook_arg;

static char *copy(const void *from, size_t len)
{
    char *to = check_alloc(len + 1);
    if (len) memcpy(to, from, len);
    return to;
}

static void on_mqtt(wm_event_group_t group, int kind, void *data, void *priv)
{
    (void)priv;
    CHECK(group == WM_MQTT_EV);
    if (kind == KIND_OF_APPLICATION) return;
    CHECK(kind >= 0 && kind <= 3);
    if (kind < 0 || kind > 3) return;

    const wm_mqtt_event_data_t *d = data;
    event_t *e = check_alloc(sizeof *e);
    e->kind = kind;
    e->has_data = data != NULL;
    e->ms = now_ms();
    if (kind == DATA && d) {
        e->topic_len = d->mqtt_client_data_info.topic_len;
        e->payload_len = d->mqtt_client_data_info.payload_len;
        e->msgid = d->mqtt_client_data_info.msgid;
        e->qos = d->mqtt_client_data_info.qos;
        e->dup = d->mqtt_client_data_info.dup;
        e->retained = d->mqtt_client_data_info.retained;
        e->client = d->mqtt_client_data_info.client_handle;
        char *topic = d->mqtt_client_data_info.topic, *payload = d->mqtt_client_data_info.payload;
        CHECK(topic != NULL);
        if (topic) {
            e->topic = copy(topic, e->topic_len);
            CHECK_EQ(topic[e->topic_len], 0);
        }
        if (payload) {
            /* Real applications call strstr on it. */
            CHECK_EQ(payload[e->payload_len], 0);
            e->payload = copy(payload, e->payload_len);
        } else {
            CHECK_EQ(e->payload_len, 0);
        }
        free(topic);
        free(payload);
    } else if (kind == PUBLISHED && d) {
        e->msgid = d->mqtt_client_published_info.msg_id;
    } else if (kind == DISCONNECTED && d) {
        e->client = d->mqtt_client_disconnect_info.client_handle;
    }

    pthread_mutex_lock(&lock);
    if (last) last->next = e;
    else first = e;
    last = e;
    counts[kind]++;
    void (*call)(const event_t *, void *) = hook;
    void *arg = hook_arg;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (call) call(e, arg);
}

static void on_harness(wm_event_group_t group, int kind, void *data, void *priv)
{
    (void)group;
    (void)data;
    (void)priv;
    pthread_mutex_lock(&lock);
    flushed = (unsigned)kind;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* A small queue has room for the second one when the event task has taken the first. */
static void register_callback(wm_event_group_t group, wm_event_callback callback)
{
    long until = now_ms() + scaled(20000);
    int ret;
    while ((ret = wm_event_add_callback(group, WM_EVENT_ANY_TYPE, callback, NULL)) != WM_ERR_SUCCESS && now_ms() < until)
        sleep_ms(1);
    CHECK_EQ(ret, WM_ERR_SUCCESS);
}

static void register_callbacks(void)
{
    register_callback(WM_MQTT_EV, on_mqtt);
    register_callback(HARNESS_EV, on_harness);
    events_flush();
}

void events_install(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attr);
    pthread_condattr_destroy(&attr);
    register_callbacks();
}

void events_restart(void)
{
    CHECK_EQ(wm_event_deinit(), WM_ERR_SUCCESS);
    CHECK_EQ(wm_event_init(), WM_ERR_SUCCESS);
    register_callbacks();
}

void events_remove(void)
{
    wm_event_remove_callback(WM_MQTT_EV, WM_EVENT_ANY_TYPE, on_mqtt, NULL);
    events_flush();
    wm_event_remove_callback(HARNESS_EV, WM_EVENT_ANY_TYPE, on_harness, NULL);
}

static bool wait_changed(long until)
{
    struct timespec t = {until / 1000, until % 1000 * 1000000};
    return pthread_cond_timedwait(&changed, &lock, &t) == 0;
}

void events_flush(void)
{
    unsigned mine = ++flush_asked & 0x7fffffff;
    long until = now_ms() + scaled(20000);
    while (wm_event_send(HARNESS_EV, (int)mine, NULL, 0) != WM_ERR_SUCCESS && now_ms() < until) sleep_ms(1);
    pthread_mutex_lock(&lock);
    while (flushed != mine && wait_changed(until)) {
    }
    bool done = flushed == mine;
    pthread_mutex_unlock(&lock);
    CHECK(done);
}

void events_reset(void)
{
    events_flush();
    pthread_mutex_lock(&lock);
    event_t *e = first;
    first = last = NULL;
    memset(counts, 0, sizeof counts);
    pthread_mutex_unlock(&lock);
    while (e) {
        event_t *next = e->next;
        free(e->topic);
        free(e->payload);
        free(e);
        e = next;
    }
}

void events_hook(void (*fn)(const event_t *, void *), void *arg)
{
    pthread_mutex_lock(&lock);
    hook = fn;
    hook_arg = arg;
    pthread_mutex_unlock(&lock);
}

static event_t *take(int kind)
{
    for (event_t *e = first; e; e = e->next) {
        if (e->taken || (kind != ANY_EVENT && e->kind != kind)) continue;
        e->taken = true;
        return e;
    }
    return NULL;
}

const event_t *wait_event(int kind, long timeout_ms)
{
    long until = now_ms() + scaled(timeout_ms);
    pthread_mutex_lock(&lock);
    event_t *e;
    while (!(e = take(kind)) && wait_changed(until)) {
    }
    if (!e) e = take(kind);
    pthread_mutex_unlock(&lock);
    return e;
}

const char *event_name(int kind)
{
    static const char *const names[] = {"CONNECTED", "DISCONNECTED", "DATA", "PUBLISHED"};
    return kind >= 0 && kind < 4 ? names[kind] : "any event";
}

const event_t *expect_event_at(const char *file, int line, int kind)
{
    const event_t *e = wait_event(kind, 10000);
    if (!e) check_failed(file, line, true, "no event %s within 10 s", event_name(kind));
    return e;
}

void expect_lost_at(const char *file, int line, wm_mqtt_client_handle_t handle)
{
    const event_t *e = expect_event_at(file, line, DISCONNECTED);
    if (!e->has_data) check_failed(file, line, false, "DISCONNECTED of a lost connection carries NULL");
    else if (e->client != handle->client) check_failed(file, line, false, "DISCONNECTED carries another client_handle");
}

void expect_requested_disconnect_at(const char *file, int line)
{
    if (expect_event_at(file, line, DISCONNECTED)->has_data)
        check_failed(file, line, false, "DISCONNECTED after a requested disconnect carries data");
}

const event_t *expect_data_at(const char *file, int line, const char *topic, const void *payload, size_t payload_len,
                              int qos)
{
    const event_t *e = expect_event_at(file, line, DATA);
    if (e->topic && strcmp(e->topic, topic) != 0)
        check_failed(file, line, false, "topic is \"%.80s\", want \"%.80s\"", e->topic, topic);
    if (e->topic_len != strlen(topic))
        check_failed(file, line, false, "topic_len is %zu, want %zu", e->topic_len, strlen(topic));
    check_bytes(file, line, "payload", e->payload, e->payload_len, payload, payload_len);
    if (e->qos != qos) check_failed(file, line, false, "qos is %d, want %d", e->qos, qos);
    return e;
}

void expect_published_at(const char *file, int line, int id)
{
    const event_t *e = expect_event_at(file, line, PUBLISHED);
    if (e->msgid != id) check_failed(file, line, false, "PUBLISHED has the id %d, want %d", e->msgid, id);
}

void expect_no_event_at(const char *file, int line, long ms)
{
    const event_t *e = NULL;
    if (ms) {
        long until = now_ms() + ms; /* not scaled: a silence, not a limit */
        pthread_mutex_lock(&lock);
        while (!(e = take(ANY_EVENT)) && wait_changed(until)) {
        }
        pthread_mutex_unlock(&lock);
    }
    events_flush();
    pthread_mutex_lock(&lock);
    if (!e) e = take(ANY_EVENT);
    pthread_mutex_unlock(&lock);
    if (e) check_failed(file, line, false, "an unexpected event: %s", event_name(e->kind));
}

int event_count(int kind)
{
    pthread_mutex_lock(&lock);
    int n = kind == ANY_EVENT ? counts[0] + counts[1] + counts[2] + counts[3] : counts[kind];
    pthread_mutex_unlock(&lock);
    return n;
}

bool wait_count(int kind, int n, long timeout_ms)
{
    long until = now_ms() + scaled(timeout_ms);
    pthread_mutex_lock(&lock);
    while (counts[kind] < n && wait_changed(until)) {
    }
    bool reached = counts[kind] >= n;
    pthread_mutex_unlock(&lock);
    return reached;
}

const event_t *events_first(void)
{
    pthread_mutex_lock(&lock);
    const event_t *e = first;
    pthread_mutex_unlock(&lock);
    return e;
}

#include "handles.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ledger.h"
#include "wm_mqtt_client.h"

/* How long calls may take, as the header says, and what a busy machine adds. */
enum { CONNECT_MS = 40000, CALL_MS = 10000, BUSY_MS = 30000 };
enum { VISITORS = 8, KEEP_ALIVE = 5, PATIENCE_MS = 15000 };

typedef struct {
    int index;
    pthread_t thread;
    wm_mqtt_client_handle_t handle;
    _Atomic(void *) number; /* `client` of the handle */
    atomic_bool lost;       /* DISCONNECTED has come since it subscribed */
    atomic_bool ready;
    bool subscribed;
    uint64_t dice;
    uint8_t payload[LARGEST];
} member_t;

static member_t members[MOST_HANDLES];
static pthread_t visitors[VISITORS];
static settings_t settings;
static int generation;
static atomic_int phase, highest_qos;
static atomic_bool stops_reading, impatient;
static atomic_long connected, disconnected, longest;

/* ---- chance and time ---- */

static uint64_t next(uint64_t *dice) /* splitmix64 */
{
    uint64_t z = *dice += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int between(uint64_t *dice, int least, int most) { return least + (int)(next(dice) % (uint64_t)(most - least + 1)); }

static uint64_t dice_for(int number) { return settings.seed * 1000003u ^ (uint64_t)generation << 40 ^ (uint64_t)number << 20; }

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* A call that began at that time has returned; it must have done so in its time. */
static int judged(const char *call, long limit, long began, int result)
{
    long ms = now_ms() - began, before = longest;
    while (ms > before && !atomic_compare_exchange_weak(&longest, &before, ms)) {
    }
    if (ms > limit + BUSY_MS) ledger_fail("%s has taken %ld ms", call, ms);
    return result;
}
#define TIMED(name, limit, ...)                                                                                        \
    ({                                                                                                                 \
        long began_ = now_ms();                                                                                        \
        judged(#name, limit, began_, wm_mqtt_client_##name(__VA_ARGS__));                                              \
    })

/* ---- events ---- */

static void on_event(wm_event_group_t group, int event, void *data, void *priv)
{
    static uint64_t dice = 1; /* of the event task alone */
    union wm_mqtt_event_data_un *info = data;
    (void)group, (void)priv;
    switch (event) {
    case WM_EVENT_MQTT_CLIENT_CONNECTED: connected++; break;
    case WM_EVENT_MQTT_CLIENT_DISCONNECTED:
        disconnected++;
        for (int i = 0; data && i < settings.handles; i++)
            if (members[i].number == info->mqtt_client_disconnect_info.client_handle) members[i].lost = true;
        break;
    case WM_EVENT_MQTT_CLIENT_PUBLISHED: ledger_published(info->mqtt_client_published_info.msg_id); break;
    case WM_EVENT_MQTT_CLIENT_DATA: {
        struct wm_mqtt_client_data_info *message = &info->mqtt_client_data_info;
        int from = ledger_topic(message->topic, message->topic_len);
        if (from >= 0 && message->client_handle != members[(from + 1) % settings.handles].number)
            ledger_fail("a message to %s has come to a handle that has not subscribed to it", message->topic);
        else if (from >= 0)
            ledger_arrived(RECEIVER, message->qos, message->topic, message->topic_len, (uint8_t *)message->payload, message->payload_len);
        free(message->topic);
        free(message->payload);
        if (stops_reading && between(&dice, 0, 2999) == 0) pause_ms(between(&dice, 1000, 3000));
        break;
    }
    }
}

/* ---- handles that stay ---- */

static wm_mqtt_client_handle_t made(const char *name, int index, bool clean, bool verified, uint64_t *dice)
{
    char id[32];
    int scheme = index >= 0 ? index % settings.schemes : between(dice, 0, settings.schemes - 1);
    snprintf(id, sizeof id, "%s-%d-%d", name, generation, index);
    wm_mqtt_client_config_t config = {.uri = settings.uris[scheme], .client_id = clean ? NULL : id, .keep_alive = KEEP_ALIVE};
    char unique[40];
    if (clean) {
        snprintf(unique, sizeof unique, "%s-%llx", name, (unsigned long long)next(dice));
        config.client_id = unique;
    }
    config.clean_session = clean;
    config.debug = true; /* for WM_LOG_LEVEL=4 */
    config.auth_mode = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT;
    config.ca = verified ? settings.ca : "";
    return wm_mqtt_client_init(&config);
}

/* A receiver of its neighbour's messages. */
static bool subscribe(member_t *member)
{
    char filter[32];
    snprintf(filter, sizeof filter, "c/%d/%d/#", generation, (member->index + settings.handles - 1) % settings.handles);
    return TIMED(subscribe, CALL_MS, member->handle, filter, 2) > 0;
}

static bool connect_and_subscribe(member_t *member)
{
    member->lost = false;
    return TIMED(connect, CONNECT_MS, member->handle) == WM_MQTT_CLIENT_ERROR_SUCCESS && subscribe(member);
}

static int some_size(uint64_t *dice)
{
    int kind = between(dice, 0, 99);
    return kind < 70 ? between(dice, SMALLEST, 300) : kind < 90 ? between(dice, 300, 5000) : kind < 98 ? between(dice, 5000, 20000) : LARGEST;
}

static bool publish(member_t *member, int qos, int size)
{
    char topic[32];
    unsigned number = ledger_offer(member->index, qos, member->payload, (size_t)size, topic);
    int result = TIMED(publish, CALL_MS, member->handle, topic, (char *)member->payload, (uint16_t)size, (uint8_t)qos, 0);
    ledger_answer(member->index, qos, number, result);
    return result >= 0;
}

static void publish_some(member_t *member)
{
    int burst = between(&member->dice, 0, 9) == 0 ? between(&member->dice, 5, 30) : 1;
    for (int i = 0; i < burst; i++) {
        if (publish(member, between(&member->dice, 0, highest_qos), some_size(&member->dice))) continue;
        member->subscribed = connect_and_subscribe(member);
        if (!member->subscribed) pause_ms(between(&member->dice, 50, 500));
        break;
    }
    switch (between(&member->dice, 0, 99)) {
    case 0: TIMED(disconnect, CALL_MS, member->handle); break;
    case 1:
    case 2: TIMED(reconnect, CONNECT_MS, member->handle); break;
    }
    /* Bursts make 2.65 messages of one. */
    long mean = 2650L * settings.handles / settings.rate;
    for (long until = now_ms() + between(&member->dice, 0, (int)(2 * mean)); phase == PUBLISH && now_ms() < until;) pause_ms(20);
}

static void publish_fences(member_t *member)
{
    for (int qos = 1; qos <= 2; qos++)
        while (phase == SETTLE && !publish(member, qos, SMALLEST)) connect_and_subscribe(member), pause_ms(50);
}

/* Until the phase is over. */
static void settle(member_t *member)
{
    while (phase == SETTLE && !connect_and_subscribe(member)) pause_ms(100);
    member->ready = true;
    while (phase == SETTLE && handles_ready() < settings.handles) pause_ms(20);
    publish_fences(member);
    for (long since = now_ms(); phase == SETTLE; pause_ms(50)) {
        if (impatient && now_ms() > since + PATIENCE_MS) {
            TIMED(reconnect, CONNECT_MS, member->handle);
            if (connect_and_subscribe(member)) publish_fences(member);
            since = now_ms();
        }
        if (member->lost) member->lost = !connect_and_subscribe(member);
    }
}

static void *live(void *arg)
{
    member_t *member = arg;
    for (;;) {
        switch ((phase_t)phase) {
        case REST: pause_ms(20); break;
        case PUBLISH: publish_some(member); break;
        case SETTLE: settle(member); break;
        case LEAVE:
            if (TIMED(deinit, CALL_MS, member->handle) != WM_MQTT_CLIENT_ERROR_SUCCESS) ledger_fail("deinit has failed");
            return NULL;
        }
    }
}

/* ---- handles that come and go ---- */

static void *visit(void *arg)
{
    int index = (int)(intptr_t)arg;
    uint64_t dice = dice_for(MOST_HANDLES + index);
    while (phase != LEAVE) {
        wm_mqtt_client_handle_t handle = made("visitor", -1, true, between(&dice, 0, 9) > 0, &dice);
        if (!handle) {
            ledger_fail("init has failed");
            return NULL;
        }
        if (TIMED(connect, CONNECT_MS, handle) == WM_MQTT_CLIENT_ERROR_SUCCESS) {
            if (between(&dice, 0, 1)) TIMED(subscribe, CALL_MS, handle, "visitors/#", 1);
            for (int n = between(&dice, 0, 5); n > 0; n--)
                TIMED(publish, CALL_MS, handle, "visitors/1", (char *)members, (uint16_t)between(&dice, 1, 3000), 0, 0);
            if (between(&dice, 0, 2) == 0) TIMED(disconnect, CALL_MS, handle);
            if (between(&dice, 0, 2) == 0) TIMED(reconnect, CONNECT_MS, handle);
        }
        if (TIMED(deinit, CALL_MS, handle) != WM_MQTT_CLIENT_ERROR_SUCCESS) ledger_fail("deinit has failed");
        pause_ms(between(&dice, 0, 200));
    }
    return NULL;
}

/* ---- all of them ---- */

void handles_begin(const settings_t *with, int number)
{
    static bool registered;
    settings = *with;
    generation = number;
    phase = REST;
    if (!registered) wm_event_add_callback(WM_MQTT_EV, WM_EVENT_ANY_TYPE, on_event, NULL);
    registered = true;
    for (int i = 0; i < settings.handles; i++) {
        member_t *member = &members[i];
        memset(member, 0, sizeof *member);
        member->index = i;
        member->dice = dice_for(i);
        member->handle = made("member", i, false, true, &member->dice);
        if (!member->handle) abort();
        member->number = member->handle->client;
    }
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    for (int i = 0; i < settings.handles; i++)
        if (pthread_create(&members[i].thread, &small, live, &members[i]) != 0) abort();
    for (int i = 0; i < VISITORS; i++)
        if (pthread_create(&visitors[i], &small, visit, (void *)(intptr_t)i) != 0) abort();
    pthread_attr_destroy(&small);
}

void handles_do(phase_t what)
{
    for (int i = 0; what == SETTLE && i < settings.handles; i++) members[i].ready = false;
    phase = (int)what;
}

int handles_ready(void)
{
    int n = 0;
    for (int i = 0; i < settings.handles; i++) n += members[i].ready;
    return n;
}

void handles_join(void)
{
    for (int i = 0; i < settings.handles; i++) pthread_join(members[i].thread, NULL);
    for (int i = 0; i < VISITORS; i++) pthread_join(visitors[i], NULL);
}

long handles_connections(void) { return connected; }
void handles_impatient(bool is) { impatient = is; }
void handles_highest_qos(int qos) { highest_qos = qos; }
void handles_stop_reading(bool now_and_then) { stops_reading = now_and_then; }
long handles_longest_call(void) { return longest; }

void handles_events(long *on, long *off)
{
    *on = connected;
    *off = disconnected;
}

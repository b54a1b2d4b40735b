/*
 * Tests of the host stand-in: events. The queue, the event task, registrations of callbacks.
 */
#include "sdk_check.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "wm_error.h"
#include "wm_event.h"
#include "wm_host.h"
#include "wmsdk_config.h"

/* Two groups with the same text, to see that only the pointer counts. */
static const char g_text_a[] = "SAME", g_text_b[] = "SAME";
static wm_event_group_t const A = g_text_a, B = g_text_b;

/* Impossible sizes must come back as NULL, not as a report of the sanitizer. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* What callbacks saw, in order. */
static struct {
    pthread_mutex_t lock;
    int n;
    struct {
        wm_event_group_t group;
        int event;
        void *priv;
        char first;
        bool has_data;
    } at[64];
} g_seen = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void record(wm_event_group_t group, int event, void *data, void *priv)
{
    pthread_mutex_lock(&g_seen.lock);
    if (g_seen.n < 64) {
        g_seen.at[g_seen.n].group    = group;
        g_seen.at[g_seen.n].event    = event;
        g_seen.at[g_seen.n].priv     = priv;
        g_seen.at[g_seen.n].has_data = data != NULL;
        g_seen.at[g_seen.n].first    = data ? *(char *)data : '\0';
        g_seen.n++;
    }
    pthread_mutex_unlock(&g_seen.lock);
}

static int seen(void)
{
    wm_host_event_idle(5000);
    pthread_mutex_lock(&g_seen.lock);
    int n = g_seen.n;
    pthread_mutex_unlock(&g_seen.lock);
    return n;
}

static void forget(void)
{
    wm_host_event_idle(5000);
    pthread_mutex_lock(&g_seen.lock);
    memset(g_seen.at, 0, sizeof g_seen.at);
    g_seen.n = 0;
    pthread_mutex_unlock(&g_seen.lock);
}

/* Holds the event task inside a callback until the test lets it go. */
static sem_t g_gate_entered, g_gate_open;

static void gate(wm_event_group_t group, int event, void *data, void *priv)
{
    (void)group;
    (void)event;
    (void)data;
    (void)priv;
    sem_post(&g_gate_entered);
    sem_wait(&g_gate_open);
}

#define GATE_EVENT 1000

static void close_gate(void)
{
    wm_event_add_callback(B, GATE_EVENT, gate, NULL);
    wm_host_event_idle(5000);
    wm_event_send(B, GATE_EVENT, NULL, 0);
    sem_wait(&g_gate_entered);
    /* The entry being delivered holds no place in the queue. */
    CHECK(wm_host_event_queue_free() == wm_host_event_queue_size());
}

static void open_gate(void)
{
    sem_post(&g_gate_open);
    wm_host_event_idle(5000);
    wm_event_remove_callback(B, GATE_EVENT, gate, NULL);
    wm_host_event_idle(5000);
}

static int g_added_before_main = WM_ERR_FAILED;

__attribute__((constructor)) static void before_main(void)
{
    g_added_before_main = wm_event_add_callback(A, 77, record, NULL);
}

static void test_runs_before_main(void)
{
    CHECK(g_added_before_main == WM_ERR_SUCCESS);
    CHECK(wm_event_init() == WM_ERR_ALREADY_INITED);
    CHECK(wm_host_event_queue_size() == CONFIG_WM_EVENT_QUEUE_SIZE);
    wm_event_send(A, 77, NULL, 0);
    CHECK(seen() == 1);
    wm_event_remove_callback(A, 77, record, NULL);
    forget();
    CHECK(wm_host_event_callbacks() == 0);
}

static void test_arguments(void)
{
    char byte            = 'x';
    void *volatile no    = NULL;
    wm_event_group_t nil = no;
    CHECK(wm_event_send(nil, 1, NULL, 0) == WM_ERR_INVALID_PARAM);
    CHECK(wm_event_send(A, 1, NULL, 1) == WM_ERR_INVALID_PARAM);
    CHECK(wm_event_send(A, 1, &byte, 0) == WM_ERR_INVALID_PARAM);
    CHECK(wm_event_add_callback(A, 1, NULL, NULL) == WM_ERR_INVALID_PARAM);
    CHECK(wm_event_remove_callback(A, 1, NULL, NULL) == WM_ERR_INVALID_PARAM);
    CHECK(wm_event_send(A, 1, &byte, (size_t)PTRDIFF_MAX - 4096) == WM_ERR_NO_MEM);
    CHECK(wm_event_send(A, 1, &byte, SIZE_MAX) == WM_ERR_NO_MEM);
    CHECK(wm_event_send(A, 1, NULL, 0) == WM_ERR_SUCCESS); /* nobody listens: no error */
    wm_host_event_idle(5000);
}

static void test_matching(void)
{
    char p[4];
    wm_event_add_callback(A, 1, record, &p[0]);
    wm_event_add_callback(A, WM_EVENT_ANY_TYPE, record, &p[1]);
    wm_event_add_callback(WM_EVENT_ANY_GROUP, 1, record, &p[2]);
    wm_event_add_callback(WM_EVENT_ANY_GROUP, WM_EVENT_ANY_TYPE, record, &p[3]);
    wm_event_send(A, 1, NULL, 0); /* all four, in the order of registration */
    wm_event_send(B, 1, NULL, 0); /* same text, another pointer: the last two */
    wm_event_send(A, 2, NULL, 0); /* second and fourth */
    CHECK(seen() == 8);
    static const int order[] = { 0, 1, 2, 3, 2, 3, 1, 3 };
    for (int i = 0; i < 8; i++) {
        CHECK(g_seen.at[i].priv == &p[order[i]]);
    }
    CHECK(g_seen.at[0].group == A && g_seen.at[4].group == B && g_seen.at[6].event == 2);
    CHECK(!g_seen.at[0].has_data);
    wm_event_remove_callback(A, 1, record, &p[0]);
    wm_event_remove_callback(A, WM_EVENT_ANY_TYPE, record, &p[1]);
    wm_event_remove_callback(WM_EVENT_ANY_GROUP, 1, record, &p[2]);
    wm_event_remove_callback(WM_EVENT_ANY_GROUP, WM_EVENT_ANY_TYPE, record, &p[3]);
    forget();
    CHECK(wm_host_event_callbacks() == 0);
}

static void test_no_duplicates(void)
{
    char p[2];
    CHECK(wm_event_add_callback(A, 1, record, &p[0]) == WM_ERR_SUCCESS);
    CHECK(wm_event_add_callback(A, 1, record, &p[0]) == WM_ERR_SUCCESS);
    CHECK(wm_event_add_callback(A, 1, record, &p[1]) == WM_ERR_SUCCESS); /* another priv: another registration */
    wm_event_send(A, 1, NULL, 0);
    CHECK(seen() == 2);
    CHECK(wm_host_event_callbacks() == 2);
    CHECK(wm_event_remove_callback(A, 2, record, &p[0]) == WM_ERR_SUCCESS); /* not registered: no error */
    CHECK(wm_event_remove_callback(A, 1, record, &p[0]) == WM_ERR_SUCCESS);
    CHECK(wm_event_remove_callback(A, 1, record, &p[1]) == WM_ERR_SUCCESS);
    wm_event_send(A, 1, NULL, 0);
    CHECK(seen() == 2);
    forget();
}

static void test_registrations_keep_their_place(void)
{
    close_gate();
    wm_event_send(A, 1, NULL, 0);
    wm_event_add_callback(A, WM_EVENT_ANY_TYPE, record, NULL);
    wm_event_send(A, 2, NULL, 0);
    wm_event_remove_callback(A, WM_EVENT_ANY_TYPE, record, NULL);
    wm_event_send(A, 3, NULL, 0);
    open_gate();
    CHECK(seen() == 1 && g_seen.at[0].event == 2);
    forget();
}

static void check_alignment(wm_event_group_t group, int event, void *data, void *priv)
{
    (void)group;
    (void)event;
    if ((uintptr_t)data % 16 != 0) {
        atomic_fetch_add((atomic_int *)priv, 1);
    }
}

static void test_data_is_copied(void)
{
    atomic_int misaligned = 0;
    char text[]           = "original";
    wm_event_add_callback(A, 1, record, NULL);
    wm_host_event_idle(5000);
    wm_event_add_callback(A, 1, check_alignment, &misaligned);
    wm_host_event_idle(5000);
    close_gate();
    for (size_t n = 1; n <= sizeof text; n++) {
        wm_event_send(A, 1, text, n);
    }
    memset(text, 'X', sizeof text);
    open_gate();
    int want = wm_host_event_queue_size() < 9 ? wm_host_event_queue_size() : 9;
    CHECK(seen() == want);
    CHECK(g_seen.at[0].has_data && g_seen.at[0].first == 'o' && g_seen.at[want - 1].first == 'o');
    CHECK(atomic_load(&misaligned) == 0);
    wm_event_remove_callback(A, 1, record, NULL);
    wm_host_event_idle(5000);
    wm_event_remove_callback(A, 1, check_alignment, &misaligned);
    forget();
}

static void test_full_queue(void)
{
    int size              = wm_host_event_queue_size();
    unsigned long refused = wm_host_events_refused();
    int ok = 0, failed = 0;

    wm_event_add_callback(A, WM_EVENT_ANY_TYPE, record, NULL);
    wm_host_event_idle(5000);
    close_gate();
    double start = now();
    for (int i = 0; i < size + 5; i++) {
        int ret = wm_event_send(A, i, NULL, 0);
        ok += ret == WM_ERR_SUCCESS;
        failed += ret == WM_ERR_FAILED;
    }
    CHECK(ok == size && failed == 5);
    CHECK(now() - start < 1.0); /* it never waits for room */
    CHECK(wm_host_events_refused() - refused == 5);
    CHECK(wm_host_event_queue_free() == 0);
    CHECK(wm_event_add_callback(A, 5, record, NULL) == WM_ERR_FAILED);
    CHECK(wm_event_remove_callback(A, 5, record, NULL) == WM_ERR_FAILED);
    CHECK(wm_host_events_refused() - refused == 5); /* registrations are no events */
    open_gate();
    CHECK(seen() == (size < 64 ? size : 64));
    bool in_order = true;
    for (int i = 0; i < size && i < 64; i++) {
        in_order = in_order && g_seen.at[i].event == i;
    }
    CHECK(in_order);
    wm_event_remove_callback(A, WM_EVENT_ANY_TYPE, record, NULL);
    forget();
    CHECK(wm_host_event_queue_free() == size);
}

static void swap_callbacks(wm_event_group_t group, int event, void *data, void *priv)
{
    (void)data;
    record(group, event, NULL, priv);
    CHECK(wm_host_in_event_task());
    CHECK(wm_host_event_idle(10) == WM_ERR_NOT_ALLOWED);
    CHECK(wm_event_deinit() == WM_ERR_FAILED);
    CHECK(wm_event_remove_callback(A, 1, swap_callbacks, priv) == WM_ERR_SUCCESS);
    CHECK(wm_event_add_callback(A, 1, record, priv) == WM_ERR_SUCCESS);
    CHECK(wm_event_send(A, 1, NULL, 0) == WM_ERR_SUCCESS);
}

static void test_calls_from_a_callback(void)
{
    char later;
    CHECK(!wm_host_in_event_task());
    wm_event_add_callback(A, 1, swap_callbacks, NULL);
    wm_event_add_callback(A, 1, record, &later); /* still called for the event that removed its neighbour */
    wm_event_send(A, 1, NULL, 0);
    CHECK(seen() == 4);
    CHECK(g_seen.at[0].priv == NULL && g_seen.at[1].priv == &later && g_seen.at[2].priv == &later &&
          g_seen.at[3].priv == NULL);
    wm_event_remove_callback(A, 1, record, NULL);
    wm_event_remove_callback(A, 1, record, &later);
    forget();
    CHECK(wm_host_event_callbacks() == 0);
}

static void test_idle(void)
{
    close_gate();
    double start = now();
    CHECK(wm_host_event_idle(50) == WM_ERR_TIMEOUT);
    CHECK(now() - start >= 0.045);
    CHECK(wm_host_event_idle(0) == WM_ERR_TIMEOUT);
    open_gate();
    CHECK(wm_host_event_idle(-1) == WM_ERR_SUCCESS);
}

static void test_injected_failures(void)
{
    unsigned long refused = wm_host_events_refused();
    wm_event_add_callback(A, 1, record, NULL);
    wm_host_event_idle(5000);
    wm_host_event_fail(2, WM_ERR_NO_MEM);
    CHECK(wm_event_send(A, 1, NULL, 1) == WM_ERR_INVALID_PARAM); /* not counted */
    CHECK(wm_event_send(A, 1, NULL, 0) == WM_ERR_NO_MEM);
    CHECK(wm_event_add_callback(A, 1, record, NULL) == WM_ERR_SUCCESS);
    CHECK(wm_event_send(A, 1, NULL, 0) == WM_ERR_NO_MEM);
    CHECK(wm_event_send(A, 1, NULL, 0) == WM_ERR_SUCCESS);
    CHECK(seen() == 1);
    CHECK(wm_host_events_refused() == refused);
    wm_event_remove_callback(A, 1, record, NULL);
    forget();
}

static void test_deinit(void)
{
    wm_event_add_callback(A, 1, record, NULL);
    close_gate();
    int sent = 0;
    while (sent < 5 && wm_event_send(A, 1, "x", 2) == WM_ERR_SUCCESS) {
        sent++;
    }
    sem_post(&g_gate_open);
    CHECK(wm_event_deinit() == WM_ERR_SUCCESS); /* delivers what was queued */
    CHECK(seen() == sent);
    CHECK(wm_host_event_callbacks() == 0);
    CHECK(wm_event_deinit() == WM_ERR_FAILED);
    CHECK(wm_event_send(A, 1, NULL, 0) == WM_ERR_FAILED);
    CHECK(wm_event_add_callback(A, 1, record, NULL) == WM_ERR_FAILED);
    for (int i = 0; i < 20; i++) {
        CHECK(wm_event_init() == WM_ERR_SUCCESS);
        CHECK(wm_event_deinit() == WM_ERR_SUCCESS);
    }
    CHECK(wm_event_init() == WM_ERR_SUCCESS);
    CHECK(wm_event_init() == WM_ERR_ALREADY_INITED);
    wm_event_send(A, 1, NULL, 0);
    CHECK(seen() == sent); /* the old registration is gone */
    wm_event_add_callback(A, 1, record, NULL);
    wm_event_send(A, 1, NULL, 0);
    CHECK(seen() == sent + 1);
    wm_event_remove_callback(A, 1, record, NULL);
    forget();
}

/* Each sender's events must arrive whole and in its order. */
#define SENDERS   4
#define PER_SENDER 20000

struct load {
    int sender;
    int number;
    char text[48];
};

static int g_next[SENDERS];
static atomic_int g_wrong, g_arrived;

static void take_load(wm_event_group_t group, int event, void *data, void *priv)
{
    struct load *l = data;
    (void)group;
    (void)priv;
    char want[48];
    snprintf(want, sizeof want, "%d/%d", l->sender, l->number);
    if (event != l->sender || l->number != g_next[l->sender] || strcmp(l->text, want) != 0) {
        atomic_fetch_add(&g_wrong, 1);
    }
    g_next[l->sender] = l->number + 1;
    atomic_fetch_add(&g_arrived, 1);
}

static void *send_load(void *arg)
{
    struct load l = { .sender = (int)(intptr_t)arg };
    for (l.number = 0; l.number < PER_SENDER; l.number++) {
        snprintf(l.text, sizeof l.text, "%d/%d", l.sender, l.number);
        while (wm_event_send(A, l.sender, &l, sizeof l) != WM_ERR_SUCCESS) {
            sched_yield();
        }
    }
    return NULL;
}

static void test_many_senders(void)
{
    pthread_t t[SENDERS];
    wm_event_add_callback(A, WM_EVENT_ANY_TYPE, take_load, NULL);
    double start = now();
    for (int i = 0; i < SENDERS; i++) {
        pthread_create(&t[i], NULL, send_load, (void *)(intptr_t)i);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(t[i], NULL);
    }
    CHECK(wm_host_event_idle(10000) == WM_ERR_SUCCESS);
    printf("%d threads: %.0f events/s\n", SENDERS, SENDERS * PER_SENDER / (now() - start));
    CHECK(atomic_load(&g_arrived) == SENDERS * PER_SENDER && atomic_load(&g_wrong) == 0);
    wm_event_remove_callback(A, WM_EVENT_ANY_TYPE, take_load, NULL);
    wm_host_event_idle(5000);
}

int main(void)
{
    sem_init(&g_gate_entered, 0, 0);
    sem_init(&g_gate_open, 0, 0);
    if (wm_host_event_queue_size() >= 16) {
        /* These send several things in a row and count on room for them. */
        test_runs_before_main();
        test_matching();
        test_no_duplicates();
        test_registrations_keep_their_place();
        test_calls_from_a_callback();
        test_injected_failures();
        test_deinit();
    } else {
        wm_event_deinit();
        wm_event_init();
    }
    test_arguments();
    test_data_is_copied();
    test_full_queue();
    wm_host_event_queue_limit(1);
    test_full_queue();
    wm_host_event_queue_limit(0);
    test_idle();
    test_many_senders();
    return report();
}

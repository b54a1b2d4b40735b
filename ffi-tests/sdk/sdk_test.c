/*
 * Tests of the host stand-in itself: the rest of ffi-tests trusts what this program checks.
 *
 *   cc -std=gnu11 -I include sdk_test.c src/[a-z]*.c -lpthread -o sdk_test && ./sdk_test
 *
 * Exit status 0 and a last line "N passed, 0 failed" mean success. The program starts itself with an argument for
 * what can only be seen from outside: how a process ends, and what the environment does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "freertos/FreeRTOS.h"
#include "freertos/event_groups.h"
#include "freertos/semphr.h"
#include "lwip/ip_addr.h"
#include "wm_error.h"
#include "wm_host.h"
#include "wm_nm_api.h"
#include "wm_task_config.h"
#include "wm_utils.h"
#include "wm_wifi.h"
#define LOG_TAG "sdk_test"
#include "wm_log.h"

/* Two groups with the same text, to see that only the pointer counts. */
static const char g_text_a[] = "SAME", g_text_b[] = "SAME";
static wm_event_group_t const A = g_text_a, B = g_text_b;

static atomic_int g_passed, g_failed;
static const char *g_self;

#define CHECK(condition)                                                         \
    do {                                                                         \
        if (condition) {                                                         \
            g_passed++;                                                          \
        } else {                                                                 \
            g_failed++;                                                          \
            fprintf(stderr, "%s:%d: failed: %s\n", __func__, __LINE__, #condition); \
        }                                                                        \
    } while (0)

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

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- events ---- */

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

/* ---- log ---- */

static char g_logged[512];

static int keep(const char *format, va_list args)
{
    return vsnprintf(g_logged, sizeof g_logged, format, args);
}

static void *log_lines(void *arg)
{
    char fill[700];
    memset(fill, 'a' + (int)(intptr_t)arg, sizeof fill);
    for (int i = 0; i < 100; i++) {
        wm_log_raw_info("<%.*s>\r\n", i * 7, fill);
    }
    return NULL;
}

static void test_log(void)
{
    unsigned stamp;
    CHECK(wm_log_get_level() == WM_LOG_LEVEL_INFO);
    wm_log_set_vprintf(keep);
    CHECK(wm_log_printf(WM_LOG_LEVEL_INFO, "t", "%s", "four") == 4 && strcmp(g_logged, "four") == 0);
    wm_log_info("value %d", 42);
    CHECK(sscanf(g_logged, "[I] (%u) sdk_test: value 42", &stamp) == 1);
    CHECK(strcmp(g_logged + strlen(g_logged) - 4, "42\r\n") == 0);
    g_logged[0] = '\0';
    wm_log_debug("hidden");
    CHECK(g_logged[0] == '\0');
    CHECK(wm_log_set_level(WM_LOG_LEVEL_DEBUG) == WM_ERR_SUCCESS);
    wm_log_debug("shown");
    CHECK(strncmp(g_logged, "[D] (", 5) == 0);
    CHECK(wm_log_set_level((wm_log_level_t)6) == WM_ERR_FAILED && wm_log_get_level() == WM_LOG_LEVEL_DEBUG);
    CHECK(wm_log_hex_dump(WM_LOG_LEVEL_INFO, "t", "name", 16, "0123456789abcdef\x01", 17) == WM_ERR_SUCCESS);
    CHECK(strncmp(g_logged, "0x0010   01   ", 14) == 0 && strcmp(g_logged + strlen(g_logged) - 5, "  .\r\n") == 0);
    CHECK(wm_log_hex_dump(WM_LOG_LEVEL_INFO, "t", "name", 0, "0", 1) == WM_ERR_INVALID_PARAM);
    CHECK(wm_log_hex_dump(WM_LOG_LEVEL_INFO, "t", "name", 33, "0", 1) == WM_ERR_INVALID_PARAM);
    uint8_t all[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    CHECK(wm_log_hex_dump(WM_LOG_LEVEL_INFO, "t", "name", 32, all, sizeof all) == WM_ERR_SUCCESS);
    wm_log_set_level(WM_LOG_LEVEL_INFO);
    wm_log_set_vprintf(NULL);
    CHECK(wm_log_printf(WM_LOG_LEVEL_ERROR, "t", "silence") == 0);
}

/* A line as log_lines() makes it: one letter, repeated, in angle brackets. */
static bool is_whole(const char *line)
{
    const char same[] = { line[1], '\0' };
    size_t n          = line[1] == '>' ? 0 : strspn(line + 1, same);
    return line[0] == '<' && strcmp(line + 1 + n, ">\r\n") == 0;
}

/* Lines of several threads, long ones among them, must come out whole. */
static void test_log_lines_do_not_mix(void)
{
    char command[4200], line[1024];
    int lines = 0, whole = 0;

    snprintf(command, sizeof command, "'%s' log-lines", g_self);
    FILE *in = popen(command, "r");
    while (in && fgets(line, sizeof line, in)) {
        lines++;
        whole += is_whole(line);
    }
    CHECK(in && pclose(in) == 0);
    CHECK(lines == 400 && whole == 400);
}

static void child_log_lines(void)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&t[i], NULL, log_lines, (void *)(intptr_t)i);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
}

/* ---- FreeRTOS ---- */

static SemaphoreHandle_t g_done;

static void count_and_delete(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    xSemaphoreGive(g_done);
    vTaskDelete(NULL);
    atomic_fetch_add((atomic_int *)arg, 100); /* never */
}

static void count_and_return(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    xSemaphoreGive(g_done);
}

static void sleep_for_ever(void *arg)
{
    xSemaphoreGive(g_done);
    vTaskDelay(portMAX_DELAY);
    atomic_fetch_add((atomic_int *)arg, 100); /* never */
}

static bool tasks_end(UBaseType_t n)
{
    for (int i = 0; i < 2000 && uxTaskGetNumberOfTasks() != n; i++) {
        vTaskDelay(5);
    }
    return uxTaskGetNumberOfTasks() == n;
}

static void test_tasks(void)
{
    atomic_int count = 0;
    TaskHandle_t sleeper;
    g_done = xSemaphoreCreateCounting(10, 0);
    CHECK(xTaskCreate(count_and_delete, "one", 512, &count, 1, NULL) == pdPASS);
    CHECK(xTaskCreate(count_and_return, "two", 512, &count, 1, NULL) == pdPASS);
    CHECK(xTaskCreate(sleep_for_ever, "a name that is too long", 512, &count, WM_TASK_MAIN_PRIO, &sleeper) == pdPASS);
    for (int i = 0; i < 3; i++) {
        CHECK(xSemaphoreTake(g_done, pdMS_TO_TICKS(2000)) == pdTRUE);
    }
    CHECK(tasks_end(1));
    CHECK(strlen(pcTaskGetName(sleeper)) == configMAX_TASK_NAME_LEN - 1);
    CHECK(xTaskGetCurrentTaskHandle() != NULL && xTaskGetCurrentTaskHandle() != sleeper);
    vTaskDelete(sleeper);
    CHECK(tasks_end(0));
    CHECK(atomic_load(&count) == 2);
    vSemaphoreDelete(g_done);
}

static void test_time(void)
{
    TickType_t t0 = xTaskGetTickCount();
    double start  = now();
    vTaskDelay(pdMS_TO_TICKS(30));
    CHECK(now() - start >= 0.029);
    CHECK(xTaskGetTickCount() - t0 >= 29);
    CHECK((int32_t)(wm_os_internal_get_time_ms() - xTaskGetTickCount()) < 1000);
    TickType_t wake = xTaskGetTickCount();
    TickType_t was  = wake;
    for (int i = 0; i < 3; i++) {
        vTaskDelayUntil(&wake, 10);
    }
    CHECK(wake == was + 30 && xTaskGetTickCount() - was >= 30);
    wake = xTaskGetTickCount() - 100;
    start = now();
    vTaskDelayUntil(&wake, 10); /* late already: does not sleep */
    CHECK(now() - start < 1.0);
    taskENTER_CRITICAL();
    taskENTER_CRITICAL();
    taskEXIT_CRITICAL();
    taskEXIT_CRITICAL();
    taskYIELD();
    void *p = pvPortMalloc(10);
    CHECK(p != NULL);
    vPortFree(p);
}

static void send_numbers(void *queue)
{
    for (int i = 0; i < 1000; i++) {
        xQueueSend(queue, &i, portMAX_DELAY);
    }
    vTaskDelete(NULL);
}

static void test_queues(void)
{
    QueueHandle_t q = xQueueCreate(3, sizeof(int));
    int v = 1, got = 0;
    CHECK(xQueueReceive(q, &got, 0) == errQUEUE_EMPTY);
    CHECK(xQueueSend(q, &v, 0) == pdPASS);
    v = 2;
    CHECK(xQueueSendToBack(q, &v, 0) == pdPASS);
    v = 3;
    CHECK(xQueueSendToFront(q, &v, 0) == pdPASS);
    double start = now();
    CHECK(xQueueSend(q, &v, 20) == errQUEUE_FULL && now() - start >= 0.019);
    CHECK(uxQueueMessagesWaiting(q) == 3 && uxQueueSpacesAvailable(q) == 0);
    CHECK(xQueuePeek(q, &got, 0) == pdPASS && got == 3);
    CHECK(xQueueReceive(q, &got, 0) == pdPASS && got == 3);
    CHECK(xQueueReceive(q, &got, 0) == pdPASS && got == 1);
    BaseType_t woken = pdTRUE;
    CHECK(xQueueReceiveFromISR(q, &got, &woken) == pdPASS && got == 2 && woken == pdFALSE);
    CHECK(xQueueSendFromISR(q, &v, NULL) == pdPASS);
    xQueueReset(q);
    CHECK(uxQueueMessagesWaiting(q) == 0);

    xTaskCreate(send_numbers, "numbers", 512, q, 1, NULL);
    int wrong = 0;
    for (int i = 0; i < 1000; i++) {
        wrong += xQueueReceive(q, &got, 5000) != pdPASS || got != i;
    }
    CHECK(wrong == 0);
    CHECK(tasks_end(0));
    vQueueDelete(q);

    q = xQueueCreate(1, sizeof(int));
    v = 7;
    xQueueOverwrite(q, &v);
    v = 8;
    xQueueOverwrite(q, &v);
    CHECK(xQueueReceive(q, &got, 0) == pdPASS && got == 8);
    vQueueDelete(q);
    CHECK(xQueueCreate(0, 4) == NULL);
}

static void try_mutex(void *mutex)
{
    CHECK(xSemaphoreTake(mutex, 10) == pdFALSE);
    CHECK(xSemaphoreGive(mutex) == pdFALSE); /* not the holder */
    CHECK(xSemaphoreGiveRecursive(mutex) == pdFALSE);
    xSemaphoreGive(g_done);
    vTaskDelete(NULL);
}

static void test_semaphores(void)
{
    SemaphoreHandle_t s = xSemaphoreCreateBinary();
    CHECK(xSemaphoreTake(s, 10) == pdFALSE);
    CHECK(xSemaphoreGive(s) == pdTRUE && xSemaphoreGive(s) == pdFALSE);
    CHECK(xSemaphoreTake(s, 0) == pdTRUE);
    vSemaphoreDelete(s);

    s = xSemaphoreCreateCounting(3, 1);
    CHECK(xSemaphoreGive(s) == pdTRUE && xSemaphoreGiveFromISR(s, NULL) == pdTRUE && xSemaphoreGive(s) == pdFALSE);
    CHECK(uxSemaphoreGetCount(s) == 3);
    vSemaphoreDelete(s);
    CHECK(xSemaphoreCreateCounting(1, 2) == NULL);

    g_done = xSemaphoreCreateBinary();
    s      = xSemaphoreCreateMutex();
    CHECK(xSemaphoreGetMutexHolder(s) == NULL);
    CHECK(xSemaphoreTake(s, 0) == pdTRUE && xSemaphoreTake(s, 0) == pdFALSE);
    CHECK(xSemaphoreGetMutexHolder(s) == xTaskGetCurrentTaskHandle());
    xTaskCreate(try_mutex, "mutex", 512, s, 1, NULL);
    CHECK(xSemaphoreTake(g_done, 2000) == pdTRUE);
    CHECK(xSemaphoreGive(s) == pdTRUE && xSemaphoreGive(s) == pdFALSE);
    CHECK(tasks_end(0));
    vSemaphoreDelete(s);

    s = xSemaphoreCreateRecursiveMutex();
    CHECK(xSemaphoreTakeRecursive(s, 0) == pdTRUE && xSemaphoreTakeRecursive(s, 0) == pdTRUE);
    CHECK(xSemaphoreGiveRecursive(s) == pdTRUE && xSemaphoreGetMutexHolder(s) != NULL);
    CHECK(xSemaphoreGiveRecursive(s) == pdTRUE && xSemaphoreGetMutexHolder(s) == NULL);
    CHECK(xSemaphoreGiveRecursive(s) == pdFALSE);
    vSemaphoreDelete(s);
    vSemaphoreDelete(g_done);
}

static atomic_uint g_bits_seen[2];

static void wait_for_bit(void *group)
{
    static atomic_int n;
    unsigned i = (unsigned)atomic_fetch_add(&n, 1) % 2;
    atomic_store(&g_bits_seen[i], xEventGroupWaitBits(group, 4, pdTRUE, pdFALSE, 5000));
    xSemaphoreGive(g_done);
    vTaskDelete(NULL);
}

static void test_event_groups(void)
{
    EventGroupHandle_t g = xEventGroupCreate();
    CHECK(xEventGroupGetBits(g) == 0);
    CHECK(xEventGroupSetBits(g, 3) == 3);
    CHECK(xEventGroupClearBits(g, 1) == 3 && xEventGroupGetBits(g) == 2);
    CHECK(xEventGroupWaitBits(g, 3, pdFALSE, pdFALSE, 0) == 2);
    CHECK(xEventGroupWaitBits(g, 3, pdFALSE, pdTRUE, 10) == 2); /* time-out: not both */
    CHECK(xEventGroupWaitBits(g, 2, pdTRUE, pdTRUE, 0) == 2 && xEventGroupGetBits(g) == 0);

    /* Both waiters see the bit although each clears it. */
    g_done = xSemaphoreCreateCounting(2, 0);
    xTaskCreate(wait_for_bit, "w1", 512, g, 1, NULL);
    xTaskCreate(wait_for_bit, "w2", 512, g, 1, NULL);
    vTaskDelay(200);
    xEventGroupSetBits(g, 4);
    CHECK(xSemaphoreTake(g_done, 2000) == pdTRUE && xSemaphoreTake(g_done, 2000) == pdTRUE);
    CHECK(atomic_load(&g_bits_seen[0]) == 4 && atomic_load(&g_bits_seen[1]) == 4);
    CHECK(xEventGroupGetBits(g) == 0);
    CHECK(tasks_end(0));
    vSemaphoreDelete(g_done);

    /* A task deleted while it waits leaves nothing behind in the group. */
    TaskHandle_t waiter;
    g_done = xSemaphoreCreateBinary();
    xTaskCreate(wait_for_bit, "w3", 512, g, 1, &waiter);
    vTaskDelay(200);
    vTaskDelete(waiter);
    CHECK(tasks_end(0));
    CHECK(xEventGroupSetBits(g, 4) == 4);
    vSemaphoreDelete(g_done);
    vEventGroupDelete(g);
}

static void answer(void *asker)
{
    uint32_t value = 0;
    CHECK(xTaskNotifyWait(0, UINT32_MAX, &value, 2000) == pdTRUE);
    CHECK(value == 5);
    xTaskNotifyGive((TaskHandle_t)asker);
    xTaskNotifyGive((TaskHandle_t)asker);
    vTaskDelete(NULL);
}

static void test_notifications(void)
{
    TaskHandle_t task;
    CHECK(ulTaskNotifyTake(pdTRUE, 10) == 0);
    CHECK(xTaskNotifyWait(0, 0, NULL, 0) == pdFALSE);
    xTaskCreate(answer, "answer", 512, xTaskGetCurrentTaskHandle(), 1, &task);
    xTaskNotify(task, 5, eSetValueWithOverwrite);
    CHECK(tasks_end(0));
    CHECK(ulTaskNotifyTake(pdFALSE, 0) == 2 && ulTaskNotifyTake(pdTRUE, 0) == 1 && ulTaskNotifyTake(pdTRUE, 0) == 0);
    TaskHandle_t me = xTaskGetCurrentTaskHandle();
    CHECK(xTaskNotify(me, 1, eSetValueWithoutOverwrite) == pdPASS);
    CHECK(xTaskNotify(me, 2, eSetValueWithoutOverwrite) == pdFAIL);
    CHECK(xTaskNotify(me, 2, eSetBits) == pdPASS && xTaskNotify(me, 0, eNoAction) == pdPASS);
    CHECK(ulTaskNotifyTake(pdTRUE, 0) == 3);
}

/* ---- network ---- */

static void test_network(void)
{
    char ssid[] = "net";
    uint8_t mac[6], again[6];
    size_t room = 6;
    wm_nm_wifi_station_cfg_t cfg = { ssid, NULL };
    wm_netif_ip_info_t info;
    wm_wifi_ps_type_t ps;

    CHECK(wm_nm_get_wifi_station_state() == WM_NM_WIFI_STA_GOT_IP);
    CHECK(wm_nm_stop_wifi_station() == WM_ERR_SUCCESS && wm_nm_get_wifi_station_state() == WM_NM_EXIT);
    CHECK(wm_nm_start_wifi_station(NULL) == WM_ERR_INVALID_PARAM);
    CHECK(wm_nm_start_wifi_station(&cfg) == WM_ERR_SUCCESS && wm_nm_get_wifi_station_state() == WM_NM_WIFI_STA_GOT_IP);
    CHECK(wm_nm_get_wifi_softap_state() == WM_NM_EXIT);
    CHECK(wm_nm_get_netif_by_name(wm_nm_get_netif_name(wm_nm_get_netif())) == WM_NETIF_TYPE_WIFI_STA);
    CHECK(wm_nm_get_netif_by_name("none") == (wm_nm_netif_t)WM_NM_INVALID_NETIF);
    CHECK(wm_sys_get_mac_addr(WM_MAC_TYPE_STA, mac, 6) == WM_ERR_SUCCESS && !(mac[0] & 1));
    CHECK(wm_sys_get_mac_addr(WM_MAC_TYPE_STA, mac, 5) == WM_ERR_INVALID_PARAM);
    CHECK(wm_wifi_get_mac(WM_WIFI_IF_STA, again) == WM_ERR_SUCCESS && memcmp(mac, again, 6) == 0);
    CHECK(wm_nm_get_netif_mac(wm_nm_get_netif(), again, &room) == WM_ERR_SUCCESS && memcmp(mac, again, 6) == 0);
    CHECK(wm_wifi_get_mac(WM_WIFI_IF_AP, again) == WM_ERR_SUCCESS && memcmp(mac, again, 6) != 0);
    CHECK(wm_nm_get_netif_ip_info(wm_nm_get_netif(), &info) == WM_ERR_SUCCESS && info.ip.u_addr.ip4.addr != 0);
    CHECK(wm_wifi_set_ps(WM_WIFI_PS_MAX_MODEM) == WM_ERR_SUCCESS && wm_wifi_get_ps(&ps) == WM_ERR_SUCCESS &&
          ps == WM_WIFI_PS_MAX_MODEM);

    ip_addr_t ip;
    CHECK(ipaddr_aton("10.1.2.3", &ip) == 1 && IP_IS_V4(&ip) && strcmp(ipaddr_ntoa(&ip), "10.1.2.3") == 0);
    CHECK(ipaddr_aton("fe80::1", &ip) == 1 && IP_IS_V6(&ip) && strcmp(ipaddr_ntoa(&ip), "fe80::1") == 0);
    CHECK(ipaddr_aton("nonsense", &ip) == 0);
}

/* ---- how a process ends ---- */

static void call_exit(wm_event_group_t group, int event, void *data, void *priv)
{
    (void)group;
    (void)event;
    (void)data;
    (void)priv;
    exit(3);
}

static void never_return(wm_event_group_t group, int event, void *data, void *priv)
{
    (void)group;
    (void)event;
    (void)data;
    (void)priv;
    sem_post(&g_gate_entered);
    for (;;) {
        pause();
    }
}

static int child(const char *what)
{
    wm_host_event_idle(5000); /* room in the queue, however small it is */
    if (strcmp(what, "log-lines") == 0) {
        child_log_lines();
        return 0;
    }
    if (strcmp(what, "level") == 0) {
        return wm_log_get_level() == WM_LOG_LEVEL_VERBOSE ? 3 : 1;
    }
    if (strcmp(what, "exit-in-callback") == 0) {
        wm_event_add_callback(A, 1, call_exit, NULL);
        wm_host_event_idle(5000);
        wm_event_send(A, 1, "data", 5);
        wm_event_send(A, 1, "more", 5);
        for (;;) {
            pause();
        }
    }
    if (strcmp(what, "exit-blocked") == 0) {
        wm_event_add_callback(A, 1, never_return, NULL);
        wm_host_event_idle(5000);
        wm_event_send(A, 1, "data", 5);
        sem_wait(&g_gate_entered);
        wm_event_send(A, 1, "more", 5);
        return 3;
    }
    if (strcmp(what, "exit-queued") == 0) {
        static atomic_int sink;
        wm_event_add_callback(A, 1, take_load, NULL);
        for (int i = 0; i < 100; i++) {
            struct load l = { .number = i };
            wm_event_send(A, 1, &l, sizeof l);
        }
        g_done = xSemaphoreCreateCounting(2, 0);
        xTaskCreate(sleep_for_ever, "sleeper", 512, &sink, 1, NULL);
        xTaskCreate(sleep_for_ever, "sleeper", 512, &sink, 1, NULL);
        xSemaphoreTake(g_done, 1000);
        xSemaphoreTake(g_done, 1000);
        vSemaphoreDelete(g_done);
        return 3;
    }
    return 2;
}

/* Runs this program with an argument; its exit status and how long it took. */
static int run_child(const char *what, double *seconds)
{
    char *argv[] = { (char *)g_self, (char *)what, NULL };
    double start = now();
    int status   = 0;

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        execv(g_self, argv);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    *seconds = now() - start;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_process_end(void)
{
    double seconds;
    CHECK(run_child("exit-in-callback", &seconds) == 3 && seconds < 10);
    CHECK(run_child("exit-blocked", &seconds) == 3 && seconds < 10);
    CHECK(run_child("exit-queued", &seconds) == 3 && seconds < 10);
    setenv("WM_LOG_LEVEL", "5", 1);
    CHECK(run_child("level", &seconds) == 3);
    setenv("WM_LOG_LEVEL", "55", 1);
    CHECK(run_child("level", &seconds) == 1);
    unsetenv("WM_LOG_LEVEL");
}

int main(int argc, char **argv)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    g_self    = n > 0 ? path : argv[0];

    sem_init(&g_gate_entered, 0, 0);
    sem_init(&g_gate_open, 0, 0);
    if (argc > 1) {
        return child(argv[1]);
    }
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
    test_idle();
    test_many_senders();
    test_log();
    test_log_lines_do_not_mix();
    test_tasks();
    test_time();
    test_queues();
    test_semaphores();
    test_event_groups();
    test_notifications();
    test_network();
    test_process_end();
    printf("%d passed, %d failed\n", g_passed, g_failed);
    return g_failed != 0;
}

#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "events.h"
#include "scheme.h"
#include "wm_log.h"

typedef struct release {
    struct release *next;
    void (*run)(void *);
    void *arg;
} release_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static release_t *releases[END_STAGES];
static pthread_t main_thread;
static jmp_buf end_of_test;
static bool in_test;
static const char *current;
static int failures;
static char row[160];
static char first_failure[2000];
static char skipped_because[200];
static int own_threads; /* main and the event task, before the first test */

long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

double slowness(void)
{
    static double factor;
    if (factor == 0) {
        const char *text = getenv("TEST_SLOWNESS");
        double value = text ? atof(text) : 1;
        factor = value >= 1 ? value : 1;
    }
    return factor;
}

long scaled(long ms)
{
    return (long)(ms * slowness());
}

void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

void *check_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p) {
        fprintf(stderr, "harness: out of memory\n");
        abort();
    }
    return p;
}

void at_test_end(enum test_end stage, void (*run)(void *), void *arg)
{
    release_t *r = check_alloc(sizeof *r);
    r->run = run;
    r->arg = arg;
    pthread_mutex_lock(&lock);
    r->next = releases[stage];
    releases[stage] = r;
    pthread_mutex_unlock(&lock);
}

/* Without handles the MQTT thread ends, once the last events of a handle that is gone are delivered. */
static void wait_for_threads(void)
{
    long until = now_ms() + scaled(5000);
    while (thread_count() > own_threads) {
        if (now_ms() > until) {
            check_failed(__FILE__, __LINE__, false, "%d threads are left over", thread_count() - own_threads);
            return;
        }
        sleep_ms(1);
    }
}

static void release_everything(void)
{
    for (int stage = 0; stage < END_STAGES; stage++) {
        if (stage == END_EVENTS) wait_for_threads();
        for (;;) {
            pthread_mutex_lock(&lock);
            release_t *r = releases[stage];
            if (r) releases[stage] = r->next;
            pthread_mutex_unlock(&lock);
            if (!r) break;
            r->run(r->arg);
            free(r);
        }
        if (stage == END_GATES) events_hook(NULL, NULL);
        if (stage == END_EVENTS) events_reset();
    }
}

void *test_alloc(size_t size)
{
    void *p = check_alloc(size);
    at_test_end(END_MEMORY, free, p);
    return p;
}

char *test_printf(const char *format, ...)
{
    va_list args;
    char *text;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) abort();
    at_test_end(END_MEMORY, free, text);
    return text;
}

void check_row(const char *format, ...)
{
    pthread_mutex_lock(&lock);
    row[0] = 0;
    if (format) {
        va_list args;
        va_start(args, format);
        vsnprintf(row, sizeof row, format, args);
        va_end(args);
    }
    pthread_mutex_unlock(&lock);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void check_failed(const char *file, int line, bool end_test, const char *format, ...)
{
    static char text[1500]; /* the event task's stack has no room for it on the device */
    va_list args;
    pthread_mutex_lock(&lock);
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (failures == 0)
        snprintf(first_failure, sizeof first_failure, "%s:%d: %s%s%s%s", base_name(file), line, row[0] ? "[" : "", row,
                 row[0] ? "] " : "", text);
    else if (failures < 10)
        fprintf(stderr, "  %s:%d: %s%s%s%s\n", base_name(file), line, row[0] ? "[" : "", row, row[0] ? "] " : "", text);
    failures++;
    pthread_mutex_unlock(&lock);

    if (!end_test) return;
    if (!in_test || !pthread_equal(pthread_self(), main_thread)) {
        fprintf(stderr, "%s: %s\n  a REQUIRE failed outside the test's own thread\n", current ? current : "?",
                first_failure);
        abort();
    }
    longjmp(end_of_test, 1);
}

bool check_has_failed(void)
{
    pthread_mutex_lock(&lock);
    bool failed = failures > 0;
    pthread_mutex_unlock(&lock);
    return failed;
}

void check_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(skipped_because, sizeof skipped_because, format, args);
    va_end(args);
    if (!in_test || !pthread_equal(pthread_self(), main_thread)) abort();
    longjmp(end_of_test, 1);
}

void check_bytes(const char *file, int line, const char *what, const void *a, size_t a_len, const void *b, size_t b_len)
{
    const uint8_t *x = a, *y = b;
    size_t i = 0, shorter = a_len < b_len ? a_len : b_len;
    while (i < shorter && x[i] == y[i]) i++;
    if (a_len == b_len && i == a_len) return;
    check_failed(file, line, false, "%s: %zu bytes, want %zu; they differ from byte %zu on (%02x, want %02x)", what, a_len,
                 b_len, i, i < a_len ? x[i] : 0, i < b_len ? y[i] : 0);
}

static void watchdog(int signal_number)
{
    (void)signal_number;
    const char *const parts[] = {"HUNG ", current ? current : "?", ": [", row, "] ", first_failure, "\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (write(2, parts[i], strlen(parts[i])) < 0) break;
    abort();
}

static void set_watchdog(long ms)
{
    struct itimerval timer = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

void check_takes(int seconds) { set_watchdog(scaled(1000L * seconds)); }

static void run_body(const test_t *test)
{
    in_test = true;
    if (setjmp(end_of_test) == 0) test->run();
    in_test = false;
}

enum outcome { PASSED, FAILED, SKIPPED, OUTCOMES };

static enum outcome run_test(const test_t *test, bool verbose)
{
    current = test->name;
    failures = 0;
    row[0] = first_failure[0] = skipped_because[0] = 0;
    long started = now_ms();
    set_watchdog(scaled(1000L * (test->seconds ? test->seconds : test->slow ? 120 : 30)));
    run_body(test);
    release_everything();
    set_watchdog(0);
    if (failures) printf("FAIL %s (%ld ms): %s\n", test->name, now_ms() - started, first_failure);
    else if (skipped_because[0]) printf("skip %s, %s: %s\n", test->name, scheme_name(), skipped_because);
    else if (verbose) printf("ok   %s (%ld ms)\n", test->name, now_ms() - started);
    fflush(stdout);
    return failures ? FAILED : skipped_because[0] ? SKIPPED : PASSED;
}

static bool wanted(const test_t *test, int argc, char **argv)
{
    bool named = false;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') continue;
        named = true;
        if (strstr(test->name, argv[i])) return true;
    }
    return !named;
}

int check_main(int argc, char **argv, const test_t *tests, size_t count)
{
    int counts[OUTCOMES] = {0}, slow_ones = 0;
    bool verbose = false;
    const char *slow = getenv("SLOW");
    bool run_slow = slow && strcmp(slow, "1") == 0;

    main_thread = pthread_self();
    signal(SIGALRM, watchdog);
    if (!getenv("WM_LOG_LEVEL")) wm_log_set_level(WM_LOG_LEVEL_NONE);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) verbose = true;
        if (strcmp(argv[i], "-l") == 0) {
            for (size_t t = 0; t < count; t++) printf("%s%s\n", tests[t].name, tests[t].slow ? " (slow)" : "");
            return 0;
        }
    }
    events_install();
    own_threads = thread_count();
    for (size_t t = 0; t < count; t++) {
        if (!wanted(&tests[t], argc, argv)) continue;
        if (tests[t].slow && !run_slow) slow_ones++;
        else counts[run_test(&tests[t], verbose)]++;
    }
    events_remove();
    printf("%s, %s: %d passed, %d failed", base_name(argv[0]), scheme_name(), counts[PASSED], counts[FAILED]);
    if (counts[SKIPPED]) printf(", %d skipped", counts[SKIPPED]);
    if (slow_ones) printf(" (%d slow ones left out)", slow_ones);
    printf("\n");
    return counts[FAILED] ? 1 : 0;
}

/* ---- gates ---- */

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool open;
};

static void gate_release(void *arg)
{
    gate_open(arg);
}

static void gate_free(void *arg)
{
    gate_t *gate = arg;
    pthread_cond_destroy(&gate->cond);
    pthread_mutex_destroy(&gate->mutex);
    free(gate);
}

gate_t *gate_new(void)
{
    gate_t *gate = check_alloc(sizeof *gate);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&gate->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&gate->mutex, NULL);
    at_test_end(END_GATES, gate_release, gate);
    at_test_end(END_MEMORY, gate_free, gate);
    return gate;
}

void gate_open(gate_t *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->open = true;
    pthread_cond_broadcast(&gate->cond);
    pthread_mutex_unlock(&gate->mutex);
}

bool gate_wait(gate_t *gate, long ms)
{
    long until = now_ms() + scaled(ms);
    struct timespec t = {until / 1000, until % 1000 * 1000000};
    pthread_mutex_lock(&gate->mutex);
    while (!gate->open && pthread_cond_timedwait(&gate->cond, &gate->mutex, &t) == 0) {
    }
    bool open = gate->open;
    pthread_mutex_unlock(&gate->mutex);
    return open;
}

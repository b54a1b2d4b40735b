/* A small test framework: named tests, checks that print values, and a watchdog.
 *
 * A test runs on the main thread. CHECK* notes a failure and goes on; REQUIRE* and FAIL end the test (main thread
 * only). CHECK* may be used on every thread. Whatever a test acquires through the harness (brokers, handles, threads,
 * recorded events) is released after it, in the order of `enum test_end`, whether it passed or not.
 *
 * Environment: SLOW=1 also runs the slow tests; TEST_SLOWNESS=n multiplies every time limit (valgrind, sanitizers);
 * WM_LOG_LEVEL=4 shows the library's log, which is silent otherwise. scheme.h and peers.h have theirs.
 * Arguments: names of tests, or parts of names, to run; -l lists the tests; -v prints every test. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    void (*run)(void);
    bool slow;   /* only with SLOW=1 */
    int seconds; /* of the watchdog, before scaling; 0: 30, slow tests 120 */
} test_t;

#define TEST(fn) {#fn, fn, false, 0}
#define SLOW_TEST(fn) {#fn, fn, true, 0}
#define LONG_TEST(fn, seconds) {#fn, fn, false, seconds}
#define TESTS_MAIN(table)                                                                                              \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        return check_main(argc, argv, table, sizeof(table) / sizeof(table[0]));                                        \
    }

int check_main(int argc, char **argv, const test_t *tests, size_t count);

/* Stages of the release after a test. */
enum test_end { END_GATES, END_BROKERS, END_HANDLES, END_CALLS, END_SERVERS, END_EVENTS, END_MEMORY, END_STAGES };
void at_test_end(enum test_end stage, void (*release)(void *), void *arg);

/* malloc that cannot fail, and memory that lives until the end of the test. */
void *check_alloc(size_t size);
void *test_alloc(size_t size);
char *test_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

long now_ms(void);
double slowness(void);
long scaled(long ms);
void sleep_ms(long ms);

/* Sets the watchdog anew, for tests whose size comes from the environment. */
void check_takes(int seconds);

/* Names the row of a table in the messages of the checks that follow; NULL clears it. */
void check_row(const char *format, ...) __attribute__((format(printf, 1, 2)));

void check_failed(const char *file, int line, bool end_test, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool check_has_failed(void);

/* Ends the test (main thread only): it cannot be run here. It is counted and printed with the reason. */
void check_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK_IMPL_(end, cond)                                                                                         \
    do {                                                                                                               \
        if (!(cond)) check_failed(__FILE__, __LINE__, end, "%s", #cond);                                               \
    } while (0)
#define CHECK_EQ_IMPL_(end, a, b)                                                                                      \
    do {                                                                                                               \
        long long a_ = (long long)(a), b_ = (long long)(b);                                                            \
        if (a_ != b_) check_failed(__FILE__, __LINE__, end, "%s is %lld, want %s = %lld", #a, a_, #b, b_);             \
    } while (0)
#define CHECK_STR_IMPL_(end, a, b)                                                                                     \
    do {                                                                                                               \
        const char *a_ = (a), *b_ = (b);                                                                               \
        if (!a_ || !b_ || __builtin_strcmp(a_, b_) != 0)                                                               \
            check_failed(__FILE__, __LINE__, end, "%s is \"%s\", want \"%s\"", #a, a_ ? a_ : "(null)",                 \
                         b_ ? b_ : "(null)");                                                                          \
    } while (0)

#define CHECK(cond) CHECK_IMPL_(false, cond)
#define CHECK_EQ(a, b) CHECK_EQ_IMPL_(false, a, b)
#define CHECK_STR(a, b) CHECK_STR_IMPL_(false, a, b)
#define REQUIRE(cond) CHECK_IMPL_(true, cond)
#define REQUIRE_EQ(a, b) CHECK_EQ_IMPL_(true, a, b)
#define FAIL(...) check_failed(__FILE__, __LINE__, true, __VA_ARGS__)

/* Compares two byte ranges and shows where they differ. */
#define CHECK_BYTES(a, a_len, b, b_len) check_bytes(__FILE__, __LINE__, #a, a, a_len, b, b_len)
void check_bytes(const char *file, int line, const char *what, const void *a, size_t a_len, const void *b,
                 size_t b_len);

/* A gate is closed until it is opened, from whatever thread; it opens by itself at the end of the test. */
typedef struct gate gate_t;
gate_t *gate_new(void);
void gate_open(gate_t *gate);
bool gate_wait(gate_t *gate, long ms); /* false: still closed after scaled(ms) */

/* Threads of this process, and what the kernel counts about one of them. */
int thread_count(void);
int thread_ids(int *ids, int max);
/* The one thread that was not there before, once there is exactly one: a thread that has ended, as that of a call in the
 * background, is still listed for a moment. -1: that did not come within 3 s. */
int new_thread(const int *before, int before_count);
long thread_switches(int id); /* voluntary context switches so far; -1: no such thread */
/* Waits until all other threads sleep at the same time: whatever was begun waits for something from outside, or for time to
 * pass. False: that did not come within 3 s. */
bool threads_come_to_rest(void);

#endif

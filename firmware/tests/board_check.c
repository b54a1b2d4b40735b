/* The report of examples/board_check: what it has, and that it says what is wrong. On C-SKY the computations are in the library. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "auto_broker.h"
#include "check.h"
#include "events.h"
#include "mosquitto.h"
#include "peers.h"
#include "wm_drv_rng.h"
#include "wm_task_config.h"
#include "../../examples/board_check/main/src/board_check.h"

#include "../../examples/board_check/main/src/computations.h"

static struct {
    char lines[80][200];
    int count;
} report;

static void print(const char *line)
{
    if (report.count == 80) return;
    snprintf(report.lines[report.count++], sizeof report.lines[0], "%s", line);
    puts(line);
}

/* The first line from a place on that begins so; ends the test if there is none. */
static int line_from(int at, const char *beginning)
{
    while (at < report.count && strncmp(report.lines[at], beginning, strlen(beginning)) != 0) at++;
    if (at == report.count) FAIL("no line \"%s\"", beginning);
    return at;
}

static bool has_line(const char *beginning)
{
    for (int i = 0; i < report.count; i++)
        if (strncmp(report.lines[i], beginning, strlen(beginning)) == 0) return true;
    return false;
}

/* A board with nothing to check is right. */
static board_t nothing(void)
{
    static const char *const none[] = {NULL};
    return (board_t){.print = print, .fill_random = wm_drv_fill_random, .uris = none};
}

static unsigned wrong;

static void *check_it(void *board)
{
    wrong = board_check(board);
    return NULL;
}

/* How many things are wrong; the last lines and the lines with WRONG say the same. With the stack of the SDK's main(). */
static unsigned run(board_t board)
{
    unsigned lines = 0;
    pthread_t thread;
    report.count = 0;
    events_remove(); /* topic and payload belong to the application */
    REQUIRE_EQ(pthread_create_with(&thread, WM_TASK_MAIN_STACK, WM_TASK_MAIN_PRIO, check_it, &board), 0);
    pthread_join(thread, NULL);
    events_install();
    CHECK_STR(report.lines[0], "-----BEGIN BOARD CHECK-----");
    CHECK_STR(report.lines[report.count - 1], "-----END BOARD CHECK-----");
    for (int i = 0; i < report.count; i++) lines += strncmp(report.lines[i], "WRONG: ", 7) == 0;
    CHECK_EQ(wrong, lines);
    char result[60];
    snprintf(result, sizeof result, "result: %u WRONG", wrong);
    CHECK_STR(report.lines[report.count - 2], wrong ? result : "result: all is right");
    return wrong;
}

/* What a report says of one broker that is all right. */
static void check_section(const char *uri)
{
    unsigned long first, again, before, connected, at_least, half, most, all;
    unsigned came, of;
    int qos, at = line_from(0, uri);

    check_row("%s", uri);
    CHECK_EQ(sscanf(report.lines[at + 1], "  connect: %lu ms, again: %lu ms", &first, &again), 2);
    CHECK(first < 30000);
    CHECK(again < 30000);
    for (int i = 0; i < 2; i++) {
        const char *line = report.lines[at + 2 + i];
        CHECK_EQ(sscanf(line, "  QoS %d: %u of %u came back, after %lu ms at least, %lu (half of them), %lu (99 of 100), %lu at most", &qos,
                        &came, &of, &at_least, &half, &most, &all), 7);
        CHECK_EQ(qos, i);
        CHECK_EQ(came, of);
        CHECK(of >= 100);
        CHECK(at_least <= half && half <= most && most <= all);
    }
    CHECK_EQ(sscanf(report.lines[at + 4], "  heap: %lu bytes free before, %lu connected", &before, &connected), 2);
    CHECK(connected < before);
    CHECK(connected > 0);
}

static void whole_report(void)
{
    int port = mosquitto_port(mosquitto_start(""));
    char *mqtt = test_printf("mqtt://user:secret@127.0.0.1:%d", port);
    char *mqtts = relay_uri(relay_start(port, "--tls @server.pem @server.key"), "mqtts");
    char *ws = relay_uri(relay_start(port, "--websocket"), "ws");
    char *wss = relay_uri(relay_start(port, "--tls @server.pem @server.key --websocket"), "wss");
    const char *uris[] = {mqtt, mqtts, ws, wss, NULL};
    board_t board = nothing();
    unsigned long before, after, at_least;

    board.uris = uris;
    board.ca = cert_text("ca.pem");
#ifdef __csky__
    board.compute = board_compute;
#endif
    CHECK_EQ(run(board), 0);
    check_section(test_printf("mqtt://127.0.0.1:%d", port)); /* without name and password */
    for (int i = 1; i < 4; i++) check_section(uris[i]);
    check_row(NULL);
    if (board.compute) CHECK(has_line("computations: 44 of 44 right"));
    else CHECK(has_line("computations: not in this library"));
    CHECK(strstr(report.lines[line_from(0, "random numbers: ")], ": right") != NULL);
    CHECK_EQ(sscanf(report.lines[line_from(0, "heap: ")], "heap: %lu bytes free before, %lu after, %lu at least", &before,
                    &after, &at_least), 3);
    CHECK(at_least < after && after <= before);
    CHECK(has_line("stack: mqtt has"));
#ifndef __csky__ /* where no task is interrupted, so nobody sees a handshake's stack */
    CHECK(has_line("stack: mqtt tls has"));
#endif
    for (int i = line_from(0, "stack: "); strncmp(report.lines[i], "stack: ", 7) == 0; i++) {
        const char *left = strstr(report.lines[i], " has never used ");
        unsigned bytes = 0;
        check_row("%s", report.lines[i]);
        CHECK(left != NULL && sscanf(left, " has never used %u bytes", &bytes) == 1);
        CHECK(bytes > 0);
    }
}

/* ---- what is wrong ---- */

static const struct {
    const char *name;
    uint64_t result;
} right[] = {
#include "../../examples/board_check/main/src/expected.h"
};
enum { COMPUTATIONS = sizeof right / sizeof right[0] };

static unsigned broken, known; /* which result has a wrong bit; how many there are */

static const char *pretend(unsigned number, uint64_t *result)
{
    if (number >= known) return NULL;
    if (number >= COMPUTATIONS) return "something new";
    *result = right[number].result ^ ((uint64_t)(number == broken) << 40);
    return right[number].name;
}

static void wrong_computations(void)
{
    board_t board = nothing();
    board.compute = pretend;
    known = COMPUTATIONS;
    for (broken = 0; broken < COMPUTATIONS; broken++) {
        CHECK_EQ(run(board), 1);
        int at = line_from(0, test_printf("WRONG: %s: ", right[broken].name));
        CHECK(strstr(report.lines[at], test_printf(", not %08lx%08lx", (unsigned long)(right[broken].result >> 32),
                                                   (unsigned long)right[broken].result)) != NULL);
        CHECK(has_line(test_printf("computations: %d of %d right", COMPUTATIONS - 1, COMPUTATIONS)));
    }
    CHECK_EQ(run(board), 0); /* none is broken */
    known = COMPUTATIONS - 1;
    CHECK_EQ(run(board), 1);
    CHECK(has_line(test_printf("WRONG: %s: the library does not compute that", right[COMPUTATIONS - 1].name)));
    known = COMPUTATIONS + 1;
    CHECK_EQ(run(board), 1);
    CHECK(has_line("WRONG: something new: nobody knows what comes out"));
}

static int no_random(void *to, uint32_t len) { return (void)to, (void)len, -1; }
static int zeros(void *to, uint32_t len) { return memset(to, 0, len), 0; }
static int one_bit_less(void *to, uint32_t len) /* of eight */
{
    int error = wm_drv_fill_random(to, len);
    for (uint32_t i = 0; i < len; i++) ((uint8_t *)to)[i] &= 0x7f;
    return error;
}
static int the_same(void *to, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) ((uint8_t *)to)[i] = (uint8_t)i;
    return 0;
}

static void wrong_random(void)
{
    static const struct {
        int (*fill)(void *to, uint32_t len);
        const char *line;
    } rows[] = {
        {no_random, "WRONG: random numbers: none"},
        {zeros, "WRONG: random numbers: all are 0"},
        {the_same, "WRONG: random numbers: the same twice"},
        {one_bit_less, "WRONG: random numbers: 14"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].line);
        board_t board = nothing();
        board.fill_random = rows[i].fill;
        CHECK_EQ(run(board), 1);
        CHECK(has_line(rows[i].line));
    }
    check_row(NULL);
    CHECK_EQ(run(nothing()), 0);
}

static void wrong_brokers(void)
{
    auto_broker_t *forgetful = auto_broker_open(); /* takes messages, and that is all */
    const char *uris[] = {"http://127.0.0.1", test_printf("mqtt://127.0.0.1:%d", auto_broker_port(forgetful)),
                          relay_uri(relay_start(auto_broker_port(forgetful), "--tls @server.pem @server.key"), "mqtts"), NULL};
    board_t board = nothing();

    board.uris = uris;
    board.ca = cert_text("other-ca.pem");
    CHECK_EQ(run(board), 4);
    CHECK(has_line("WRONG: init: "));
    CHECK(has_line("WRONG: QoS 0: message "));
    CHECK(has_line("WRONG: QoS 1: message "));
    CHECK(has_line("WRONG: connect: error "));
}

static const test_t tests[] = {
    LONG_TEST(whole_report, 120),
    LONG_TEST(wrong_computations, 60),
    TEST(wrong_random),
    LONG_TEST(wrong_brokers, 60),
};
TESTS_MAIN(tests)

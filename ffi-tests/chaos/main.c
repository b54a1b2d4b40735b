/* chaos SEED HANDLES RATE OBSERVED-PORT CA URI...: an application that publishes through a bad network, and judges what arrives.
 *
 * It reads lines, and answers with lines:
 *
 *     round SECONDS [lose] [again] ...    publishes; what its broker is allowed besides (ledger.h). Then: published
 *     settle                                    the network is good and the broker there: all must arrive. Then: settled
 *     end                                       ends all handles; nothing may be left. Then: ended
 *     totals                                    totals ...
 *
 * What is wrong it says in lines that begin with FAIL, and by its exit status once its input is closed. */
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "handles.h"
#include "ledger.h"
#include "observer.h"
#include "wm_host.h"
#include "wm_log.h"
#include "wm_mqtt_client.h"

/* Bytes that may be more: lists may have grown by some entries. A leak is a block for each connection, of which a generation
 * makes hundreds. */
enum { HEAP_SLACK = 1024, SETTLE_SECONDS = 180, END_SECONDS = 60 };

typedef struct {
    long heap, descriptors, threads;
} left_t;

static settings_t settings;
static int generation; /* 0: none lives */
static int generations;
static left_t before, first; /* the first handle; what the first generation has left */

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void say(const char *line)
{
    puts(line);
    fflush(stdout);
}

static double slowness(void)
{
    const char *text = getenv("TEST_SLOWNESS");
    return text && atof(text) > 1 ? atof(text) : 1;
}

static long entries(const char *folder)
{
    long n = 0;
    DIR *dir = opendir(folder);
    if (!dir) abort();
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static left_t measure(void)
{
    struct mallinfo2 info = mallinfo2();
    return (left_t){(long)(info.uordblks + info.hblkhd), entries("/proc/self/fd"), entries("/proc/self/task")};
}

static void begin_generation(void)
{
    generation = ++generations;
    ledger_begin(generation, settings.handles);
    handles_begin(&settings, generation);
}

static void settle(void)
{
    static char what[300];
    bool settled = false;
    handles_stop_reading(false);
    handles_do(SETTLE);
    for (long tenths = (long)(10 * SETTLE_SECONDS * slowness()); tenths > 0 && !settled; tenths--) {
        settled = handles_ready() == settings.handles && ledger_settled(what, sizeof what);
        pause_ms(100);
    }
    if (!settled) {
        ledger_fail("after %d s, %d of %d handles are connected and subscribed; %s", SETTLE_SECONDS, handles_ready(), settings.handles,
                    what[0] ? what : "all has arrived");
        exit(1);
    }
    ledger_close();
    handles_do(REST);
}

/* All observations of one generation begin when it is subscribed. */
static void await_observer(void)
{
    for (int i = 0; i < 30 && !observer_answers(); i++) pause_ms(100);
}

static void round_of(char *words)
{
    allowance_t allowed = {0};
    const struct {
        const char *word;
        bool *member;
    } table[] = {
        {"lose", &allowed.lose},   {"drop", &allowed.drop},       {"again", &allowed.again}, {"resent", &allowed.resent},
        {"stuck", &allowed.stuck}, {"reorder", &allowed.reorder}, {"low", &allowed.low},     {"raise", &allowed.raise},
    };
    char *rest, *word = strtok_r(words, " ", &rest);
    double seconds = word ? atof(word) : 0;
    while ((word = strtok_r(NULL, " ", &rest)))
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
            if (strcmp(word, table[i].word) == 0) *table[i].member = true;
    ledger_allow(allowed);
    handles_impatient(allowed.stuck);
    handles_highest_qos(allowed.low ? 1 : 2);
    if (!generation) {
        begin_generation();
        await_observer();
        settle();
    }
    say("begun");
    handles_stop_reading(true);
    handles_do(PUBLISH);
    pause_ms((long)(seconds * 1000));
    say("published");
}

static void end_generation(void)
{
    if (!generation) return;
    handles_do(LEAVE);
    handles_join();
    left_t left = {0};
    long on = 0, off = -1;
    bool idle = false;
    for (long tenths = (long)(10 * END_SECONDS * slowness()); tenths > 0 && !idle; tenths--) {
        pause_ms(100);
        left = measure();
        handles_events(&on, &off);
        idle = wm_host_event_idle(1000) == 0 && on == off && left.threads == before.threads && left.descriptors == before.descriptors;
    }
    if (generations == 1) first = left;
    if (!idle || left.heap > first.heap + HEAP_SLACK)
        ledger_fail("after generation %d: %ld threads and %ld descriptors, were %ld and %ld; %ld bytes of heap, were %ld; "
                    "%ld CONNECTED and %ld DISCONNECTED",
                    generation, left.threads, left.descriptors, before.threads, before.descriptors, left.heap, first.heap, on, off);
    printf("heap %ld threads %ld descriptors %ld after generation %d\n", left.heap, left.threads, left.descriptors, generation);
    generation = 0;
}

static void totals(void)
{
    totals_t t = ledger_totals();
    printf("totals connections=%ld longest=%ld published=%ld", handles_connections(), handles_longest_call(), t.published);
    for (int qos = 0; qos < 3; qos++)
        printf(" accepted%d=%ld refused%d=%ld observed%d=%ld received%d=%ld again%d=%ld lost%d=%ld", qos, t.accepted[qos], qos,
               t.refused[qos], qos, t.received[OBSERVER][qos], qos, t.received[RECEIVER][qos], qos,
               t.again[OBSERVER][qos] + t.again[RECEIVER][qos], qos, t.lost[OBSERVER][qos] + t.lost[RECEIVER][qos]);
    say("");
}

static char *text_of(const char *path)
{
    static char text[16384];
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (len == 0) {
        fprintf(stderr, "chaos: %s cannot be read\n", path);
        exit(2);
    }
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    static char line[200];
    if (argc < 7 || argc > 10 || atoi(argv[2]) < 2 || atoi(argv[2]) > MOST_HANDLES || atoi(argv[3]) < 1) {
        fprintf(stderr, "usage: chaos SEED HANDLES RATE OBSERVED-PORT CA URI...\n");
        return 2;
    }
    settings = (settings_t){.handles = atoi(argv[2]), .schemes = argc - 6, .seed = strtoull(argv[1], NULL, 10), .rate = atoi(argv[3])};
    for (int i = 0; i < settings.schemes; i++) settings.uris[i] = argv[6 + i];
    settings.ca = text_of(argv[5]);
    if (!getenv("WM_LOG_LEVEL")) wm_log_set_level(WM_LOG_LEVEL_NONE);
    setvbuf(stdout, NULL, _IOLBF, 4096);
    observer_start(atoi(argv[4]));
    await_observer();
    before = measure();
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "round ", 6) == 0) round_of(line + 6);
        else if (strcmp(line, "settle") == 0) await_observer(), settle(), say("settled");
        else if (strcmp(line, "end") == 0) end_generation(), say("ended");
        else if (strcmp(line, "totals") == 0) totals();
        else fprintf(stderr, "chaos: what is \"%s\"?\n", line);
    }
    return ledger_failures() > 0;
}

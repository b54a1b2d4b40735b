/* The work that is measured, the same for each client: PROGRAM WORK --option value ...
 *
 *   publish   -n messages as fast as the client takes them, on --active of --handles (all) in turn, until the broker has them all: for QoS 0 a last
 *             message arrives at a connection beside, for QoS 1 and 2 each is acknowledged. --window: so many under way, and no more.
 *             --burst: with QoS 0, after so many the broker must have them before the next
 *   receive   until -n messages have come, or none comes for --silence seconds (1). --steps FD: a byte is written there for each. --hold: the
 *             first callback of each --burst sleeps so many milliseconds
 *   trip      one message after the other to a subscription of its own
 *   connect   -n times: a client, its connect, disconnect and end; with --resume 1 connect and disconnect of one client
 *   idle      nothing, for --seconds
 *
 * --scheme, --port, --plain (the port of the broker without TLS and WebSocket), --ca, --qos, --size; --seconds: what is not done
 * by then is left; --count 1: system calls are counted. A line of JSON says what it took. Ends with 3 when the client cannot. */
#define _GNU_SOURCE
#include "client.h"
#include "measure.h"
#include "options.h"
#include "socket.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { HANDLES = 64 };

/* Counts what one thread waits for. */
struct counter {
    atomic_long count, target;
    sem_t reached;
};

static struct settings settings;
static const char *topic, *mark;
static struct client *clients[HANDLES];
static int handles, active, qos, size, steps, counts;
static long n, burst, hold, window, silence;
static double limit;
static char payload[65536];
static struct counter received, acknowledged;
static double first;

static void fail(const char *what)
{
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static void add(struct counter *counter)
{
    long now = atomic_fetch_add(&counter->count, 1) + 1;
    if (now == atomic_load(&counter->target))
        sem_post(&counter->reached);
}

/* Whether it counts so many within the seconds. */
static bool await(struct counter *counter, long target, double seconds)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (until.tv_nsec >= 1000000000)
        until.tv_sec++, until.tv_nsec -= 1000000000;
    double end = measure_now() + seconds;
    atomic_store(&counter->target, target);
    while (atomic_load(&counter->count) < target) {
        if (client_drive)
            client_drive(clients[0], 10);
        else
            sem_timedwait(&counter->reached, &until);
        if (measure_now() > end)
            break;
    }
    return atomic_load(&counter->count) >= target;
}

void bench_received(void)
{
    long before = atomic_load(&received.count);

    if (before == 0)
        first = measure_now();
    if (hold > 0 && burst > 0 && before % burst == 0)
        usleep((unsigned)hold * 1000);
    if (steps >= 0 && write(steps, "", 1) != 1)
        fail("the load");
    add(&received);
}

void bench_acknowledged(void)
{
    add(&acknowledged);
}

static void connect_all(void)
{
    static char ids[HANDLES][40];

    for (int i = 0; i < handles; i++) {
        snprintf(ids[i], sizeof ids[i], "bench-%d-%d", getpid(), i);
        clients[i] = client_new(&settings, ids[i]);
        if (!clients[i])
            exit(3);
        if (!client_connect(clients[i]))
            fail("connect");
    }
}

static void end_all(void)
{
    for (int i = 0; i < handles; i++) {
        client_disconnect(clients[i]);
        client_free(clients[i]);
    }
}

static void seen(void *to, int type, unsigned id, int of)
{
    (void)id, (void)of;
    if (type == PUBLISH)
        ++*(int *)to;
}

static int observer = -1;

/* A message with QoS 0 of each that publishes has arrived, behind all the others. */
static void arrived(void)
{
    static struct packets in;
    int marks = 0;

    for (int i = 0; i < active; i++)
        if (!client_publish(clients[i], mark, "x", 1, 0))
            fail("publish");
    while (marks < active)
        if (!socket_read(observer, &in, 60000, seen, &marks))
            fail("the last message");
}

static void publish(int plain)
{
    char id[40];
    long sent = 0;

    connect_all();
    snprintf(id, sizeof id, "observer-%d", getpid());
    if (qos == 0 && ((observer = socket_connect(settings.host, plain, id)) < 0 || !socket_subscribe(observer, mark, 0)))
        fail("the observer");
    measure_begin(counts);
    double from = measure_now(), last = from + limit;
    for (; sent < n && ((sent & 15) != 0 || measure_now() < last); sent++) {
        if (window > 0 && sent >= window && !await(&acknowledged, sent + 1 - window, 60))
            fail("an acknowledgement");
        if (qos == 0 && burst > 0 && sent > 0 && sent % burst == 0)
            arrived();
        if (!client_publish(clients[sent % active], topic, payload, size, qos))
            fail("publish");
    }
    if (qos == 0)
        arrived();
    else if (!await(&acknowledged, sent, 60))
        fail("an acknowledgement");
    measure_end(sent, 0, measure_now() - from, "");
    end_all();
}

static void receive(void)
{
    double last = 0;

    connect_all();
    if (!client_subscribe(clients[0], topic, qos))
        fail("subscribe");
    measure_begin(counts);
    printf("READY\n");
    fflush(stdout);
    /* The first may take its time, until the load has begun. */
    await(&received, 1, 10);
    long got = 0;
    for (long silent = 0; silent < silence * 20 && got < n; silent++) {
        await(&received, n, 0.05);
        if (atomic_load(&received.count) != got) {
            got    = atomic_load(&received.count);
            last   = measure_now();
            silent = 0;
        }
    }
    measure_end(got, n - got, last - first, "");
    end_all();
}

static int by_size(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void trip(void)
{
    double *trips = calloc((size_t)n, sizeof *trips);
    long done     = 0;
    char more[100];

    connect_all();
    if (!client_subscribe(clients[0], mark, qos))
        fail("subscribe");
    measure_begin(counts);
    double from = measure_now();
    while (done < n && measure_now() - from < limit) {
        double begin = measure_now();
        if (!client_publish(clients[0], mark, payload, size, qos) || !await(&received, done + 1, 60))
            fail("a round trip");
        trips[done++] = measure_now() - begin;
    }
    double seconds = measure_now() - from;
    qsort(trips, (size_t)done, sizeof *trips, by_size);
    snprintf(more, sizeof more, ", \"p50\": %.2f, \"p99\": %.2f", trips[done / 2] * 1e6, trips[done * 99 / 100] * 1e6);
    measure_end(done, 0, seconds, more);
    end_all();
}

static void connects(void)
{
    long done = 0;

    if (settings.resume) {
        connect_all();
        client_disconnect(clients[0]);
    }
    measure_begin(counts);
    double from = measure_now();
    for (; done < n && measure_now() - from < limit; done++) {
        if (!settings.resume)
            connect_all();
        else if (!client_connect(clients[0]))
            fail("connect");
        if (!settings.resume)
            end_all();
        else
            client_disconnect(clients[0]);
    }
    measure_end(done, 0, measure_now() - from, "");
}

static void idle(void)
{
    connect_all();
    usleep(200000);
    measure_begin(counts);
    double from = measure_now();
    usleep((unsigned)(limit * 1e6));
    measure_end(1, 0, measure_now() - from, "");
    end_all();
}

int main(int argc, char **argv)
{
    const char *work = argc > 1 ? argv[1] : "";
    char name[40];

    settings = (struct settings){option(argc, argv, "--scheme", "mqtt"), "127.0.0.1", (int)number(argc, argv, "--port", 1883),
                                 option(argc, argv, "--ca", NULL), number(argc, argv, "--resume", 0)};
    topic    = option(argc, argv, "--topic", "bench/work");
    snprintf(name, sizeof name, "bench/%d", getpid());
    mark    = name;
    handles = (int)number(argc, argv, "--handles", 1);
    active  = (int)number(argc, argv, "--active", handles);
    qos     = (int)number(argc, argv, "--qos", 0);
    size    = (int)number(argc, argv, "--size", 16);
    steps   = (int)number(argc, argv, "--steps", -1);
    counts  = (int)number(argc, argv, "--count", 0);
    n       = number(argc, argv, "-n", 1000);
    burst   = number(argc, argv, "--burst", 0);
    hold    = number(argc, argv, "--hold", 0);
    window  = number(argc, argv, "--window", 0);
    silence = number(argc, argv, "--silence", 1);
    limit   = (double)number(argc, argv, "--seconds", 3600);
    memset(payload, 'x', sizeof payload);
    if (handles < 1 || handles > HANDLES || active < 1 || active > handles || size > 65535 || sem_init(&received.reached, 0, 0) || sem_init(&acknowledged.reached, 0, 0))
        fail("the options");
    if (strcmp(work, "publish") == 0)
        publish((int)number(argc, argv, "--plain", settings.port));
    else if (strcmp(work, "receive") == 0)
        receive();
    else if (strcmp(work, "trip") == 0)
        trip();
    else if (strcmp(work, "connect") == 0)
        connects();
    else if (strcmp(work, "idle") == 0)
        idle();
    else
        fail("the work");
    return 0;
}

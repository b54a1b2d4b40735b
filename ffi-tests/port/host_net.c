/* The Linux port: name lookups that hang, connects that fail for want of something, and the one line that the log has for each;
 * identifiers. getaddrinfo, connect and pthread_create are the program's own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "client.h"
#include "log_capture.h"

#define FAILURE WM_MQTT_CLIENT_ERROR_FAILURE

/* ---- getaddrinfo: "hung-..." hangs while its gate is closed, "nowhere" is unknown, the others are this machine, "two" with one more
 * address before it ---- */

static gate_t *gate;
static atomic_int hanging, lookups;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && !strstr(name, ".test")) return real(name, service, hints, list);
    atomic_fetch_add(&lookups, 1);
    if (strncmp(name, "hung", 4) == 0) {
        atomic_fetch_add(&hanging, 1);
        gate_wait(gate, 100000);
        atomic_fetch_sub(&hanging, 1);
    }
    if (strncmp(name, "nowhere", 7) == 0) return EAI_NONAME;
    if (strncmp(name, "two", 3) != 0) return real("127.0.0.1", service, hints, list);
    int error = real("127.0.0.2", service, hints, list);
    return error ? error : real("127.0.0.1", service, hints, &(*list)->ai_next);
}

/* The first address of 127.0.0.0/8 that was tried to connect to since this was 0. */
static atomic_uint first_address;

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    int (*real)(int, const struct sockaddr *, socklen_t);
    *(void **)&real = dlsym(RTLD_NEXT, "connect");
    unsigned none = 0, host = address->sa_family == AF_INET ? ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) : 0;
    if (host >> 24 == 127) atomic_compare_exchange_strong(&first_address, &none, host);
    return real(fd, address, len);
}

static atomic_bool no_threads;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : real(thread, attr, body, arg);
}

static handle_t client_of(broker_t *broker, const char *host)
{
    return client_for(test_printf("mqtt://%s:%d", host, broker_port(broker)), true);
}

static bool comes_to(atomic_int *count, int want, long ms)
{
    for (long until = now_ms() + scaled(ms); *count != want; sleep_ms(1))
        if (now_ms() > until) return false;
    return true;
}

/* ---- lookups ---- */

enum { THREADS = 8 };

/* Each of them was a thread. */
static void abandoned_lookups(void)
{
    broker_t *broker = broker_open();
    gate = gate_new();
    hanging = lookups = 0;
    handle_t good = client_of(broker, "good.test");
    int before = thread_count() + 1; /* the MQTT task's */
    client_connect(good, broker, false);
    for (int i = 0; i < 400; i++) {
        handle_t handle = client_of(broker, test_printf("hung-%d.test", i));
        call_t *connect = start_connect(handle);
        if (i < THREADS) CHECK(comes_to(&hanging, i + 1, 5000));
        while (!call_done(connect, 0)) {
            CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
            sleep_ms(1);
        }
        CHECK_EQ(call_result(connect), FAILURE);
        CHECK_EQ(client_deinit(handle), 0);
    }
    /* The last calls' threads are about to end. */
    for (long until = now_ms() + scaled(3000); thread_count() > before + THREADS && now_ms() < until;) sleep_ms(1);
    CHECK(thread_count() <= before + THREADS);
    /* What waits is begun when a thread is free, what nobody waits for is not. */
    CHECK_EQ(wm_mqtt_client_disconnect(good), 0);
    call_t *connect = start_connect(good);
    CHECK(!call_done(connect, 100));
    CHECK_EQ(lookups, 1 + THREADS);
    gate_open(gate);
    conn_t *conn = accept_connect(broker);
    serve_connack(conn, false, 0);
    CHECK_EQ(call_result(connect), 0);
    CHECK_EQ(lookups, 1 + THREADS + 1);
    CHECK(comes_to(&hanging, 0, 5000));
}

/* While its name servers are silent others are looked up. */
static void one_name_hangs(void)
{
    broker_t *broker = broker_open();
    gate = gate_new();
    call_t *connects[20];
    hanging = 0;
    for (int i = 0; i < 20; i++) connects[i] = start_connect(client_of(broker, "hung.test"));
    CHECK(comes_to(&hanging, 2, 5000));
    client_connect(client_of(broker, "good.test"), broker, false);
    /* One answer for all. */
    broker_stop(broker);
    gate_open(gate);
    for (int i = 0; i < 20; i++) CHECK_EQ(call_result(connects[i]), FAILURE);
}

static void all_threads_hang(void)
{
    broker_t *broker = broker_open();
    gate = gate_new();
    hanging = 0;
    for (int i = 0; i < THREADS; i++) start_connect(client_of(broker, test_printf("hung-%d.test", i)));
    CHECK(comes_to(&hanging, THREADS, 5000));
    handle_t handle = client_of(broker, "good.test");
    call_t *connect = start_connect(handle);
    CHECK_EQ(call_result_within(connect, 35000), FAILURE);
    CHECK(call_duration(connect) >= 29900);
    gate_open(gate);
    CHECK(comes_to(&hanging, 0, 5000));
    client_connect(handle, broker, false);
}

/* ---- addresses ---- */

static void close_fd(void *fd) { close((int)(intptr_t)fd); }

static int socket_on(int port, struct sockaddr_in *address)
{
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(0x7f000002)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    REQUIRE(fd >= 0);
    at_test_end(END_BROKERS, close_fd, (void *)(intptr_t)fd);
    return fd;
}

/* On 127.0.0.2 a SYN to this port gets no answer: the queue of connections that nobody accepts is full. */
static void be_silent(int port)
{
    struct sockaddr_in address;
    int listener = socket_on(port, &address);
    REQUIRE_EQ(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    REQUIRE_EQ(listen(listener, 0), 0);
    for (int i = 0; i < 4; i++) {
        struct pollfd up = {.fd = socket_on(port, &address), .events = POLLOUT};
        if (connect(up.fd, (struct sockaddr *)&address, sizeof address) != 0 && poll(&up, 1, 100) == 0) return;
    }
    check_skip("no silent address to be had");
}

/* A silent first address cost half of the 30 s, at every connect. */
static void two_addresses(void)
{
    broker_t *broker = broker_open();
    be_silent(broker_port(broker));
    handle_t handle = client_of(broker, "two.test");
    for (int i = 0; i < 3; i++) {
        check_row("connect %d", i);
        long before = now_ms();
        first_address = 0;
        conn_t *conn = client_connect(handle, broker, false);
        long took = now_ms() - before;
        /* The one that has answered is first from then on. */
        CHECK_EQ(first_address, i == 0 ? 0x7f000002 : INADDR_LOOPBACK);
        if (i == 0) CHECK(took >= 250);
        CHECK(took < scaled(1000));
        call_t *disconnect = start_disconnect(handle);
        expect_bytes(conn, "e0 00");
        expect_eof(conn, 2000);
        conn_close(conn);
        CHECK_EQ(call_result(disconnect), 0);
        expect_event(DISCONNECTED);
    }
}

/* ---- the log ---- */

/* A connect that fails with this code, and with one line that says so. */
#define FAILS(handle, want, line)                                                                                      \
    do {                                                                                                               \
        log_clear();                                                                                                   \
        CHECK_EQ(wm_mqtt_client_connect(handle), want);                                                                \
        no_threads = false;                                                                                            \
        more_files();                                                                                                  \
        if (!log_has(line)) FAIL("the log does not say \"%s\"", line);                                                 \
        CHECK_EQ(log_count("[E]"), 1);                                                                                 \
        CHECK_EQ(log_count("[W]"), 0);                                                                                 \
    } while (0)

static struct rlimit files;

/* Nothing more can be opened: 0 to 2 are. */
static void no_more_files(void)
{
    getrlimit(RLIMIT_NOFILE, &files);
    REQUIRE_EQ(setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, files.rlim_max}), 0);
}

static void more_files(void)
{
    if (files.rlim_cur) setrlimit(RLIMIT_NOFILE, &files);
}

static void nothing_to_connect_with(void)
{
    static const char task[] = "connect: no memory, file or thread for it";
    static const char shortage[] = "failed: no free socket, file or thread, or no memory for one";
    int threads = thread_count() + 1; /* the MQTT task's */
    broker_t *broker = broker_open();
    handle_t handle = client_of(broker, "127.0.0.1"), named = client_of(broker, "localhost"), other = client_of(broker, "good.test");
    log_capture();
    check_row("no thread for the MQTT task");
    no_threads = true;
    FAILS(handle, FAILURE, task);
    check_row("no file for it");
    no_more_files();
    FAILS(handle, FAILURE, task);
    client_connect(handle, broker, false);
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    check_row("no socket");
    no_more_files();
    FAILS(handle, FAILURE, shortage);
    check_row("no file for a lookup");
    no_more_files();
    FAILS(named, FAILURE, shortage);
    /* Its thread would do for the next one. */
    for (long until = now_ms() + scaled(3000); thread_count() > threads && now_ms() < until;) sleep_ms(1);
    check_row("no thread for a lookup");
    no_threads = true;
    FAILS(other, FAILURE, shortage);
    check_row("afterwards");
    client_connect(handle, broker, false);
    client_connect(other, broker, false);
}

static void other_failures(void)
{
    static const char mqtt[] = "MQTT allows no such user name, password, will or client id";
    static const struct {
        config_t config;
        int want;
        const char *line;
    } rows[] = {
        {{.uri = "nowhere.test"}, FAILURE, "failed: host not found"},
        {{.uri = "127.0.0.1:1"}, FAILURE, "failed: no address of the host accepts connections"},
        {{.uri = "127.0.0.1:1", .will_topic = "a/#"}, FAILURE, mqtt},
        {{.uri = "127.0.0.1:1", .will_topic = ""}, WM_MQTT_CLIENT_ERROR_0_LEN_WILL_TOPIC, mqtt},
        {{.uri = "127.0.0.1:1", .will_topic = "a", .will_qos = 3}, WM_MQTT_CLIENT_ERROR_BAD_QOS, mqtt},
        {{.uri = "127.0.0.1:1", .username = "\xff"}, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING, mqtt},
        {{.uri = "127.0.0.1:1", .client_id = ""}, FAILURE, mqtt},
        {{.uri = "127.0.0.1:0"}, FAILURE, "bad port number in the URI"},
    };
    log_capture();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("row %zu", i);
        FAILS(client_new(&rows[i].config), rows[i].want, rows[i].line);
    }
}

/* ---- client identifiers ---- */

/* In a process that is made for it: the identifier of a client that is given none, until the end of the input. */
__attribute__((constructor)) static void print_identifier(void)
{
    char byte;
    if (!getenv("PRINT_IDENTIFIER")) return;
    handle_t handle = wm_mqtt_client_init(&(config_t){.uri = "localhost"});
    if (handle && write(1, handle->client_id, 11) == 11 && read(0, &byte, 1) == 0) _exit(0);
    _exit(1);
}

/* Process 1 of a PID namespace of its own, as in a container; its input, and what it prints. */
static bool start_container(int *input, char id[12])
{
    int in[2], out[2];
    char program[4096] = {0}; /* valgrind has its own idea of the link itself */
    REQUIRE(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    REQUIRE(pipe(in) == 0 && pipe(out) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(in[1]);
        dup2(in[0], 0);
        dup2(out[1], 1);
        if (unshare(CLONE_NEWPID) == 0 && fork() == 0) execle(program, program, NULL, (char *[]){"PRINT_IDENTIFIER=1", NULL});
        _exit(0);
    }
    close(in[0]);
    close(out[1]);
    waitpid(child, NULL, 0);
    bool printed = read(out[0], id, 11) == 11;
    close(out[0]);
    *input = in[1];
    return printed;
}

static void two_containers(void)
{
    char ids[2][12] = {{0}, {0}};
    int inputs[2];
    for (int i = 0; i < 2; i++)
        if (!start_container(&inputs[i], ids[i])) check_skip("no PID namespace to be had");
    CHECK_EQ(strlen(ids[0]), 11);
    CHECK(strcmp(ids[0], ids[1]) != 0);
    for (int i = 0; i < 2; i++) close(inputs[i]);
}

static const test_t tests[] = {
    LONG_TEST(abandoned_lookups, 60),
    TEST(one_name_hangs),
    SLOW_TEST(all_threads_hang),
    TEST(two_addresses),
    TEST(nothing_to_connect_with),
    TEST(other_failures),
    TEST(two_containers),
};
TESTS_MAIN(tests)

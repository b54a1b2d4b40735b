/* Servers that break the rules of TLS and WebSocket, or stretch them: bad-peer of ffi-tests/peers. Whatever they do, connect
 * returns, a call that ends it is not kept waiting, other handles go on, and nothing is left. */
#include <string.h>

#include "auto_broker.h"
#include "check.h"
#include "client.h"
#include "log_capture.h"

#ifdef WM_MQTT_ON_DEVICE
#include "board.h"
/* Bytes of heap; how many more are no leak: heap_4 gives a block up to 16 more than it was asked for. A block in each row is more. */
enum { SLACK = 256 };
static long in_use(void) { return (long)board_heap_used(); }
/* Takes minutes there, and records of one byte more heap than there may be. */
#define BYTE_BY_BYTE(...)
#else
#include <dirent.h>
/* Open descriptors. Memory is the sanitizers' and valgrind's matter. */
enum { SLACK = 0 };
static void network_forget_closed(void) {}
static long in_use(void)
{
    long n = 0;
    DIR *dir = opendir("/proc/self/fd");
    REQUIRE(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}
#define BYTE_BY_BYTE(...) __VA_ARGS__
#endif

#define FAILURE WM_MQTT_CLIENT_ERROR_FAILURE

typedef enum {
    REFUSED, /* connect returns FAILURE soon */
    WAITS,   /* connect is still waiting when it is called off */
    LOST,    /* it connects, and the connection ends by itself */
    LIVES,   /* it connects, and stays until it is ended */
    SERVES   /* it connects, and a message with QoS 1 goes through */
} right_t;

typedef struct {
    const char *steps, *actions; /* each action after each step */
    right_t right;
    const char *words; /* of the log, alternatives between bars; NULL: any */
} row_t;

/* Whether the log has one of these alternatives. */
static bool log_says(const char *words)
{
    char *rest;
    for (char *one = strtok_r(test_printf("%s", words), "|", &rest); one; one = strtok_r(NULL, "|", &rest))
        if (log_has(one)) return true;
    return false;
}

/* Ends it by one of two calls, which is not kept waiting. */
static void end(handle_t handle, int by)
{
    call_t *call = by % 2 ? start_disconnect(handle) : start_deinit(handle);
    CHECK_EQ(call_result_within(call, 2000), 0);
    if (by % 2) CHECK_EQ(client_deinit(handle), 0);
}

static void send_message(handle_t handle)
{
    int id = wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0);
    CHECK(id > 0);
    expect_published(id);
}

/* Tasks give back what others have ended. */
static void check_in_use(long most)
{
    for (long until = now_ms() + scaled(8000); now_ms() < until && in_use() > most; network_forget_closed()) sleep_ms(10);
    long more = in_use() - most;
    if (more > 0) check_failed(__FILE__, __LINE__, false, "%ld more in use than there may be", more);
}

static void run(const row_t *row, const char *scheme, const char *step, const char *action, const char *options,
                handle_t other, int number)
{
    check_row("%s %s%s", step, action, options);
    log_clear();
    relay_t *peer = bad_peer_start("--tls @server.pem @server.key --at %s --do %s%s", step, action, options);
    config_t config = {.uri = relay_uri(peer, scheme), .client_id = "c", .clean_session = 1};
    if (strcmp(scheme, "mqtts") == 0) {
        config.auth_mode = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT;
        config.ca = cert_text("ca.pem");
    }
    handle_t handle = client_new(&config);
    call_t *connect = start_connect(handle);
    /* It does come this far. */
    relay_line(peer, "step");
    if (row->right == WAITS) {
        CHECK(!call_done(connect, 60));
        send_message(other);
        end(handle, number);
        CHECK_EQ(call_result_within(connect, 1000), FAILURE);
        if (log_has(" failed: ")) check_failed(__FILE__, __LINE__, false, "it has failed by itself:\n%s", log_text());
    } else if (!call_done(connect, scaled(5000))) {
        check_failed(__FILE__, __LINE__, false, "connect still waits");
        end(handle, number);
    } else {
        int result = call_result(connect);
        CHECK_EQ(result, row->right == REFUSED ? FAILURE : 0);
        if (row->right == LOST && result == 0) expect_lost(handle);
        const event_t *ended = row->right == LIVES ? wait_event(DISCONNECTED, 150) : NULL;
        if (ended && ended->client == handle->client)
            check_failed(__FILE__, __LINE__, false, "the connection ended:\n%s", log_text());
        if (row->right == SERVES && result == 0) {
            for (int i = 0; i < 3; i++) send_message(handle);
        }
        send_message(other);
        end(handle, number);
    }
    if (row->words && !log_says(row->words))
        check_failed(__FILE__, __LINE__, false, "the log does not say \"%s\":\n%s", row->words, log_text());
    relay_stop(peer);
    events_reset();
}

/* With these options of bad-peer besides. */
static void run_all(const row_t *rows, size_t count, const char *scheme, const char *options)
{
    auto_broker_t *broker = auto_broker_open();
    handle_t other = client_for(auto_broker_uri(broker), true);
    REQUIRE_EQ(wm_mqtt_client_connect(other), 0);
    log_capture();
    /* Lists of what waits get their length, and the last handles that ended keep their memory. */
    enum { HANDLES_KEPT = 8 };
    static const row_t first = {"", "", REFUSED, NULL};
    for (int i = 0; i < HANDLES_KEPT; i++) run(&first, scheme, "start", "close", "", other, i);
    sleep_ms(500);
    network_forget_closed();
    long before = in_use();
    int number = 0;
    for (size_t i = 0; i < count; i++) {
        char *steps, *actions;
        for (char *step = strtok_r(test_printf("%s", rows[i].steps), " ", &steps); step; step = strtok_r(NULL, " ", &steps))
            for (char *action = strtok_r(test_printf("%s", rows[i].actions), " ", &actions); action;
                 action = strtok_r(NULL, " ", &actions)) {
                run(&rows[i], scheme, step, action, options, other, number++);
                check_in_use(before + SLACK);
            }
    }
    check_row("all of them");
    check_in_use(before + SLACK);
    check_row(NULL);
}
#define RUN(rows, scheme) run_all(rows, sizeof rows / sizeof rows[0], scheme, "")

/* Every step at which the client waits for the server. */
#define STEPS13 "hello13 extensions13 request13 certificate13 verify13 finished13"
#define STEPS12_UNFINISHED "hello12 certificate12 exchange12 done12 client12 change12"
#define STEPS12 STEPS12_UNFINISHED " finished12"
#define STEPS "hello " STEPS13 " " STEPS12
#define CONNECTED_BOTH "connack13 connack12"

/* What the log says. */
#define ENDED "ended by the server in the handshake|cut off|network error|no address of the host accepts"
#define EXCESS(message, most) "TLS: the server's " message " has more than " most
/* Of a record with 65,535 bytes. */
#define TOO_LONG EXCESS("fragmented message", "|") BROKEN
#define BROKEN "TLS: the server does not speak TLS, or sends broken messages"
#define RULES "TLS: the server breaks the protocol"
#define PLACE "TLS: message out of place"
#define DAMAGED "TLS: a record was tampered with or damaged"
#define LARGE "TLS: a record is too large"
#define MALFORMED "server certificate refused: malformed"
#define NO_VERSION "TLS: no version of TLS in common with the server"

static void silence(void)
{
    static const row_t rows[] = {
        {"start " STEPS, "silence half-record", WAITS, NULL},
        {CONNECTED_BOTH, "silence half-record", LIVES, NULL},
    };
    RUN(rows, "mqtts");
}

static void ends(void)
{
    static const row_t rows[] = {
        {"start " STEPS, "close reset half-record-close", REFUSED, ENDED},
        {CONNECTED_BOTH, "close half-record-close", LOST, "lost: cut off"},
        {CONNECTED_BOTH, "reset", LOST, "lost: network error|lost: cut off"},
        {CONNECTED_BOTH, "close-notify close-notify-alone", LOST, "lost: closed by the server"},
    };
    RUN(rows, "mqtts");
}

static void alerts(void)
{
    static const row_t rows[] = {
        {"start " STEPS, "fatal unknown-level", REFUSED, "handshake_failure"},
        {"start " STEPS, "unknown-alert", REFUSED, "TLS alert 200 by the server"},
        {"start " STEPS, "short-alert long-alert", REFUSED, BROKEN},
        {"start " STEPS, "warnings", REFUSED, RULES},
        {"start " STEPS, "close-notify", REFUSED, "failed: closed by the server|" ENDED},
        /* Nobody has shown yet that it is the server's: rustls goes by the end of the stream then. */
        {"start hello " STEPS12_UNFINISHED, "close-notify-alone", WAITS, NULL},
        {STEPS13 " finished12", "close-notify-alone", REFUSED, "failed: closed by the server"},
        {CONNECTED_BOTH, "fatal unknown-level", LOST, "handshake_failure"},
        {CONNECTED_BOTH, "unknown-alert", LOST, "TLS alert 200 by the server"},
        {CONNECTED_BOTH, "short-alert long-alert", LOST, BROKEN},
        {CONNECTED_BOTH, "warnings", LOST, RULES},
    };
    RUN(rows, "mqtts");
}

static void records(void)
{
    static const row_t rows[] = {
        {"start hello", "http ssh mqtt", REFUSED, BROKEN},
        {"start hello hello12 exchange12", "empty-handshake", REFUSED, BROKEN},
        {"hello13 verify13 finished13 change12 finished12", "empty-handshake", REFUSED, RULES},
        {"start hello hello13 verify13 hello12 exchange12 change12", "empty-data", REFUSED, PLACE},
        {"finished13 finished12", "empty-data", REFUSED, RULES},
        {"start hello hello12 exchange12", "changes", REFUSED, PLACE},
        {"hello13 verify13", "changes", REFUSED, RULES},
        {"start hello hello13 verify13 finished13 hello12 exchange12 finished12", "unknown-records", REFUSED, BROKEN},
        {"start hello hello13 verify13 finished13 hello12 exchange12 finished12", "too-long", REFUSED, TOO_LONG},
        {"start hello hello12 exchange12", "too-long-sealed", REFUSED, PLACE},
        {"hello13 verify13 finished13 change12 finished12", "too-long-sealed", REFUSED, LARGE},
        {"start hello hello12 exchange12", "damaged", REFUSED, PLACE},
        {"hello13 verify13 finished13 change12 finished12", "damaged", REFUSED, DAMAGED},
        {"start hello hello13 verify13 finished13 hello12 exchange12 finished12", "endless-message", REFUSED, EXCESS("Certificate", "")},
        {"hello hello13 verify13 finished13 hello12 exchange12 finished12", "unknown-message", REFUSED, EXCESS("message of another kind", "0 bytes")},
        {CONNECTED_BOTH, "empty-handshake empty-data", LOST, RULES},
        {CONNECTED_BOTH, "changes", LOST, PLACE},
        {CONNECTED_BOTH, "unknown-message", LOST, EXCESS("message of another kind", "0 bytes")},
        {CONNECTED_BOTH, "unknown-records", LOST, BROKEN},
        {CONNECTED_BOTH, "too-long", LOST, TOO_LONG},
        {CONNECTED_BOTH, "endless-message", LOST, EXCESS("Certificate", "")},
        {CONNECTED_BOTH, "too-long-sealed", LOST, LARGE},
        {CONNECTED_BOTH, "damaged", LOST, DAMAGED},
    };
    RUN(rows, "mqtts");
}

static void server_hello(void)
{
    static const row_t rows[] = {
        {"hello", "hello-ssl3 hello-tls11 hello-version-unknown", REFUSED, NO_VERSION},
        {"hello", "hello-no-suite hello-suite-not-offered hello-suite-of-other-version", REFUSED, RULES},
        {"hello", "hello-no-share hello-group-not-offered hello-share-short hello-share-zero", REFUSED, RULES},
        {"hello", "hello-extension-not-asked hello-psk-not-offered joined-with-next", REFUSED, RULES},
        {"hello", "hello-many-extensions", REFUSED, EXCESS("ServerHello", "")},
        {"hello", "hello-share-empty hello-twice-extension hello-empty hello-cut hello-too-long", REFUSED, BROKEN},
        {"hello", "retry-same retry-unknown", REFUSED, RULES},
        {"hello", "retry-twice", REFUSED, PLACE},
    };
    RUN(rows, "mqtts");
}

static void order13(void)
{
    static const row_t rows[] = {
        {"start hello", "extensions finished verify done key-update change early-data", REFUSED, PLACE},
        {"start hello", "certificate ticket request", REFUSED, BROKEN}, /* in TLS 1.3's form, before there is a version */
        {"hello13", "server-hello certificate verify finished request ticket key-update early-data", REFUSED, PLACE},
        {"extensions13", "server-hello extensions verify finished ticket key-update early-data exchange done", REFUSED, PLACE},
        {"request13", "request extensions verify finished", REFUSED, PLACE},
        {"certificate13", "certificate extensions request finished", REFUSED, PLACE},
        {"certificate13", "bad-signature", REFUSED, "server certificate refused: its signature does not fit"},
        {"certificate13", "unknown-scheme", REFUSED, RULES},
        {"verify13", "verify certificate early-data", REFUSED, PLACE},
        {"verify13", "finished", REFUSED, DAMAGED},
        {"connack13", "server-hello extensions certificate verify finished request change hello-requests", LOST, PLACE},
        {"connack13", "bad-key-update", LOST, BROKEN},
    };
    RUN(rows, "mqtts");
}

static void order12(void)
{
    static const row_t rows[] = {
        {"hello12", "server-hello exchange done finished change early-data", REFUSED, PLACE},
        {"certificate12", "certificate12 done finished change early-data", REFUSED, PLACE},
        {"certificate12", "bad-exchange", REFUSED, "server certificate refused: its signature does not fit"},
        {"exchange12", "exchange certificate12 finished change early-data", REFUSED, PLACE},
        {"exchange12", "done-with-body", REFUSED, EXCESS("message of another kind", "0 bytes")},
        {"done12", "done exchange finished early-data", REFUSED, PLACE},
        {"client12", "finished early-data done", REFUSED, PLACE},
        {"done12 client12", "change", WAITS, NULL}, /* its Finished is to follow */
        {"change12", "early-data done", REFUSED, PLACE},
        {"change12", "finished", REFUSED, DAMAGED},
        {"connack12", "server-hello certificate12 exchange done finished key-update change", LOST, PLACE},
        {"connack12", "ticket", LOST, BROKEN}, /* of TLS 1.3 */
        {"connack12", "hello-requests", LOST, RULES},
    };
    RUN(rows, "mqtts");
}

/* Without end, but not against the rules. */
static void floods(void)
{
    static const row_t rows[] = {
        {"finished13", "tickets large-tickets", WAITS, NULL},
        {"connack13", "tickets large-tickets", LIVES, NULL},
        {"finished13", "key-updates key-updates-asking", REFUSED, RULES},
        {"connack13", "key-updates key-updates-asking", LOST, RULES},
    };
    RUN(rows, "mqtts");
}

static void websocket(void)
{
    static const row_t rows[] = {
        {"start request half-head upgrade", "silence", WAITS, NULL},
        {"start request half-head", "close reset", REFUSED, ENDED},
        {"upgrade", "close", REFUSED, "failed: cut off"},
        {"upgrade", "reset", REFUSED, "failed: network error|failed: cut off"},
        {"frames", "close", LOST, "lost: cut off"},
        {"frames", "reset", LOST, "lost: network error|lost: cut off"},
        /* Answers to the request, or none. */
        {"request", "long-head many-fields continues early-hints", REFUSED, "WebSocket: HTTP head over 8 KB"},
        {"request", "redirect", REFUSED, "WebSocket: HTTP status 302"},
        {"start request", "http", REFUSED, "WebSocket: HTTP status 400"},
        {"start request", "ssh mqtt", WAITS, NULL}, /* it may become a head yet */
        /* Frames. */
        {"upgrade", "text", REFUSED, "the server sent a text message"},
        {"upgrade", "reserved-bits unknown-opcode", REFUSED, "the server sent a reserved bit or opcode"},
        {"upgrade", "masked", REFUSED, "the server sent a masked frame"},
        {"upgrade", "long-ping cut-ping", REFUSED, "the server sent a fragmented or long control frame"},
        {"upgrade", "lone-continuation", REFUSED, "the server sent a continuation of nothing"},
        {"upgrade", "huge-frame", REFUSED, "WebSocket: the server sent "},
        {"frames", "text", LOST, "the server sent a text message"},
        {"frames", "reserved-bits unknown-opcode", LOST, "the server sent a reserved bit or opcode"},
        {"frames", "masked", LOST, "the server sent a masked frame"},
        {"frames", "long-ping cut-ping", LOST, "the server sent a fragmented or long control frame"},
        {"frames", "lone-continuation", LOST, "the server sent a continuation of nothing"},
        {"frames", "huge-frame", LOST, "WebSocket: the server sent "},
        {"upgrade", "pings pongs empty-frames fragments", WAITS, NULL},
        {"frames", "pings pongs empty-frames fragments", LIVES, NULL},
    };
    RUN(rows, "ws");
}

static void certificates(void)
{
    static const row_t rows[] = {
        {"extensions13 hello12", "no-certificates", REFUSED, "TLS: the server has no certificate"},
        {"extensions13 hello12", "empty-certificates garbage-certificate eight-certificates", REFUSED, MALFORMED},
        {"extensions13 exchange12", "empty-names", REFUSED, BROKEN},
        /* More than any system takes. */
        {"extensions13 hello12", "nine-certificates tiny-certificates", REFUSED, EXCESS("Certificate", "8 certificates")},
        {"extensions13 hello12", "many-tiny-certificates", REFUSED, EXCESS("Certificate", "")},
        {"extensions13 exchange12", "many-names", REFUSED, EXCESS("CertificateRequest", "")},
#ifdef WM_MQTT_ON_DEVICE
        {"extensions13 hello12", "huge-certificate long-chain", REFUSED, EXCESS("Certificate", "16384 bytes")},
        {"extensions13 exchange12", "some-names", REFUSED, EXCESS("CertificateRequest", "100 names of authorities")},
#else
        {"extensions13 hello12", "huge-certificate long-chain", REFUSED, MALFORMED},
        {"extensions13 exchange12", "some-names", WAITS, NULL},
#endif
    };
    RUN(rows, "mqtts");
}

/* ---- servers that keep the rules ---- */

/* Every kind of key and chain, with the largest records, the smallest ones, and byte by byte. */
static void kinds(void)
{
    static const struct {
        const char *server, *ca;
    } rows[] = {
        {"server", "ca"},
        {"server-p384", "ca"},
#ifndef WM_MQTT_WITHOUT_ED25519
        {"server-ed25519", "ca"},
#endif
        {"server-rsa2048", "ca"},
        {"server-rsa3072", "ca"},
        {"server-rsa4096", "ca"},
        {"server-rsa-chain", "rsa-ca"},
        {"server-rsa4096-chain", "rsa4096-ca"},
        {"intermediate", "ca"},
        {"self-signed", "self-signed"},
    };
    static const char *const sizes[] = {"", "--record 32", BYTE_BY_BYTE("--segment 1")};
    auto_broker_t *broker = auto_broker_open();
    log_capture();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int version = 2; version <= 3; version++) {
            for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
                check_row("%s, 1.%d %s", rows[i].server, version, sizes[k]);
                log_clear();
                relay_t *relay = relay_start(auto_broker_port(broker), "--tls @%s.pem @%s.key --versions 1.%d %s", rows[i].server,
                                             rows[i].server, version, sizes[k]);
                config_t config = {.uri = relay_uri(relay, "mqtts"), .client_id = "c", .clean_session = 1};
                config.auth_mode = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT;
                config.ca = cert_text(test_printf("%s.pem", rows[i].ca));
                handle_t handle = client_new(&config);
                REQUIRE_EQ(wm_mqtt_client_connect(handle), 0);
                CHECK(log_has(test_printf("TLS 1.%d", version)));
                send_message(handle);
                end(handle, (int)k);
                relay_stop(relay);
                events_reset();
            }
        }
    }
}

static void stretched(void)
{
    static const row_t tls[] = {
        {"finished13 finished12", "serve serve-empty", SERVES, NULL},
        {"finished13", "serve-key-updates serve-tickets", SERVES, NULL},
    };
    static const row_t ws[] = {{"upgrade", "serve serve-pings serve-empty-frames", SERVES, NULL}};
    static const char *const options[] = {"", BYTE_BY_BYTE(" --fragment 1", " --segment 1 --fragment 1")};
    /* As much as every system takes. */
    static const row_t most[] = {{"finished13 finished12", "serve", SERVES, NULL}};
    run_all(most, 1, "mqtts", " --certificates 8 --names 100");
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        run_all(tls, sizeof tls / sizeof tls[0], "mqtts", options[i]);
        run_all(ws, sizeof ws / sizeof ws[0], "ws", options[i]);
    }
}

static const test_t tests[] = {
    LONG_TEST(silence, 120),
    LONG_TEST(ends, 120),
    LONG_TEST(alerts, 180),
    LONG_TEST(records, 180),
    LONG_TEST(server_hello, 120),
    LONG_TEST(order13, 120),
    LONG_TEST(order12, 120),
    LONG_TEST(floods, 120),
    LONG_TEST(websocket, 120),
    LONG_TEST(certificates, 120),
    LONG_TEST(kinds, 120),
    LONG_TEST(stretched, 120),
};
TESTS_MAIN(tests)

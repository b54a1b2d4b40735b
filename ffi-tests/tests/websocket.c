/* MQTT over WebSocket: the request, answers that are none, frames, ends, and mosquitto's own listener. Frames that no
 * honest server sends are the business of the Rust tests in src/transport/websocket. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auto_broker.h"
#include "check.h"
#include "client.h"
#include "log_capture.h"
#include "mosquitto.h"
#include "raw_client.h"

#define FAILURE WM_MQTT_CLIENT_ERROR_FAILURE

/* The default ports belong to others, so connections to them end up here instead. */
static int port_80, port_443;

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    static int (*real)(int, const struct sockaddr *, socklen_t);
    struct sockaddr_in6 changed; /* its port is where that of sockaddr_in is */
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "connect");
    if ((addr->sa_family != AF_INET && addr->sa_family != AF_INET6) || len > sizeof changed) return real(fd, addr, len);
    memcpy(&changed, addr, len);
    if (port_80 && changed.sin6_port == htons(80)) changed.sin6_port = htons((uint16_t)port_80);
    if (port_443 && changed.sin6_port == htons(443)) changed.sin6_port = htons((uint16_t)port_443);
    return real(fd, (const struct sockaddr *)&changed, len);
}

/* ---- the request ---- */

/* The value of a field of a request, "" if it is not there; memory of the test. */
static char *field(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = head; (line = strstr(line, "\r\n")) && line[2];) {
        line += 2;
        if (strncasecmp(line, name, len) != 0 || line[len] != ':') continue;
        line += len + 1;
        line += strspn(line, " ");
        return test_printf("%.*s", (int)strcspn(line, "\r"), line);
    }
    return test_printf("%s", "");
}

static void request(void)
{
    static const struct {
        const char *user, *path, *want;
    } rows[] = {
        {"", "", "/mqtt"},
        {"", "/", "/"},
        {"", "/mqtt", "/mqtt"},
        {"", "/a/b%20c/?x=1&y=%2F", "/a/b%20c/?x=1&y=%2F"},
        {"", "?token=x", "/?token=x"},
        {"user:sesame@", "/p", "/p"},
    };
    char keys[2][32] = {{0}, {0}};
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].path);
        handle_t handle =
            client_for(test_printf("ws://%s127.0.0.1:%d%s", rows[i].user, broker_port(broker), rows[i].path), true);
        call_t *call = start_connect(handle);
        conn_t *conn = broker_accept(broker);
        const char *head = read_head(conn);
        char *line = test_printf("GET %s HTTP/1.1\r\n", rows[i].want);
        if (strncmp(head, line, strlen(line)) != 0) FAIL("the request is %s", head);
        CHECK_STR(field(head, "Host"), test_printf("127.0.0.1:%d", broker_port(broker)));
        CHECK(strcasecmp(field(head, "Upgrade"), "websocket") == 0);
        CHECK(strcasestr(field(head, "Connection"), "Upgrade") != NULL);
        CHECK_STR(field(head, "Sec-WebSocket-Version"), "13");
        CHECK_STR(field(head, "Sec-WebSocket-Protocol"), "mqtt");
        CHECK_STR(field(head, "Sec-WebSocket-Extensions"), "");
        const char *key = field(head, "Sec-WebSocket-Key");
        CHECK_EQ(strlen(key), 24);
        CHECK_STR(key + 22, "==");
        snprintf(keys[i % 2], sizeof keys[0], "%s", key);
        CHECK(strcmp(keys[0], keys[1]) != 0);
        CHECK(!strstr(head, "sesame")); /* that is for the broker */
        conn_close(conn);
        CHECK_EQ(call_result_within(call, 3000), FAILURE);
    }
    expect_no_event(0);
}

static void host(void)
{
    auto_broker_t *broker = auto_broker_open();
    relay_t *plain = relay_start(auto_broker_port(broker), "--websocket"),
            *tls = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key --websocket");
    const struct {
        const char *uri, *host, *path;
        relay_t *relay;
    } rows[] = {
        {"ws://127.0.0.1", "127.0.0.1", "/mqtt", plain},
        {"ws://localhost:80/x", "localhost", "/x", plain},
        {"wss://127.0.0.1", "127.0.0.1", "/mqtt", tls},
        {"wss://localhost:443/x?y", "localhost", "/x?y", tls},
        {relay_uri(plain, "ws"), test_printf("localhost:%d", relay_port(plain)), "/mqtt", plain},
        {test_printf("%s/", relay_uri(plain, "WS")), test_printf("localhost:%d", relay_port(plain)), "/", plain},
        {relay_uri(tls, "wss"), test_printf("localhost:%d", relay_port(tls)), "/mqtt", tls},
        /* The other scheme's default port is none. */
        {"ws://localhost:443", "localhost:443", "/mqtt", plain},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].uri);
        port_80 = port_443 = relay_port(rows[i].relay);
        handle_t handle = client_for(rows[i].uri, true);
        CHECK_EQ(wm_mqtt_client_connect(handle), 0);
        const char *line = relay_line(rows[i].relay, "http");
        CHECK_STR(line_value(line, "host"), rows[i].host);
        CHECK_STR(line_value(line, "path"), rows[i].path);
        CHECK_STR(line_value(line, "protocol"), "mqtt");
        CHECK_EQ(client_deinit(handle), 0);
    }
    port_80 = port_443 = 0;
}

static void host_ipv6(void)
{
    int fd = listen_on(true, 0, false);
    if (fd < 0) check_skip("no IPv6 here");
    close(fd);
    auto_broker_t *broker = auto_broker_open();
    relay_t *relay = relay_start(auto_broker_port(broker), "--listen [::1]:0 --websocket");
    port_80 = relay_port(relay);
    const char *const rows[][2] = {
        {test_printf("ws://[::1]:%d", port_80), test_printf("[::1]:%d", port_80)},
        {"ws://[::1]", "[::1]"},
    };
    for (int i = 0; i < 2; i++) {
        check_row("%s", rows[i][0]);
        CHECK_EQ(wm_mqtt_client_connect(client_for(rows[i][0], true)), 0);
        CHECK_STR(line_value(relay_line(relay, "http"), "host"), rows[i][1]);
    }
    port_80 = 0;
}

/* ---- answers that are none ---- */

static char *zeros(size_t n)
{
    char *text = test_alloc(n + 1);
    memset(text, '0', n);
    return text;
}

#define UPGRADE "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" /* right for another key */
#define PROTOCOL "Sec-WebSocket-Protocol: mqtt\r\n"

static void bad_answers(void)
{
    const struct {
        const char *answer, *in_log; /* in_log: what the log names */
        bool end;                    /* after it */
    } rows[] = {
        {"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "400", false},
        {"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n", "401", false},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nbody", "403", false},
        {"HTTP/1.1 404 Not Found\r\n\r\n", "404", false},
        {"HTTP/1.1 500 Internal Server Error\r\n\r\n", "500", false},
        {"HTTP/1.0 503 \r\n\r\n", "503", false},
        {"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" PROTOCOL ACCEPT "\r\n", "200", false},
        {"HTTP/1.1 204 No Content\r\n\r\n", "204", false},
        {"HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", "301", false},
        {"HTTP/1.1 302 Found\r\nLocation: /mqtt2\r\n\r\n", "302", false},
        {"HTTP/1.1 100 Continue\r\n\r\n", NULL, true},
        {UPGRADE PROTOCOL ACCEPT "\r\n", NULL, false},
        {UPGRADE PROTOCOL "\r\n", NULL, false},
        {UPGRADE PROTOCOL "Sec-WebSocket-Accept: \r\n\r\n", NULL, false},
        {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" PROTOCOL ACCEPT "\r\n", NULL, false},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" PROTOCOL ACCEPT "\r\n", NULL, false},
        {"\r\n\r\n", NULL, true},
        {"garbage\r\n\r\n", NULL, false},
        {" \x02\x00\x00", NULL, true}, /* CONNACK */
        {"\x82\x04 \x02\x00\x00", NULL, true},
        {"HTTP/1.1 101", NULL, true},
        {UPGRADE, NULL, true},
        {test_printf(UPGRADE "X: %s", zeros(20000)), NULL, false}, /* no head is that long */
        {zeros(20000), NULL, false},
        {"", NULL, true},
    };
    broker_t *broker = broker_open();
    log_capture();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("answer %zu, %.30s", i, rows[i].answer);
        log_clear();
        handle_t handle = client_for(test_printf("ws://127.0.0.1:%d", broker_port(broker)), true);
        call_t *call = start_connect(handle);
        conn_t *conn = broker_accept(broker);
        read_head(conn);
        send_raw(conn, rows[i].answer, strlen(rows[i].answer));
        if (rows[i].end) conn_half_close(conn);
        CHECK_EQ(call_result_within(call, 3000), FAILURE);
        expect_eof_after_anything(conn, 2000);
        expect_no_connection(broker, 10); /* it does not follow */
        if (rows[i].in_log && !log_has(rows[i].in_log)) FAIL("the log does not name the status %s", rows[i].in_log);
        CHECK_EQ(client_deinit(handle), 0);
    }
    expect_no_event(0);
}

/* The same from a server that does everything else right; without a subprotocol it is let through. */
static void refused(void)
{
    static const struct {
        const char *options, *path;
        int want;
    } rows[] = {
        {"--path /other", "", FAILURE},
        {"--path /other", "/other", 0},
        {"--path /other", "/other?x=1", 0},
        {"--path /other", "/other/", FAILURE},
        {"--no-subprotocol", "", 0},
        {"--interim", "", 0},
        {"--interim --path /other", "", FAILURE},
    };
    auto_broker_t *broker = auto_broker_open();
    log_capture();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int tls = 0; tls <= 1; tls++) {
            check_row("%s, %s, TLS %d", rows[i].options, rows[i].path, tls);
            relay_t *relay = relay_start(auto_broker_port(broker), "--websocket %s %s", rows[i].options,
                                         tls ? "--tls @server.pem @server.key" : "");
            handle_t handle = client_for(test_printf("%s%s", relay_uri(relay, tls ? "wss" : "ws"), rows[i].path), true);
            log_clear();
            CHECK_EQ(wm_mqtt_client_connect(handle), rows[i].want);
            CHECK_EQ(log_count("WebSocket: no Sec-WebSocket-Protocol in the answer"), rows[i].options[2] == 'n');
            CHECK_EQ(client_deinit(handle), 0);
        }
    }
}

/* No answer, or a byte a second: connect gives up after 30 s all the same. */
static void stalled(void)
{
    broker_t *silent = broker_open(), *slow = broker_open();
    call_t *first = start_connect(client_for(test_printf("ws://127.0.0.1:%d", broker_port(silent)), true)),
           *second = start_connect(client_for(test_printf("ws://127.0.0.1:%d", broker_port(slow)), true));
    conn_t *conn = broker_accept(silent), *slow_conn = broker_accept(slow);
    read_head(conn);
    read_head(slow_conn);
    send_raw(slow_conn, UPGRADE "X: ", strlen(UPGRADE "X: "));
    for (long started = now_ms(); now_ms() - started < 25000;) {
        CHECK(!call_done(first, 1000));
        send_bytes(slow_conn, "'x'");
    }
    CHECK_EQ(call_result_within(first, 8000), FAILURE);
    CHECK_EQ(call_result_within(second, 8000), FAILURE);
    expect_eof(conn, 2000);
    expect_eof(slow_conn, 2000);
    expect_no_event(0);
}

/* ---- frames ---- */

static void frames(void)
{
    static const char *const options[] = {
        "",
        "--frame 1",
        "--frame 1 --frames",
        "--frame 125",
        "--frame 126",
        "--frame 126 --frames --ping",
        "--frame 7 --ping",
        "--frame 65535",
        "--frame 65536 --segment 1460",
        "--segment 1",
        "--segment 1 --frame 100 --ping",
    };
    static const size_t sizes[] = {0, 1, 100, 119, 120, 121, 122, 1000, 1024, 65525, 65535};
    broker_t *broker = broker_open();
    char *payload = test_alloc(65536);
    for (size_t i = 0; i < 65535; i++) payload[i] = (char)(1 + (i * 31 + i / 256) % 255);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        relay_t *relay = relay_start(broker_port(broker), "--websocket %s", options[i]);
        handle_t handle = client_for(relay_uri(relay, "ws"), true);
        conn_t *conn = client_connect(handle, broker, false);
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            check_row("%s, %zu bytes", options[i], sizes[k]);
            send_publish(conn, 0x32, "in", 7, payload, sizes[k]);
            expect_data("in", payload, sizes[k], 1);
            expect_bytes(conn, "40 02 0007");
            CHECK_EQ(wm_mqtt_client_publish(handle, "out", sizes[k] ? payload : NULL, (uint16_t)sizes[k], 0, 0), 0);
            packet_t p = expect_packet(conn, 0x30);
            CHECK_BYTES(p.payload, p.payload_len, payload, sizes[k]);
        }
        check_row("%s, many packets at once", options[i]);
        enum { N = 200 };
        size_t len, total = 0;
        char *all = test_alloc(N * 16);
        for (int n = 1; n <= N; n++) {
            uint8_t *one = bytes_of(&len, "32 [ s't' %04x '%d' ]", n, n);
            memcpy(all + total, one, len);
            total += len;
        }
        send_raw(conn, all, total);
        for (int n = 1; n <= N; n++) {
            char *text = test_printf("%d", n);
            expect_data("t", text, strlen(text), 1);
            expect_bytes(conn, "40 02 %04x", n);
        }
        client_leave(handle, conn);
    }
}

/* ---- ends ---- */

static void ends(void)
{
    static const char *const options[] = {"", "--no-close"};
    broker_t *broker = broker_open();
    for (int i = 0; i < 2; i++) {
        check_row("lost, %s", options[i]);
        relay_t *relay = relay_start(broker_port(broker), "--websocket %s", options[i]);
        handle_t handle = client_for(relay_uri(relay, "ws"), true);
        conn_t *conn = client_connect(handle, broker, false);
        send_bytes(conn, "30 [ s't' 'last words' ]");
        conn_half_close(conn);
        CHECK_EQ(expect_event(ANY_EVENT)->kind, DATA);
        expect_lost(handle);
        expect_eof(conn, 2000);
        check_row("reset, %s", options[i]);
        conn = client_connect(handle, broker, false);
        conn_reset(conn);
        expect_lost(handle);
        check_row("lost before CONNACK, %s", options[i]);
        call_t *call = start_connect(handle);
        conn_close(accept_connect(broker));
        CHECK_EQ(call_result_within(call, 3000), FAILURE);
        expect_no_event(0);
    }
    check_row("disconnect");
    relay_t *relay = relay_start(broker_port(broker), "--websocket");
    handle_t handle = client_for(relay_uri(relay, "ws"), true);
    conn_t *conn = client_connect(handle, broker, false);
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    expect_disconnect(conn);
    CHECK_STR(line_value(relay_line(relay, "end"), "close"), "1000");
    expect_requested_disconnect();
    check_row("deinit");
    conn = client_connect(handle, broker, false);
    client_leave(handle, conn);
    CHECK_STR(line_value(relay_line(relay, "end"), "close"), "1000");
    expect_no_event(0);
}

/* ---- mosquitto's own listener ---- */

static void with_mosquitto(bool tls)
{
    enum { N = 50 };
    const char *certificate =
        tls ? test_printf("certfile %s\nkeyfile %s", cert_path("server.pem"), cert_path("server.key")) : "";
    mosquitto_t *broker = mosquitto_start_with(test_printf("protocol websockets\n%s", certificate));
    raw_client_t *raw = raw_connect(mosquitto_port(broker), "raw", true);
    raw_subscribe(raw, "out", 2);
    config_t config = {.uri = test_printf("%s://localhost:%d", tls ? "wss" : "ws", mosquitto_second_port(broker)),
                       .client_id = "c",
                       .auth_mode = tls ? WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT : WM_MQTT_CLIENT_AUTH_MODE_NOT_CERT,
                       .ca = tls ? cert_text("ca.pem") : NULL};
    handle_t handle = client_new(&config);
    REQUIRE_EQ(wm_mqtt_client_connect(handle), 0);
    CHECK(wm_mqtt_client_subscribe(handle, "in", 2) > 0);
    char *payload = test_alloc(65536);
    for (size_t i = 0; i < 65535; i++) payload[i] = (char)(1 + (i * 31 + i / 256) % 255);
    for (int qos = 0; qos <= 2; qos++) {
        check_row("QoS %d", qos);
        raw_message_t message;
        raw_publish(raw, "in", payload, 65535, qos, false);
        expect_data("in", payload, 65535, qos);
        CHECK(wm_mqtt_client_publish(handle, "out", payload, 65535, (uint8_t)qos, 0) >= 0);
        REQUIRE(raw_receive(raw, &message, 10000));
        CHECK_BYTES(message.payload, message.len, payload, 65535);
        raw_publish_many(raw, "in", N, qos);
        for (int i = 0; i < N; i++) {
            char *text = test_printf("%d", i);
            expect_data("in", text, strlen(text), qos);
        }
    }
    check_row("a persistent session");
    CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
    raw_publish_many(raw, "in", N, 1);
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    for (int i = 0; i < N; i++) {
        char *text = test_printf("%d", i);
        expect_data("in", text, strlen(text), 1);
    }
    check_row("it dies");
    events_flush();
    while (wait_event(DISCONNECTED, 0)) {
    }
    mosquitto_kill(broker);
    expect_lost(handle);
}

static void mosquitto_ws(void) { with_mosquitto(false); }
static void mosquitto_wss(void) { with_mosquitto(true); }

static const test_t tests[] = {
    TEST(request),
    TEST(host),
    TEST(host_ipv6),
    TEST(bad_answers),
    LONG_TEST(refused, 60),
    SLOW_TEST(stalled),
    LONG_TEST(frames, 90),
    TEST(ends),
    TEST(mosquitto_ws),
    TEST(mosquitto_wss),
};
TESTS_MAIN(tests)

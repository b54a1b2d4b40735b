/* TLS on the wire: resumption, sizes and cuts, ends, and peers that speak something else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto_broker.h"
#include "check.h"
#include "client.h"
#include "log_capture.h"

#define FAILURE WM_MQTT_CLIENT_ERROR_FAILURE
#define SERVER WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT
#define MUTUAL WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH

static config_t verified(const relay_t *relay, const char *scheme)
{
    return (config_t){.uri = relay_uri(relay, scheme),
                      .client_id = "c",
                      .clean_session = 1,
                      .auth_mode = SERVER,
                      .ca = cert_text("ca.pem")};
}

static handle_t verifying(const relay_t *relay, const char *scheme)
{
    config_t config = verified(relay, scheme);
    return client_new(&config);
}

/* ---- resumption ---- */

static conn_t *reconnected(handle_t handle, broker_t *broker)
{
    call_t *call = start_reconnect(handle);
    conn_t *conn = accept_connect(broker);
    serve_connack(conn, false, 0);
    REQUIRE_EQ(call_result(call), 0);
    expect_event(CONNECTED);
    return conn;
}

/* However the connection before has ended, the next one resumes its session. */
static void resumption(void)
{
    static const struct {
        const char *options;
        bool resumes;
    } rows[] = {
        {"--versions 1.3", true},
        {"--versions 1.2", true},
        {"--versions 1.3 --client-ca @ca.pem", true},
        {"--versions 1.2 --client-ca @ca.pem", true},
        {"--versions 1.3 --truncate", true},
        {"--versions 1.2 --no-tickets", true}, /* by its session id */
        {"--versions 1.3 --no-tickets", false},
        {"--versions 1.3 --no-resumption", false},
        {"--versions 1.2 --no-resumption", false},
    };
    static const char *const ends[] = {"none yet", "disconnect", "reconnect", "FIN", "RST", "reconnect after FIN"};
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        relay_t *relay = relay_start(broker_port(broker), "--tls @server.pem @server.key %s", rows[i].options);
        config_t config = verified(relay, "mqtts");
        config.auth_mode = MUTUAL;
        config.cert = cert_text("client.pem");
        config.key = cert_text("client.key");
        handle_t handle = client_new(&config);
        conn_t *conn = NULL;
        for (int end = 0; end < 6; end++) {
            check_row("%s, %s", rows[i].options, ends[end]);
            if (end == 1) CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
            if (end == 3 || end == 5) conn_close(conn);
            if (end == 4) conn_reset(conn);
            if (end > 0 && end != 2) expect_event(DISCONNECTED);
            conn = end == 2 || end == 5 ? reconnected(handle, broker) : client_connect(handle, broker, false);
            if (end == 2) expect_requested_disconnect();
            CHECK_STR(line_value(relay_line(relay, "tls"), "resumed"), end > 0 && rows[i].resumes ? "yes" : "no");
            CHECK(still_serving(conn));
        }
        check_row("%s, another handle", rows[i].options);
        client_connect(client_new(&config), broker, false);
        CHECK_STR(line_value(relay_line(relay, "tls"), "resumed"), "no");
        CHECK_EQ(client_deinit(handle), 0);
        expect_requested_disconnect();
    }
}

/* The server comes back without its memory: a whole handshake, with all of its checks. */
static void forgotten_by_the_server(void)
{
    static const char *const versions[] = {"1.2", "1.3"};
    auto_broker_t *broker = auto_broker_open();
    for (int v = 0; v < 2; v++) {
        check_row("TLS %s", versions[v]);
        relay_t *relay =
            relay_start(auto_broker_port(broker), "--tls @server.pem @server.key --versions %s", versions[v]);
        handle_t handle = verifying(relay, "mqtts");
        int port = relay_port(relay);
        CHECK_EQ(wm_mqtt_client_connect(handle), 0);
        expect_event(CONNECTED);
        relay_stop(relay);
        expect_lost(handle);
        relay = relay_start(auto_broker_port(broker),
                            "--listen 127.0.0.1:%d --tls @server.pem @server.key --versions %s", port, versions[v]);
        CHECK_EQ(wm_mqtt_client_connect(handle), 0);
        expect_event(CONNECTED);
        CHECK_STR(line_value(relay_line(relay, "tls"), "resumed"), "no");
        CHECK_EQ(wm_mqtt_client_reconnect(handle), 0);
        CHECK_STR(line_value(relay_line(relay, "tls"), "resumed"), "yes");
        events_reset();
        relay_stop(relay);
        expect_lost(handle);
        relay = relay_start(auto_broker_port(broker),
                            "--listen 127.0.0.1:%d --tls @expired.pem @expired.key --versions %s", port, versions[v]);
        CHECK_EQ(wm_mqtt_client_connect(handle), FAILURE);
    }
}

#ifdef WM_MQTT_ON_DEVICE
#define open_files() 0 /* it has no files */
#else
#include <dirent.h>
static int open_files(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) n++;
    if (dir) closedir(dir);
    return n;
}
#endif

/* $WM_MQTT_RECONNECTS times, 50 without it. */
static void reconnects(void)
{
    static const struct {
        const char *scheme, *options;
    } rows[] = {{"mqtts", "--versions 1.3"}, {"mqtts", "--versions 1.2"}, {"wss", "--versions 1.3 --websocket"}};
    const char *wanted = getenv("WM_MQTT_RECONNECTS");
    int rounds = wanted ? atoi(wanted) : 50;
    REQUIRE(rounds > 1);
    check_takes(30 + rounds / 4);
    auto_broker_t *broker = auto_broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        relay_t *relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key %s", rows[i].options);
        handle_t handle = verifying(relay, rows[i].scheme);
        int files = 0;
        for (int n = 0; n < rounds; n++) {
            check_row("%s, %s, round %d", rows[i].scheme, rows[i].options, n);
            /* In two steps: a reconnect leaves a connection alone that another one has just made. */
            REQUIRE_EQ(wm_mqtt_client_disconnect(handle), 0);
            REQUIRE_EQ(wm_mqtt_client_connect(handle), 0);
            if (n == 0) files = open_files();
            int id = wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0);
            CHECK(id > 0);
            expect_published(id);
            CHECK_STR(line_value(relay_line(relay, "tls"), "resumed"), n ? "yes" : "no");
            if (n % 50 == 49) events_reset();
        }
        /* The other side of the last connection but one may not be through with it yet. */
        for (long until = now_ms() + scaled(5000); open_files() > files && now_ms() < until;) sleep_ms(1);
        CHECK_EQ(open_files(), files);
        CHECK_EQ(client_deinit(handle), 0);
    }
}

/* ---- sizes and cuts ---- */

static void payloads(void)
{
#ifdef WM_MQTT_ON_DEVICE
    enum { AT_ONCE = 20000 }; /* what its memory holds five times and more */
#else
    enum { AT_ONCE = 60000 };
#endif
    static const char *const options[] = {"",
                                          "--record 512",
                                          "--segment 1",
                                          "--record 512 --segment 1",
                                          "--versions 1.2 --record 512 --segment 7",
                                          "--record 16389 --segment 16388"};
    static const size_t sizes[] = {0, 1, 600, 1500, 16383, 16384, 16385, 65535};
    broker_t *broker = broker_open();
    char *payload = test_alloc(65536);
    for (size_t i = 0; i < 65535; i++) payload[i] = (char)(1 + (i * 31 + i / 256) % 255);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        relay_t *relay = relay_start(broker_port(broker), "--tls @server.pem @server.key %s", options[i]);
        handle_t handle = verifying(relay, "mqtts");
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
        check_row("%s, both ways at once", options[i]);
        for (int n = 0; n < 5; n++) CHECK_EQ(wm_mqtt_client_publish(handle, "out", payload, AT_ONCE, 0, 0), 0);
        for (int n = 0; n < 2; n++) send_publish(conn, 0x30, "in", 0, payload, AT_ONCE);
        for (int n = 0; n < 5; n++) CHECK_EQ(expect_packet(conn, 0x30).payload_len, AT_ONCE);
        for (int n = 0; n < 2; n++) expect_data("in", payload, AT_ONCE, 0);
        client_leave(handle, conn);
    }
}

/* ---- ends ---- */

/* The end of the stream is a lost connection, with close_notify or without; what came before it counts. */
static void lost(void)
{
    static const char *const options[] = {"", "--truncate", "--versions 1.2", "--versions 1.2 --truncate"};
    broker_t *broker = broker_open();
    for (int i = 0; i < 4; i++) {
        check_row("%s", options[i]);
        relay_t *relay = relay_start(broker_port(broker), "--tls @server.pem @server.key %s", options[i]);
        handle_t handle = verifying(relay, "mqtts");
        conn_t *conn = client_connect(handle, broker, false);
        send_bytes(conn, "30 [ s't' 'last words' ]");
        conn_half_close(conn);
        CHECK_EQ(expect_event(ANY_EVENT)->kind, DATA);
        expect_lost(handle);
        expect_eof(conn, 2000);
        CHECK_EQ(wm_mqtt_client_publish(handle, "t", "m", 1, 0, 0), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
        conn = client_connect(handle, broker, false);
        client_leave(handle, conn);
        expect_no_event(0);
    }
}

/* In the middle of the handshake's answer to CONNECT. */
static void lost_before_connack(void)
{
    broker_t *broker = broker_open();
    for (int i = 0; i < 2; i++) {
        check_row("%s", i ? "cut off" : "closed");
        relay_t *relay = relay_start(broker_port(broker), "--tls @server.pem @server.key %s", i ? "--truncate" : "");
        handle_t handle = verifying(relay, "mqtts");
        call_t *call = start_connect(handle);
        conn_close(accept_connect(broker));
        CHECK_EQ(call_result_within(call, 3000), FAILURE);
        expect_no_event(0);
    }
}

static void leaves(void)
{
    static const char *const names[] = {"disconnect", "deinit", "reconnect"};
    static const struct {
        const char *scheme, *options, *close;
    } rows[] = {{"mqtts", "--tls @server.pem @server.key", "-"},
                {"mqtts", "--tls @server.pem @server.key --versions 1.2", "-"},
                {"wss", "--tls @server.pem @server.key --websocket", "1000"}};
    auto_broker_t *broker = auto_broker_open();
    for (int i = 0; i < 3; i++) {
        relay_t *relay = relay_start(auto_broker_port(broker), "%s", rows[i].options);
        for (int how = 0; how < 3; how++) {
            check_row("%s, %s", rows[i].options, names[how]);
            handle_t handle = verifying(relay, rows[i].scheme);
            CHECK_EQ(wm_mqtt_client_connect(handle), 0);
            if (how == 0) CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
            if (how == 2) CHECK_EQ(wm_mqtt_client_reconnect(handle), 0);
            if (how == 1) CHECK_EQ(client_deinit(handle), 0);
            for (int n = 0; n < (how == 2 ? 2 : 1); n++) {
                const char *end = relay_line(relay, "end");
                CHECK_STR(line_value(end, "close_notify"), "yes");
                CHECK_STR(line_value(end, "close"), rows[i].close);
                if (how == 2 && n == 0) CHECK_EQ(client_deinit(handle), 0);
            }
        }
    }
}

/* ---- other peers ---- */

static void something_else(void)
{
    static const struct {
        const char *name, *bytes; /* NULL: the connection just ends */
        bool end;                 /* after these bytes */
    } rows[] = {
        {"HTTP", "'HTTP/1.1 400 Bad Request' 0d0a 0d0a", false},
        {"CONNACK", "20 02 00 00", true},
        {"CONNACK and more", "20 02 00 00 20 02 00 00", false},
        {"zeros", "00 00 00 00 00 00 00 00 00 00", false},
        {"SSL 2", "80 2e 04 00 01 00 02 00 00", false},
        {"alert: handshake failure", "15 0303 0002 02 28", false},
        {"alert: protocol version", "15 0301 0002 02 46", false},
        {"alert: close_notify", "15 0303 0002 01 00", true},
        {"alert of 1 byte", "15 0303 0001 02", false},
        {"half an alert", "15 0303 0002 02", true},
        {"data before the handshake", "17 0303 0005 'hello'", false},
        {"unknown type of record", "7f 0303 0001 00", false},
        {"record of 64 KB", "16 0303 ffff 00 00 00 00", true},
        {"empty record", "16 0303 0000", false},
        {"ClientHello", "16 0303 0004 01 000000", false},
        {"ServerHello of 0 bytes", "16 0303 0004 02 000000", false},
        {"ServerHello of 16 MB", "16 0303 0004 02 ffffff", true},
        {"ServerHello, cut off", "16 0303 0006 02 000050 0303", true},
        {"Finished", "16 0303 0010 14 00000c 000102030405060708090a0b", false},
        {"ChangeCipherSpec", "14 0303 0001 01", true},
        {"end", NULL, true},
        {"reset", NULL, false},
    };
    static const char *const schemes[] = {"mqtts", "wss"};
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int s = 0; s < 2; s++) {
            check_row("%s, %s", schemes[s], rows[i].name);
            handle_t handle = client_for(test_printf("%s://127.0.0.1:%d", schemes[s], broker_port(broker)), true);
            call_t *call = start_connect(handle);
            conn_t *conn = broker_accept(broker);
            expect_bytes(conn, "16 03 ?? ?? ?? 01"); /* ClientHello */
            if (rows[i].bytes) send_bytes(conn, "%s", rows[i].bytes);
            if (rows[i].end) conn_half_close(conn);
            if (!rows[i].bytes && !rows[i].end) conn_reset(conn);
            CHECK_EQ(call_result_within(call, 3000), FAILURE);
            expect_eof_after_anything(conn, 2000);
            CHECK_EQ(client_deinit(handle), 0);
        }
    }
    expect_no_event(0);
}

static void plain_client(void)
{
    auto_broker_t *broker = auto_broker_open();
    relay_t *relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key");
    CHECK_EQ(wm_mqtt_client_connect(client_for(relay_uri(relay, "mqtt"), true)), FAILURE);
    CHECK_EQ(wm_mqtt_client_connect(client_for(relay_uri(relay, "ws"), true)), FAILURE);
    expect_no_event(0);
}

/* Servers that say nothing, or one byte a second: connect gives up after 30 s all the same. */
static void stalled(void)
{
    broker_t *silent = broker_open(), *slow = broker_open();
    handle_t one = client_for(test_printf("mqtts://127.0.0.1:%d", broker_port(silent)), true),
             two = client_for(test_printf("mqtts://127.0.0.1:%d", broker_port(slow)), true);
    call_t *first = start_connect(one), *second = start_connect(two);
    conn_t *conn = broker_accept(silent), *slow_conn = broker_accept(slow);
    expect_bytes(conn, "16 03");
    send_bytes(slow_conn, "16 0303 4000 02 003ffc");
    for (long started = now_ms(); now_ms() - started < 25000;) {
        CHECK(!call_done(first, 1000));
        send_bytes(slow_conn, "00");
    }
    CHECK_EQ(call_result_within(first, 8000), FAILURE);
    CHECK_EQ(call_result_within(second, 8000), FAILURE);
    expect_eof_after_anything(conn, 2000);
    expect_eof_after_anything(slow_conn, 2000);
    expect_no_event(0);
}

/* ---- the log ---- */

static void secrets_of(const char *scheme, const char *options)
{
    auto_broker_t *broker = auto_broker_open();
    relay_t *relay =
        relay_start(auto_broker_port(broker), "--tls @server.pem @server.key --client-ca @ca.pem %s", options);
    static const char *const secrets[] = {"sesame-1", "sesame-2", "sesame-3", "sesame-4", "sesame-5"};
    char *key = cert_text("client.key");
    char *with_user = test_printf("%s://user:%s@localhost:%d", scheme, secrets[0], relay_port(relay));
    config_t config = verified(relay, scheme);
    config.auth_mode = MUTUAL;
    config.cert = cert_text("client.pem");
    config.debug = true;
    config.will_topic = "w";
    config.will_msg = (char *)secrets[1];
    const struct {
        char *uri, *user, *password, *key;
        int want;
    } rows[] = {
        {config.uri, "user", (char *)secrets[2], key, 0},
        {with_user, NULL, NULL, key, 0},
        {config.uri, "user", "\xff" "sesame-3", key, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {test_printf("%s://user:%s@localhost:%d", scheme, secrets[0], unused_port()), NULL, NULL, key, FAILURE},
        {config.uri, "user", (char *)secrets[2], cert_text("other-client.key"), FAILURE},
        {config.uri, "user", (char *)secrets[2], (char *)secrets[3], FAILURE},
        {test_printf("%s://user:%s@local host:1", scheme, secrets[0]), NULL, NULL, key, FAILURE},
    };
    log_clear();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s, row %zu", scheme, i);
        config.uri = rows[i].uri;
        config.username = rows[i].user;
        config.password = rows[i].password;
        config.key = rows[i].key;
        handle_t handle = client_new(&config);
        CHECK_EQ(wm_mqtt_client_connect(handle), rows[i].want);
        if (rows[i].want == 0) {
            int id = wm_mqtt_client_publish(handle, "t", secrets[4], 0, 1, 0);
            expect_published(id);
            CHECK_EQ(wm_mqtt_client_reconnect(handle), 0);
        }
        CHECK_EQ(client_deinit(handle), 0);
    }
    check_row("it is the log");
    CHECK(log_has("localhost"));
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        check_row("%s", secrets[i]);
        CHECK(!log_has(secrets[i]));
    }
    check_row("the key");
    char *line = strchr(key, '\n');
    REQUIRE(line && strlen(line) > 60);
    CHECK(!log_has(test_printf("%.16s", line + 1)));
    CHECK(!log_has("PRIVATE KEY"));
}

static void secrets(void)
{
    log_capture();
    secrets_of("mqtts", "");
    secrets_of("wss", "--websocket");
}

static const test_t tests[] = {
    LONG_TEST(resumption, 60),
    TEST(forgotten_by_the_server),
    TEST(reconnects),
    LONG_TEST(payloads, 90),
    TEST(lost),
    TEST(lost_before_connack),
    TEST(leaves),
    TEST(something_else),
    TEST(plain_client),
    SLOW_TEST(stalled),
    TEST(secrets),
};
TESTS_MAIN(tests)

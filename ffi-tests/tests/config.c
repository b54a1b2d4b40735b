/* Where a configuration leads: addresses, schemes, and values that are refused before anything is sent. */
#define _GNU_SOURCE
#include <string.h>
#ifndef WM_MQTT_ON_DEVICE
#include <dlfcn.h>
#include <netdb.h>
#endif

#include "check.h"
#include "client.h"
#include "log_capture.h"

#define FAILURE WM_MQTT_CLIENT_ERROR_FAILURE

/* ---- where to ---- */

static void addresses(void)
{
    static const char *const uris[] = {"mqtt://127.0.0.1:%d", "tcp://127.0.0.1:%d", "127.0.0.1:%d",
                                       "localhost:%d",        "mqtt://localhost:%d"};
    only_over_mqtt("these URIs say mqtt");
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        check_row("%s", uris[i]);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        char *uri = test_printf(uris[i], broker_port(broker));
#pragma GCC diagnostic pop
        handle_t handle = client_for(uri, true);
        CHECK_STR(handle->uri, uri);
        client_connect(handle, broker, false);
    }
    check_row("IPv6");
    broker_t *v6 = broker_open_ipv6();
    if (!v6) return;
    client_connect(client_for(test_printf("mqtt://[::1]:%d", broker_port(v6)), true), v6, false);
    client_connect(client_for(test_printf("[::1]:%d", broker_port(v6)), true), v6, false);
}

static void no_such_broker(void)
{
    const char *uris[] = {
        test_printf("mqtt://127.0.0.1:%d", unused_port()),
        "mqtt://no-such-host.invalid",
        "no-such-host.invalid:1883",
        "mqtt://127.0.0.1:99999",
        "127.0.0.1:99999",
        /* INCUMBENT 7: read before the block. */
        "",
        "mqtt://",
        "mqtt://:1883",
        /* No IPv6 addresses. */
        "mqtt://[12]",
        "[cafe]",
        "[127.0.0.1]:1883",
    };
    only_over_mqtt("these URIs say mqtt, and it takes long");
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        check_row("%s", uris[i]);
        handle_t handle = client_for(uris[i], true);
        CHECK_EQ(wm_mqtt_client_connect(handle), FAILURE);
        CHECK_EQ(wm_mqtt_client_connect(handle), FAILURE);
        CHECK_EQ(wm_mqtt_client_reconnect(handle), FAILURE);
        CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
        CHECK_EQ(client_deinit(handle), 0);
    }
    expect_no_event(0);
}

static void schemes_and_modes(void)
{
    static const struct {
        config_t config;
        bool good;
    } rows[] = {
        {{.uri = "mqtt://h"}, true},
        {{.uri = "tcp://h"}, true},
        {{.uri = "mqtts://h"}, true},
        {{.uri = "ssl://h"}, true},
        {{.uri = "ws://h/path"}, true},
        {{.uri = "wss://h:1/path"}, true},
        {{.uri = "mqtt.eclipseprojects.io"}, true},
        {{.uri = "10.0.0.2:1883"}, true},
        {{.uri = "[fe80::1]:1883"}, true},
        {{.uri = "mqtt://h", .auth_mode = WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH}, true},
        {{.uri = NULL}, false},
        {{.uri = "foo://h"}, false},
        {{.uri = "http://h"}, false},
        {{.uri = "mqttx://h"}, false},
        {{.uri = "://h"}, false},
        {{.uri = "mqtt://h", .auth_mode = (wm_mqtt_client_auth_mode_t)4}, false},
        {{.uri = "mqtt://h", .auth_mode = (wm_mqtt_client_auth_mode_t)7}, false},
        {{.uri = "mqtt://h", .auth_mode = (wm_mqtt_client_auth_mode_t)-1}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s mode %d", rows[i].config.uri ? rows[i].config.uri : "(null)", (int)rows[i].config.auth_mode);
        config_t config = rows[i].config;
        handle_t handle = wm_mqtt_client_init(&config);
        CHECK_EQ(handle != WM_INVALID_HANDLE, rows[i].good);
        if (handle) CHECK_EQ(wm_mqtt_client_deinit(handle), 0);
    }
}

#if defined WM_MQTT_WITHOUT_TLS || defined WM_MQTT_WITHOUT_WEBSOCKET
/* What the library was built without is refused before anything is sent. */
static void left_out(void)
{
    static const struct {
        const char *scheme;
        bool tls, websocket;
    } rows[] = {{"mqtts", true, false}, {"ssl", true, false}, {"wss", true, true}, {"ws", false, true}};
    bool tls = true, websocket = true;
#ifdef WM_MQTT_WITHOUT_TLS
    tls = false;
#endif
#ifdef WM_MQTT_WITHOUT_WEBSOCKET
    websocket = false;
#endif
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].scheme);
        if ((tls || !rows[i].tls) && (websocket || !rows[i].websocket)) continue;
        handle_t handle = client_for(test_printf("%s://127.0.0.1:%d", rows[i].scheme, broker_port(broker)), true);
        int want = !tls && rows[i].tls ? WM_MQTT_CLIENT_ERROR_SSL_NOT_SUPPORTED : FAILURE;
        CHECK_EQ(wm_mqtt_client_connect(handle), want);
        CHECK_EQ(wm_mqtt_client_reconnect(handle), want);
    }
    expect_no_connection(broker, 20);
    expect_no_event(0);
}
#endif

static void credentials_in_the_uri(void)
{
    static const struct {
        const char *user_info;
        config_t config;
        const char *fields;
    } rows[] = {
        {"u:p@", {0}, "04 c2 003c s'c' s'u' s'p'"},
        {"u@", {0}, "04 82 003c s'c' s'u'"},
        {"u%40x:%3a%2F@", {0}, "04 c2 003c s'c' s'u@x' s':/'"},
        /* The configuration's come first, and never half of each. */
        {"u:p@", {.username = "v", .password = "q"}, "04 c2 003c s'c' s'v' s'q'"},
        {"u:p@", {.username = "v"}, "04 82 003c s'c' s'v'"},
        {"u@", {.password = "q"}, "04 82 003c s'c' s'u'"},
    };
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].user_info);
        config_t config = rows[i].config;
        const char *uri = broker_uri(broker), *host = strstr(uri, "://") + 3;
        config.uri = test_printf("%.*s%s%s", (int)(host - uri), uri, rows[i].user_info, host);
        config.client_id = "c";
        config.clean_session = 1;
        handle_t handle = client_new(&config);
        call_t *connect = start_connect(handle);
        conn_t *conn = broker_accept(broker);
        expect_bytes(conn, "10 [ s'MQTT' %s ]", rows[i].fields);
        serve_connack(conn, false, 0);
        CHECK_EQ(call_result(connect), 0);
        client_leave(handle, conn);
    }
    check_row("a NUL is none of UTF-8");
    handle_t handle = client_for("mqtt://u%00:p@127.0.0.1", true);
    CHECK_EQ(wm_mqtt_client_connect(handle), WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING);
}

static int lookups;

#ifndef WM_MQTT_ON_DEVICE
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    __atomic_add_fetch(&lookups, 1, __ATOMIC_SEQ_CST);
    return real(node, service, hints, found);
}
#endif

/* The user name would be the host, which a name server and the log would learn, with a part of the password. */
static void password_not_encoded(void)
{
    static const char *const schemes[] = {"mqtt://", "tcp://", "mqtts://", "ssl://", "MQTT://", ""},
                             *const rest[] = {
                                 "mallory:swor/dfish@127.0.0.1", "mallory:swor?dfish@127.0.0.1",
                                 "mallory:swor#dfish@127.0.0.1", "mallory:1883/dfish@127.0.0.1",
                                 "mall/ory:dfish@127.0.0.1",     "mall/ory@127.0.0.1",
                                 "mallory:/dfish@127.0.0.1/",    "mallory@dfish:1/swor@127.0.0.1",
                             },
                             *const secrets[] = {"mallory", "mall", "ory", "swor", "dfish", "1883", "127.0.0.1"};
    log_capture();
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        for (size_t j = 0; j < sizeof rest / sizeof rest[0]; j++) {
            const char *uri = test_printf("%s%s", schemes[i], rest[j]);
            check_row("%s", uri);
            handle_t handle = client_new(&(config_t){.uri = (char *)uri, .clean_session = 1, .debug = true});
            lookups = 0;
            log_clear();
            CHECK_EQ(wm_mqtt_client_connect(handle), FAILURE);
            CHECK_EQ(wm_mqtt_client_reconnect(handle), FAILURE);
            CHECK_EQ(log_count("must be percent-encoded"), 2);
            CHECK_EQ(lookups, 0);
            for (size_t k = 0; k < sizeof secrets / sizeof secrets[0]; k++)
                if (log_has(secrets[k])) FAIL("%s is in the log:\n%s", secrets[k], log_text());
            CHECK_EQ(client_deinit(handle), 0);
        }
    }
    expect_no_event(0);
#ifndef WM_MQTT_ON_DEVICE
    check_row("lookups are counted");
    CHECK_EQ(wm_mqtt_client_connect(client_for(test_printf("mqtt://localhost:%d", unused_port()), true)), FAILURE);
    CHECK(lookups > 0);
#endif
}

/* ---- refused before anything is sent ---- */

static void refused_locally(void)
{
    char *huge = test_alloc(65537);
    memset(huge, 'h', 65536);
    const struct {
        const char *name;
        config_t config;
        int want; /* 1: any error, of init too */
    } rows[] = {
        {"user name", {.username = "u\xff"}, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"password", {.username = "u", .password = "\xc3("}, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"will topic: surrogate", {.will_topic = "a\xed\xa0\x80"}, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"will topic: overlong", {.will_topic = "\xc0\xaf"}, WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING},
        {"will QoS 3", {.will_topic = "w", .will_qos = 3}, WM_MQTT_CLIENT_ERROR_BAD_QOS},
        {"will QoS 255", {.will_topic = "w", .will_qos = 255}, WM_MQTT_CLIENT_ERROR_BAD_QOS},
        {"empty will topic", {.will_topic = "", .will_msg = "m"}, WM_MQTT_CLIENT_ERROR_0_LEN_WILL_TOPIC},
        {"empty client id, persistent", {.client_id = ""}, FAILURE},
        {"client id, UTF-8", {.client_id = "\xff"}, 1},
        {"client id of 65536 bytes", {.client_id = huge}, 1},
        {"user name of 65536 bytes", {.username = huge}, 1},
        {"password of 65536 bytes", {.username = "u", .password = huge}, 1},
        {"will topic of 65536 bytes", {.will_topic = huge}, 1},
        {"will message of 65536 bytes", {.will_topic = "w", .will_msg = huge}, 1},
    };
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].name);
        config_t config = rows[i].config;
        config.uri = broker_uri(broker);
        scheme_config(&config);
        handle_t handle = wm_mqtt_client_init(&config);
        if (!handle) {
            CHECK_EQ(rows[i].want, 1);
            continue;
        }
        int result = wm_mqtt_client_connect(handle);
        if (rows[i].want == 1) CHECK(result < 0);
        else CHECK_EQ(result, rows[i].want);
        CHECK_EQ(wm_mqtt_client_deinit(handle), 0);
    }
    expect_no_connection(broker, 20);
    expect_no_event(0);
}

/* A password without a user name is not looked at, and so is what belongs to a will without a topic. */
static void not_looked_at(void)
{
    char *huge = test_alloc(65537);
    memset(huge, 'h', 65536);
    const struct {
        const char *name;
        config_t config;
    } rows[] = {
        {"password of 65536 bytes", {.password = huge}},
        {"password, UTF-8", {.password = "\xff"}},
        {"will message of 65536 bytes", {.will_msg = huge}},
        {"will QoS", {.will_qos = 255, .will_retain = 1}},
    };
    broker_t *broker = broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].name);
        config_t config = rows[i].config;
        config.uri = broker_uri(broker);
        config.client_id = "c";
        config.clean_session = 1;
        handle_t handle = client_new(&config);
        call_t *connect = start_connect(handle);
        conn_t *conn = broker_accept(broker);
        expect_bytes(conn, "10 [ s'MQTT' 04 02 003c s'c' ]");
        serve_connack(conn, false, 0);
        CHECK_EQ(call_result(connect), 0);
        client_leave(handle, conn);
    }
}

/* Every pointer but `uri` may be NULL, in every combination; those of TLS in each mode, whatever the scheme makes of them. */
static void null_members(void)
{
    static char *const uris[] = {"mqtt://h", "mqtts://h", "ws://h", "wss://h"};
    char *alpn[] = {"mqtt", NULL};
    for (unsigned given = 0; given < 1 << 9; given++) {
        bool all_modes = given % 32 == 0 || given % 32 == 31;
        for (unsigned i = all_modes ? 0 : given % 16; i < (all_modes ? 16 : given % 16 + 1); i++) {
            check_row("members %#x, %s, mode %u", given, uris[i % 4], i / 4);
            config_t config = {.uri = uris[i % 4],
                               .client_id = given & 1 ? "c" : NULL,
                               .username = given & 2 ? "u" : NULL,
                               .password = given & 4 ? "p" : NULL,
                               .will_topic = given & 8 ? "w" : NULL,
                               .will_msg = given & 16 ? "m" : NULL,
                               .ca = given & 32 ? "ca" : NULL,
                               .cert = given & 64 ? "cert" : NULL,
                               .key = given & 128 ? "key" : NULL,
                               .alpn = given & 256 ? alpn : NULL,
                               .auth_mode = (wm_mqtt_client_auth_mode_t)(i / 4)};
            handle_t handle = wm_mqtt_client_init(&config);
            REQUIRE(handle != WM_INVALID_HANDLE);
            CHECK(handle->client && handle->client_id && !handle->config);
            CHECK(!handle->username == !config.username && !handle->password == !config.password);
            CHECK(!handle->will_topic == !config.will_topic && !handle->will_msg == !config.will_msg);
            CHECK(!handle->alpn == !config.alpn && (!handle->alpn || !handle->alpn[1]));
            if (i % 2 == 0 || i / 4 == 0) CHECK(!handle->ca && !handle->cert && !handle->key);
            CHECK_EQ(wm_mqtt_client_deinit(handle), 0);
        }
    }
    broker_t *broker = broker_open();
    for (unsigned given = 0; given < 1 << 5; given++) {
        check_row("members %#x, connected", given);
        config_t config = {.uri = broker_uri(broker),
                           .client_id = given & 1 ? "c" : NULL,
                           .username = given & 2 ? "u" : NULL,
                           .password = given & 4 ? "p" : NULL,
                           .will_topic = given & 8 ? "w" : NULL,
                           .will_msg = given & 16 ? "m" : NULL};
        handle_t handle = client_new(&config);
        call_t *connect = start_connect(handle);
        conn_t *conn = broker_accept(broker);
        int flags = (given & 8 ? 0x04 : 0) | (given & 2 ? 0x80 : 0) | ((given & 6) == 6 ? 0x40 : 0);
        expect_bytes(conn, "10 [ s'MQTT' 04 %02x 003c s'%s' %s %s %s ]", flags, handle->client_id,
                     !(given & 8) ? "" : given & 16 ? "s'w' s'm'" : "s'w' 0000", given & 2 ? "s'u'" : "",
                     (given & 6) == 6 ? "s'p'" : "");
        serve_connack(conn, false, 0);
        CHECK_EQ(call_result(connect), 0);
        client_leave(handle, conn);
    }
}

static const test_t tests[] = {
    TEST(addresses),
    LONG_TEST(no_such_broker, 120), /* resolvers take their time */
    TEST(schemes_and_modes),
#if defined WM_MQTT_WITHOUT_TLS || defined WM_MQTT_WITHOUT_WEBSOCKET
    TEST(left_out),
#endif
    TEST(credentials_in_the_uri),
    TEST(password_not_encoded),
    TEST(refused_locally),
    TEST(not_looked_at),
    TEST(null_members),
};
TESTS_MAIN(tests)

/* TLS: who is trusted, and as whom the client appears. What goes over it afterwards is in tls_traffic.c. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auto_broker.h"
#include "check.h"
#include "client.h"
#include "log_capture.h"
#include "mosquitto.h"
#include "raw_client.h"

#define FAILURE WM_MQTT_CLIENT_ERROR_FAILURE

#define NOT_VERIFIED WM_MQTT_CLIENT_AUTH_MODE_NOT_CERT
#define SERVER WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT
#define CLIENT WM_MQTT_CLIENT_AUTH_MODE_PROVIDE_CLIENT_CERT
#define MUTUAL WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH
enum { MODES = MUTUAL + 1 };

/* Names under .test are this machine: certificates for more than "localhost" can be tried. */
#ifndef WM_MQTT_ON_DEVICE /* whose names come from the test anyway */
#include <dlfcn.h>
#include <netdb.h>
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    size_t len = name ? strlen(name) : 0;
    return real(len > 5 && strcmp(name + len - 5, ".test") == 0 ? "127.0.0.1" : name, service, hints, result);
}
#endif

/* What users may define in place of the library's empty ones. */
char mqtt_client_tls_ca[16384], mqtt_client_tls_cert[16384], mqtt_client_tls_key[16384];

static void forget_built_in(void *unused)
{
    (void)unused;
    mqtt_client_tls_ca[0] = mqtt_client_tls_cert[0] = mqtt_client_tls_key[0] = 0;
}

static void set_built_in(const char *ca, const char *cert, const char *key)
{
    at_test_end(END_SERVERS, forget_built_in, NULL);
    snprintf(mqtt_client_tls_ca, sizeof mqtt_client_tls_ca, "%s", ca ? cert_text(ca) : "");
    snprintf(mqtt_client_tls_cert, sizeof mqtt_client_tls_cert, "%s", cert ? cert_text(cert) : "");
    snprintf(mqtt_client_tls_key, sizeof mqtt_client_tls_key, "%s", key ? cert_text(key) : "");
}

/* What connect returns for this configuration. A refusal does not take long. */
static int result_of(config_t config)
{
    config.client_id = "c";
    config.clean_session = 1;
    handle_t handle = client_new(&config);
    long started = now_ms();
    int result = wm_mqtt_client_connect(handle);
    CHECK(now_ms() - started < scaled(5000));
    CHECK_EQ(client_deinit(handle), 0);
    return result;
}

/* Certificate files joined by '+'. */
static char *joined(const char *names)
{
    char *text = test_printf("%s", ""), *rest;
    for (char *name = strtok_r(test_printf("%s", names), "+", &rest); name; name = strtok_r(NULL, "+", &rest))
        text = test_printf("%s%s", text, cert_text(test_printf("%s.pem", name)));
    return text;
}

/* Whether the library was built without what this certificate or key needs. */
static bool lacks(const char *name)
{
#ifdef WM_MQTT_WITHOUT_ED25519
    return name && strstr(name, "ed25519");
#else
    (void)name;
    return false;
#endif
}

/* ---- the server ---- */

static void servers(void)
{
    static const struct {
        const char *server, *ca, *host;
        const char *refused; /* where the server is verified, and by these words of the log; NULL: not at all */
    } rows[] = {
        {"server", "ca", "localhost", NULL},
        {"server", "ca", "127.0.0.1", NULL},
        {"server-p384", "ca", "localhost", NULL},
        {"server-ed25519", "ca", "localhost", NULL},
        {"server-rsa2048", "ca", "localhost", NULL},
        {"server-rsa3072", "ca", "localhost", NULL},
        {"server-rsa4096", "ca", "localhost", NULL},

        {"expired", "ca", "localhost", "expired"},
#ifdef WM_MQTT_ON_DEVICE /* whose clock nobody has set */
        {"not-yet-valid", "ca", "localhost", NULL},
#else
        {"not-yet-valid", "ca", "localhost", "not valid yet"},
#endif

        {"wrong-host", "ca", "localhost", "another host name"},
        {"wrong-host", "ca", "127.0.0.1", "another host name"},
        {"ip-only", "ca", "127.0.0.1", NULL},
        {"ip-only", "ca", "localhost", "another host name"},
        {"name-only", "ca", "localhost", NULL},
        {"name-only", "ca", "LocalHost", NULL},
        {"name-only", "ca", "127.0.0.1", "another host name"},
        {"cn-only", "ca", "localhost", NULL},
        {"cn-only", "ca", "127.0.0.1", "another host name"},
        {"wildcard", "ca", "broker.localdomain.test", NULL},
        {"wildcard", "ca", "localdomain.test", "another host name"},
        {"wildcard", "ca", "a.broker.localdomain.test", "another host name"},
        {"wildcard", "ca", "broker.otherdomain.test", "another host name"},

        {"server", "other-ca", "localhost", "unknown issuer"},
        {"other-server", "ca", "localhost", "unknown issuer"},
        {"other-server", "other-ca", "localhost", NULL},
        {"other-server", "ca+other-ca", "localhost", NULL},
        {"server", "ca+other-ca", "localhost", NULL},
        {"server", "other-ca+ca", "localhost", NULL},
        {"intermediate", "ca", "localhost", NULL},
        {"missing-intermediate", "ca", "localhost", "unknown issuer"},

        {"self-signed", "ca", "localhost", "unknown issuer"},
        {"self-signed", "self-signed", "localhost", NULL},
        {"self-signed", "self-signed", "127.0.0.1", NULL},
        {"self-signed", "ca+self-signed", "localhost", NULL},
        {"self-signed", "self-signed", "broker.test", "another host name"},
        {"self-signed-ca", "ca", "localhost", "marked as a CA"},
        {"self-signed-ca", "self-signed-ca", "localhost", NULL},
        {"self-signed-ca", "self-signed", "localhost", "marked as a CA"},
        {"self-signed-expired", "self-signed-expired", "localhost", "expired"},
        {"self-signed-wrong-host", "self-signed-wrong-host", "localhost", "another host name"},
        /* No authority, but the certificate itself is trusted. */
        {"server", "server", "localhost", NULL},
        {"expired", "expired", "localhost", "expired"},
        {"cn-only", "cn-only", "localhost", NULL},
    };
    auto_broker_t *broker = auto_broker_open();
    log_capture();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *name = rows[i].server;
        relay_t *relay = relay_start(auto_broker_port(broker), "--tls @%s.pem @%s.key", name, name);
        for (int mode = 0; mode < MODES; mode++) {
            check_row("%s for %s, ca %s, mode %d", name, rows[i].host, rows[i].ca, mode);
            config_t config = {.uri = test_printf("mqtts://%s:%d", rows[i].host, relay_port(relay)),
                               .auth_mode = (wm_mqtt_client_auth_mode_t)mode,
                               .ca = joined(rows[i].ca),
                               .cert = cert_text("client.pem"),
                               .key = cert_text("client.key")};
            const char *refused = mode == SERVER || mode == MUTUAL ? rows[i].refused : NULL;
            if (lacks(name)) refused = "handshake_failure: nothing in common";
            log_clear();
            CHECK_EQ(result_of(config), refused ? FAILURE : 0);
            if (refused && !log_has(refused)) FAIL("the log does not say \"%s\"", refused);
        }
    }
}

/* Version 1 and no name but the common one, which rustls does not take in the relay. */
static void servers_by_openssl(void)
{
    static const struct {
        const char *server, *ca;
        bool good;
    } rows[] = {
        /* RSA with 1024 bits, SHA-1 */
        {"legacy-v1", "legacy-v1", false},
        {"legacy-v1", "ca", false},
        /* as mosquitto's manual makes them */
        {"recipe", "recipe-ca", true},
        {"recipe", "recipe", true},
        {"recipe", "ca", false},
    };
    log_capture();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *server = rows[i].server;
        mosquitto_t *broker = mosquitto_start_with(test_printf("certfile %s\nkeyfile %s\nciphers ALL:@SECLEVEL=0",
                                                               cert_path(test_printf("%s.pem", server)),
                                                               cert_path(test_printf("%s.key", server))));
        for (int mode = 0; mode < MODES; mode++) {
            check_row("%s, mode %d, ca %s", server, mode, rows[i].ca);
            config_t config = {.uri = test_printf("mqtts://localhost:%d", mosquitto_second_port(broker)),
                               .auth_mode = (wm_mqtt_client_auth_mode_t)mode,
                               .ca = cert_text(test_printf("%s.pem", rows[i].ca)),
                               .cert = cert_text("client.pem"),
                               .key = cert_text("client.key")};
            bool good = rows[i].good || mode == NOT_VERIFIED || mode == CLIENT;
            log_clear();
            CHECK_EQ(result_of(config), good ? 0 : FAILURE);
            if (rows[i].good) CHECK_EQ(log_has("its common name was compared"), mode == SERVER || mode == MUTUAL);
        }
        mosquitto_stop(broker);
    }
}

static char *with_crlf(const char *text)
{
    char *to = test_alloc(strlen(text) * 2 + 1), *at = to;
    for (; *text; text++) {
        if (*text == '\n') *at++ = '\r';
        *at++ = *text;
    }
    return to;
}

static void ca_texts(void)
{
    const char *ca = cert_text("ca.pem"), *key = cert_text("server.key");
    int cut = (int)strlen(ca) / 2;
    const struct {
        const char *name, *text;
        bool good;
    } rows[] = {
        {"as it is", ca, true},
        {"CRLF", with_crlf(ca), true},
        {"no end of line", test_printf("%.*s", (int)strlen(ca) - 1, ca), true},
        {"text around it", test_printf("subject=CN = x\n%sthe end\n", ca), true},
        {"another block before it", test_printf("%s%s", key, ca), true},
        {"empty", "", false},
        {"no PEM", "garbage", false},
        {"cut off", test_printf("%.*s", cut, ca), false},
        {"no Base64", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", false},
        {"no certificate in it", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", false},
        {"an empty block", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", false},
        {"a key", key, false},
    };
    auto_broker_t *broker = auto_broker_open();
    relay_t *relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("%s", rows[i].name);
        config_t config = {.uri = relay_uri(relay, "mqtts"), .auth_mode = SERVER, .ca = (char *)rows[i].text};
        CHECK_EQ(result_of(config), rows[i].good ? 0 : FAILURE);
        config.auth_mode = NOT_VERIFIED;
        CHECK_EQ(result_of(config), 0);
    }
}

/* ssl:// is another name of it; in wss it is the same TLS. */
static void other_schemes(void)
{
    auto_broker_t *broker = auto_broker_open();
    relay_t *ssl = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key"),
            *wss = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key --websocket"),
            *bad = relay_start(auto_broker_port(broker), "--tls @expired.pem @expired.key --websocket");
    char *ca = cert_text("ca.pem");
    CHECK_EQ(result_of((config_t){.uri = relay_uri(ssl, "ssl"), .auth_mode = SERVER, .ca = ca}), 0);
    CHECK_EQ(result_of((config_t){.uri = relay_uri(ssl, "MQTTS"), .auth_mode = SERVER, .ca = ca}), 0);
    CHECK_EQ(result_of((config_t){.uri = relay_uri(wss, "wss"), .auth_mode = SERVER, .ca = ca}), 0);
    CHECK_EQ(result_of((config_t){.uri = relay_uri(bad, "wss"), .auth_mode = SERVER, .ca = ca}), FAILURE);
    CHECK_EQ(result_of((config_t){.uri = relay_uri(bad, "wss"), .auth_mode = NOT_VERIFIED}), 0);
}

/* Nobody listens there, or the name does not exist. */
static void no_such_server(void)
{
    const char *uris[] = {test_printf("mqtts://127.0.0.1:%d", unused_port()),
                          test_printf("wss://127.0.0.1:%d", unused_port()), "mqtts://no-such-host.invalid"};
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        check_row("%s", uris[i]);
        handle_t handle = client_for(uris[i], true);
        CHECK_EQ(wm_mqtt_client_connect(handle), FAILURE);
        CHECK_EQ(wm_mqtt_client_reconnect(handle), FAILURE);
        CHECK_EQ(client_deinit(handle), 0);
    }
    expect_no_event(0);
}

/* ---- the client ---- */

static void clients(void)
{
    static const struct {
        const char *cert, *key;
        bool good;
    } rows[] = {
        {"client.pem", "client.key", true},
        {"client.pem", "client-sec1.key", true},
        {"client-rsa.pem", "client-rsa.key", true},
        {"client-rsa.pem", "client-rsa-pkcs1.key", true},
        {"client-ed25519.pem", "client-ed25519.key", true},
        {"other-client.pem", "other-client.key", false},
        {"client.pem", "client-rsa.key", false}, /* they do not belong together */
        {"client.pem", "client.pem", false},
        {"client.key", "client.key", false},
        {"client.pem", NULL, false},
        {NULL, "client.key", false},
        {NULL, NULL, false},
    };
    static const char *const versions[] = {"1.2", "1.3"};
    auto_broker_t *broker = auto_broker_open();
    log_capture();
    for (int v = 0; v < 2; v++) {
        relay_t *relay = relay_start(auto_broker_port(broker),
                                     "--tls @server.pem @server.key --client-ca @ca.pem --versions %s", versions[v]);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            const char *cert = rows[i].cert, *key = rows[i].key;
            for (int mode = 0; mode < MODES; mode++) {
                bool sent = mode == CLIENT || mode == MUTUAL, good = rows[i].good && !lacks(key);
                check_row("TLS %s, %s, %s, mode %d", versions[v], cert ? cert : "-", key ? key : "-", mode);
                config_t config = {.uri = relay_uri(relay, "mqtts"),
                                   .auth_mode = (wm_mqtt_client_auth_mode_t)mode,
                                   .ca = cert_text("ca.pem"),
                                   .cert = cert ? cert_text(cert) : NULL,
                                   .key = key ? cert_text(key) : NULL};
                log_clear();
                CHECK_EQ(result_of(config), good && sent ? 0 : FAILURE);
                if (lacks(key) && sent && !log_has("built without what `key` needs: Ed25519")) FAIL("the log does not say why");
                if (!good || !sent) continue;
                const char *line = relay_line(relay, "tls");
                CHECK_STR(line_value(line, "version"), versions[v]);
                CHECK_STR(test_printf("%s.pem", line_value(line, "client")), cert);
            }
        }
    }
}

/* A server that does not ask gets none, and what is missing or wrong fails all the same. */
static void clients_not_asked(void)
{
    auto_broker_t *broker = auto_broker_open();
    relay_t *relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key");
    config_t config = {.uri = relay_uri(relay, "mqtts"),
                       .auth_mode = CLIENT,
                       .cert = cert_text("client.pem"),
                       .key = cert_text("client.key")};
    CHECK_EQ(result_of(config), 0);
    CHECK_STR(line_value(relay_line(relay, "tls"), "client"), "-");
    config.key = NULL;
    CHECK_EQ(result_of(config), FAILURE);
    config.key = cert_text("client-ed25519.key");
    CHECK_EQ(result_of(config), FAILURE);
    config.key = "garbage";
    CHECK_EQ(result_of(config), FAILURE);
}

/* `ca` falls back on its own, `cert` and `key` as a pair. */
static void built_in(void)
{
    auto_broker_t *broker = auto_broker_open();
    relay_t *relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key --client-ca @ca.pem");
    char *uri = relay_uri(relay, "mqtts");
    char *cert = cert_text("client-rsa.pem"), *key = cert_text("client-rsa.key");
    const struct {
        const char *built_in[3]; /* ca, cert, key */
        config_t config;
        const char *client; /* NULL: FAILURE */
    } rows[] = {
        {{"ca.pem", "client.pem", "client.key"}, {.auth_mode = MUTUAL}, "client"},
        {{NULL, "client.pem", "client.key"}, {.auth_mode = CLIENT}, "client"},
        {{NULL, "client.pem", "client.key"}, {.auth_mode = MUTUAL, .ca = cert_text("ca.pem")}, "client"},
        {{"ca.pem", "client.pem", "client.key"}, {.auth_mode = MUTUAL, .cert = cert, .key = key}, "client-rsa"},
        {{"ca.pem", NULL, NULL}, {.auth_mode = MUTUAL, .cert = cert, .key = key}, "client-rsa"},
        {{"other-ca.pem", "client.pem", "client.key"}, {.auth_mode = MUTUAL}, NULL},
        {{NULL, "client.pem", "client.key"}, {.auth_mode = MUTUAL}, NULL},
        {{"ca.pem", "client.pem", NULL}, {.auth_mode = MUTUAL}, NULL},
        {{"ca.pem", "client.pem", NULL}, {.auth_mode = MUTUAL, .key = cert_text("client.key")}, NULL},
        {{"ca.pem", NULL, NULL}, {.auth_mode = MUTUAL}, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("row %zu", i);
        set_built_in(rows[i].built_in[0], rows[i].built_in[1], rows[i].built_in[2]);
        config_t config = rows[i].config;
        config.uri = uri;
        CHECK_EQ(result_of(config), rows[i].client ? 0 : FAILURE);
        if (rows[i].client) CHECK_STR(line_value(relay_line(relay, "tls"), "client"), rows[i].client);
    }
    check_row("without a client certificate");
    relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key");
    set_built_in("ca.pem", NULL, NULL);
    CHECK_EQ(result_of((config_t){.uri = relay_uri(relay, "mqtts"), .auth_mode = SERVER}), 0);
    set_built_in("other-ca.pem", NULL, NULL);
    CHECK_EQ(result_of((config_t){.uri = relay_uri(relay, "mqtts"), .auth_mode = SERVER}), FAILURE);
    check_row("with nothing, or the public authorities, to verify against");
    set_built_in(NULL, NULL, NULL);
    CHECK_EQ(result_of((config_t){.uri = relay_uri(relay, "mqtts"), .auth_mode = SERVER}), FAILURE);
}

static void remove_file(void *path) { unlink(path); }

static char *file_of(const char *text)
{
    const char *tmp = getenv("TMPDIR");
    char *path = test_printf("%s/wm-tls-XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    at_test_end(END_SERVERS, remove_file, path);
    REQUIRE_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

/* The broker takes the name in the certificate for the user, and that user's topics are nobody else's. */
static void mosquitto_with_identities(void)
{
    char *acl = file_of("topic read id/#\npattern readwrite id/%u/#\n");
    mosquitto_t *broker = mosquitto_start_with(
        test_printf("certfile %s\nkeyfile %s\ncafile %s\nacl_file %s\n"
                    "require_certificate true\nuse_identity_as_username true",
                    cert_path("server.pem"), cert_path("server.key"), cert_path("ca.pem"), acl));
    raw_client_t *raw = raw_connect(mosquitto_port(broker), "raw", true);
    raw_subscribe(raw, "id/#", 1);
    config_t config = {.uri = test_printf("mqtts://localhost:%d", mosquitto_second_port(broker)),
                       .client_id = "c",
                       .clean_session = 1,
                       .auth_mode = MUTUAL,
                       .ca = cert_text("ca.pem")};
    static const char *const names[] = {"client", "client-rsa", "client-ed25519"};
    for (int i = 0; i < 3; i++) {
        check_row("%s", names[i]);
        config.cert = cert_text(test_printf("%s.pem", names[i]));
        config.key = cert_text(test_printf("%s.key", names[i]));
        if (lacks(names[i])) {
            CHECK_EQ(result_of(config), FAILURE);
            continue;
        }
        handle_t handle = client_new(&config);
        REQUIRE_EQ(wm_mqtt_client_connect(handle), 0);
        CHECK(wm_mqtt_client_publish(handle, "id/somebody/t", "not mine", 0, 1, 0) > 0);
        CHECK(wm_mqtt_client_publish(handle, test_printf("id/%s/t", names[i]), "mine", 0, 1, 0) > 0);
        raw_message_t message;
        REQUIRE(raw_receive(raw, &message, 5000));
        CHECK_STR(message.payload, "mine");
        CHECK_STR(message.topic, test_printf("id/%s/t", names[i]));
        CHECK_EQ(client_deinit(handle), 0);
    }
    check_row("another authority's");
    config.cert = cert_text("other-client.pem");
    config.key = cert_text("other-client.key");
    CHECK_EQ(result_of(config), FAILURE);
    check_row("none");
    config.auth_mode = SERVER;
    CHECK_EQ(result_of(config), FAILURE);
}

/* ---- what the handshake says ---- */

static void server_name(void)
{
    static const struct {
        const char *host, *sni;
    } rows[] = {{"localhost", "localhost"}, {"broker.test", "broker.test"}, {"127.0.0.1", "-"}};
    auto_broker_t *broker = auto_broker_open();
    relay_t *relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key");
    for (int mode = 0; mode < MODES; mode++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            check_row("%s, mode %d", rows[i].host, mode);
            config_t config = {.uri = test_printf("mqtts://%s:%d", rows[i].host, relay_port(relay)),
                               .auth_mode = (wm_mqtt_client_auth_mode_t)mode,
                               .ca = cert_text("ca.pem"),
                               .cert = cert_text("client.pem"),
                               .key = cert_text("client.key")};
            bool refused = i == 1 && (mode == SERVER || mode == MUTUAL); /* the certificate has another name */
            CHECK_EQ(result_of(config), refused ? FAILURE : 0);
            if (!refused) CHECK_STR(line_value(relay_line(relay, "tls"), "sni"), rows[i].sni);
        }
    }
}

static void ipv6(void)
{
    int fd = listen_on(true, 0, false);
    if (fd < 0) check_skip("no IPv6 here");
    close(fd);
    auto_broker_t *broker = auto_broker_open();
    relay_t *relay = relay_start(auto_broker_port(broker), "--listen [::1]:0 --tls @server.pem @server.key");
    config_t config = {
        .uri = test_printf("mqtts://[::1]:%d", relay_port(relay)), .auth_mode = SERVER, .ca = cert_text("ca.pem")};
    CHECK_EQ(result_of(config), 0);
    CHECK_STR(line_value(relay_line(relay, "tls"), "sni"), "-");
    relay = relay_start(auto_broker_port(broker), "--listen [::1]:0 --tls @ip-only.pem @ip-only.key"); /* 127.0.0.1's */
    config.uri = test_printf("mqtts://[::1]:%d", relay_port(relay));
    CHECK_EQ(result_of(config), FAILURE);
}

static void alpn(void)
{
    static const struct {
        char *offered[4];
        const char *server, *chosen; /* NULL: FAILURE */
    } rows[] = {
        {{"mqtt"}, "--alpn mqtt", "mqtt"},
        {{"x-other", "mqtt"}, "--alpn mqtt", "mqtt"},
        {{"x-amzn-mqtt-ca", "mqtt"}, "--alpn mqtt,x-amzn-mqtt-ca", "mqtt"}, /* the server's order counts */
        {{"mqtt"}, "", "-"},
        {{NULL}, "--alpn mqtt", "-"},
        {{"x-other"}, "--alpn mqtt", NULL},
    };
    auto_broker_t *broker = auto_broker_open();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row("row %zu", i);
        relay_t *relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key %s", rows[i].server);
        config_t config = {.uri = relay_uri(relay, "mqtts"),
                           .auth_mode = SERVER,
                           .ca = cert_text("ca.pem"),
                           .alpn = rows[i].offered[0] ? (char **)rows[i].offered : NULL};
        CHECK_EQ(result_of(config), rows[i].chosen ? 0 : FAILURE);
        if (rows[i].chosen) CHECK_STR(line_value(relay_line(relay, "tls"), "alpn"), rows[i].chosen);
    }
}

static void versions(void)
{
    static const char *const rows[][2] = {{"--versions 1.2", "1.2"}, {"--versions 1.3", "1.3"}, {"", "1.3"}};
    auto_broker_t *broker = auto_broker_open();
    for (size_t i = 0; i < 3; i++) {
        check_row("%s", rows[i][0]);
        relay_t *relay = relay_start(auto_broker_port(broker), "--tls @server.pem @server.key %s", rows[i][0]);
        config_t config = {.uri = relay_uri(relay, "mqtts"), .auth_mode = SERVER, .ca = cert_text("ca.pem")};
        CHECK_EQ(result_of(config), 0);
        CHECK_STR(line_value(relay_line(relay, "tls"), "version"), rows[i][1]);
    }
}

static const test_t tests[] = {
    LONG_TEST(servers, 90),
    LONG_TEST(servers_by_openssl, 60),
    TEST(ca_texts),
    TEST(other_schemes),
    LONG_TEST(no_such_server, 60), /* resolvers take their time */
    LONG_TEST(clients, 60),
    TEST(clients_not_asked),
    TEST(built_in),
    TEST(mosquitto_with_identities),
    TEST(server_name),
    TEST(ipv6),
    TEST(alpn),
    TEST(versions),
};
TESTS_MAIN(tests)

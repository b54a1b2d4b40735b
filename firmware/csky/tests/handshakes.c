/* What a TLS handshake takes: instructions from connect to its return, over mqtts, in our emulator. For firmware/instructions.py:
 *
 *     INSTRUCTIONS handshakes ; ROW ; COLUMN ; NUMBER */
#include <stdio.h>

#include "auto_broker.h"
#include "board.h"
#include "check.h"
#include "client.h"

enum { ROUNDS = 5 };

static void connect_counted(handle_t handle, relay_t *relay, const char *version, const char *key, bool resumed)
{
    uint64_t before = board_instructions();
    REQUIRE_EQ(wm_mqtt_client_connect(handle), 0);
    uint64_t taken = board_instructions() - before;
    char *tls = relay_line(relay, "tls");
    CHECK_STR(line_value(tls, "version"), version);
    CHECK_STR(line_value(tls, "resumed"), resumed ? "yes" : "no");
    printf("INSTRUCTIONS handshakes ; TLS %s, %s ; %s ; %lu\n", version, key, resumed ? "resumed" : "full",
           (unsigned long)taken);
}

static void handshakes(void)
{
    static const char *const versions[] = {"1.2", "1.3"};
    static const struct {
        const char *key, *server, *ca;
    } keys[] = {{"RSA-2048", "server-rsa-chain", "rsa-ca.pem"}, {"P-256", "server", "ca.pem"}};
    auto_broker_t *broker = auto_broker_open();
    for (int v = 0; v < 2; v++) {
        for (int k = 0; k < 2; k++) {
            check_row("TLS %s, %s", versions[v], keys[k].key);
            relay_t *relay = relay_start(auto_broker_port(broker), "--tls @%s.pem @%s.key --versions %s", keys[k].server,
                                         keys[k].server, versions[v]);
            for (int round = 0; round < ROUNDS; round++) {
                config_t config = {.uri = relay_uri(relay, "mqtts"),
                                   .client_id = "c",
                                   .clean_session = 1,
                                   .auth_mode = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT,
                                   .ca = cert_text(keys[k].ca)};
                handle_t handle = client_new(&config);
                connect_counted(handle, relay, versions[v], keys[k].key, false);
                CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
                connect_counted(handle, relay, versions[v], keys[k].key, true);
                CHECK_EQ(client_deinit(handle), 0);
                events_reset();
            }
            relay_stop(relay);
        }
    }
}

static const test_t TESTS[] = {LONG_TEST(handshakes, 120)};

TESTS_MAIN(TESTS)

/* The free heap that connect takes, by kind of server and client: with less it fails, and nothing stops. To be run over mqtts.
 * With HEAP_STEP in the environment every kind of server and of client is tried, with so many bytes from one size to the next around
 * the one where it ends, and with eight times as many elsewhere; without it, with a few sizes, what docs/memory.md promises. */
#include <stdlib.h>

#include "auto_broker.h"
#include "board.h"
#include "check.h"
#include "client.h"
#include "peers.h"

#include "freertos/FreeRTOS.h"

enum { LEAST = 16 * 1024, MOST = 120 * 1024, AROUND = 3 * 1024, SETTLE = 300, LAST = 4 };

typedef struct {
    const char *server, *ca;   /* files of the test certificates */
    const char *asks, *client; /* whose certificates the server asks for, and ours; NULL: it asks for none */
    size_t bound;              /* with so much it connects */
    const char *options;       /* of the relay */
    size_t piece;              /* the free heap's largest, 0: it is one */
} kind_t;

static bool connects_with(const kind_t *kind, config_t *config, size_t left)
{
    check_row("%s, %s, %u bytes free", kind->server, kind->client ? kind->client : "no client's", (unsigned)left);
    handle_t handle = client_new(config);
    void **blocks = board_heap_take(left, kind->piece ? kind->piece : left);
    int result = wm_mqtt_client_connect(handle);
    board_heap_give_back(blocks);
    CHECK(result == 0 || result == WM_MQTT_CLIENT_ERROR_FAILURE);
    CHECK_EQ(client_deinit(handle), 0);
    sleep_ms(SETTLE);
    events_reset();
    return result == 0;
}

/* All sizes of the sweep: what a stop shows. */
static void walk(const kind_t *kind, config_t *config, size_t end, size_t step)
{
    for (size_t left = LEAST; left < MOST; left += left + AROUND < end || left > end + AROUND / 3 ? 8 * step : step)
        connects_with(kind, config, left);
}

static void sweep(const kind_t *kind)
{
    auto_broker_t *broker = auto_broker_open();
    const char *options = kind->options ? kind->options : "";
    relay_t *relay = kind->client ? relay_start(auto_broker_port(broker), "--tls @%s.pem @%s.key --client-ca @%s.pem %s", kind->server,
                                                kind->server, kind->asks, options)
                                  : relay_start(auto_broker_port(broker), "--tls @%s.pem @%s.key %s", kind->server, kind->server, options);
    config_t config = {.uri = relay_uri(relay, "mqtts"), .client_id = "c", .clean_session = 1, .ca = cert_text(test_printf("%s.pem", kind->ca))};
    config.auth_mode = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT;
    if (kind->client) {
        config.auth_mode = WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH;
        config.cert = cert_text(test_printf("%s.pem", kind->client));
        config.key = cert_text(test_printf("%s.key", kind->client));
    }
    /* What all share stays. */
    handle_t other = client_for(auto_broker_uri(broker), true);
    CHECK_EQ(wm_mqtt_client_connect(other), 0);

    const char *step = getenv("HEAP_STEP");
    size_t least = LEAST, most = kind->bound;
    CHECK(!connects_with(kind, &config, least));
    CHECK(connects_with(kind, &config, most));
    while (most - least > (step ? 256 : 1024)) {
        size_t middle = (least + most) / 2;
        *(connects_with(kind, &config, middle) ? &most : &least) = middle;
    }
    printf("HEAP %s, asks for %s, %s, %s%s: %u\n", kind->server, kind->client ? kind->asks : "nothing",
           kind->client ? kind->client : "none", options, kind->piece ? ", in pieces" : "", (unsigned)most);
    if (step) walk(kind, &config, most, (size_t)atoi(step));
    /* Where it ends depends on the packets that are under way. */
    else
        for (int i = 1; i <= LAST; i++) connects_with(kind, &config, most - (size_t)i * 300);
    CHECK(wm_mqtt_client_publish(other, "t", "m", 1, 1, 0) > 0);
}

/* What needs most first: the tests leave pieces behind. */
static void promised(void)
{
    static const kind_t kinds[] = {
        {"server-rsa4096-chain", "rsa4096-ca", "hundred-cas", "client", 96 * 1024, NULL, 0},
        {"server-rsa4096-chain", "rsa4096-ca", NULL, NULL, 64 * 1024, NULL, 0},
        {"server-rsa4096-chain", "rsa4096-ca", NULL, NULL, 64 * 1024, NULL, CONFIG_MQTT_CLIENT_HANDSHAKE_STACK + 1024},
        {"server", "ca", "ca", "client-rsa4096", 64 * 1024, NULL, 0},
        {"server", "ca", NULL, NULL, 44 * 1024, NULL, 0},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) sweep(&kinds[i]);
}

/* ---- every kind of key ---- */

static void against(const char *server, const char *ca)
{
    static const char *const clients[] = {NULL, "client", "client-rsa4096"};
    if (!getenv("HEAP_STEP")) check_skip("make heap-sweep does this");
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++)
        sweep(&(kind_t){server, ca, "ca", clients[i], 80 * 1024, NULL, 0});
}

static void small_ec(void) { against("server", "ca"); }
static void large_ec(void) { against("server-p384", "ca"); }
static void small_rsa(void) { against("server-rsa2048", "ca"); }
static void large_rsa(void) { against("server-rsa4096", "ca"); }
static void rsa_chain(void) { against("server-rsa4096-chain", "rsa4096-ca"); }

/* With names, over TLS 1.2, and cut into small records. */
static void special(void)
{
    static const kind_t kinds[] = {
        {"server-rsa4096-chain", "rsa4096-ca", "hundred-cas", "client-rsa4096", 112 * 1024, NULL, 0},
        {"server-rsa4096-chain", "rsa4096-ca", "hundred-cas", "client", 112 * 1024, "--versions 1.2", 0},
        {"server-rsa4096-chain", "rsa4096-ca", NULL, NULL, 64 * 1024, "--versions 1.2", 0},
        {"server-rsa4096-chain", "rsa4096-ca", NULL, NULL, 64 * 1024, "--record 512", 0},
    };
    if (!getenv("HEAP_STEP")) check_skip("make heap-sweep does this");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) sweep(&kinds[i]);
}

static const test_t tests[] = {
    LONG_TEST(promised, 130),  LONG_TEST(small_ec, 130),  LONG_TEST(large_ec, 130), LONG_TEST(small_rsa, 130),
    LONG_TEST(large_rsa, 130), LONG_TEST(rsa_chain, 130), LONG_TEST(special, 130),
};
TESTS_MAIN(tests)

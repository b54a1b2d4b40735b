/* The free heap that connect takes, by kind of server and client: with less it fails, and nothing stops. To be run over mqtts.
 * HEAP_STEP in the environment: how many bytes there are from one size that is tried around that to the next. */
#include <stdlib.h>
#include <string.h>

#include "auto_broker.h"
#include "board.h"
#include "check.h"
#include "client.h"
#include "peers.h"

#include "freertos/FreeRTOS.h"

enum { LEAST = 16 * 1024, AROUND = 3 * 1024, SETTLE = 300 };

typedef struct {
    const char *name, *server, *ca; /* files of the test certificates */
    const char *asks, *client;      /* whose certificates the server asks for, and ours */
    size_t bound;                   /* with so much it connects */
} kind_t;

static const char NOBODY[] = "";

/* Takes the heap but for so many bytes in one piece. */
static void **fill_heap(size_t left)
{
    void *kept = pvPortMalloc(left), **blocks = NULL;
    REQUIRE(kept);
    for (size_t size = DEVICE_HEAP; size >= 64; size /= 2) {
        for (void **block; (block = pvPortMalloc(size)) != NULL; blocks = block) *block = blocks;
    }
    vPortFree(kept);
    return blocks;
}

static void free_all(void **blocks)
{
    while (blocks) {
        void **next = *blocks;
        vPortFree(blocks);
        blocks = next;
    }
}

static bool connects_with(config_t *config, size_t left)
{
    check_row("%u bytes free", (unsigned)left);
    handle_t handle = client_new(config);
    void **blocks = fill_heap(left);
    int result = wm_mqtt_client_connect(handle);
    free_all(blocks);
    CHECK(result == 0 || result == WM_MQTT_CLIENT_ERROR_FAILURE);
    CHECK_EQ(client_deinit(handle), 0);
    sleep_ms(SETTLE);
    events_reset();
    return result == 0;
}

static void sweep(const kind_t *kind)
{
    auto_broker_t *broker = auto_broker_open();
    bool presents = kind->client != NOBODY;
    relay_t *relay = presents ? relay_start(auto_broker_port(broker), "--tls @%s.pem @%s.key --client-ca @%s.pem", kind->server,
                                            kind->server, kind->asks)
                              : relay_start(auto_broker_port(broker), "--tls @%s.pem @%s.key", kind->server, kind->server);
    config_t config = {.uri = relay_uri(relay, "mqtts"), .client_id = "c", .clean_session = 1, .ca = cert_text(test_printf("%s.pem", kind->ca))};
    config.auth_mode = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT;
    if (presents) {
        config.auth_mode = WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH;
        config.cert = cert_text(test_printf("%s.pem", kind->client));
        config.key = cert_text(test_printf("%s.key", kind->client));
    }
    /* What all share stays. */
    handle_t other = client_for(auto_broker_uri(broker), true);
    CHECK_EQ(wm_mqtt_client_connect(other), 0);

    const char *step_text = getenv("HEAP_STEP");
    size_t step = step_text ? (size_t)atoi(step_text) : 1024, least = LEAST, most = kind->bound;
    CHECK(!connects_with(&config, least));
    CHECK(connects_with(&config, most));
    while (most - least > 256) {
        size_t middle = (least + most) / 2;
        *(connects_with(&config, middle) ? &most : &least) = middle;
    }
    printf("HEAP %s, %s: %u\n", kind->name, presents ? kind->client : "no certificate of the client", (unsigned)most);
    /* Where it ends depends on the packets that are under way. */
    for (size_t left = LEAST; left < most - AROUND; left += 8 * step) connects_with(&config, left);
    for (size_t left = most - AROUND; left < most + AROUND / 3; left += step) connects_with(&config, left);
    CHECK(wm_mqtt_client_publish(other, "t", "m", 1, 1, 0) > 0);
}

static void p256(void)
{
    sweep(&(kind_t){"P-256", "server", "ca", NOBODY, NOBODY, 56 * 1024});
}

static void four_rsa4096(void)
{
    sweep(&(kind_t){"four of RSA-4096", "server-rsa4096-chain", "rsa4096-ca", NOBODY, NOBODY, 88 * 1024});
}

static void rsa4096_client(void)
{
    sweep(&(kind_t){"P-256", "server", "ca", "ca", "client-rsa4096", 72 * 1024});
}

static void names(void)
{
    sweep(&(kind_t){"P-256, 100 names of authorities", "server", "ca", "hundred-cas", "client", 124 * 1024});
}

/* What needs most first: the tests leave pieces behind. */
static const test_t tests[] = {
    LONG_TEST(names, 200),
    LONG_TEST(four_rsa4096, 200),
    LONG_TEST(rsa4096_client, 200),
    LONG_TEST(p256, 200),
};
TESTS_MAIN(tests)

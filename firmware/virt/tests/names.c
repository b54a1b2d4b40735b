/* The device port's lookups of host names, over lwIP. */
#include <string.h>

#include "board.h"
#include "client.h"
#include "lwip/dns.h"
#include "net.h"

static const address_t loopback_v4 = {.bytes = {127, 0, 0, 1}}, loopback_v6 = {.bytes = {[15] = 1}, .is_v6 = true};

static news_t answer_within(void *net, long ms)
{
    news_t event = {.token = 0};
    for (long end = now_ms() + scaled(ms), left; (left = end - now_ms()) > 0;)
        if (wm_mqtt_port_net_wait(net, (uint32_t)left, &event) && event.resolved) return event;
    FAIL("no answer");
    return event;
}

static bool resolve(void *net, uintptr_t token, const char *host, uint8_t family)
{
    return wm_mqtt_port_net_resolve(net, token, host, strlen(host), (uint16_t)token, family);
}

/* A name has addresses of one family or of both; the agent serves these names. */
static void one_family_at_a_time(void)
{
    static const struct {
        const char *host;
        uint8_t family;
        const address_t *found;
    } rows[] = {
        {"both.localhost", 0, &loopback_v4}, {"both.localhost", 4, &loopback_v4}, {"both.localhost", 6, &loopback_v6},
        {"both.localhost", 0, &loopback_v4}, /* lwIP knows both */
        {"localhost", 0, &loopback_v4},      {"localhost", 4, &loopback_v4},      {"localhost", 6, NULL},
        {"v6.localhost", 0, &loopback_v6},   {"v6.localhost", 4, NULL},           {"v6.localhost", 6, &loopback_v6},
        {"nobody.invalid", 0, NULL},         {"nobody.invalid", 4, NULL},         {"nobody.invalid", 6, NULL},
        {"127.0.0.1", 0, &loopback_v4},      {"::1", 0, &loopback_v6},
    };
    void *net = open_net();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_row("%s, %d", rows[i].host, rows[i].family);
        REQUIRE(resolve(net, 100 + i, rows[i].host, rows[i].family));
        news_t event = answer_within(net, 20000);
        CHECK_EQ(event.token, 100 + i);
        CHECK_EQ(event.port, 100 + i);
        CHECK_EQ(event.found, rows[i].found != NULL);
        if (rows[i].found == NULL) continue;
        CHECK_EQ(event.address.is_v6, rows[i].found->is_v6);
        CHECK_BYTES(event.address.bytes, 16, rows[i].found->bytes, 16);
    }
    /* What is an address has no other. */
    CHECK(!resolve(net, 1, "127.0.0.1", 6));
    CHECK(!resolve(net, 1, "127.0.0.1", 4));
    CHECK(!resolve(net, 1, "::1", 4));
}

static void found_by_others(const char *name, const ip_addr_t *address, void *unused)
{
    (void)name, (void)address, (void)unused;
}

static err_t known;

static void look_for_v6(void)
{
    ip_addr_t address;
    known = dns_gethostbyname_addrtype("both.localhost", &address, found_by_others, NULL, LWIP_DNS_ADDRTYPE_IPV6);
}

/* By the client, when IPv4 leads nowhere. Nothing here is reached by IPv6; but lwIP knows that address then, for a second. */
static void client_asks_for_the_other_family(void)
{
    handle_t handle = client_for(test_printf("mqtt://both.localhost:%d", unused_port()), true);
    sleep_ms(2500); /* lwIP has forgotten it */
    look(look_for_v6);
    CHECK_EQ(known, ERR_INPROGRESS);
    sleep_ms(2500); /* again, since this has asked for it */
    CHECK_EQ(call_result_within(start_connect(handle), 900), WM_MQTT_CLIENT_ERROR_FAILURE);
    look(look_for_v6);
    CHECK_EQ(known, ERR_OK);
}

/* Lookups without an answer have all of lwIP's places, some seconds long. */
enum { PLACES = DNS_TABLE_SIZE };

static int begun_by_others;

static void look_up_for_others(void)
{
    static const char *names[PLACES] = {"a.silent", "b.silent", "c.silent", "d.silent"};
    ip_addr_t address;
    for (int i = 0; i < PLACES; i++)
        begun_by_others += dns_gethostbyname(names[i], &address, found_by_others, NULL) == ERR_INPROGRESS;
}

static void others_have_all_places(void)
{
    news_t event;
    void *net = open_net();
    sleep_ms(1500); /* lwIP has forgotten localhost */
    begun_by_others = 0;
    look(look_up_for_others);
    REQUIRE_EQ(begun_by_others, PLACES);
    REQUIRE(resolve(net, 1, "localhost", 0));
    REQUIRE(resolve(net, 2, "10.1.2.3", 0));
    /* Another that waits, and that nobody wants any more. */
    long before = (long)board_heap_used();
    REQUIRE(resolve(net, 3, "e.silent", 0));
    CHECK((long)board_heap_used() > before);
    wm_mqtt_port_net_forget(net, 3);
    CHECK_EQ(board_heap_used(), before);
    /* What needs no place does not wait for one. */
    event = answer_within(net, 100);
    CHECK_EQ(event.token, 2);
    CHECK(event.found);
    event = answer_within(net, 20000);
    CHECK_EQ(event.token, 1);
    CHECK(event.found);
}

/* The mailbox of lwIP's task stays full: each message puts another one there. */
static u32_t full_from, full_for;
static unsigned times_full;

static void fill_mailbox(void *unused)
{
    if (sys_now() - full_from >= full_for) return;
    while (tcpip_try_callback(fill_mailbox, unused) == ERR_OK) continue;
    times_full++;
}

static void mailbox_is_full(void)
{
    news_t event;
    void *net = open_net();
    sleep_ms(1500);
    for (int i = 0; i < PLACES; i++) REQUIRE(resolve(net, 10 + (uintptr_t)i, test_printf("%d.silent", i), 0));
    REQUIRE(resolve(net, 1, "localhost", 0));
    CHECK(!wm_mqtt_port_net_wait(net, 100, &event));
    wm_mqtt_port_net_forget(net, 10); /* lwIP has it */
    full_from = sys_now(), full_for = 12000, times_full = 0;
    REQUIRE(tcpip_callback(fill_mailbox, NULL) == ERR_OK);
    /* The mailbox was full while all four ended, and so it was when the fifth was tried again. */
    bool found = false;
    for (int ended = 0; ended < PLACES || !found;) {
        event = answer_within(net, 25000);
        if (event.token >= 10) {
            CHECK(!event.found);
            ended++;
        } else {
            CHECK(event.found);
            found = true;
        }
    }
    CHECK(times_full > 1000);
}

/* Nobody waits any more for lookups that never began. */
static void net_ends_with_lookups_that_wait(void)
{
    news_t event;
    void *net = wm_mqtt_port_net_open();
    for (int i = 0; i < 2 * PLACES; i++) REQUIRE(resolve(net, (uintptr_t)i, test_printf("%d.silent", i), 0));
    CHECK(!wm_mqtt_port_net_wait(net, 100, &event));
    close_net(net);
    /* Those that did begin end into what is still there for them. */
    net = open_net();
    REQUIRE(resolve(net, 1, "v6.localhost", 0));
    CHECK(answer_within(net, 20000).found);
}

static const test_t tests[] = {
    LONG_TEST(one_family_at_a_time, 60),
    TEST(client_asks_for_the_other_family),
    LONG_TEST(others_have_all_places, 60),
    LONG_TEST(mailbox_is_full, 60),
    LONG_TEST(net_ends_with_lookups_that_wait, 60),
};
TESTS_MAIN(tests)

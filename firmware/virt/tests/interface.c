/* The network interface as Wi-Fi treats it: it is down for a while, or has another address. */
#include <string.h>

#include "auto_broker.h"
#include "board.h"
#include "check.h"
#include "client.h"
#include "lwip/netif.h"
#include "lwip/netifapi.h"
#include "lwip/tcpip.h"

static void set_address(int last)
{
    ip4_addr_t address, mask, host;
    IP4_ADDR(&address, 10, 0, 2, last);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&host, 10, 0, 2, 2);
    if (last == 0) ip4_addr_set_zero(&address);
    REQUIRE(netifapi_netif_set_addr(netif_default, &address, &mask, &host) == ERR_OK);
}

static void set_up(bool is_up)
{
    REQUIRE((is_up ? netifapi_netif_set_up(netif_default) : netifapi_netif_set_down(netif_default)) == ERR_OK);
}

/* The SDK's network manager removes the interface when Wi-Fi has no access point any more. */
static struct netif *card, card_was;

static err_t add_again(struct netif *netif)
{
    netif->mtu = card_was.mtu;
    netif->hwaddr_len = card_was.hwaddr_len;
    memcpy(netif->hwaddr, card_was.hwaddr, sizeof netif->hwaddr);
    netif->flags = card_was.flags & ~NETIF_FLAG_UP;
    netif->output = card_was.output;
    netif->output_ip6 = card_was.output_ip6;
    netif->linkoutput = card_was.linkoutput;
    return ERR_OK;
}

static void remove_card(void)
{
    card = netif_default;
    card_was = *card;
    set_up(false);
    REQUIRE(netifapi_netif_remove(card) == ERR_OK);
}

static void add_card(void)
{
    if (netif_default) return;
    REQUIRE(netifapi_netif_add(card, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4, NULL, add_again, tcpip_input) == ERR_OK);
    REQUIRE(netifapi_netif_set_default(card) == ERR_OK);
    set_up(true);
}

static void up_again(void *unused)
{
    (void)unused;
    add_card();
    set_address(15);
    set_up(true);
}

static void check_serves(handle_t handle)
{
    int id = wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0);
    REQUIRE(id > 0);
    expect_published(id);
}

static handle_t connected(auto_broker_t **broker)
{
    at_test_end(END_SERVERS, up_again, NULL);
    *broker = auto_broker_open();
    handle_t handle = client_for(auto_broker_uri(*broker), true);
    REQUIRE_EQ(wm_mqtt_client_connect(handle), 0);
    check_serves(handle);
    events_reset();
    return handle;
}

static void check_gives_back(long before)
{
    for (long until = now_ms() + scaled(5000); now_ms() < until && (long)board_heap_used() > before; network_forget_closed())
        sleep_ms(10);
    CHECK((long)board_heap_used() <= before);
}

/* lwIP ends the connections of an interface that is gone: the application is told at once, and not by keep-alive. */
static void interface_is_gone(void)
{
    auto_broker_t *broker;
    handle_t handle = connected(&broker);
    long before = 0;
    for (int i = 0; i < 4; i++) {
        bool removes = i % 2;
        check_row(removes ? "removed" : "no address");
        if (removes) remove_card();
        else set_address(0);
        expect_lost(handle);
        CHECK_EQ(call_result_within(start_connect(handle), 1000), WM_MQTT_CLIENT_ERROR_FAILURE);
        if (removes) add_card();
        set_address(16 + i);
        REQUIRE_EQ(call_result(start_connect(handle)), 0);
        check_serves(handle);
        events_reset();
        if (i == 0) before = (long)board_heap_used();
        else check_gives_back(before);
    }
}

/* With calls under way, which do not wait until their time is up. */
static void address_changes_under_calls(void)
{
    broker_t *broker = broker_open();
    handle_t handle = client_for(broker_uri(broker), false);
    call_t *connect = start_connect(handle);
    conn_t *conn = broker_accept(broker);
    expect_packet(conn, 0x10);
    at_test_end(END_SERVERS, up_again, NULL);
    set_address(20);
    CHECK_EQ(call_result_within(connect, 1000), WM_MQTT_CLIENT_ERROR_FAILURE);
    conn = client_connect(handle, broker, false);
    call_t *subscribe = start_subscribe(handle, "t", 1);
    expect_packet(conn, 0x82);
    set_address(21);
    CHECK_EQ(call_result_within(subscribe, 1000), WM_MQTT_CLIENT_ERROR_DISCONNECTED);
    expect_lost(handle);
}

/* What was published meanwhile arrives when it is up again, on the same connection. */
static void down_for_a_while(void)
{
    auto_broker_t *broker;
    handle_t handle = connected(&broker);
    set_up(false);
    int id = wm_mqtt_client_publish(handle, "t", "m", 1, 1, 0);
    CHECK(id > 0);
    expect_no_event(500);
    set_up(true);
    expect_published(id);
    check_serves(handle);
}

/* connect, with a name to look up, succeeds when it comes up in time. */
static void up_in_time(void)
{
    auto_broker_t *broker;
    handle_t other = connected(&broker);
    handle_t handle = client_for(test_printf("mqtt://localhost:%d", auto_broker_port(broker)), true);
    set_up(false);
    call_t *connect = start_connect(handle);
    CHECK(!call_done(connect, 300));
    set_up(true);
    CHECK_EQ(call_result(connect), 0);
    check_serves(handle);
    check_serves(other);
}

static const test_t tests[] = {
    TEST(interface_is_gone),
    TEST(address_changes_under_calls),
    TEST(down_for_a_while),
    TEST(up_in_time),
};
TESTS_MAIN(tests)

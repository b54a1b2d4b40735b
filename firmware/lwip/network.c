/* The network card as an interface of lwIP, with the address that QEMU's user network gives to its first guest. */
#include <string.h>

#include "board.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/netif.h"
#include "lwip/netifapi.h"
#include "lwip/pbuf.h"
#include "lwip/tcpip.h"
#include "network.h"
#include "wm_task_config.h"

enum { FRAME = 1536, STACK = 2048 };

static struct netif card;
static TaskHandle_t receiver;
static SemaphoreHandle_t lock; /* of the card */

void network_interrupt(void)
{
    BaseType_t woken = pdFALSE;
    if (receiver) vTaskNotifyGiveFromISR(receiver, &woken);
    portYIELD_FROM_ISR(woken);
}

static void receive(void *unused)
{
    static uint8_t frame[FRAME];
    (void)unused;
    for (;;) {
        xSemaphoreTake(lock, portMAX_DELAY);
        size_t len = card_receive(frame, sizeof frame);
        xSemaphoreGive(lock);
        if (!len) {
            ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
            continue;
        }
        struct pbuf *packet = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_POOL);
        if (!packet) continue;
        pbuf_take(packet, frame, (u16_t)len);
        if (card.input(packet, &card) != ERR_OK) pbuf_free(packet);
    }
}

static err_t send(struct netif *netif, struct pbuf *packet)
{
    static uint8_t frame[FRAME];
    (void)netif;
    if (packet->tot_len > sizeof frame) return ERR_BUF;
    pbuf_copy_partial(packet, frame, packet->tot_len, 0);
    xSemaphoreTake(lock, portMAX_DELAY);
    bool sent = card_send(frame, packet->tot_len);
    xSemaphoreGive(lock);
    return sent ? ERR_OK : ERR_IF;
}

static err_t set_up(struct netif *netif)
{
    netif->name[0] = 'w';
    netif->name[1] = 's';
    netif->mtu = 1500;
    netif->hwaddr_len = 6;
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP | NETIF_FLAG_MLD6;
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = send;
    card_address(netif->hwaddr);
    return ERR_OK;
}

struct netif *network_route(const ip4_addr_t *to)
{
    return ip4_addr_isloopback(to) ? &card : NULL;
}

static void started(void *waiting)
{
    xTaskNotifyGive((TaskHandle_t)waiting);
}

void network_start(void)
{
    ip4_addr_t address, mask, host;
    IP4_ADDR(&address, 10, 0, 2, 15);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&host, 10, 0, 2, 2);
    lock = xSemaphoreCreateMutex();
    tcpip_init(started, xTaskGetCurrentTaskHandle());
    ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
    configASSERT(netifapi_netif_add(&card, &address, &mask, &host, NULL, set_up, tcpip_input) == ERR_OK);
    netifapi_netif_set_default(&card);
    netifapi_netif_set_up(&card);
    ip_addr_t server = IPADDR4_INIT_BYTES(10, 0, 2, 2);
    dns_setserver(0, &server);
    xTaskCreate(receive, "card", STACK / sizeof(StackType_t), NULL, WM_TASK_TCPIP_PRIO + 1, &receiver);
}

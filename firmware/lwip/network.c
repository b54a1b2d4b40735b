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
#include "lwip/priv/tcp_priv.h"
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
    return ip4_addr_isloopback(to) && netif_is_up(&card) && !ip4_addr_isany(netif_ip4_addr(&card)) ? &card : NULL;
}

static void done(void *waiting)
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
    tcpip_init(done, xTaskGetCurrentTaskHandle());
    ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
    configASSERT(netifapi_netif_add(&card, &address, &mask, &host, NULL, set_up, tcpip_input) == ERR_OK);
    netifapi_netif_set_default(&card);
    netifapi_netif_set_up(&card);
    ip_addr_t server = IPADDR4_INIT_BYTES(10, 0, 2, 2);
    dns_setserver(0, &server);
    xTaskCreate(receive, "card", STACK / sizeof(StackType_t), NULL, WM_TASK_TCPIP_PRIO + 1, &receiver);
}

static void forget(struct tcp_pcb *list)
{
    for (struct tcp_pcb *next; list; list = next) {
        next = list->next;
        /* Those of sockets that are open point at them. */
        if (!list->callback_arg) tcp_abort(list);
    }
}

static void forget_closed(void *waiting)
{
    forget(tcp_active_pcbs);
    forget(tcp_tw_pcbs);
    done(waiting);
}

void network_forget_closed(void)
{
    configASSERT(tcpip_callback(forget_closed, xTaskGetCurrentTaskHandle()) == ERR_OK);
    ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
}

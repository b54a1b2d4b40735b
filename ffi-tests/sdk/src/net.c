/*
 * Network manager, Wi-Fi, MAC address and lwIP's address texts: what the host knows of its network, and a polite
 * refusal for what would change it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <stdatomic.h>
#include <unistd.h>

#include "host.h"
#include "lwip/ip_addr.h"
#include "wm_nm_api.h"
#include "wm_utils.h"
#include "wm_wifi.h"

WM_EVENT_DEFINE_GROUP(WM_NM_EV);
WM_EVENT_DEFINE_GROUP(WM_WIFI_EV);

static atomic_bool g_stopped;
static atomic_int g_power_save = WM_WIFI_PS_NONE;

void wm_host_mac(uint8_t mac[6])
{
    struct ifaddrs *all = NULL;
    /* Locally administered, and the same at every start, for machines without a network card. */
    uint32_t id           = (uint32_t)gethostid();
    uint8_t invented[6]   = { 0x02, 0x57, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id };
    static const uint8_t none[6] = { 0 };

    memcpy(mac, invented, 6);
    if (getifaddrs(&all) != 0) {
        return;
    }
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_PACKET || i->ifa_flags & IFF_LOOPBACK) {
            continue;
        }
        struct sockaddr_ll card;
        memcpy(&card, i->ifa_addr, sizeof card);
        if (card.sll_halen == 6 && memcmp(card.sll_addr, none, 6) != 0) {
            memcpy(mac, card.sll_addr, 6);
            break;
        }
    }
    freeifaddrs(all);
}

/* Weak as on the device, where applications replace it. */
__attribute__((weak)) int wm_sys_get_mac_addr(wm_mac_type_t mac_type, uint8_t *mac_addr, uint8_t mac_addr_len)
{
    if (mac_type >= WM_MAC_TYPE_MAX || !mac_addr || mac_addr_len != WM_MAC_ADDR_LEN) {
        return WM_ERR_INVALID_PARAM;
    }
    wm_host_mac(mac_addr);
    mac_addr[5] = (uint8_t)(mac_addr[5] + mac_type);
    return WM_ERR_SUCCESS;
}

int wm_nm_start_wifi_station(wm_nm_wifi_station_cfg_t *cfg)
{
    if (!cfg || !cfg->ssid) {
        return WM_ERR_INVALID_PARAM;
    }
    atomic_store(&g_stopped, false);
    return WM_ERR_SUCCESS;
}

wm_nm_state_e wm_nm_get_wifi_station_state(void)
{
    return atomic_load(&g_stopped) ? WM_NM_EXIT : WM_NM_WIFI_STA_GOT_IP;
}

int wm_nm_stop_wifi_station(void)
{
    atomic_store(&g_stopped, true);
    return WM_ERR_SUCCESS;
}

int wm_nm_start_wifi_softap(wm_nm_wifi_softap_cfg_t *cfg)
{
    return cfg ? WM_ERR_NO_SUPPORT : WM_ERR_INVALID_PARAM;
}

wm_nm_state_e wm_nm_get_wifi_softap_state(void)
{
    return WM_NM_EXIT;
}

int wm_nm_stop_wifi_softap(void)
{
    return WM_ERR_NO_SUPPORT;
}

wm_nm_netif_t wm_nm_get_netif(void)
{
    return WM_NETIF_TYPE_WIFI_STA;
}

int wm_nm_get_netif_number(void)
{
    return 1;
}

const char *wm_nm_get_netif_name(wm_nm_netif_t netif)
{
    return netif == WM_NETIF_TYPE_WIFI_STA ? WIFI_STATION_NETIF_NAME : NULL;
}

wm_nm_netif_t wm_nm_get_netif_by_name(const char *name)
{
    bool station = name && strcmp(name, WIFI_STATION_NETIF_NAME) == 0;
    return station ? WM_NETIF_TYPE_WIFI_STA : (wm_nm_netif_t)WM_NM_INVALID_NETIF;
}

int wm_nm_get_netif_mac(wm_nm_netif_t netif, uint8_t *mac, size_t *max_len)
{
    if (netif != WM_NETIF_TYPE_WIFI_STA || !mac || !max_len || *max_len < WM_MAC_ADDR_LEN) {
        return WM_ERR_INVALID_PARAM;
    }
    *max_len = WM_MAC_ADDR_LEN;
    return wm_sys_get_mac_addr(WM_MAC_TYPE_STA, mac, WM_MAC_ADDR_LEN);
}

static uint32_t ip4_of(const struct sockaddr *sa)
{
    struct sockaddr_in in;
    memcpy(&in, sa, sizeof in);
    return in.sin_addr.s_addr;
}

int wm_nm_get_netif_ip_info(wm_nm_netif_t netif, wm_netif_ip_info_t *ip_info)
{
    struct ifaddrs *all = NULL;
    if (netif != WM_NETIF_TYPE_WIFI_STA || !ip_info) {
        return WM_ERR_INVALID_PARAM;
    }
    memset(ip_info, 0, sizeof *ip_info);
    ip_info->ip.u_addr.ip4.addr      = htonl(INADDR_LOOPBACK);
    ip_info->netmask.u_addr.ip4.addr = htonl(0xff000000U);
    if (getifaddrs(&all) != 0) {
        return WM_ERR_SUCCESS;
    }
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK) && i->ifa_netmask) {
            ip_info->ip.u_addr.ip4.addr      = ip4_of(i->ifa_addr);
            ip_info->netmask.u_addr.ip4.addr = ip4_of(i->ifa_netmask);
            break;
        }
    }
    freeifaddrs(all);
    return WM_ERR_SUCCESS;
}

int wm_nm_set_dns(wm_nm_dns_type_t type, wm_ip_addr_t *dns)
{
    (void)type;
    return dns ? WM_ERR_NO_SUPPORT : WM_ERR_INVALID_PARAM;
}

int wm_nm_get_dns(wm_nm_dns_type_t type, wm_ip_addr_t *dns)
{
    (void)type;
    return dns ? WM_ERR_NO_SUPPORT : WM_ERR_INVALID_PARAM;
}

int wm_wifi_init(void)
{
    return WM_ERR_SUCCESS;
}

int wm_wifi_deinit(void)
{
    return WM_ERR_SUCCESS;
}

int wm_wifi_connect(void)
{
    return WM_ERR_SUCCESS;
}

int wm_wifi_disconnect(void)
{
    return WM_ERR_NO_SUPPORT;
}

int wm_wifi_sta_get_ap_info(wm_wifi_ap_record_t *ap_info)
{
    return ap_info ? WM_ERR_NO_SUPPORT : WM_ERR_INVALID_PARAM;
}

int wm_wifi_set_ps(wm_wifi_ps_type_t type)
{
    if (type > WM_WIFI_PS_MAX_MODEM) {
        return WM_ERR_INVALID_PARAM;
    }
    atomic_store(&g_power_save, (int)type);
    return WM_ERR_SUCCESS;
}

int wm_wifi_get_ps(wm_wifi_ps_type_t *type)
{
    if (!type) {
        return WM_ERR_INVALID_PARAM;
    }
    *type = (wm_wifi_ps_type_t)atomic_load(&g_power_save);
    return WM_ERR_SUCCESS;
}

int wm_wifi_get_mac(wm_wifi_interface_t ifx, uint8_t mac[6])
{
    if (ifx >= WM_WIFI_IF_MAX || !mac) {
        return WM_ERR_INVALID_PARAM;
    }
    return wm_sys_get_mac_addr(ifx == WM_WIFI_IF_STA ? WM_MAC_TYPE_STA : WM_MAC_TYPE_SAP, mac, WM_MAC_ADDR_LEN);
}

char *ipaddr_ntoa_r(const ip_addr_t *addr, char *buf, int buflen)
{
    if (!addr || !buf || buflen <= 0) {
        return NULL;
    }
    const void *bytes = IP_IS_V6(addr) ? (const void *)ip_2_ip6(addr)->addr : (const void *)&ip_2_ip4(addr)->addr;
    return inet_ntop(IP_IS_V6(addr) ? AF_INET6 : AF_INET, bytes, buf, (socklen_t)buflen) ? buf : NULL;
}

char *ipaddr_ntoa(const ip_addr_t *addr)
{
    static _Thread_local char text[IPADDR_STRLEN_MAX];
    return ipaddr_ntoa_r(addr, text, sizeof text);
}

int ipaddr_aton(const char *cp, ip_addr_t *addr)
{
    ip_addr_t got;
    memset(&got, 0, sizeof got);
    if (!cp || !addr) {
        return 0;
    }
    if (inet_pton(AF_INET, cp, &got.u_addr.ip4.addr) == 1) {
        got.type = IPADDR_TYPE_V4;
    } else if (inet_pton(AF_INET6, cp, got.u_addr.ip6.addr) == 1) {
        got.type = IPADDR_TYPE_V6;
    } else {
        return 0;
    }
    *addr = got;
    return 1;
}

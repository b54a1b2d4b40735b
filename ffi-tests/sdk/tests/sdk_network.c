/*
 * Tests of the host stand-in: network manager, Wi-Fi, addresses.
 */
#include "sdk_check.h"

#include <stdint.h>
#include <string.h>

#include "lwip/ip_addr.h"
#include "wm_error.h"
#include "wm_nm_api.h"
#include "wm_utils.h"
#include "wm_wifi.h"

static void test_network(void)
{
    char ssid[] = "net";
    uint8_t mac[6], again[6];
    size_t room = 6;
    wm_nm_wifi_station_cfg_t cfg = { ssid, NULL };
    wm_netif_ip_info_t info;
    wm_wifi_ps_type_t ps;

    CHECK(wm_nm_get_wifi_station_state() == WM_NM_WIFI_STA_GOT_IP);
    CHECK(wm_nm_stop_wifi_station() == WM_ERR_SUCCESS && wm_nm_get_wifi_station_state() == WM_NM_EXIT);
    CHECK(wm_nm_start_wifi_station(NULL) == WM_ERR_INVALID_PARAM);
    CHECK(wm_nm_start_wifi_station(&cfg) == WM_ERR_SUCCESS && wm_nm_get_wifi_station_state() == WM_NM_WIFI_STA_GOT_IP);
    CHECK(wm_nm_get_wifi_softap_state() == WM_NM_EXIT);
    CHECK(wm_nm_get_netif_by_name(wm_nm_get_netif_name(wm_nm_get_netif())) == WM_NETIF_TYPE_WIFI_STA);
    CHECK(wm_nm_get_netif_by_name("none") == (wm_nm_netif_t)WM_NM_INVALID_NETIF);
    CHECK(wm_sys_get_mac_addr(WM_MAC_TYPE_STA, mac, 6) == WM_ERR_SUCCESS && !(mac[0] & 1));
    CHECK(wm_sys_get_mac_addr(WM_MAC_TYPE_STA, mac, 5) == WM_ERR_INVALID_PARAM);
    CHECK(wm_wifi_get_mac(WM_WIFI_IF_STA, again) == WM_ERR_SUCCESS && memcmp(mac, again, 6) == 0);
    CHECK(wm_nm_get_netif_mac(wm_nm_get_netif(), again, &room) == WM_ERR_SUCCESS && memcmp(mac, again, 6) == 0);
    CHECK(wm_wifi_get_mac(WM_WIFI_IF_AP, again) == WM_ERR_SUCCESS && memcmp(mac, again, 6) != 0);
    CHECK(wm_nm_get_netif_ip_info(wm_nm_get_netif(), &info) == WM_ERR_SUCCESS && info.ip.u_addr.ip4.addr != 0);
    CHECK(wm_wifi_set_ps(WM_WIFI_PS_MAX_MODEM) == WM_ERR_SUCCESS && wm_wifi_get_ps(&ps) == WM_ERR_SUCCESS &&
          ps == WM_WIFI_PS_MAX_MODEM);

    ip_addr_t ip;
    CHECK(ipaddr_aton("10.1.2.3", &ip) == 1 && IP_IS_V4(&ip) && strcmp(ipaddr_ntoa(&ip), "10.1.2.3") == 0);
    CHECK(ipaddr_aton("fe80::1", &ip) == 1 && IP_IS_V6(&ip) && strcmp(ipaddr_ntoa(&ip), "fe80::1") == 0);
    CHECK(ipaddr_aton("nonsense", &ip) == 0);
}

int main(void)
{
    test_network();
    return report();
}

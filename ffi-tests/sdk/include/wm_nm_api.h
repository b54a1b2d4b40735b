/**
 * @file wm_nm_api.h
 * @brief Host stand-in: the network manager of a machine whose network is up before the program starts.
 *
 * It posts no events, and what would change the host's network returns WM_ERR_NO_SUPPORT.
 */
#ifndef WM_HOST_NM_API_H
#define WM_HOST_NM_API_H

#include "wm_nm_def.h"
#include "wm_event.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Group of the network manager's events; their numbers are wm_nm_state_e. */
WM_EVENT_DECLARE_GROUP(WM_NM_EV);

/** Joins a network: at once, whatever the name. WM_ERR_INVALID_PARAM without a configuration or a name. */
int wm_nm_start_wifi_station(wm_nm_wifi_station_cfg_t *cfg);

/** WM_NM_WIFI_STA_GOT_IP, also before a start; WM_NM_EXIT after a stop. */
wm_nm_state_e wm_nm_get_wifi_station_state(void);

/** Leaves the network: from here on the state says so. The host's own network stays as it is. */
int wm_nm_stop_wifi_station(void);

/** WM_ERR_NO_SUPPORT: a host is no access point. */
int wm_nm_start_wifi_softap(wm_nm_wifi_softap_cfg_t *cfg);

/** WM_NM_EXIT. */
wm_nm_state_e wm_nm_get_wifi_softap_state(void);

/** WM_ERR_NO_SUPPORT. */
int wm_nm_stop_wifi_softap(void);

/** The first interface: the station. */
wm_nm_netif_t wm_nm_get_netif(void);

/** Number of interfaces: 1. */
int wm_nm_get_netif_number(void);

/** Name of an interface, NULL if there is no such one. */
const char *wm_nm_get_netif_name(wm_nm_netif_t netif);

/** The interface of a name, WM_NM_INVALID_NETIF if there is none. */
wm_nm_netif_t wm_nm_get_netif_by_name(const char *name);

/** Copies the MAC address; @p max_len holds the room on entry (6 at least) and the length on return. */
int wm_nm_get_netif_mac(wm_nm_netif_t netif, uint8_t *mac, size_t *max_len);

/** The host's first IPv4 address that is not loopback, else 127.0.0.1. The gateway stays 0. */
int wm_nm_get_netif_ip_info(wm_nm_netif_t netif, wm_netif_ip_info_t *ip_info);

/** WM_ERR_NO_SUPPORT: the host's resolver decides. */
int wm_nm_set_dns(wm_nm_dns_type_t type, wm_ip_addr_t *dns);

/** WM_ERR_NO_SUPPORT: the host's resolver decides. */
int wm_nm_get_dns(wm_nm_dns_type_t type, wm_ip_addr_t *dns);

#ifdef __cplusplus
}
#endif

#endif

/**
 * @file wm_nm_def.h
 * @brief Host stand-in: types of the network manager.
 */
#ifndef WM_HOST_NM_DEF_H
#define WM_HOST_NM_DEF_H

#include "wmsdk_config.h"
#include "wm_types.h"
#include "wm_error.h"
#include "wm_ip_addr.h"
#include "lwipopts.h"

#define WIFI_STATION_NETIF_NAME "w_sta" /**< name of the station's interface */
#define WIFI_SOFTAP_NETIF_NAME  "w_ap"  /**< name of the access point's interface */
#define WM_NM_INVALID_NETIF     (-1)    /**< no interface */

/** Interfaces of the device. */
typedef enum {
    WM_NETIF_TYPE_WIFI_STA, /**< station: on a host, whatever network it has */
    WM_NETIF_TYPE_WIFI_AP,  /**< access point: a host has none */
    WM_NETIF_TYPE_MAX       /**< number of interfaces */
} wm_netif_type_t;

/** An interface as the network manager names it. */
typedef wm_netif_type_t wm_nm_netif_t;

/** Which of two name servers. */
typedef enum {
    WM_NM_DNS_MAIN = 0, /**< the first */
    WM_NM_DNS_BACKUP    /**< the second */
} wm_nm_dns_type_t;

/** State of a network, and number of the event that reports it. */
typedef enum {
    WM_NM_INIT,                   /**< starting */
    WM_NM_WIFI_STA_CONNECTING,    /**< station: looking for the access point */
    WM_NM_WIFI_STA_CONNECTED,     /**< station: associated, no address yet */
    WM_NM_WIFI_STA_DISCONNECTED,  /**< station: access point lost */
    WM_NM_WIFI_STA_GOT_IP,        /**< station: has an IPv4 address */
    WM_NM_WIFI_STA_GOT_IP6,       /**< station: has a global IPv6 address */
    WM_NM_WIFI_STA_LOST_IP,       /**< station: IPv4 address lost */
    WM_NM_WIFI_STA_LOST_IP6,      /**< station: IPv6 address lost */
    WM_NM_WIFI_AP_READY,          /**< access point: up */
    WM_NM_WIFI_AP_ASSIGNED_IP_ID, /**< access point: gave a station its address */
    WM_NM_EXIT                    /**< stopped */
} wm_nm_state_e;

/** Addresses of an interface. */
typedef struct {
    wm_ip_addr_t ip;      /**< address */
    wm_ip_addr_t netmask; /**< mask */
    wm_ip_addr_t gw;      /**< gateway */
} wm_netif_ip_info_t;

/** The access point to join. */
typedef struct {
    const char *ssid;     /**< its name */
    const char *password; /**< its password, NULL if it is open */
} wm_nm_wifi_station_cfg_t;

/** The access point to be. */
typedef struct {
    const char *ssid;     /**< its name */
    const char *password; /**< its password, NULL if it is open */
} wm_nm_wifi_softap_cfg_t;

#endif

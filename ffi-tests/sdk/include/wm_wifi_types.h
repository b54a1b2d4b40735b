/**
 * @file wm_wifi_types.h
 * @brief Host stand-in: the Wi-Fi types that wm_wifi.h needs.
 */
#ifndef WM_HOST_WIFI_TYPES_H
#define WM_HOST_WIFI_TYPES_H

#include "wm_types.h"

/** Interfaces of the radio. */
typedef enum {
    WM_WIFI_IF_STA = 0, /**< station */
    WM_WIFI_IF_AP  = 1, /**< access point */
    WM_WIFI_IF_MAX = 2  /**< number of interfaces */
} wm_wifi_interface_t;

/** How a network authenticates. */
typedef enum {
    WM_WIFI_AUTH_OPEN = 0,        /**< not at all */
    WM_WIFI_AUTH_WEP,             /**< WEP */
    WM_WIFI_AUTH_WPA_PSK,         /**< WPA */
    WM_WIFI_AUTH_WPA2_PSK,        /**< WPA2 */
    WM_WIFI_AUTH_WPA_WPA2_PSK,    /**< WPA or WPA2 */
    WM_WIFI_AUTH_WPA2_ENTERPRISE, /**< WPA2 with a server */
    WM_WIFI_AUTH_WPA3_PSK,        /**< WPA3 */
    WM_WIFI_AUTH_WPA2_WPA3_PSK,   /**< WPA2 or WPA3 */
    WM_WIFI_AUTH_WAPI_PSK,        /**< WAPI */
    WM_WIFI_AUTH_MAX              /**< number of kinds */
} wm_wifi_auth_mode_t;

/** How deeply the radio sleeps. */
typedef enum {
    WM_WIFI_PS_NONE,      /**< never */
    WM_WIFI_PS_MIN_MODEM, /**< between DTIM beacons */
    WM_WIFI_PS_MAX_MODEM  /**< for the listen interval */
} wm_wifi_ps_type_t;

/** An access point. A subset of the SDK's structure: use the members by name only. */
typedef struct {
    uint8_t bssid[6];             /**< its address */
    uint8_t ssid[33];             /**< its name */
    uint8_t primary;              /**< its channel */
    int8_t rssi;                  /**< signal in dBm */
    wm_wifi_auth_mode_t authmode; /**< its authentication */
} wm_wifi_ap_record_t;

#endif

/**
 * @file wm_wifi_event.h
 * @brief Host stand-in: the Wi-Fi events an application may register for. None is ever posted.
 */
#ifndef WM_HOST_WIFI_EVENT_H
#define WM_HOST_WIFI_EVENT_H

#include "wm_event.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Group of the Wi-Fi events. */
WM_EVENT_DECLARE_GROUP(WM_WIFI_EV);

/** Numbers of the Wi-Fi events. */
enum {
    WM_EVENT_WIFI_SCAN_DONE = 0,      /**< a scan has ended */
    WM_EVENT_WIFI_STA_CONNECTED,      /**< station: associated */
    WM_EVENT_WIFI_STA_DISCONNECTED,   /**< station: access point lost */
    WM_EVENT_WIFI_STA_BSS_RSSI_LOW,   /**< station: weak signal */
    WM_EVENT_WIFI_STA_BEACON_TIMEOUT, /**< station: no beacons */
    WM_EVENT_WIFI_AP_START,           /**< access point: up */
    WM_EVENT_WIFI_AP_STOP,            /**< access point: down */
    WM_EVENT_WIFI_AP_STACONNECTED,    /**< access point: a station joined */
    WM_EVENT_WIFI_AP_STADISCONNECTED  /**< access point: a station left */
};

#ifdef __cplusplus
}
#endif

#endif

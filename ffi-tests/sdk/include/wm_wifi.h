/**
 * @file wm_wifi.h
 * @brief Host stand-in: the few calls of the Wi-Fi module that MQTT applications make besides the network manager's.
 *
 * There is no radio: a connection is there from the start, no events are posted, and nothing can be configured.
 */
#ifndef WM_HOST_WIFI_H
#define WM_HOST_WIFI_H

#include "wm_wifi_types.h"
#include "wm_wifi_event.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Nothing to start: WM_ERR_SUCCESS. */
int wm_wifi_init(void);

/** Nothing to stop: WM_ERR_SUCCESS. */
int wm_wifi_deinit(void);

/** Connected already: WM_ERR_SUCCESS. */
int wm_wifi_connect(void);

/** WM_ERR_NO_SUPPORT: the host keeps its network. */
int wm_wifi_disconnect(void);

/** WM_ERR_NO_SUPPORT: there is no access point. */
int wm_wifi_sta_get_ap_info(wm_wifi_ap_record_t *ap_info);

/** Remembers the power-save mode, which has no effect. */
int wm_wifi_set_ps(wm_wifi_ps_type_t type);

/** The power-save mode set last, at first WM_WIFI_PS_NONE. */
int wm_wifi_get_ps(wm_wifi_ps_type_t *type);

/** The MAC address, see wm_sys_get_mac_addr(). */
int wm_wifi_get_mac(wm_wifi_interface_t ifx, uint8_t mac[6]);

#ifdef __cplusplus
}
#endif

#endif

/**
 * @file wm_utils.h
 * @brief Host stand-in: the MAC address, the one utility an MQTT application uses.
 */
#ifndef WM_HOST_UTILS_H
#define WM_HOST_UTILS_H

#include "wm_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Length of a MAC address in bytes. */
#define WM_MAC_ADDR_LEN 6

/** Whose address is meant. */
typedef enum {
    WM_MAC_TYPE_STA = 0, /**< Wi-Fi station */
    WM_MAC_TYPE_SAP,     /**< Wi-Fi access point */
    WM_MAC_TYPE_BT,      /**< Bluetooth */
    WM_MAC_TYPE_MAX      /**< number of types */
} wm_mac_type_t;

/**
 * @brief The address of this machine: that of its first network card, else one made from the host id.
 *
 * Access point and Bluetooth have the station's address with another last byte. The symbol is weak: an application
 * may define its own, as on the device.
 * @return WM_ERR_SUCCESS or WM_ERR_INVALID_PARAM
 */
int wm_sys_get_mac_addr(wm_mac_type_t mac_type, uint8_t *mac_addr, uint8_t mac_addr_len);

#ifdef __cplusplus
}
#endif

#endif

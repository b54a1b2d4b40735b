/**
 * @file wm_ip_addr.h
 * @brief Host stand-in: the SDK's own address type, of the same shape as lwIP's.
 */
#ifndef WM_HOST_IP_ADDR_H
#define WM_HOST_IP_ADDR_H

#include "wm_types.h"
#include "wmsdk_config.h"

/** Which member of a wm_ip_addr_t is in use. */
typedef enum {
    WM_IPADDR_TYPE_V4  = 0U, /**< IPv4 */
    WM_IPADDR_TYPE_V6  = 6U, /**< IPv6 */
    WM_IPADDR_TYPE_ANY = 46U /**< either */
} wm_ip_addr_type_t;

/** IPv6 address in network byte order. */
typedef struct {
    uint32_t addr[4]; /**< the sixteen bytes */
    uint8_t zone;     /**< scope, 0 for none */
} wm_ip6_addr_t;

/** IPv4 address in network byte order. */
typedef struct {
    uint32_t addr; /**< the four bytes */
} wm_ip4_addr_t;

/** An address of either kind. */
typedef struct {
    union {
        wm_ip6_addr_t ip6; /**< if type is WM_IPADDR_TYPE_V6 */
        wm_ip4_addr_t ip4; /**< if type is WM_IPADDR_TYPE_V4 */
    } u_addr;              /**< the address */
    uint8_t type;          /**< wm_ip_addr_type_t */
} wm_ip_addr_t;

#endif

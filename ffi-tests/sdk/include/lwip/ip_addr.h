/**
 * @file ip_addr.h
 * @brief Host stand-in: lwIP's address type and its conversion from and to text.
 */
#ifndef WM_HOST_LWIP_IP_ADDR_H
#define WM_HOST_LWIP_IP_ADDR_H

#include "lwipopts.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Which member of an ip_addr_t is in use. */
enum lwip_ip_addr_type {
    IPADDR_TYPE_V4  = 0U, /**< IPv4 */
    IPADDR_TYPE_V6  = 6U, /**< IPv6 */
    IPADDR_TYPE_ANY = 46U /**< either */
};

/** IPv4 address in network byte order. */
typedef struct ip4_addr {
    uint32_t addr; /**< the four bytes */
} ip4_addr_t;

/** IPv6 address in network byte order. */
typedef struct ip6_addr {
    uint32_t addr[4]; /**< the sixteen bytes */
    uint8_t zone;     /**< scope, 0 for none */
} ip6_addr_t;

/** An address of either kind. */
typedef struct ip_addr {
    union {
        ip6_addr_t ip6; /**< if type is IPADDR_TYPE_V6 */
        ip4_addr_t ip4; /**< if type is IPADDR_TYPE_V4 */
    } u_addr;           /**< the address */
    uint8_t type;       /**< enum lwip_ip_addr_type */
} ip_addr_t;

#define IP4ADDR_STRLEN_MAX 16 /**< room for an IPv4 address as text */
#define IP6ADDR_STRLEN_MAX 46 /**< room for an IPv6 address as text */
#define IPADDR_STRLEN_MAX  46 /**< room for any address as text */

#define IP_IS_V4(ipaddr) ((ipaddr)->type == IPADDR_TYPE_V4) /**< whether it is an IPv4 address */
#define IP_IS_V6(ipaddr) ((ipaddr)->type == IPADDR_TYPE_V6) /**< whether it is an IPv6 address */
#define ip_2_ip4(ipaddr) (&(ipaddr)->u_addr.ip4)            /**< the IPv4 part */
#define ip_2_ip6(ipaddr) (&(ipaddr)->u_addr.ip6)            /**< the IPv6 part */

/** Writes an address as text into @p buf; NULL if it does not fit. */
char *ipaddr_ntoa_r(const ip_addr_t *addr, char *buf, int buflen);

/** An address as text in a buffer of the calling thread, valid until its next call. */
char *ipaddr_ntoa(const ip_addr_t *addr);

/** Reads an address from text; 1 if it is one, else 0. */
int ipaddr_aton(const char *cp, ip_addr_t *addr);

#ifdef __cplusplus
}
#endif

#endif

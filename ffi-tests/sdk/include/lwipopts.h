/**
 * @file lwipopts.h
 * @brief Host stand-in: the switches of the network stack that applications test. The stack is the host's own.
 */
#ifndef WM_HOST_LWIPOPTS_H
#define WM_HOST_LWIPOPTS_H

#include "wmsdk_config.h"
/* On the SDK this header is where applications get free(), strlen() and friends from. */
#include <stdlib.h>
#include <string.h>

#define LWIP_IPV4        CONFIG_LWIP_ENABLE_IPV4 /**< IPv4 */
#define LWIP_IPV6        CONFIG_LWIP_ENABLE_IPV6 /**< IPv6 */
#define LWIP_SOCKET      1                       /**< BSD sockets */
#define LWIP_NETCONN     1                       /**< netconn API */
#define LWIP_DNS         1                       /**< name resolution */
#define LWIP_SO_RCVTIMEO 1                       /**< receive time-outs */
#define LWIP_SO_SNDTIMEO 1                       /**< send time-outs */

#endif

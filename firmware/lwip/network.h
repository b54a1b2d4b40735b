/* What lwIP asks network.c. */
#ifndef FIRMWARE_NETWORK_H
#define FIRMWARE_NETWORK_H

#include "lwip/ip4_addr.h"

struct netif *network_route(const ip4_addr_t *to);

#endif

/* Addresses of the host's sockets: loopback ones only. */
#ifndef FIRMWARE_NETINET_IN_H
#define FIRMWARE_NETINET_IN_H

#include <sys/socket.h>

typedef uint16_t in_port_t;
struct in_addr {
    uint32_t s_addr;
};
struct sockaddr_in {
    sa_family_t sin_family;
    in_port_t sin_port;
    struct in_addr sin_addr;
    char sin_zero[8];
};
struct in6_addr {
    uint8_t s6_addr[16];
};
struct sockaddr_in6 {
    sa_family_t sin6_family;
    in_port_t sin6_port;
    uint32_t sin6_flowinfo;
    struct in6_addr sin6_addr;
    uint32_t sin6_scope_id;
};
static const struct in6_addr in6addr_loopback = {{[15] = 1}};

#define INADDR_LOOPBACK 0x7f000001u
#define IPPROTO_TCP     6

#define htons(x) __builtin_bswap16(x)
#define ntohs(x) __builtin_bswap16(x)
#define htonl(x) __builtin_bswap32(x)

#endif

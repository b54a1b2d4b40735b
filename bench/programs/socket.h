/* MQTT written straight to a socket: the limit, the load of the receivers, and who sees that the last message has arrived. */
#ifndef SOCKET_H
#define SOCKET_H

#include <stdbool.h>
#include <stddef.h>

enum { PUBACK = 4, PUBREC = 5, PUBCOMP = 7, PINGRESP = 13, PUBLISH = 3 };

struct packets {
    unsigned char bytes[1 << 17];
    size_t len;
};

/* A connection that the broker has accepted, or -1. */
int socket_connect(const char *host, int port, const char *id);
bool socket_write(int socket, const void *bytes, size_t len);
/* Sends SUBSCRIBE and reads SUBACK. */
bool socket_subscribe(int socket, const char *topic, int qos);
/* Writes a PUBLISH into bytes, which have room for its topic, the payload and 9 more. *id is where its identifier goes. */
size_t socket_publish(unsigned char *bytes, const char *topic, size_t size, int qos, size_t *id);
/* Reads once, and hands over each packet that is complete: its type, its identifier (of 4 bytes) or 0, the QoS of a PUBLISH. False: the
 * connection is gone, or, with a time limit that is not negative, nothing came. */
bool socket_read(int socket, struct packets *packets, int milliseconds, void (*packet)(void *to, int type, unsigned id, int qos), void *to);

#endif

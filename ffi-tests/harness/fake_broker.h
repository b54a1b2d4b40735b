/* A broker that does what the test says, on 127.0.0.1 and an ephemeral port.
 *
 * Bytes are written as text, in the notation of notation.h:
 *
 *     expect_bytes(conn, "10 [ s'MQTT' 04 02 003c s'c' ]");
 *     send_bytes(conn, "90 03 %04x 00", id);
 *
 * A failed expectation ends the test (a REQUIRE). Every wait has a limit: scaled(10 s) where none is given. */
#ifndef FAKE_BROKER_H
#define FAKE_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "notation.h"

typedef struct broker broker_t;
typedef struct conn conn_t;

broker_t *broker_open(void);        /* listens on 127.0.0.1 */
broker_t *broker_open_ipv6(void);   /* on [::1]; NULL if this machine has no IPv6 */
broker_t *broker_open_stalled(void); /* its connections have the smallest receive buffers there are */
broker_t *broker_open_deaf(void);    /* a SYN to it gets no answer; NULL if that cannot be had here */
int broker_port(const broker_t *broker);
char *broker_uri(broker_t *broker); /* of the scheme that is tested: scheme.h; not on IPv6 */
void broker_stop(broker_t *broker);       /* closes the listener; connections stay */
void broker_restart(broker_t *broker);    /* listens on the same port again */
int unused_port(void);                    /* nobody listens there */

conn_t *broker_accept_within(broker_t *broker, long ms); /* NULL: nobody came within scaled(ms) */
#define broker_accept(broker) broker_accept_at(__FILE__, __LINE__, broker)
conn_t *broker_accept_at(const char *file, int line, broker_t *broker);
/* Fails if somebody connects within ms (not scaled). */
#define expect_no_connection(broker, ms) expect_no_connection_at(__FILE__, __LINE__, broker, ms)
void expect_no_connection_at(const char *file, int line, broker_t *broker, long ms);

/* The other way round: a connection to whoever listens on this port of 127.0.0.1; ends the test if nobody does. */
conn_t *conn_connect(int port);

/* Accepts and reads a CONNECT packet, whatever it says. */
#define accept_connect(broker) accept_connect_at(__FILE__, __LINE__, broker)
conn_t *accept_connect_at(const char *file, int line, broker_t *broker);
void serve_connack(conn_t *conn, bool session_present, int code);

#define expect_bytes(conn, ...) expect_bytes_at(__FILE__, __LINE__, conn, __VA_ARGS__)
void expect_bytes_at(const char *file, int line, conn_t *conn, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* One whole packet. The pointers live until the next packet of this connection is read. */
typedef struct {
    uint8_t first;       /* packet type and flags */
    const uint8_t *body; /* after the remaining length */
    size_t len;
    int id;              /* packet id of PUBLISH (QoS > 0), PUBACK to PUBCOMP, (UN)SUBSCRIBE, (UN)SUBACK; else 0 */
    const char *topic;   /* of PUBLISH, not terminated */
    size_t topic_len;
    const uint8_t *payload; /* of PUBLISH */
    size_t payload_len;
} packet_t;
#define expect_packet(conn, first) expect_packet_at(__FILE__, __LINE__, conn, first)
packet_t expect_packet_at(const char *file, int line, conn_t *conn, int first); /* first -1: any */
bool read_packet(conn_t *conn, packet_t *packet, long ms);                    /* false: EOF or nothing in time */

/* Everything up to the first empty line, as of an HTTP request; ends the test if there is none. Memory of the test. */
#define read_head(conn) read_head_at(__FILE__, __LINE__, conn)
char *read_head_at(const char *file, int line, conn_t *conn);

/* Nothing arrives for ms (not scaled). */
#define expect_silence(conn, ms) expect_silence_at(__FILE__, __LINE__, conn, ms)
void expect_silence_at(const char *file, int line, conn_t *conn, long ms);
/* The peer closes or resets, without sending another byte. */
#define expect_eof(conn, ms) expect_eof_at(__FILE__, __LINE__, conn, ms, false)
/* The same, but what it sends before is skipped. */
#define expect_eof_after_anything(conn, ms) expect_eof_at(__FILE__, __LINE__, conn, ms, true)
void expect_eof_at(const char *file, int line, conn_t *conn, long ms, bool skip);
/* DISCONNECT, then EOF. */
#define expect_disconnect(conn) expect_disconnect_at(__FILE__, __LINE__, conn)
void expect_disconnect_at(const char *file, int line, conn_t *conn);

/* Sending; the peer may be gone: then nothing happens and the result is false. */
bool send_bytes(conn_t *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool send_bytes_slowly(conn_t *conn, long pause_ms, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool send_raw(conn_t *conn, const void *bytes, size_t len);
size_t send_some(conn_t *conn, const void *bytes, size_t len); /* what fits without waiting */
bool send_publish(conn_t *conn, int first, const char *topic, int id, const void *payload, size_t len);

void conn_half_close(conn_t *conn); /* FIN */
void conn_reset(conn_t *conn);      /* RST */
void conn_close(conn_t *conn);

/* For auto_broker.c, which has sockets of its own. */
struct conn {
    int fd;
    uint8_t *packet; /* the one read last */
};
int listen_on(bool ipv6, int port, bool stalled); /* port 0: any; -1: it cannot be had */
int port_of(int fd);
int accept_fd(int listener);
void describe_packet(packet_t *packet); /* sets the rest from first, body and len */

#endif

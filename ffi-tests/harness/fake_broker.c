#define _GNU_SOURCE
#include "fake_broker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "scheme.h"

enum { LIMIT_MS = 10000 };

struct broker {
    int fd, port;
    bool ipv6, stalled, deaf;
    relay_t *relay;
};

/* ---- listeners ---- */

int listen_on(bool ipv6, int port, bool stalled)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } addr;
    memset(&addr, 0, sizeof addr);
    if (ipv6) {
        addr.v6.sin6_family = AF_INET6;
        addr.v6.sin6_port = htons((uint16_t)port);
        addr.v6.sin6_addr = in6addr_loopback;
    } else {
        addr.v4.sin_family = AF_INET;
        addr.v4.sin_port = htons((uint16_t)port);
        addr.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    int fd = socket(addr.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int on = 1, small = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (stalled) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (bind(fd, &addr.any, ipv6 ? sizeof addr.v6 : sizeof addr.v4) != 0 || listen(fd, 128) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int port_of(int fd)
{
    struct sockaddr_in6 addr;
    socklen_t len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0) return -1;
    return ntohs(addr.sin6_port); /* the same place in both families */
}

static void broker_free(void *arg)
{
    broker_stop(arg);
    free(arg);
}

static broker_t *open_broker(bool ipv6, bool stalled)
{
    int fd = listen_on(ipv6, 0, stalled);
    if (fd < 0) return NULL;
    broker_t *broker = check_alloc(sizeof *broker);
    *broker = (broker_t){.fd = fd, .port = port_of(fd), .ipv6 = ipv6, .stalled = stalled};
    at_test_end(END_BROKERS, broker_free, broker);
    return broker;
}

broker_t *broker_open(void)
{
    broker_t *broker = open_broker(false, false);
    REQUIRE(broker != NULL);
    return broker;
}

broker_t *broker_open_stalled(void)
{
    broker_t *broker = open_broker(false, true);
    REQUIRE(broker != NULL);
    return broker;
}

static void close_fd(void *arg) { close((int)(intptr_t)arg); }

broker_t *broker_open_deaf(void)
{
    broker_t *broker = broker_open();
    listen(broker->fd, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)broker->port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* Fill the queue of connections that nobody accepts. */
    for (int i = 0; i < 4; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        REQUIRE(fd >= 0);
        at_test_end(END_BROKERS, close_fd, (void *)(intptr_t)fd);
        if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0) continue;
        struct pollfd up = {.fd = fd, .events = POLLOUT};
        if (poll(&up, 1, 100) != 0) continue;
        broker->deaf = true;
        return broker;
    }
    return NULL;
}

broker_t *broker_open_ipv6(void) { return open_broker(true, false); }

int broker_port(const broker_t *broker) { return broker->port; }

char *broker_uri(broker_t *broker)
{
    /* A relay would answer in its place. */
    if (broker->deaf) return test_printf("%s://127.0.0.1:%d", scheme_name(), broker->port);
    REQUIRE(!broker->ipv6);
    return scheme_uri(&broker->relay, broker->port);
}

void broker_stop(broker_t *broker)
{
    if (broker->fd >= 0) close(broker->fd);
    broker->fd = -1;
}

void broker_restart(broker_t *broker)
{
    broker_stop(broker);
    broker->fd = listen_on(broker->ipv6, broker->port, broker->stalled);
    REQUIRE(broker->fd >= 0);
}

int unused_port(void)
{
    int fd = listen_on(false, 0, false), port = fd < 0 ? -1 : port_of(fd);
    if (fd >= 0) close(fd);
    REQUIRE(port > 0);
    return port;
}

/* ---- connections ---- */

static bool readable(int fd, long ms)
{
    long until = now_ms() + ms;
    for (;;) {
        long left = until - now_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n > 0) return true;
        if (n == 0 && left <= 0) return false;
    }
}

static void conn_free(void *arg)
{
    conn_t *conn = arg;
    conn_close(conn);
    free(conn->packet);
    free(conn);
}

int accept_fd(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static conn_t *conn_new(int fd)
{
    conn_t *conn = check_alloc(sizeof *conn);
    conn->fd = fd;
    at_test_end(END_BROKERS, conn_free, conn);
    return conn;
}

conn_t *conn_connect(int port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    REQUIRE(fd >= 0);
    conn_t *conn = conn_new(fd);
    REQUIRE_EQ(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return conn;
}

conn_t *broker_accept_within(broker_t *broker, long ms)
{
    if (broker->fd < 0 || !readable(broker->fd, scaled(ms))) return NULL;
    int fd = accept_fd(broker->fd);
    return fd < 0 ? NULL : conn_new(fd);
}

conn_t *broker_accept_at(const char *file, int line, broker_t *broker)
{
    conn_t *conn = broker_accept_within(broker, LIMIT_MS);
    if (!conn) check_failed(file, line, true, "nobody connected within %d s", LIMIT_MS / 1000);
    return conn;
}

void expect_no_connection_at(const char *file, int line, broker_t *broker, long ms)
{
    if (readable(broker->fd, ms)) check_failed(file, line, true, "somebody connected");
}

conn_t *accept_connect_at(const char *file, int line, broker_t *broker)
{
    conn_t *conn = broker_accept_at(file, line, broker);
    expect_packet_at(file, line, conn, 0x10);
    return conn;
}

void serve_connack(conn_t *conn, bool session_present, int code)
{
    send_bytes(conn, "20 02 %02x %02x", session_present, code);
}

/* Reads up to len bytes; stops early at EOF (*ended), a reset (*ended) or after ms. */
static size_t read_up_to(conn_t *conn, uint8_t *to, size_t len, long ms, bool *ended)
{
    size_t got = 0;
    long until = now_ms() + ms;
    *ended = conn->fd < 0;
    while (got < len && !*ended) {
        long left = until - now_ms();
        if (!readable(conn->fd, left > 0 ? left : 0)) break;
        ssize_t n = recv(conn->fd, to + got, len - got, 0);
        if (n > 0) got += (size_t)n;
        else if (n == 0 || errno != EINTR) *ended = true;
    }
    return got;
}

static const char *why(bool ended) { return ended ? "the connection ended" : "no more came in time"; }

void expect_bytes_at(const char *file, int line, conn_t *conn, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_t want = text_vparse(format, args);
    va_end(args);

    uint8_t *got = check_alloc(want.len);
    bool ended;
    size_t n = read_up_to(conn, got, want.len, scaled(LIMIT_MS), &ended), i = 0;
    while (i < n && (want.any[i] || got[i] == want.bytes[i])) i++;
    char got_text[500], want_text[500];
    bool wrong = i < want.len;
    if (wrong) {
        dump_bytes(got_text, sizeof got_text, got, NULL, n);
        dump_bytes(want_text, sizeof want_text, want.bytes, want.any, want.len);
    }
    size_t len = want.len;
    text_free(&want);
    free(got);
    if (wrong)
        check_failed(file, line, true, "byte %zu of %zu differs%s%s\n    got  %s\n    want %s", i, len,
                     n < len ? ", " : "", n < len ? why(ended) : "", got_text, want_text);
}

void describe_packet(packet_t *p)
{
    int type = p->first >> 4;
    if (type == 3 && p->len >= 2) {
        size_t at = 2 + (size_t)(p->body[0] << 8 | p->body[1]);
        if (at > p->len) return;
        p->topic = (const char *)p->body + 2;
        p->topic_len = at - 2;
        if ((p->first & 6) && at + 2 <= p->len) {
            p->id = p->body[at] << 8 | p->body[at + 1];
            at += 2;
        }
        p->payload = p->body + at;
        p->payload_len = p->len - at;
    } else if (type >= 4 && type <= 11 && p->len >= 2) {
        p->id = p->body[0] << 8 | p->body[1];
    }
}

/* 0: a packet; else what is wrong. */
static const char *get_packet(conn_t *conn, packet_t *packet, long ms)
{
    long until = now_ms() + ms;
    uint8_t head[5];
    bool ended;
    size_t len = 0, n = 1;
    memset(packet, 0, sizeof *packet);
    if (read_up_to(conn, head, 1, ms, &ended) != 1) return why(ended);
    /* What has begun is read to its end, or the next packet would begin in the middle of this one. */
    if (ms < scaled(LIMIT_MS)) until = now_ms() + scaled(LIMIT_MS);
    for (int shift = 0;; shift += 7, n++) {
        if (n == 5) return "a remaining length of five bytes";
        if (read_up_to(conn, head + n, 1, until - now_ms(), &ended) != 1) return why(ended);
        len |= (size_t)(head[n] & 127) << shift;
        if (!(head[n] & 128)) break;
    }
    free(conn->packet);
    conn->packet = check_alloc(len);
    packet->first = head[0];
    packet->body = conn->packet;
    packet->len = len;
    if (read_up_to(conn, conn->packet, len, until - now_ms(), &ended) != len) return why(ended);
    describe_packet(packet);
    return NULL;
}

packet_t expect_packet_at(const char *file, int line, conn_t *conn, int first)
{
    packet_t packet;
    const char *wrong = get_packet(conn, &packet, scaled(LIMIT_MS));
    if (wrong) check_failed(file, line, true, "no packet %02x: %s", first & 255, wrong);
    if (first >= 0 && packet.first != first) {
        char text[200];
        dump_bytes(text, sizeof text, packet.body, NULL, packet.len);
        check_failed(file, line, true, "a packet %02x (%zu bytes: %s), want %02x", packet.first, packet.len, text, first);
    }
    return packet;
}

bool read_packet(conn_t *conn, packet_t *packet, long ms) { return get_packet(conn, packet, scaled(ms)) == NULL; }

char *read_head_at(const char *file, int line, conn_t *conn)
{
    enum { ROOM = 8192 };
    char *text = test_alloc(ROOM);
    bool ended;
    for (size_t n = 0; n < ROOM - 1; n++) {
        if (read_up_to(conn, (uint8_t *)text + n, 1, scaled(LIMIT_MS), &ended) != 1)
            check_failed(file, line, true, "no head, %s: %s", why(ended), text);
        if (n >= 3 && strcmp(text + n - 3, "\r\n\r\n") == 0) return text;
    }
    check_failed(file, line, true, "an endless head: %.200s", text);
    return NULL;
}

void expect_silence_at(const char *file, int line, conn_t *conn, long ms)
{
    uint8_t byte;
    bool ended;
    size_t n = read_up_to(conn, &byte, 1, ms, &ended);
    if (n) check_failed(file, line, true, "a byte %02x instead of silence", byte);
    if (ended) check_failed(file, line, true, "the connection ended instead of silence");
}

void expect_eof_at(const char *file, int line, conn_t *conn, long ms, bool skip)
{
    long until = now_ms() + scaled(ms);
    uint8_t bytes[65536];
    bool ended;
    size_t n;
    do {
        long left = until - now_ms();
        n = read_up_to(conn, bytes, skip ? sizeof bytes : 16, left > 0 ? left : 0, &ended);
        if (n && !skip) {
            char text[100];
            dump_bytes(text, sizeof text, bytes, NULL, n);
            check_failed(file, line, true, "bytes instead of the end of the connection: %s", text);
        }
    } while (!ended && now_ms() < until);
    if (!ended) check_failed(file, line, true, "the connection is still open after %ld ms", scaled(ms));
}

void expect_disconnect_at(const char *file, int line, conn_t *conn)
{
    expect_bytes_at(file, line, conn, "e0 00");
    expect_eof_at(file, line, conn, LIMIT_MS, false);
}

bool send_raw(conn_t *conn, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    long until = now_ms() + scaled(LIMIT_MS);
    while (len && conn->fd >= 0) {
        ssize_t n = send(conn->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            struct pollfd w = {.fd = conn->fd, .events = POLLOUT};
            long left = until - now_ms();
            if (left <= 0 || poll(&w, 1, (int)left) == 0) return false;
        } else if (n < 0 && errno != EINTR) {
            return false;
        }
    }
    return len == 0;
}

size_t send_some(conn_t *conn, const void *bytes, size_t len)
{
    ssize_t n = send(conn->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}

bool send_bytes(conn_t *conn, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_t t = text_vparse(format, args);
    va_end(args);
    bool sent = send_raw(conn, t.bytes, t.len);
    text_free(&t);
    return sent;
}

bool send_bytes_slowly(conn_t *conn, long pause_ms, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_t t = text_vparse(format, args);
    va_end(args);
    bool sent = true;
    for (size_t i = 0; i < t.len && sent; i++) {
        if (i && pause_ms) sleep_ms(pause_ms);
        sent = send_raw(conn, t.bytes + i, 1);
    }
    text_free(&t);
    return sent;
}

bool send_publish(conn_t *conn, int first, const char *topic, int id, const void *payload, size_t len)
{
    size_t topic_len = strlen(topic);
    text_t t = {0};
    text_put(&t, (int)(topic_len >> 8), false);
    text_put(&t, (int)(topic_len & 255), false);
    for (size_t i = 0; i < topic_len; i++) text_put(&t, (uint8_t)topic[i], false);
    if (first & 6) {
        text_put(&t, id >> 8, false);
        text_put(&t, id & 255, false);
    }
    for (size_t i = 0; i < len; i++) text_put(&t, ((const uint8_t *)payload)[i], false);
    text_insert_length(&t, 0);
    uint8_t head = (uint8_t)first;
    uint8_t *whole = check_alloc(t.len + 1);
    whole[0] = head;
    memcpy(whole + 1, t.bytes, t.len);
    bool sent = send_raw(conn, whole, t.len + 1);
    free(whole);
    text_free(&t);
    return sent;
}

void conn_half_close(conn_t *conn) { shutdown(conn->fd, SHUT_WR); }

void conn_close(conn_t *conn)
{
    if (conn->fd >= 0) close(conn->fd);
    conn->fd = -1;
}

void conn_reset(conn_t *conn)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    conn_close(conn);
}

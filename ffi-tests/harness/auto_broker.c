#define _GNU_SOURCE
#include "auto_broker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "fake_broker.h"
#include "scheme.h"

enum { AUTO_MAX = 64 };

typedef struct {
    int fd;
    uint8_t *buf;
    size_t len, room;
} peer_t;

struct auto_broker {
    int fd, port, wake[2];
    relay_t *relay;
    pthread_t thread;
    pthread_mutex_t mutex;
    bool stop, drop;
    auto_stats_t stats;
    peer_t peers[AUTO_MAX]; /* of the thread alone */
};

static void peer_end(auto_broker_t *b, peer_t *peer)
{
    close(peer->fd);
    free(peer->buf);
    *peer = (peer_t){.fd = -1};
    pthread_mutex_lock(&b->mutex);
    b->stats.open--;
    pthread_mutex_unlock(&b->mutex);
}

static bool auto_answer(peer_t *peer, const packet_t *p)
{
    conn_t conn = {.fd = peer->fd};
    switch (p->first >> 4) {
    case 1: return send_bytes(&conn, "20 02 00 00");
    case 3:
        if ((p->first & 6) == 2) return send_bytes(&conn, "40 02 %04x", p->id);
        if ((p->first & 6) == 4) return send_bytes(&conn, "50 02 %04x", p->id);
        return true;
    case 6: return send_bytes(&conn, "70 02 %04x", p->id);
    case 8: return send_bytes(&conn, "90 03 %04x %02x", p->id, p->body[p->len - 1]);
    case 10: return send_bytes(&conn, "b0 02 %04x", p->id);
    case 12: return send_bytes(&conn, "d0 00");
    case 14: return false;
    default: return true;
    }
}

/* Length of the packet at the front of the buffer, 0 if it is not complete. */
static size_t complete_packet(const peer_t *peer, packet_t *p)
{
    size_t len = 0, n = 1;
    for (int shift = 0; n < 5; shift += 7, n++) {
        if (n >= peer->len) return 0;
        len |= (size_t)(peer->buf[n] & 127) << shift;
        if (!(peer->buf[n] & 128)) break;
    }
    if (peer->len < n + 1 + len) return 0;
    *p = (packet_t){.first = peer->buf[0], .body = peer->buf + n + 1, .len = len};
    describe_packet(p);
    return n + 1 + len;
}

static bool auto_serve(auto_broker_t *b, peer_t *peer)
{
    if (peer->room - peer->len < 65536) {
        peer->room += 131072;
        peer->buf = realloc(peer->buf, peer->room);
        if (!peer->buf) abort();
    }
    ssize_t n = recv(peer->fd, peer->buf + peer->len, peer->room - peer->len, 0);
    if (n <= 0) return n < 0 && errno == EINTR;
    peer->len += (size_t)n;
    size_t used = 0;
    bool goes_on = true;
    packet_t p;
    peer_t rest = *peer;
    for (size_t len; goes_on && (len = complete_packet(&rest, &p)); rest.buf += len, rest.len -= len) {
        used += len;
        /* Before the answer: whoever has that may look at the count. */
        pthread_mutex_lock(&b->mutex);
        b->stats.count[p.first >> 4]++;
        b->stats.bytes += (long)p.payload_len;
        pthread_mutex_unlock(&b->mutex);
        goes_on = auto_answer(peer, &p);
    }
    memmove(peer->buf, peer->buf + used, peer->len - used);
    peer->len -= used;
    return goes_on;
}

static void auto_accept(auto_broker_t *b)
{
    int fd = accept_fd(b->fd);
    for (int i = 0; i < AUTO_MAX && fd >= 0; i++) {
        if (b->peers[i].fd >= 0) continue;
        b->peers[i] = (peer_t){.fd = fd};
        pthread_mutex_lock(&b->mutex);
        b->stats.connections++;
        b->stats.open++;
        pthread_mutex_unlock(&b->mutex);
        return;
    }
    if (fd >= 0) close(fd);
}

static void *auto_thread(void *arg)
{
    auto_broker_t *b = arg;
    for (;;) {
        struct pollfd fds[AUTO_MAX + 2] = {{.fd = b->wake[0], .events = POLLIN}, {.fd = b->fd, .events = POLLIN}};
        for (int i = 0; i < AUTO_MAX; i++) fds[i + 2] = (struct pollfd){.fd = b->peers[i].fd, .events = POLLIN};
        poll(fds, AUTO_MAX + 2, -1);
        pthread_mutex_lock(&b->mutex);
        bool stop = b->stop, drop = b->drop;
        b->drop = false;
        pthread_mutex_unlock(&b->mutex);
        char drain[16];
        if (fds[0].revents && read(b->wake[0], drain, sizeof drain) < 0) abort();
        for (int i = 0; i < AUTO_MAX; i++) {
            if (b->peers[i].fd < 0) continue;
            if (stop || drop || (fds[i + 2].revents && !auto_serve(b, &b->peers[i]))) peer_end(b, &b->peers[i]);
        }
        if (stop) return NULL;
        if (fds[1].revents) auto_accept(b);
    }
}

static void auto_wake(auto_broker_t *b)
{
    if (write(b->wake[1], "x", 1) != 1) abort();
}

static void auto_broker_free(void *arg)
{
    auto_broker_t *b = arg;
    pthread_mutex_lock(&b->mutex);
    b->stop = true;
    pthread_mutex_unlock(&b->mutex);
    auto_wake(b);
    pthread_join(b->thread, NULL);
    close(b->wake[0]);
    close(b->wake[1]);
    close(b->fd);
    pthread_mutex_destroy(&b->mutex);
    free(b);
}

auto_broker_t *auto_broker_open(void)
{
    auto_broker_t *b = check_alloc(sizeof *b);
    b->fd = listen_on(false, 0, false);
    REQUIRE(b->fd >= 0);
    b->port = port_of(b->fd);
    for (int i = 0; i < AUTO_MAX; i++) b->peers[i].fd = -1;
    pthread_mutex_init(&b->mutex, NULL);
    if (pipe2(b->wake, O_CLOEXEC) != 0 || pthread_create(&b->thread, NULL, auto_thread, b) != 0) abort();
    at_test_end(END_SERVERS, auto_broker_free, b);
    return b;
}

char *auto_broker_uri(auto_broker_t *b) { return scheme_uri(&b->relay, b->port); }

int auto_broker_port(const auto_broker_t *b) { return b->port; }

auto_stats_t auto_broker_stats(auto_broker_t *b)
{
    pthread_mutex_lock(&b->mutex);
    auto_stats_t stats = b->stats;
    pthread_mutex_unlock(&b->mutex);
    return stats;
}

bool auto_broker_wait(auto_broker_t *b, int type, int n, long ms)
{
    long until = now_ms() + scaled(ms);
    while (auto_broker_stats(b).count[type] < n) {
        if (now_ms() > until) return false;
        sleep_ms(1);
    }
    return true;
}

void auto_broker_drop_all(auto_broker_t *b)
{
    pthread_mutex_lock(&b->mutex);
    b->drop = true;
    pthread_mutex_unlock(&b->mutex);
    auto_wake(b);
}

#include "observer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"

enum { ROOM = 256 * 1024, KEEP_ALIVE = 60 };

static int server_port;
static uint8_t buffer[ROOM];
static size_t filled;
static bool held[65536]; /* QoS 2 messages that were delivered, and not released yet */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int connection = -1; /* subscribed */
static int pings, pongs;    /* on it */
static pthread_mutex_t sending = PTHREAD_MUTEX_INITIALIZER; /* one packet after the other */

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static bool send_all(int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    ssize_t n = 1;
    pthread_mutex_lock(&sending);
    for (; len > 0 && (n = send(fd, at, len, MSG_NOSIGNAL)) > 0; len -= (size_t)n) at += n;
    pthread_mutex_unlock(&sending);
    return n > 0;
}

static bool answer(int fd, uint8_t first, unsigned id)
{
    uint8_t packet[] = {first, 2, (uint8_t)(id >> 8), (uint8_t)id};
    return send_all(fd, packet, sizeof packet);
}

static bool ping(int fd)
{
    static const uint8_t packet[] = {0xc0, 0};
    pthread_mutex_lock(&lock);
    pings++;
    pthread_mutex_unlock(&lock);
    return send_all(fd, packet, sizeof packet);
}

static bool publish_came(int fd, uint8_t first, const uint8_t *body, size_t len)
{
    int qos = first >> 1 & 3;
    size_t topic_len = len >= 2 ? (size_t)(body[0] << 8 | body[1]) : len, head = 2 + topic_len + (qos ? 2 : 0);
    if (qos > 2 || head > len) return false;
    const char *topic = (const char *)body + 2;
    unsigned id = qos ? (unsigned)(body[head - 2] << 8 | body[head - 1]) : 0;
    if (qos < 2 || !held[id]) {
        if (qos == 2) held[id] = true;
        if (ledger_topic(topic, topic_len) >= 0) ledger_arrived(OBSERVER, qos, topic, topic_len, body + head, len - head);
    }
    return qos == 0 || answer(fd, qos == 1 ? 0x40 : 0x50, id);
}

static bool packet_came(int fd, uint8_t first, const uint8_t *body, size_t len)
{
    static const uint8_t subscribe[] = {0x82, 8, 0, 1, 0, 3, 'c', '/', '#', 2};
    switch (first >> 4) {
    case 2: /* CONNACK */
        if (len != 2 || body[1] != 0) return false;
        if (!body[0]) memset(held, 0, sizeof held);
        return send_all(fd, subscribe, sizeof subscribe);
    case 3: return publish_came(fd, first, body, len);
    case 6: /* PUBREL */
        if (len != 2) return false;
        held[body[0] << 8 | body[1]] = false;
        return answer(fd, 0x70, (unsigned)(body[0] << 8 | body[1]));
    case 9: /* SUBACK */
        if (len != 3 || body[2] != 2) return false;
        pthread_mutex_lock(&lock);
        connection = fd;
        pings = pongs = 0;
        pthread_mutex_unlock(&lock);
        return true;
    case 13: /* PINGRESP */
        pthread_mutex_lock(&lock);
        pongs++;
        pthread_mutex_unlock(&lock);
        return true;
    default: return false;
    }
}

/* Takes the complete packets off the front of the buffer. */
static bool take_packets(int fd)
{
    size_t at = 0;
    for (;;) {
        size_t len = 0, n = 1;
        for (int shift = 0; at + n < filled && n < 5; shift += 7) {
            uint8_t byte = buffer[at + n++];
            len |= (size_t)(byte & 127) << shift;
            if (byte & 128) continue;
            if (at + n + len > filled) break;
            if (!packet_came(fd, buffer[at], buffer + at + n, len)) return false;
            at += n + len;
            n = 0;
            break;
        }
        if (n) break;
    }
    memmove(buffer, buffer + at, filled - at);
    filled -= at;
    return filled < ROOM;
}

static void serve(int fd)
{
    static const uint8_t connect_packet[] = {0x10, 20, 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, KEEP_ALIVE, 0, 8, 'o', 'b', 's', 'e', 'r', 'v', 'e', 'r'};
    filled = 0;
    struct timeval silence = {KEEP_ALIVE / 4, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    if (!send_all(fd, connect_packet, sizeof connect_packet)) return;
    for (;;) {
        ssize_t n = recv(fd, buffer + filled, ROOM - filled, 0);
        if (n < 0 && errno == EAGAIN) {
            if (!ping(fd)) return;
            continue;
        }
        if (n <= 0) return;
        filled += (size_t)n;
        if (!take_packets(fd)) return;
    }
}

static void *run(void *arg)
{
    (void)arg;
    for (;; pause_ms(50)) {
        struct sockaddr_in addr = {
            .sin_family = AF_INET, .sin_port = htons((uint16_t)server_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0) serve(fd);
        pthread_mutex_lock(&lock);
        connection = -1;
        pthread_mutex_unlock(&lock);
        close(fd);
    }
    return NULL;
}

void observer_start(int port)
{
    pthread_t thread;
    server_port = port;
    if (pthread_create(&thread, NULL, run, NULL) != 0) abort();
    pthread_detach(thread);
}

bool observer_answers(void)
{
    pthread_mutex_lock(&lock);
    int fd = connection;
    pthread_mutex_unlock(&lock);
    if (fd < 0 || !ping(fd)) return false;
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&lock);
        bool same = connection == fd, answered = pongs >= pings;
        pthread_mutex_unlock(&lock);
        if (!same) return false;
        if (answered) return true;
        pause_ms(10);
    }
    return false;
}

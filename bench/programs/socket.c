#include "socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool socket_write(int socket, const void *bytes, size_t len)
{
    const unsigned char *from = bytes;

    while (len > 0) {
        ssize_t written = write(socket, from, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        from += written;
        len -= (size_t)written;
    }
    return true;
}

static bool read_all(int socket, unsigned char *bytes, size_t len)
{
    for (ssize_t got; len > 0; bytes += got, len -= (size_t)got)
        if ((got = read(socket, bytes, len)) <= 0)
            return false;
    return true;
}

int socket_connect(const char *host, int port, const char *id)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    unsigned char packet[80] = {0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0}, answer[4];
    size_t len = strlen(id);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    if (len > 60 || inet_pton(AF_INET, host, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    packet[1] = (unsigned char)(12 + len);
    packet[13] = (unsigned char)len;
    memcpy(packet + 14, id, len);
    if (!socket_write(fd, packet, 14 + len) || !read_all(fd, answer, sizeof answer) || answer[0] != 0x20 || answer[3] != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool socket_subscribe(int socket, const char *topic, int qos)
{
    unsigned char packet[128] = {0x82, 0, 0, 1, 0}, answer[5];
    size_t len = strlen(topic);

    if (len > 100)
        return false;
    packet[1] = (unsigned char)(5 + len);
    packet[5] = (unsigned char)len;
    memcpy(packet + 6, topic, len);
    packet[6 + len] = (unsigned char)qos;
    return socket_write(socket, packet, 7 + len) && read_all(socket, answer, sizeof answer) && answer[0] == 0x90 && answer[4] < 3;
}

size_t socket_publish(unsigned char *bytes, const char *topic, size_t size, int qos, size_t *id)
{
    size_t topic_len = strlen(topic), rest = 2 + topic_len + (qos ? 2 : 0) + size, len = 0;

    bytes[len++] = (unsigned char)(0x30 | qos << 1);
    do {
        bytes[len++] = (unsigned char)(rest % 128 | (rest > 127 ? 128 : 0));
        rest /= 128;
    } while (rest > 0);
    bytes[len++] = (unsigned char)(topic_len >> 8);
    bytes[len++] = (unsigned char)topic_len;
    memcpy(bytes + len, topic, topic_len);
    len += topic_len;
    *id = len;
    if (qos)
        len += 2;
    memset(bytes + len, 'x', size);
    return len + size;
}

bool socket_read(int socket, struct packets *in, int milliseconds, void (*packet)(void *to, int type, unsigned id, int qos), void *to)
{
    size_t at = 0;

    if (milliseconds >= 0 && poll(&(struct pollfd){.fd = socket, .events = POLLIN}, 1, milliseconds) <= 0)
        return false;
    ssize_t got = read(socket, in->bytes + in->len, sizeof in->bytes - in->len);
    if (got <= 0)
        return false;
    in->len += (size_t)got;
    while (in->len - at >= 2) {
        const unsigned char *one = in->bytes + at;
        size_t len = 0, head = 1, shift = 0;

        do
            len |= (size_t)(one[head] & 127) << shift, shift += 7;
        while (one[head++] & 128 && head < in->len - at);
        if (one[head - 1] & 128 || in->len - at < head + len)
            break;
        int type = one[0] >> 4, qos = one[0] >> 1 & 3;
        size_t identifier = type == PUBLISH ? head + 2 + ((size_t)one[head] << 8 | one[head + 1]) : head;
        bool has = type == PUBLISH ? qos > 0 : len == 2;
        packet(to, type, has ? (unsigned)one[identifier] << 8 | one[identifier + 1] : 0, qos);
        at += head + len;
    }
    memmove(in->bytes, in->bytes + at, in->len - at);
    in->len -= at;
    return true;
}

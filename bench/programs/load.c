/* load --port P --topic T --qos Q --size S -n N [--steps FD --burst B]: publishes N messages as fast as the broker takes them, or
 * B at a time, and the next B when as many bytes have come from FD. */
#include "options.h"
#include "socket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 60000, WINDOW = 100 };

static int server;
static long acknowledged;
static bool ended;

static void packet(void *to, int type, unsigned id, int qos)
{
    (void)to, (void)qos;
    if (type == PUBACK || type == PUBCOMP)
        acknowledged++;
    else if (type == PUBREC)
        socket_write(server, (unsigned char[]){0x62, 2, (unsigned char)(id >> 8), (unsigned char)id}, 4);
    else if (type == PINGRESP)
        ended = true;
}

int main(int argc, char **argv)
{
    static struct packets in;
    const char *topic = option(argc, argv, "--topic", "bench/receive");
    long n = number(argc, argv, "-n", 1000), size = number(argc, argv, "--size", 16), sent = 0, credit = 0;
    int qos = (int)number(argc, argv, "--qos", 0), steps = (int)number(argc, argv, "--steps", -1);
    long burst = number(argc, argv, "--burst", 1);
    unsigned char *bytes = malloc(BATCH + 2 * (strlen(topic) + (size_t)size + 16)), one[4096];
    size_t at, len = socket_publish(bytes, topic, (size_t)size, qos, &at);
    char name[40];

    snprintf(name, sizeof name, "load-%d", getpid());
    server = socket_connect("127.0.0.1", (int)number(argc, argv, "--port", 1883), name);
    if (server < 0)
        return fprintf(stderr, "load: cannot connect\n"), 1;
    long most = steps >= 0 ? burst : qos ? WINDOW : BATCH / (long)len + 1;
    unsigned char *batch = malloc((size_t)most * len);
    while (sent < n) {
        long now = n - sent < most ? n - sent : most;
        if (qos && sent - acknowledged + now > WINDOW && steps < 0)
            now = WINDOW - (sent - acknowledged);
        for (long i = 0; i < now; i++) {
            unsigned id = (unsigned)((sent + i) % 65535 + 1);
            if (qos)
                bytes[at] = (unsigned char)(id >> 8), bytes[at + 1] = (unsigned char)id;
            memcpy(batch + (size_t)i * len, bytes, len);
        }
        if (!socket_write(server, batch, (size_t)now * len))
            return fprintf(stderr, "load: cannot write\n"), 1;
        sent += now;
        /* First: a message with QoS 2 goes on when the broker has its PUBREL. */
        while (qos && acknowledged < sent && (steps >= 0 || sent == n || sent - acknowledged >= WINDOW))
            if (!socket_read(server, &in, 10000, packet, NULL))
                return fprintf(stderr, "load: no acknowledgement\n"), 1;
        for (credit += now; steps >= 0 && credit > 0;) {
            ssize_t got = read(steps, one, sizeof one);
            if (got <= 0)
                return fprintf(stderr, "load: nobody receives\n"), 1;
            credit -= got;
        }
    }
    for (socket_write(server, "\xc0\0", 2); !ended;)
        if (!socket_read(server, &in, 10000, packet, NULL))
            return fprintf(stderr, "load: no PINGRESP\n"), 1;
    socket_write(server, "\xe0\0", 2);
    return 0;
}

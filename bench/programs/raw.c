/* The limit: packets that are encoded once, one write for each, the acknowledgements read when the window is full. */
#include "client.h"
#include "socket.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct client {
    struct settings settings;
    const char *id;
    int socket;
    unsigned sent, acknowledged;
    unsigned char *packet; /* the last one: all are the same */
    size_t len, at, size;
    int qos;
    const char *topic;
    unsigned char answers[1 << 16];
    size_t answers_len;
    struct packets in;
};

struct client *client_new(const struct settings *settings, const char *id)
{
    struct client *client = strcmp(settings->scheme, "mqtt") == 0 ? calloc(1, sizeof *client) : NULL;

    if (client) {
        client->settings = *settings;
        client->id = id;
    }
    return client;
}

bool client_connect(struct client *client)
{
    client->socket = socket_connect(client->settings.host, client->settings.port, client->id);
    return client->socket >= 0;
}

bool client_subscribe(struct client *client, const char *topic, int qos)
{
    return socket_subscribe(client->socket, topic, qos);
}

static void answer(struct client *client, int first, unsigned id)
{
    unsigned char packet[4] = {(unsigned char)first, 2, (unsigned char)(id >> 8), (unsigned char)id};

    memcpy(client->answers + client->answers_len, packet, sizeof packet);
    client->answers_len += sizeof packet;
    if (client->answers_len == sizeof client->answers) {
        socket_write(client->socket, client->answers, client->answers_len);
        client->answers_len = 0;
    }
}

static void packet(void *to, int type, unsigned id, int qos)
{
    struct client *client = to;

    if (type == PUBACK || type == PUBCOMP) {
        client->acknowledged++;
        bench_acknowledged();
    } else if (type == PUBREC) {
        answer(client, 0x62, id);
    } else if (type == PUBLISH) {
        if (qos)
            answer(client, qos == 1 ? 0x40 : 0x50, id);
        bench_received();
    } else if (type == 6) {
        answer(client, 0x70, id);
    }
}

void client_drive(struct client *client, int milliseconds)
{
    socket_read(client->socket, &client->in, milliseconds, packet, client);
    if (client->answers_len > 0)
        socket_write(client->socket, client->answers, client->answers_len);
    client->answers_len = 0;
}

bool client_publish(struct client *client, const char *topic, const void *payload, int size, int qos)
{
    (void)payload;
    if (topic != client->topic || (size_t)size != client->size || qos != client->qos || !client->packet) {
        client->packet = realloc(client->packet, strlen(topic) + (size_t)size + 16);
        client->len = socket_publish(client->packet, topic, (size_t)size, qos, &client->at);
        client->topic = topic;
        client->size = (size_t)size;
        client->qos = qos;
    }
    if (qos) {
        while (client->sent - client->acknowledged >= WINDOW)
            client_drive(client, -1);
        unsigned id = client->sent++ % 65535 + 1;
        client->packet[client->at] = (unsigned char)(id >> 8);
        client->packet[client->at + 1] = (unsigned char)id;
    }
    return socket_write(client->socket, client->packet, client->len);
}

void client_disconnect(struct client *client)
{
    socket_write(client->socket, "\xe0\0", 2);
    close(client->socket);
}

void client_free(struct client *client)
{
    free(client->packet);
    free(client);
}

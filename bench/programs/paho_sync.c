/* Paho C, synchronous, with callbacks, and its thread with them: up to 20 messages under way. */
#include "client.h"

#include <MQTTClient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct client {
    struct settings settings;
    MQTTClient handle;
};

static int on_message(void *to, char *topic, int topic_len, MQTTClient_message *message)
{
    (void)to, (void)topic_len;
    MQTTClient_freeMessage(&message);
    MQTTClient_free(topic);
    bench_received();
    return 1;
}

static void on_delivered(void *to, MQTTClient_deliveryToken token)
{
    (void)to, (void)token;
    bench_acknowledged();
}

struct client *client_new(const struct settings *settings, const char *id)
{
    static const char *const schemes[][2] = {{"mqtt", "tcp"}, {"mqtts", "ssl"}, {"ws", "ws"}, {"wss", "wss"}};
    struct client *client                 = calloc(1, sizeof *client);
    char uri[100]                         = "";

    client->settings = *settings;
    for (int i = 0; i < 4; i++)
        if (strcmp(settings->scheme, schemes[i][0]) == 0)
            snprintf(uri, sizeof uri, "%s://%s:%d", schemes[i][1], settings->host, settings->port);
    if (MQTTClient_create(&client->handle, uri, id, MQTTCLIENT_PERSISTENCE_NONE, NULL) != MQTTCLIENT_SUCCESS ||
        MQTTClient_setCallbacks(client->handle, client, NULL, on_message, on_delivered) != MQTTCLIENT_SUCCESS)
        exit(1);
    return client;
}

bool client_connect(struct client *client)
{
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
    MQTTClient_SSLOptions tls         = MQTTClient_SSLOptions_initializer;

    options.keepAliveInterval   = 60;
    options.cleansession        = 1;
    options.reliable            = 0;
    options.maxInflightMessages = WINDOW;
    if (client->settings.ca) {
        tls.trustStore = client->settings.ca;
        tls.verify     = 1;
        options.ssl    = &tls;
    }
    return MQTTClient_connect(client->handle, &options) == MQTTCLIENT_SUCCESS;
}

bool client_subscribe(struct client *client, const char *topic, int qos)
{
    return MQTTClient_subscribe(client->handle, topic, qos) == MQTTCLIENT_SUCCESS;
}

bool client_publish(struct client *client, const char *topic, const void *payload, int size, int qos)
{
    return MQTTClient_publish(client->handle, topic, size, payload, qos, 0, NULL) == MQTTCLIENT_SUCCESS;
}

void client_disconnect(struct client *client)
{
    MQTTClient_disconnect(client->handle, 1000);
}

void client_free(struct client *client)
{
    MQTTClient_destroy(&client->handle);
    free(client);
}

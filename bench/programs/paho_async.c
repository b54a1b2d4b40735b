/* Paho C, asynchronous. It takes messages without a limit, and gets slower with each that waits: 20 at a time. */
#include "client.h"

#include <MQTTAsync.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct client {
    struct settings settings;
    MQTTAsync handle;
    sem_t answered, room;
    bool succeeded;
};

static int on_message(void *to, char *topic, int topic_len, MQTTAsync_message *message)
{
    (void)to, (void)topic_len;
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    bench_received();
    return 1;
}

static void on_success(void *to, MQTTAsync_successData *data)
{
    struct client *client = to;

    (void)data;
    client->succeeded = true;
    sem_post(&client->answered);
}

static void on_failure(void *to, MQTTAsync_failureData *data)
{
    struct client *client = to;

    (void)data;
    client->succeeded = false;
    sem_post(&client->answered);
}

static void on_sent(void *to, MQTTAsync_successData *data)
{
    struct client *client = to;

    /* It comes for QoS 0 too, when the message has been written. */
    if (data->alt.pub.message.qos > 0)
        bench_acknowledged();
    sem_post(&client->room);
}

struct client *client_new(const struct settings *settings, const char *id)
{
    static const char *const schemes[][2] = {{"mqtt", "tcp"}, {"mqtts", "ssl"}, {"ws", "ws"}, {"wss", "wss"}};
    struct client *client                 = calloc(1, sizeof *client);
    char uri[100]                         = "";

    client->settings = *settings;
    sem_init(&client->answered, 0, 0);
    sem_init(&client->room, 0, WINDOW);
    for (int i = 0; i < 4; i++)
        if (strcmp(settings->scheme, schemes[i][0]) == 0)
            snprintf(uri, sizeof uri, "%s://%s:%d", schemes[i][1], settings->host, settings->port);
    if (MQTTAsync_create(&client->handle, uri, id, MQTTCLIENT_PERSISTENCE_NONE, NULL) != MQTTASYNC_SUCCESS ||
        MQTTAsync_setCallbacks(client->handle, client, NULL, on_message, NULL) != MQTTASYNC_SUCCESS)
        exit(1);
    return client;
}

bool client_connect(struct client *client)
{
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    MQTTAsync_SSLOptions tls         = MQTTAsync_SSLOptions_initializer;

    options.keepAliveInterval = 60;
    options.cleansession      = 1;
    options.maxInflight       = WINDOW;
    options.onSuccess         = on_success;
    options.onFailure         = on_failure;
    options.context           = client;
    if (client->settings.ca) {
        tls.trustStore = client->settings.ca;
        tls.verify     = 1;
        options.ssl    = &tls;
    }
    if (MQTTAsync_connect(client->handle, &options) != MQTTASYNC_SUCCESS)
        return false;
    sem_wait(&client->answered);
    return client->succeeded;
}

bool client_subscribe(struct client *client, const char *topic, int qos)
{
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

    options.onSuccess = on_success;
    options.onFailure = on_failure;
    options.context   = client;
    if (MQTTAsync_subscribe(client->handle, topic, qos, &options) != MQTTASYNC_SUCCESS)
        return false;
    sem_wait(&client->answered);
    return client->succeeded;
}

bool client_publish(struct client *client, const char *topic, const void *payload, int size, int qos)
{
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

    options.onSuccess = on_sent;
    options.context   = client;
    sem_wait(&client->room);
    return MQTTAsync_send(client->handle, topic, size, payload, qos, 0, &options) == MQTTASYNC_SUCCESS;
}

void client_disconnect(struct client *client)
{
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer;

    options.timeout   = 1000;
    options.onSuccess = on_success;
    options.onFailure = on_failure;
    options.context   = client;
    if (MQTTAsync_disconnect(client->handle, &options) == MQTTASYNC_SUCCESS)
        sem_wait(&client->answered);
}

void client_free(struct client *client)
{
    MQTTAsync_destroy(&client->handle);
    free(client);
}

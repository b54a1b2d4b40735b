/* libmosquitto with its own thread (mosquitto_loop_start). It takes every message at once and sends 20 of them. */
#include "client.h"

#include <mosquitto.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

struct client {
    struct settings settings;
    struct mosquitto *handle;
    sem_t answered;
    bool accepted;
};

static void on_connect(struct mosquitto *handle, void *to, int code)
{
    struct client *client = to;

    (void)handle;
    client->accepted = code == 0;
    sem_post(&client->answered);
}

static void on_subscribe(struct mosquitto *handle, void *to, int id, int count, const int *granted)
{
    (void)handle, (void)id, (void)count, (void)granted;
    sem_post(&((struct client *)to)->answered);
}

static int with_qos;

static void on_publish(struct mosquitto *handle, void *to, int id)
{
    (void)handle, (void)to, (void)id;
    /* It comes for QoS 0 too. */
    if (with_qos)
        bench_acknowledged();
}

static void on_message(struct mosquitto *handle, void *to, const struct mosquitto_message *message)
{
    (void)handle, (void)to, (void)message;
    bench_received();
}

struct client *client_new(const struct settings *settings, const char *id)
{
    struct client *client = calloc(1, sizeof *client);

    if (strcmp(settings->scheme, "ws") == 0 || strcmp(settings->scheme, "wss") == 0)
        return NULL;
    mosquitto_lib_init();
    client->settings = *settings;
    client->handle   = mosquitto_new(id, true, client);
    sem_init(&client->answered, 0, 0);
    mosquitto_connect_callback_set(client->handle, on_connect);
    mosquitto_subscribe_callback_set(client->handle, on_subscribe);
    mosquitto_publish_callback_set(client->handle, on_publish);
    mosquitto_message_callback_set(client->handle, on_message);
    mosquitto_max_inflight_messages_set(client->handle, WINDOW);
    mosquitto_int_option(client->handle, MOSQ_OPT_TCP_NODELAY, 1);
    if (settings->ca)
        mosquitto_tls_set(client->handle, settings->ca, NULL, NULL, NULL, NULL);
    return client;
}

bool client_connect(struct client *client)
{
    if (mosquitto_connect(client->handle, client->settings.host, client->settings.port, 60) != MOSQ_ERR_SUCCESS ||
        mosquitto_loop_start(client->handle) != MOSQ_ERR_SUCCESS)
        return false;
    sem_wait(&client->answered);
    return client->accepted;
}

bool client_subscribe(struct client *client, const char *topic, int qos)
{
    if (mosquitto_subscribe(client->handle, NULL, topic, qos) != MOSQ_ERR_SUCCESS)
        return false;
    sem_wait(&client->answered);
    return true;
}

bool client_publish(struct client *client, const char *topic, const void *payload, int size, int qos)
{
    with_qos = qos;
    return mosquitto_publish(client->handle, NULL, topic, size, payload, qos, false) == MOSQ_ERR_SUCCESS;
}

void client_disconnect(struct client *client)
{
    mosquitto_disconnect(client->handle);
    mosquitto_loop_stop(client->handle, false);
}

void client_free(struct client *client)
{
    mosquitto_destroy(client->handle);
    free(client);
}

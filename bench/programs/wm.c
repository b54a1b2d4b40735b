/* This library: calls and events of wm_mqtt_client.h. */
#include "client.h"

#include "wm_mqtt_client.h"

#include <stdio.h>
#include <stdlib.h>

struct client {
    wm_mqtt_client_handle_t handle;
};

static char *file(const char *path)
{
    FILE *from = fopen(path, "r");
    char *text = calloc(1, 65536);

    if (!from || !text || fread(text, 1, 65535, from) == 0)
        exit(1);
    fclose(from);
    return text;
}

static void on_event(wm_event_group_t group, int event, void *data, void *priv)
{
    wm_mqtt_event_data_t *message = data;

    (void)group, (void)priv;
    if (event == WM_EVENT_MQTT_CLIENT_DATA) {
        free(message->mqtt_client_data_info.topic);
        free(message->mqtt_client_data_info.payload);
        bench_received();
    } else if (event == WM_EVENT_MQTT_CLIENT_PUBLISHED) {
        bench_acknowledged();
    }
}

struct client *client_new(const struct settings *settings, const char *id)
{
    static char *ca;
    char uri[100];
    struct client *client           = calloc(1, sizeof *client);
    wm_mqtt_client_config_t config = {.uri = uri, .client_id = (char *)id, .keep_alive = 60, .clean_session = 1};

    snprintf(uri, sizeof uri, "%s://%s:%d", settings->scheme, settings->host, settings->port);
    if (settings->ca) {
        config.ca        = ca ? ca : (ca = file(settings->ca));
        config.auth_mode = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT;
    }
    wm_event_add_callback(WM_MQTT_EV, WM_EVENT_ANY_TYPE, on_event, NULL);
    client->handle = wm_mqtt_client_init(&config);
    return client;
}

bool client_connect(struct client *client)
{
    return wm_mqtt_client_connect(client->handle) == WM_MQTT_CLIENT_ERROR_SUCCESS;
}

bool client_subscribe(struct client *client, const char *topic, int qos)
{
    return wm_mqtt_client_subscribe(client->handle, topic, (uint8_t)qos) > 0;
}

bool client_publish(struct client *client, const char *topic, const void *payload, int size, int qos)
{
    return wm_mqtt_client_publish(client->handle, topic, payload, (uint16_t)size, (uint8_t)qos, 0) >= 0;
}

void client_disconnect(struct client *client)
{
    wm_mqtt_client_disconnect(client->handle);
}

void client_free(struct client *client)
{
    wm_mqtt_client_deinit(client->handle);
    free(client);
}

/*
 * A tour of the MQTT client: connects, subscribes to a topic of its own, publishes to it with each quality of service,
 * gets its three messages back, and leaves again. Everything that happens is printed as it happens.
 *
 *     demo [URI [CA [CERT KEY]]]        mqtt://127.0.0.1:1883 if no URI is given
 *
 * With mqtts:// and wss:// the broker has to prove who it is, to the authorities in the file CA or, without it, to
 * those that browsers trust. CERT and KEY are files with a certificate and its key, for a broker that asks who we are.
 *
 * It exits with 0 only if all of it happened; otherwise it says what is missing.
 */
#include "wm_mqtt_client.h"
#include "freertos/FreeRTOS.h"
#include "freertos/event_groups.h"
#include "freertos/queue.h"

#define WAIT_TICKS pdMS_TO_TICKS(10000)

/* What the event callback tells the main task: flags for what happens once, a queue for the ids of PUBLISHED events. */
#define CONNECTED     (1u << 0)
#define DISCONNECTED  (1u << 1)
#define RECEIVED(qos) (1u << (2 + (qos)))
#define RECEIVED_ALL  (RECEIVED(0) | RECEIVED(1) | RECEIVED(2))

static EventGroupHandle_t happened;
static QueueHandle_t published;

static const char *const messages[] = {"sent at most once", "sent at least once", "sent exactly once"};

static void on_data(wm_mqtt_event_data_t *event)
{
    char *topic   = event->mqtt_client_data_info.topic;
    char *payload = event->mqtt_client_data_info.payload;

    printf("event DATA          client %p, id %d, qos %u%s%s: %s = %s\n", event->mqtt_client_data_info.client_handle,
           event->mqtt_client_data_info.msgid, event->mqtt_client_data_info.qos,
           event->mqtt_client_data_info.dup ? ", repeated" : "",
           event->mqtt_client_data_info.retained ? ", retained" : "", topic, payload ? payload : "(empty)");

    for (unsigned qos = 0; qos <= 2; qos++) {
        if (payload && strcmp(payload, messages[qos]) == 0) xEventGroupSetBits(happened, RECEIVED(qos));
    }

    /* The client hands topic and payload over: they are ours to free. */
    free(topic);
    free(payload);
}

/* Runs on the SDK's event task. What it does takes no time, so the events of other modules do not have to wait. */
static void on_mqtt_event(wm_event_group_t group, int event, void *data, void *priv)
{
    wm_mqtt_event_data_t *info = data;
    void *client               = priv;

    (void)group;
    switch (event) {
        case WM_EVENT_MQTT_CLIENT_CONNECTED:
            printf("event CONNECTED     client %p\n", client);
            xEventGroupSetBits(happened, CONNECTED);
            break;
        case WM_EVENT_MQTT_CLIENT_DISCONNECTED:
            if (info) {
                printf("event DISCONNECTED  client %p: the connection was lost\n",
                       info->mqtt_client_disconnect_info.client_handle);
            } else {
                printf("event DISCONNECTED  client %p: as we asked\n", client);
            }
            xEventGroupSetBits(happened, DISCONNECTED);
            break;
        case WM_EVENT_MQTT_CLIENT_DATA:
            on_data(info);
            break;
        case WM_EVENT_MQTT_CLIENT_PUBLISHED:
            printf("event PUBLISHED     client %p, id %d\n", client, info->mqtt_client_published_info.msg_id);
            xQueueSend(published, &info->mqtt_client_published_info.msg_id, 0);
            break;
    }
}

static bool wait_for(EventBits_t bits)
{
    return (xEventGroupWaitBits(happened, bits, pdFALSE, pdTRUE, WAIT_TICKS) & bits) == bits;
}

static bool missing(const char *what)
{
    printf("missing: %s\n", what);
    return false;
}

static bool failed(const char *what, int code)
{
    printf("%s failed: error %d\n", what, code);
    return false;
}

/* Publishes the three messages; those with QoS 1 and 2 are safe at the broker when PUBLISHED brings their id back. */
static bool publish(wm_mqtt_client_handle_t client, const char *topic)
{
    int waiting[3] = {0, 0, 0};

    for (uint8_t qos = 0; qos <= 2; qos++) {
        int id = wm_mqtt_client_publish(client, topic, messages[qos], 0, qos, 0);
        if (id < 0) return failed("publish", id);
        printf("published with qos %u: id %d\n", qos, id);
        waiting[qos] = id;
    }

    while (waiting[1] || waiting[2]) {
        int id = 0;
        if (xQueueReceive(published, &id, WAIT_TICKS) != pdPASS) {
            if (waiting[1]) missing("the PUBLISHED event of the message with qos 1");
            if (waiting[2]) missing("the PUBLISHED event of the message with qos 2");
            return false;
        }
        if (id == waiting[1]) waiting[1] = 0;
        if (id == waiting[2]) waiting[2] = 0;
    }
    return true;
}

static bool receive(void)
{
    if (wait_for(RECEIVED_ALL)) return true;
    for (unsigned qos = 0; qos <= 2; qos++) {
        if (!(xEventGroupGetBits(happened) & RECEIVED(qos))) {
            printf("missing: the message \"%s\" of qos %u\n", messages[qos], qos);
        }
    }
    return false;
}

static bool tour(wm_mqtt_client_handle_t client)
{
    char topic[100];
    int result;

    /* The client id is this client's own, so nobody else publishes to this topic. */
    snprintf(topic, sizeof topic, "wm/demo/%s", client->client_id);

    result = wm_mqtt_client_connect(client);
    if (result != WM_MQTT_CLIENT_ERROR_SUCCESS) return failed("connect", result);
    if (!wait_for(CONNECTED)) return missing("the CONNECTED event");

    result = wm_mqtt_client_subscribe(client, topic, 2);
    if (result < 0) return failed("subscribe", result);
    printf("subscribed to %s: id %d\n", topic, result);

    if (!publish(client, topic) || !receive()) return false;

    result = wm_mqtt_client_unsubscribe(client, topic);
    if (result < 0) return failed("unsubscribe", result);
    printf("unsubscribed from %s: id %d\n", topic, result);

    result = wm_mqtt_client_disconnect(client);
    if (result != WM_MQTT_CLIENT_ERROR_SUCCESS) return failed("disconnect", result);
    return wait_for(DISCONNECTED) || missing("the DISCONNECTED event");
}

/* The client takes certificates and keys as strings; on a device they are mostly constants. Returns ours to free. */
static char *read_file(const char *name)
{
    enum { SIZE = 32768 };
    char *text = calloc(1, SIZE);
    FILE *file = fopen(name, "r");

    if (!text || !file || fread(text, 1, SIZE - 1, file) == 0) {
        printf("%s cannot be read\n", name);
        exit(1);
    }
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    /* Members that are not named are zero, which is always a sensible choice. */
    wm_mqtt_client_config_t config = {
        .uri           = argc > 1 ? argv[1] : "mqtt://127.0.0.1:1883",
        .clean_session = 1,
        .auth_mode     = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT, /* no meaning without TLS */
    };
    wm_mqtt_client_handle_t client;
    bool complete;
    int result;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 2) config.ca = read_file(argv[2]);
    if (argc > 4) {
        config.auth_mode = WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH;
        config.cert      = read_file(argv[3]);
        config.key       = read_file(argv[4]);
    }

    happened  = xEventGroupCreate();
    published = xQueueCreate(8, sizeof(int));
    client    = wm_mqtt_client_init(&config);

    /* The client has copied the whole configuration. */
    free(config.ca);
    free(config.cert);
    free(config.key);
    if (!happened || !published || client == WM_INVALID_HANDLE) {
        printf("init failed: out of memory, or \"%s\" is no address of a broker\n", config.uri);
        return 1;
    }
    printf("client %p, named %s, connects to %s\n", client->client, client->client_id, config.uri);

    /* `client->client` names the client in its events. It is only a name: also an event that comes late may print it. */
    wm_event_add_callback(WM_MQTT_EV, WM_EVENT_ANY_TYPE, on_mqtt_event, client->client);
    complete = tour(client);
    result   = wm_mqtt_client_deinit(client);
    if (result != WM_MQTT_CLIENT_ERROR_SUCCESS) complete = failed("deinit", result);

    puts(complete ? "everything arrived" : "the demo is not complete");
    return complete ? 0 : 1;
}

/* Subscribes to a topic, publishes one message to it, and prints the message when it comes back. */
#include "wm_mqtt_client.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

static void on_message(wm_event_group_t group, int event, void *data, void *priv)
{
    wm_mqtt_event_data_t *message = data;
    char *topic = message->mqtt_client_data_info.topic, *payload = message->mqtt_client_data_info.payload;

    (void)group, (void)event;
    printf("%s: %s\n", topic, payload ? payload : "");
    free(topic); /* both belong to the application */
    free(payload);
    xTaskNotifyGive((TaskHandle_t)priv);
}

int main(int argc, char **argv)
{
    wm_mqtt_client_config_t config = {.uri = argc > 1 ? argv[1] : "mqtt://127.0.0.1", .clean_session = 1};
    wm_mqtt_client_handle_t client = wm_mqtt_client_init(&config);
    bool received                  = false;

    wm_event_add_callback(WM_MQTT_EV, WM_EVENT_MQTT_CLIENT_DATA, on_message, xTaskGetCurrentTaskHandle());
    if (wm_mqtt_client_connect(client) == WM_MQTT_CLIENT_ERROR_SUCCESS &&
        wm_mqtt_client_subscribe(client, "wm/hello", 1) > 0 &&
        wm_mqtt_client_publish(client, "wm/hello", "hello, world", 0, 1, 0) > 0)
        received = ulTaskNotifyTake(pdTRUE, pdMS_TO_TICKS(5000)) > 0;

    wm_mqtt_client_disconnect(client);
    wm_mqtt_client_deinit(client);
    return received ? 0 : 1;
}

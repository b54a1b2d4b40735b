// A program with a certificate of its own: the library uses it where the configuration has none, and has empty texts for
// what the program does not define. scripts/install-test.sh links it with both kinds of library.

#include <stdio.h>
#include <string.h>

#include "wm_mqtt_client.h"

extern const char mqtt_client_tls_ca[], mqtt_client_tls_cert[], mqtt_client_tls_key[];

const char mqtt_client_tls_ca[] = "the program's";

static const char *ca_of(char *uri, wm_mqtt_client_auth_mode_t mode, char *ca)
{
    static char seen[64];
    wm_mqtt_client_config_t config = {.uri = uri, .auth_mode = mode, .ca = ca};
    wm_mqtt_client_handle_t handle = wm_mqtt_client_init(&config);
    if (!handle)
        return "no handle";
    snprintf(seen, sizeof seen, "%s", handle->ca ? handle->ca : "none");
    wm_mqtt_client_deinit(handle);
    return seen;
}

int main(void)
{
    int wrong = 0;
    wrong += strcmp(ca_of("mqtts://broker", WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT, NULL), mqtt_client_tls_ca) != 0;
    wrong += strcmp(ca_of("wss://broker", WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH, NULL), mqtt_client_tls_ca) != 0;
    wrong += strcmp(ca_of("mqtts://broker", WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT, "its own"), "its own") != 0;
    wrong += strcmp(ca_of("mqtts://broker", WM_MQTT_CLIENT_AUTH_MODE_NOT_CERT, NULL), "none") != 0;
    wrong += strcmp(ca_of("mqtt://broker", WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT, NULL), "none") != 0;
    wrong += strlen(mqtt_client_tls_cert) != 0;
    wrong += strlen(mqtt_client_tls_key) != 0;
    printf("built-in certificates: %d wrong\n", wrong);
    return wrong;
}

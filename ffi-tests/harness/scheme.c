#include "scheme.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

typedef struct {
    const char *name, *options;
    bool tls, relay;
} scheme_t;

static const scheme_t *scheme(void)
{
    static const scheme_t all[] = {
        {"mqtt", "", false, false},
        {"mqtts", "--tls @server.pem @server.key", true, true},
        {"ws", "--websocket", false, true},
        {"wss", "--tls @server.pem @server.key --websocket", true, true},
    };
    const char *name = getenv("WM_MQTT_SCHEME");
    if (!name || !*name) name = "mqtt";
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(all[i].name, name) == 0) return &all[i];
    fprintf(stderr, "harness: WM_MQTT_SCHEME is \"%s\"\n", name);
    abort();
}

const char *scheme_name(void) { return scheme()->name; }

char *scheme_uri(relay_t **relay, int port)
{
    if (!scheme()->relay) return test_printf("mqtt://127.0.0.1:%d", port);
    if (!*relay) *relay = relay_start(port, "%s", scheme()->options);
    return relay_uri(*relay, scheme()->name);
}

void scheme_config(wm_mqtt_client_config_t *config)
{
    static char *ca;
    const char *uri = config->uri;
    size_t len = strlen(scheme()->name);
    if (!scheme()->tls || config->auth_mode != 0 || !uri) return;
    if (strncmp(uri, scheme()->name, len) != 0 || strncmp(uri + len, "://", 3) != 0 || !strstr(uri, "localhost")) return;
    if (!ca) {
        const char *text = cert_text("ca.pem");
        ca = strcpy(check_alloc(strlen(text) + 1), text);
    }
    config->auth_mode = WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT;
    config->ca = ca;
}

void only_over_mqtt(const char *why)
{
    if (scheme()->relay) check_skip("%s", why);
}

/* $WM_MQTT_SCHEME: mqtt (the default), mqtts, ws or wss. The brokers of the harness hand out URIs of that scheme: for
 * the last three the client talks to a relay in front of the broker. */
#ifndef SCHEME_H
#define SCHEME_H

#include "peers.h"
#include "wm_mqtt_client.h"

const char *scheme_name(void);

/* The URI for a broker on this port of 127.0.0.1. Starts the relay, if one is needed and *relay is NULL. */
char *scheme_uri(relay_t **relay, int port);

/* Where the configuration's URI is one of those with TLS and its authentication mode is 0: the server is verified, against
 * the test CA. Strings that it puts in live as long as the program. */
void scheme_config(wm_mqtt_client_config_t *config);

/* Ends the test, which counts as skipped, unless the scheme is mqtt. */
void only_over_mqtt(const char *why);

#endif

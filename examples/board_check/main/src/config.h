/* What to edit: see README.md. */

/* The Wi-Fi network. NULL as the password: it has none. */
#define WIFI_SSID     ""
#define WIFI_PASSWORD ""

/* A broker over each scheme; delete the lines of those that it does not have. User and password: mqtt://user:password@host. */
#define BROKERS \
    "mqtt://host:1883", \
    "mqtts://host:8883", \
    "ws://host:8080/mqtt", \
    "wss://host:8081/mqtt",

/* Who has signed the broker's certificate: a PEM text as below, or NULL, for the public authorities.
 *
 *     "-----BEGIN CERTIFICATE-----\n" \
 *     "MIID...\n" \
 *     "-----END CERTIFICATE-----\n"
 */
#define BROKER_CA NULL

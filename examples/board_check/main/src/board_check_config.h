/* What to edit: see README.md. */

/* The Wi-Fi network. NULL as the password: it has none. */
#define WIFI_SSID     ""
#define WIFI_PASSWORD ""

/* A broker over each scheme. Delete the lines of those that yours does not have; user and password: mqtt://user:password@host. */
#define BROKERS \
    "mqtt://test.mosquitto.org:1883", \
    "mqtts://test.mosquitto.org:8886", \
    "ws://test.mosquitto.org:8080/mqtt", \
    "wss://test.mosquitto.org:8081/mqtt",

/* Who has signed the broker's certificate. NULL: the public authorities; else a PEM text:
 *
 *     "-----BEGIN CERTIFICATE-----\n" \
 *     "MIID...\n" \
 *     "-----END CERTIFICATE-----\n"
 */
#define BROKER_CA NULL

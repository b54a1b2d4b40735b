/* The binary contract, checked by the compiler: sizes, offsets, values and prototypes of the public header, for
 * pointers of 4 bytes (-m32, the device) and of 8. Nothing of this is ever run. */
#include <stddef.h>

#include "wm_mqtt_client.h"

#define SAME(what, want) _Static_assert((what) == (want), #what " is not " #want)
#define SAME_TYPE(a, b) _Static_assert(__builtin_types_compatible_p(a, b), #a " is not " #b)
#define POINTER __SIZEOF_POINTER__
_Static_assert(POINTER == 4 || POINTER == 8, "a pointer of another size");
/* An offset or size counted in pointers, plus bytes. */
#define AT(pointers, bytes) ((pointers)*POINTER + (bytes))

/* ---- configuration ---- */

typedef wm_mqtt_client_config_t config;
SAME_TYPE(config, struct wm_mqtt_client_config_st);
SAME(offsetof(config, uri), AT(0, 0));
SAME(offsetof(config, client_id), AT(1, 0));
SAME(offsetof(config, username), AT(2, 0));
SAME(offsetof(config, password), AT(3, 0));
SAME(offsetof(config, auth_mode), AT(4, 0));
SAME(offsetof(config, ca), AT(5, 0)); /* after the enum: padded to a pointer */
SAME(offsetof(config, cert), AT(6, 0));
SAME(offsetof(config, key), AT(7, 0));
SAME(offsetof(config, alpn), AT(8, 0));
SAME(offsetof(config, will_topic), AT(9, 0));
SAME(offsetof(config, will_msg), AT(10, 0));
SAME(offsetof(config, will_qos), AT(11, 0));
SAME(offsetof(config, will_retain), AT(11, 1));
SAME(offsetof(config, keep_alive), AT(11, 2));
SAME(offsetof(config, clean_session), AT(11, 4));
SAME(offsetof(config, debug), AT(11, 5));
SAME(sizeof(config), AT(11, 8));
SAME(_Alignof(config), POINTER);
SAME(sizeof(wm_mqtt_client_auth_mode_t), 4);

#define MEMBER(type, member) __typeof__(((type *)0)->member)
SAME_TYPE(MEMBER(config, uri), char *);
SAME_TYPE(MEMBER(config, client_id), char *);
SAME_TYPE(MEMBER(config, username), char *);
SAME_TYPE(MEMBER(config, password), char *);
SAME_TYPE(MEMBER(config, auth_mode), wm_mqtt_client_auth_mode_t);
SAME_TYPE(MEMBER(config, ca), char *);
SAME_TYPE(MEMBER(config, cert), char *);
SAME_TYPE(MEMBER(config, key), char *);
SAME_TYPE(MEMBER(config, alpn), char **);
SAME_TYPE(MEMBER(config, will_topic), char *);
SAME_TYPE(MEMBER(config, will_msg), char *);
SAME_TYPE(MEMBER(config, will_qos), uint8_t);
SAME_TYPE(MEMBER(config, will_retain), uint8_t);
SAME_TYPE(MEMBER(config, keep_alive), uint16_t);
SAME_TYPE(MEMBER(config, clean_session), uint8_t);
SAME_TYPE(MEMBER(config, debug), bool);

/* ---- handle ---- */

typedef struct wm_mqtt_client_handle_st handle;
SAME_TYPE(wm_mqtt_client_handle_t, handle *);
SAME(offsetof(handle, client), AT(0, 0));
SAME(offsetof(handle, config), AT(1, 0));
SAME(offsetof(handle, uri), AT(2, 0));
SAME(offsetof(handle, client_id), AT(3, 0));
SAME(offsetof(handle, username), AT(4, 0));
SAME(offsetof(handle, password), AT(5, 0));
SAME(offsetof(handle, ca), AT(6, 0));
SAME(offsetof(handle, cert), AT(7, 0));
SAME(offsetof(handle, key), AT(8, 0));
SAME(offsetof(handle, alpn), AT(9, 0));
SAME(offsetof(handle, will_topic), AT(10, 0));
SAME(offsetof(handle, will_msg), AT(11, 0));
SAME(sizeof(handle), AT(12, 0));
SAME_TYPE(MEMBER(handle, client), void *);
SAME_TYPE(MEMBER(handle, config), void *);
SAME_TYPE(MEMBER(handle, uri), char *);
SAME_TYPE(MEMBER(handle, client_id), char *);
SAME_TYPE(MEMBER(handle, username), char *);
SAME_TYPE(MEMBER(handle, password), char *);
SAME_TYPE(MEMBER(handle, ca), char *);
SAME_TYPE(MEMBER(handle, cert), char *);
SAME_TYPE(MEMBER(handle, key), char *);
SAME_TYPE(MEMBER(handle, alpn), char **);
SAME_TYPE(MEMBER(handle, will_topic), char *);
SAME_TYPE(MEMBER(handle, will_msg), char *);

/* ---- event data ---- */

typedef wm_mqtt_event_data_t data;
SAME_TYPE(data, union wm_mqtt_event_data_un);
SAME(offsetof(data, mqtt_client_data_info), 0);
SAME(offsetof(data, mqtt_client_published_info), 0);
SAME(offsetof(data, mqtt_client_disconnect_info), 0);
SAME(offsetof(data, mqtt_client_data_info.topic), AT(0, 0));
SAME(offsetof(data, mqtt_client_data_info.topic_len), AT(1, 0));
SAME(offsetof(data, mqtt_client_data_info.payload), AT(2, 0));
SAME(offsetof(data, mqtt_client_data_info.payload_len), AT(3, 0));
SAME(offsetof(data, mqtt_client_data_info.msgid), AT(3, 4));
SAME(offsetof(data, mqtt_client_data_info.qos), AT(3, 8));
SAME(offsetof(data, mqtt_client_data_info.dup), AT(3, 9));
SAME(offsetof(data, mqtt_client_data_info.retained), AT(3, 10));
SAME(offsetof(data, mqtt_client_data_info.client_handle), POINTER == 8 ? 40 : 24);
SAME(offsetof(data, mqtt_client_published_info.msg_id), 0);
SAME(offsetof(data, mqtt_client_disconnect_info.client_handle), 0);
SAME(sizeof(data), POINTER == 8 ? 48 : 28);
SAME(sizeof(MEMBER(data, mqtt_client_published_info)), 4);
SAME(sizeof(MEMBER(data, mqtt_client_disconnect_info)), POINTER);
SAME_TYPE(MEMBER(data, mqtt_client_data_info.topic), char *);
SAME_TYPE(MEMBER(data, mqtt_client_data_info.topic_len), uint16_t);
SAME_TYPE(MEMBER(data, mqtt_client_data_info.payload), char *);
SAME_TYPE(MEMBER(data, mqtt_client_data_info.payload_len), uint16_t);
SAME_TYPE(MEMBER(data, mqtt_client_data_info.msgid), int);
SAME_TYPE(MEMBER(data, mqtt_client_data_info.qos), uint8_t);
SAME_TYPE(MEMBER(data, mqtt_client_data_info.dup), uint8_t);
SAME_TYPE(MEMBER(data, mqtt_client_data_info.retained), uint8_t);
SAME_TYPE(MEMBER(data, mqtt_client_data_info.client_handle), void *);
SAME_TYPE(MEMBER(data, mqtt_client_published_info.msg_id), int);
SAME_TYPE(MEMBER(data, mqtt_client_disconnect_info.client_handle), void *);

/* ---- values ---- */

SAME(WM_EVENT_MQTT_CLIENT_CONNECTED, 0);
SAME(WM_EVENT_MQTT_CLIENT_DISCONNECTED, 1);
SAME(WM_EVENT_MQTT_CLIENT_DATA, 2);
SAME(WM_EVENT_MQTT_CLIENT_PUBLISHED, 3);
SAME(sizeof(enum wm_event_mqtt_client), 4);

SAME(WM_MQTT_CLIENT_AUTH_MODE_NOT_CERT, 0);
SAME(WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT, 1);
SAME(WM_MQTT_CLIENT_AUTH_MODE_PROVIDE_CLIENT_CERT, 2);
SAME(WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH, 3);
SAME(sizeof(enum wm_mqtt_client_auth_mode_en), 4);

SAME(WM_MQTT_CLIENT_ERROR_SUCCESS, 0);
SAME(WM_MQTT_CLIENT_ERROR_FAILURE, -5001);
SAME(WM_MQTT_CLIENT_ERROR_PERSISTENCE_ERROR, -5002);
SAME(WM_MQTT_CLIENT_ERROR_DISCONNECTED, -5003);
SAME(WM_MQTT_CLIENT_ERROR_MAX_MESSAGES_INFLIGHT, -5004);
SAME(WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING, -5005);
SAME(WM_MQTT_CLIENT_ERROR_NULL_PARAMETER, -5006);
SAME(WM_MQTT_CLIENT_ERROR_TOPICNAME_TRUNCATED, -5007);
SAME(WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE, -5008);
SAME(WM_MQTT_CLIENT_ERROR_BAD_QOS, -5009);
SAME(WM_MQTT_CLIENT_ERROR_SSL_NOT_SUPPORTED, -5010);
SAME(WM_MQTT_CLIENT_ERROR_BAD_MQTT_VERSION, -5011);
SAME(WM_MQTT_CLIENT_ERROR_BAD_PROTOCOL, -5014);
SAME(WM_MQTT_CLIENT_ERROR_BAD_MQTT_OPTION, -5015);
SAME(WM_MQTT_CLIENT_ERROR_WRONG_MQTT_VERSION, -5016);
SAME(WM_MQTT_CLIENT_ERROR_0_LEN_WILL_TOPIC, -5017);
SAME(sizeof(wm_mqtt_client_error_code_t), 4);
SAME_TYPE(wm_mqtt_client_error_code_t, enum wm_mqtt_client_error_code_en);

/* Macros, not enum members. */
#if !defined WM_MQTT_CLIENT_CONNACK_BAD_VERSION || !defined WM_MQTT_CLIENT_CONNACK_ID_REJECTED ||                      \
    !defined WM_MQTT_CLIENT_CONNACK_SERVER_UNAVAILABLE || !defined WM_MQTT_CLIENT_CONNACK_BAD_CREDENTIALS ||           \
    !defined WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED || !defined WM_MQTT_CLIENT_SUBSCRIBE_REFUSED
#error the macros for refusals are missing
#else
SAME(WM_MQTT_CLIENT_CONNACK_BAD_VERSION, -4999);
SAME(WM_MQTT_CLIENT_CONNACK_ID_REJECTED, -4998);
SAME(WM_MQTT_CLIENT_CONNACK_SERVER_UNAVAILABLE, -4997);
SAME(WM_MQTT_CLIENT_CONNACK_BAD_CREDENTIALS, -4996);
SAME(WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED, -4995);
SAME(WM_MQTT_CLIENT_SUBSCRIBE_REFUSED, -4872);
/* Each is one operand, whatever stands around it. */
SAME(10 - WM_MQTT_CLIENT_CONNACK_BAD_VERSION, 5009);
SAME(2 * WM_MQTT_CLIENT_SUBSCRIBE_REFUSED, -9744);
#endif

/* ---- functions ---- */

extern const struct prototypes {
    wm_mqtt_client_handle_t (*init)(wm_mqtt_client_config_t *);
    int (*deinit)(wm_mqtt_client_handle_t);
    int (*connect)(wm_mqtt_client_handle_t);
    int (*disconnect)(wm_mqtt_client_handle_t);
    int (*reconnect)(wm_mqtt_client_handle_t);
    int (*subscribe)(wm_mqtt_client_handle_t, const char *, uint8_t);
    int (*unsubscribe)(wm_mqtt_client_handle_t, const char *);
    int (*unsubcribe)(wm_mqtt_client_handle_t, const char *);
    int (*publish)(wm_mqtt_client_handle_t, const char *, const char *, uint16_t, uint8_t, uint8_t);
    const wm_event_group_t *group;
} prototypes;

const struct prototypes prototypes = {
    .init = wm_mqtt_client_init,
    .deinit = wm_mqtt_client_deinit,
    .connect = wm_mqtt_client_connect,
    .disconnect = wm_mqtt_client_disconnect,
    .reconnect = wm_mqtt_client_reconnect,
    .subscribe = wm_mqtt_client_subscribe,
    .unsubscribe = wm_mqtt_client_unsubscribe,
    .unsubcribe = wm_mqtt_client_unsubcribe, /* sic: the vendor's guide spells it so */
    .publish = wm_mqtt_client_publish,
    .group = &WM_MQTT_EV,
};
SAME_TYPE(__typeof__(wm_mqtt_client_init), wm_mqtt_client_handle_t(wm_mqtt_client_config_t *));
SAME_TYPE(__typeof__(wm_mqtt_client_deinit), int(wm_mqtt_client_handle_t));
SAME_TYPE(__typeof__(wm_mqtt_client_connect), int(wm_mqtt_client_handle_t));
SAME_TYPE(__typeof__(wm_mqtt_client_disconnect), int(wm_mqtt_client_handle_t));
SAME_TYPE(__typeof__(wm_mqtt_client_reconnect), int(wm_mqtt_client_handle_t));
SAME_TYPE(__typeof__(wm_mqtt_client_subscribe), int(wm_mqtt_client_handle_t, const char *, uint8_t));
SAME_TYPE(__typeof__(wm_mqtt_client_unsubscribe), int(wm_mqtt_client_handle_t, const char *));
SAME_TYPE(__typeof__(wm_mqtt_client_unsubcribe), int(wm_mqtt_client_handle_t, const char *));
SAME_TYPE(__typeof__(wm_mqtt_client_publish),
          int(wm_mqtt_client_handle_t, const char *, const char *, uint16_t, uint8_t, uint8_t));

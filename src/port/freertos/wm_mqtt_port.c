/* The device port over FreeRTOS and the SDK: configuration, clock, identity, randomness, log. */
#include "wm_mqtt_port.h"

#include <string.h>
#include <time.h>

#include "wmsdk_config.h"
#include "wm_task_config.h"
#include "wm_error.h"
#include "wm_utils.h"
#include "wm_drv_rng.h"
#include "wm_osal.h"

#define LOG_TAG "mqtt"
#include "wm_log.h"

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

const struct wm_mqtt_port_config wm_mqtt_port_config = {
    .io_buffer = CONFIG_MQTT_CLIENT_IO_BUFFER,
#ifdef CONFIG_MQTT_CLIENT_TLS
    .tls = true,
    .record = CONFIG_MQTT_CLIENT_TLS_RECORD,
    .chain = CONFIG_MQTT_CLIENT_TLS_CHAIN,
    .names = CONFIG_MQTT_CLIENT_TLS_AUTHORITIES,
    .handshake_stack = CONFIG_MQTT_CLIENT_HANDSHAKE_STACK / sizeof(StackType_t),
#endif
#ifdef CONFIG_MQTT_CLIENT_TLS12
    .tls12 = true,
#endif
#ifdef CONFIG_MQTT_CLIENT_BUILTIN_ROOTS
    .authorities = &wm_mqtt_authorities,
#endif
    .window = CONFIG_MQTT_CLIENT_WINDOW,
    .payload = CONFIG_MQTT_CLIENT_LARGEST_PAYLOAD,
    .outgoing = CONFIG_MQTT_CLIENT_OUTGOING_BUFFER,
    .backlog = CONFIG_MQTT_CLIENT_BACKLOG,
    /* The queue serves everybody: half of it is ours. */
    .event_share = CONFIG_WM_EVENT_QUEUE_SIZE > 1 ? CONFIG_WM_EVENT_QUEUE_SIZE / 2 : 1,
    .task_stack = CONFIG_MQTT_CLIENT_TASK_STACK / sizeof(StackType_t),
    .task_priority = CONFIG_MQTT_CLIENT_TASK_PRIORITY,
};

uint64_t wm_mqtt_port_now(void)
{
    /* The kernel counts the wraps of its 32-bit tick; this is its one function that tells, and reads both together. */
    TimeOut_t now;
    vTaskSetTimeOutState(&now);
    uint64_t ticks = (uint64_t)(uint32_t)now.xOverflowCount << 32 | now.xTimeOnEntering;
    return configTICK_RATE_HZ == 1000 ? ticks : ticks * 1000 / configTICK_RATE_HZ;
}

uint32_t wm_mqtt_port_ticks(uint32_t milliseconds)
{
    if (milliseconds == WM_MQTT_PORT_FOREVER)
        return portMAX_DELAY;
    /* In 32 bits: the seconds, and what is less than one, rounded up. */
    return milliseconds / 1000 * configTICK_RATE_HZ + (milliseconds % 1000 * configTICK_RATE_HZ + 999) / 1000;
}

void wm_mqtt_port_mac(uint8_t *mac)
{
    memset(mac, 0, WM_MAC_ADDR_LEN);
    wm_sys_get_mac_addr(WM_MAC_TYPE_STA, mac, WM_MAC_ADDR_LEN);
}

uint64_t wm_mqtt_port_unix_time(void)
{
    time_t now = time(NULL);
    return now > 0 ? (uint64_t)now : 0;
}

bool wm_mqtt_port_random(uint8_t *bytes, size_t len)
{
    return len == 0 || wm_drv_fill_random(bytes, len) == WM_ERR_SUCCESS;
}

void wm_mqtt_port_log(int level, const char *line, size_t len)
{
    int width = (int)len;
    switch (level) {
        case WM_LOG_LEVEL_ERROR: wm_log_error("%.*s", width, line); break;
        case WM_LOG_LEVEL_WARN: wm_log_warn("%.*s", width, line); break;
        case WM_LOG_LEVEL_INFO: wm_log_info("%.*s", width, line); break;
        case WM_LOG_LEVEL_DEBUG: wm_log_debug("%.*s", width, line); break;
        default: wm_log_verbose("%.*s", width, line); break;
    }
}

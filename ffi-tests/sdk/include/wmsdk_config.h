/**
 * @file wmsdk_config.h
 * @brief Host stand-in: the part of the generated configuration that applications and this stand-in look at.
 *
 * On the device Kconfig writes this file. Every value can be set with -D instead, also those of an example's own
 * Kconfig (CONFIG_BROKER_URL and the like).
 */
#ifndef WM_HOST_SDK_CONFIG_H
#define WM_HOST_SDK_CONFIG_H

#ifndef CONFIG_COMPONENT_EVENT_ENABLED
#define CONFIG_COMPONENT_EVENT_ENABLED 1 /**< the event task is part of the build */
#endif
#ifndef CONFIG_COMPONENT_LOG_ENABLED
#define CONFIG_COMPONENT_LOG_ENABLED 1 /**< the log is part of the build */
#endif
#ifndef CONFIG_COMPONENT_MQTT_ENABLED
#define CONFIG_COMPONENT_MQTT_ENABLED 1 /**< the MQTT client is part of the build */
#endif
#ifndef CONFIG_COMPONENT_NM_WIFI_STA_ENABLED
#define CONFIG_COMPONENT_NM_WIFI_STA_ENABLED 1 /**< the network manager has a station */
#endif
#ifndef CONFIG_WM_EVENT_QUEUE_SIZE
#define CONFIG_WM_EVENT_QUEUE_SIZE 32 /**< entries of the event queue, 1 to 512 */
#endif
#ifndef CONFIG_LOG_DEFAULT_LEVEL
#define CONFIG_LOG_DEFAULT_LEVEL 3 /**< log level at start (INFO); 0 removes the log statements */
#endif
#ifndef CONFIG_LWIP_ENABLE_IPV4
#define CONFIG_LWIP_ENABLE_IPV4 1 /**< IPv4 */
#endif
#ifndef CONFIG_LWIP_ENABLE_IPV6
#define CONFIG_LWIP_ENABLE_IPV6 1 /**< IPv6 */
#endif
#ifndef CONFIG_FREERTOS_HZ
#define CONFIG_FREERTOS_HZ 1000 /**< ticks per second; the stand-in supports this value only */
#endif
#ifndef CONFIG_FREERTOS_MAX_TASK_NAME_LEN
#define CONFIG_FREERTOS_MAX_TASK_NAME_LEN 16 /**< task name with its final NUL */
#endif

#endif

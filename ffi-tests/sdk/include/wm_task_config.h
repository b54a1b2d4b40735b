/**
 * @file wm_task_config.h
 * @brief Host stand-in: priorities and stack sizes (bytes) of the tasks an MQTT application has to do with.
 *        Threads on a host ignore them.
 */
#ifndef WM_HOST_TASK_CONFIG_H
#define WM_HOST_TASK_CONFIG_H

#include "wmsdk_config.h"
#include "freertos/FreeRTOS.h"

#define WM_TASK_PRIO_MAX          (configMAX_PRIORITIES)     /**< number of priorities */
#define WM_TASK_PRIO_MIN          (0)                        /**< lowest priority */
#define WM_TASK_TCPIP_PRIO        (WM_TASK_PRIO_MAX - 5)     /**< network stack */
#define WM_TASK_EVENT_PRIO        (WM_TASK_PRIO_MAX - 6)     /**< event task */
#define WM_TASK_NET_MANAGER_PRIO  (WM_TASK_PRIO_MAX - 7)     /**< network manager */
#define WM_TASK_ATCMD_PRIO        (WM_TASK_PRIO_MAX - 9)     /**< AT commands */
#define WM_TASK_MQTT_CLIENT_PRIO  (WM_TASK_ATCMD_PRIO - 1)   /**< MQTT task */
#define WM_TASK_MAIN_PRIO         (WM_TASK_PRIO_MIN + 1)     /**< the task that runs main() */
#define WM_TASK_TCPIP_STACK       (4096)                     /**< network stack */
#define WM_TASK_EVENT_STACK       (2048)                     /**< event task */
#define WM_TASK_NET_MANAGER_STACK (2048)                     /**< network manager */
#define WM_TASK_ATCMD_STACK       (8192)                     /**< AT commands */
#define WM_TASK_MQTT_CLIENT_STACK (8192)                     /**< MQTT task */
#define WM_TASK_MAIN_STACK        (4096)                     /**< the task that runs main() */

#endif

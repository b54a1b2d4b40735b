/* The device port's network alone, over lwIP: used by the test's task in place of the MQTT task. */
#ifndef FIRMWARE_NET_H
#define FIRMWARE_NET_H

#include "check.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "lwip/tcpip.h"
#include "wm_mqtt_port.h"

typedef struct wm_mqtt_port_event news_t;
typedef struct wm_mqtt_port_address address_t;

static inline void close_net(void *net)
{
    wm_mqtt_port_net_task_ends();
    wm_mqtt_port_net_close(net);
}

static inline void *open_net(void)
{
    void *net = wm_mqtt_port_net_open();
    REQUIRE(net != NULL);
    at_test_end(END_SERVERS, close_net, net);
    return net;
}

/* What lwIP has, looked at in its task. */

static struct {
    void (*look)(void);
    TaskHandle_t asks;
} looker;

static inline void look_now(void *unused)
{
    (void)unused;
    looker.look();
    xTaskNotifyGive(looker.asks);
}

static inline void look(void (*look)(void))
{
    looker.look = look;
    looker.asks = xTaskGetCurrentTaskHandle();
    REQUIRE(tcpip_callback(look_now, NULL) == ERR_OK);
    ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
}

#endif

/*
 * The device port's network: what the MQTT task sleeps on, and its name lookups. The sockets are in wm_mqtt_socket.c. Nothing
 * polls, and nothing needs a loopback interface.
 */
#include "wm_mqtt_lwip.h"

#include <stdlib.h>
#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"

#include "lwip/api.h"
#include "lwip/dns.h"

/* How often a lookup that lwIP had no place for is tried again, in milliseconds. */
#define LOOKUP_INTERVAL 500

/* A server can keep the MQTT task busy without end. After so many turns without a pause tasks of lower priority get what is left of
 * a tick: somebody among them may want to disconnect. */
#define TURNS 64

#define ONE_FAMILY (!LWIP_IPV4 || !LWIP_IPV6)

struct lookup {
    struct lookup *next;
    struct net *net;
    uintptr_t token;
    uint16_t port;
    uint8_t type; /* lwIP's number of the families that are wanted */
    bool found;
    ip_addr_t address;
    char host[];
};

/* What the MQTT task sleeps on. Lives until the task, its wakers, its sockets and its lookups are gone. */
struct net {
    SemaphoreHandle_t wake;
    uint16_t users;
    uint16_t turns; /* of the MQTT task, without a pause */
    struct lookup *answers; /* lookups that have ended */
    struct lookup *waiting; /* those that lwIP had no place for: the MQTT task's alone */
};

static void free_lookups(struct lookup *lookup)
{
    while (lookup != NULL) {
        struct lookup *next = lookup->next;
        free(lookup);
        lookup = next;
    }
}

void *wm_mqtt_port_net_open(void)
{
    struct net *net = calloc(1, sizeof *net);
    if (net == NULL)
        return NULL;
    net->wake = xSemaphoreCreateBinary();
    if (net->wake == NULL) {
        free(net);
        return NULL;
    }
    net->users = 1;
    return net;
}

void wm_mqtt_port_net_share(void *handle)
{
    struct net *net = handle;
    taskENTER_CRITICAL();
    net->users++;
    taskEXIT_CRITICAL();
}

void wm_mqtt_port_net_close(void *handle)
{
    struct net *net = handle;
    taskENTER_CRITICAL();
    bool last = --net->users == 0;
    taskEXIT_CRITICAL();
    if (!last)
        return;
    free_lookups(net->answers);
    free_lookups(net->waiting);
    vSemaphoreDelete(net->wake);
    free(net);
}

void wm_mqtt_port_net_wake(void *handle)
{
    struct net *net = handle;
    xSemaphoreGive(net->wake);
}

err_t wm_mqtt_lwip_call(tcpip_api_call_fn function, void *subject)
{
    struct wm_mqtt_lwip_call request = {.subject = subject};
    return tcpip_api_call(function, &request.call);
}

/* Whether the calling task has lwIP's semaphore, which lwIP makes when a task calls it first: the SDK's port of lwIP ends the program
 * where there is no memory for that. */
static bool has_semaphore(void)
{
#if LWIP_NETCONN_SEM_PER_THREAD
    /* No other task may take in between what was looked for. */
    vTaskSuspendAll();
    SemaphoreHandle_t one = xSemaphoreCreateBinary();
    if (one != NULL) {
        vSemaphoreDelete(one);
        (void)LWIP_NETCONN_THREAD_SEM_GET();
    }
    xTaskResumeAll();
    return one != NULL;
#else
    return true;
#endif
}

static void answer(struct lookup *lookup, const ip_addr_t *address)
{
    struct net *net = lookup->net;
    lookup->found = address != NULL;
    if (address != NULL)
        lookup->address = *address;
    taskENTER_CRITICAL();
    lookup->next = net->answers;
    net->answers = lookup;
    taskEXIT_CRITICAL();
    wm_mqtt_port_net_wake(net);
    wm_mqtt_port_net_close(net);
}

static void on_found(const char *name, const ip_addr_t *address, void *lookup)
{
    (void)name;
    answer(lookup, address);
}

/* ERR_MEM: lwIP has no place for it now. Otherwise it is lwIP's, or answered. */
static err_t look_up(struct tcpip_api_call_data *call)
{
    struct lookup *lookup = wm_mqtt_lwip_subject(call);
    ip_addr_t address;
    err_t err = dns_gethostbyname_addrtype(lookup->host, &address, on_found, lookup, lookup->type);
    if (err != ERR_INPROGRESS && err != ERR_MEM)
        answer(lookup, err == ERR_OK ? &address : NULL);
    return err;
}

/* lwIP has places for a few lookups, four by default, and they are not ours alone. */
static void begin_waiting(struct net *net)
{
    struct lookup *lookup, **link = &net->waiting;
    while ((lookup = *link) != NULL) {
        *link = lookup->next;
        wm_mqtt_port_net_share(net);
        if (wm_mqtt_lwip_call(look_up, lookup) != ERR_MEM)
            continue;
        wm_mqtt_port_net_close(net);
        lookup->next = *link;
        *link = lookup;
        link = &lookup->next;
    }
}

bool wm_mqtt_port_net_resolve(void *handle, uintptr_t token, const char *host, size_t len, uint16_t port, uint8_t family)
{
    struct net *net = handle;
    /* A connection begins with this: it is the task's first call of lwIP. */
    struct lookup *lookup = has_semaphore() ? calloc(1, sizeof *lookup + len + 1) : NULL;
    if (lookup == NULL)
        return false;
    memcpy(lookup->host, host, len);
    if (family != 0 && (ONE_FAMILY || ipaddr_aton(lookup->host, &lookup->address))) {
        free(lookup);
        return false;
    }
    lookup->type = family == 0 ? LWIP_DNS_ADDRTYPE_DEFAULT : family == 4 ? LWIP_DNS_ADDRTYPE_IPV4 : LWIP_DNS_ADDRTYPE_IPV6;
    lookup->net = net;
    lookup->token = token;
    lookup->port = port;
    struct lookup **link = &net->waiting;
    while (*link != NULL)
        link = &(*link)->next;
    *link = lookup;
    begin_waiting(net);
    return true;
}

void wm_mqtt_port_net_forget(void *handle, uintptr_t token)
{
    struct lookup *lookup, **link = &((struct net *)handle)->waiting;
    for (; (lookup = *link) != NULL; link = &lookup->next) {
        if (lookup->token == token) {
            *link = lookup->next;
            free(lookup);
            return;
        }
    }
}

/* The next thing that has happened. */
static bool take_event(struct net *net, struct wm_mqtt_port_event *event)
{
    taskENTER_CRITICAL();
    struct lookup *lookup = net->answers;
    if (lookup != NULL)
        net->answers = lookup->next;
    taskEXIT_CRITICAL();

    memset(event, 0, sizeof *event);
    if (lookup == NULL)
        return wm_mqtt_lwip_ready(net, &event->token);
    event->token = lookup->token;
    event->resolved = true;
    event->found = lookup->found;
    event->port = lookup->port;
#if LWIP_IPV6
    if (IP_IS_V6_VAL(lookup->address)) {
        event->address.is_v6 = true;
        memcpy(event->address.bytes, ip_2_ip6(&lookup->address)->addr, 16);
    } else
#endif
#if LWIP_IPV4
        memcpy(event->address.bytes, &ip_2_ip4(&lookup->address)->addr, 4);
#endif
    free(lookup);
    return true;
}

bool wm_mqtt_port_net_wait(void *handle, uint32_t timeout, struct wm_mqtt_port_event *event)
{
    struct net *net = handle;
    begin_waiting(net);
    /* First: what the task was woken for is looked at now, and must not wake it again. */
    bool woken = timeout != 0 && xSemaphoreTake(net->wake, 0) == pdTRUE;
    if (take_event(net, event))
        return true;
    if (woken)
        return false;
    if (net->waiting != NULL && timeout > LOOKUP_INTERVAL)
        timeout = LOOKUP_INTERVAL;
    if (timeout == 0) {
        if (++net->turns % TURNS == 0)
            vTaskDelay(1);
        return false;
    }
    net->turns = 0;
    return xSemaphoreTake(net->wake, wm_mqtt_port_ticks(timeout)) == pdTRUE && take_event(net, event);
}

void wm_mqtt_port_net_task_ends(void)
{
#if LWIP_NETCONN_SEM_PER_THREAD
    LWIP_NETCONN_THREAD_SEM_FREE();
#endif
}

/*
 * The device port's network: lwIP's netconn API with a callback that wakes the MQTT task. Nothing polls, and nothing needs a
 * loopback interface.
 */
#include "wm_mqtt_port.h"

#include <stdlib.h>
#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"

#include "lwip/api.h"
#include "lwip/dns.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcpip_priv.h"
#include "lwip/tcp.h"
#include "lwip/tcpip.h"

/* What a close may wait for memory, in milliseconds. lwIP's own limit is 20 s. */
#define CLOSE_TIMEOUT 250

/* What the receive window has beyond the mailbox for segments. A server that fills the window would overflow that: lwIP drops
 * what comes behind, and it is back after a time-out only. So this much of the window is never opened again. */
#define MAILBOX (DEFAULT_TCP_RECVMBOX_SIZE * TCP_MSS)
#define EXCESS  (TCP_WND > MAILBOX ? TCP_WND - MAILBOX : 0)

struct lookup {
    struct lookup *next;
    struct net *net;
    uintptr_t token;
    bool found;
    ip_addr_t address;
    char host[];
};

/* What the MQTT task sleeps on. Lives until the task, its wakers, its sockets and its lookups are gone. */
struct net {
    SemaphoreHandle_t wake;
    unsigned users;
    struct lookup *answers; /* lookups that have ended */
};

struct socket {
    struct socket *next;
    struct net *net;
    uintptr_t token;
    struct netconn *conn;
    struct pbuf *rest;   /* received, and not read to its end yet */
    u16_t at;            /* how far it was read */
    size_t kept;         /* how much of the window's excess is closed */
    unsigned received;   /* how often there was something to receive and nobody has come for it */
    bool ready;          /* something has happened that the task has not been told */
};

/* All sockets: a netconn has no room for a pointer to ours. Like what a net's members say, short enough for critical
 * sections: there are as many as there are connected handles. */
static struct socket *sockets;

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
    while (net->answers != NULL) {
        struct lookup *lookup = net->answers;
        net->answers = lookup->next;
        free(lookup);
    }
    vSemaphoreDelete(net->wake);
    free(net);
}

void wm_mqtt_port_net_wake(void *handle)
{
    struct net *net = handle;
    xSemaphoreGive(net->wake);
}

void wm_mqtt_port_net_task_ends(void)
{
#if LWIP_NETCONN_SEM_PER_THREAD
    netconn_thread_cleanup();
#endif
}

/* The next thing that has happened. */
static bool take_event(struct net *net, struct wm_mqtt_port_event *event)
{
    struct lookup *lookup;
    struct socket *socket;

    taskENTER_CRITICAL();
    lookup = net->answers;
    if (lookup != NULL)
        net->answers = lookup->next;
    for (socket = sockets; lookup == NULL && socket != NULL; socket = socket->next) {
        if (socket->ready && socket->net == net) {
            socket->ready = false;
            break;
        }
    }
    taskEXIT_CRITICAL();

    memset(event, 0, sizeof *event);
    if (lookup != NULL) {
        event->token = lookup->token;
        event->resolved = true;
        event->found = lookup->found;
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
    if (socket != NULL)
        event->token = socket->token;
    return socket != NULL;
}

bool wm_mqtt_port_net_wait(void *handle, uint32_t timeout, struct wm_mqtt_port_event *event)
{
    struct net *net = handle;
    if (take_event(net, event))
        return true;
    if (timeout == 0 || xSemaphoreTake(net->wake, wm_mqtt_port_ticks(timeout)) != pdTRUE)
        return false;
    return take_event(net, event);
}

/* ---- names ---- */

/* lwIP has places for a few lookups, four by default. Those that it has no place for wait until one of ours has ended, also one
 * of a net that is gone: a lookup cannot be cancelled. Only lwIP's task touches these. */
static unsigned asked;
static struct lookup *waiting;

static void look_up(void *argument);

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

/* A lookup has ended: the first that waits may try again. Not in this call: a place becomes free only when lwIP's own is over. */
static void try_waiting(void)
{
    struct lookup *next;
    while ((next = waiting) != NULL) {
        waiting = next->next;
        if (tcpip_try_callback(look_up, next) == ERR_OK)
            return;
        answer(next, NULL);
    }
}

static void on_found(const char *name, const ip_addr_t *address, void *lookup)
{
    (void)name;
    asked--;
    answer(lookup, address);
    try_waiting();
}

static void look_up(void *argument)
{
    struct lookup *lookup = argument;
    ip_addr_t address;
    err_t err = dns_gethostbyname(lookup->host, &address, on_found, lookup);
    if (err == ERR_INPROGRESS) {
        asked++;
    } else if (err == ERR_MEM && asked > 0) {
        struct lookup **link = &waiting;
        while (*link != NULL)
            link = &(*link)->next;
        lookup->next = NULL;
        *link = lookup;
    } else { /* known already, or a failure: others that wait are no further for it */
        answer(lookup, err == ERR_OK ? &address : NULL);
        try_waiting();
    }
}

bool wm_mqtt_port_net_resolve(void *net, uintptr_t token, const char *host, size_t len)
{
    struct lookup *lookup = calloc(1, sizeof *lookup + len + 1);
    if (lookup == NULL)
        return false;
    lookup->net = net;
    lookup->token = token;
    memcpy(lookup->host, host, len);
    wm_mqtt_port_net_share(net);
    if (tcpip_callback(look_up, lookup) == ERR_OK)
        return true;
    wm_mqtt_port_net_close(net);
    free(lookup);
    return false;
}

/* ---- sockets ---- */

/*
 * Mostly in lwIP's task. What it finds stays: a socket is freed only after netconn_delete, which lwIP's task answers, so
 * that task is not in here for it any more.
 */
static void on_event(struct netconn *conn, enum netconn_evt event, u16_t len)
{
    struct net *net = NULL;
    (void)len;
    if (event == NETCONN_EVT_RCVMINUS || event == NETCONN_EVT_SENDMINUS)
        return;
    taskENTER_CRITICAL();
    for (struct socket *socket = sockets; socket != NULL; socket = socket->next) {
        if (socket->conn == conn) {
            if (event != NETCONN_EVT_SENDPLUS)
                socket->received++;
            socket->ready = true;
            net = socket->net;
            break;
        }
    }
    taskEXIT_CRITICAL();
    if (net != NULL)
        wm_mqtt_port_net_wake(net);
}

static bool to_lwip(const struct wm_mqtt_port_address *from, ip_addr_t *to)
{
    memset(to, 0, sizeof *to);
    if (from->is_v6) {
#if LWIP_IPV6
        IP_SET_TYPE_VAL(*to, IPADDR_TYPE_V6);
        memcpy(ip_2_ip6(to)->addr, from->bytes, 16);
        return true;
#else
        return false;
#endif
    }
#if LWIP_IPV4
    IP_SET_TYPE_VAL(*to, IPADDR_TYPE_V4);
    memcpy(&ip_2_ip4(to)->addr, from->bytes, 4);
    return true;
#else
    return false;
#endif
}

static err_t connect_socket(struct socket *socket, const struct wm_mqtt_port_address *address, uint16_t port)
{
    ip_addr_t ip;
    if (!to_lwip(address, &ip))
        return ERR_VAL;
    enum netconn_type type = NETCONN_TCP;
#if LWIP_IPV6
    if (address->is_v6)
        type = NETCONN_TCP_IPV6;
#endif
    socket->conn = netconn_new_with_callback(type, on_event);
    if (socket->conn == NULL)
        return ERR_MEM;
    netconn_set_nonblocking(socket->conn, 1);
    netconn_set_sendtimeout(socket->conn, CLOSE_TIMEOUT);
    /* lwIP's task does not know this connection before netconn_connect. */
    tcp_nagle_disable(socket->conn->pcb.tcp);
    return netconn_connect(socket->conn, &ip, port);
}

void *wm_mqtt_port_connect(void *net, uintptr_t token, const struct wm_mqtt_port_address *address, uint16_t port, int *error)
{
    struct socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL) {
        *error = ERR_MEM;
        return NULL;
    }
    socket->net = net;
    socket->token = token;
    wm_mqtt_port_net_share(net);
    taskENTER_CRITICAL();
    socket->next = sockets;
    sockets = socket;
    taskEXIT_CRITICAL();

    err_t err = connect_socket(socket, address, port);
    if (err == ERR_OK || err == ERR_INPROGRESS)
        return socket;
    *error = err;
    wm_mqtt_port_close(socket);
    return NULL;
}

int wm_mqtt_port_established(void *handle)
{
    struct socket *socket = handle;
    err_t err = netconn_err(socket->conn);
    if (err != ERR_OK)
        return err;
    return netconn_is_flag_set(socket->conn, NETCONN_FLAG_IN_NONBLOCKING_CONNECT) ? WM_MQTT_PORT_WOULD_BLOCK : 0;
}

int wm_mqtt_port_read(void *handle, uint8_t *buffer, size_t len)
{
    struct socket *socket = handle;
    if (socket->rest == NULL) {
        /* The SDK's sys_arch sleeps for a tick on an empty mailbox, also when it was told not to wait. */
        taskENTER_CRITICAL();
        bool empty = socket->received == 0;
        taskEXIT_CRITICAL();
        if (empty)
            return WM_MQTT_PORT_WOULD_BLOCK;
        err_t err = netconn_recv_tcp_pbuf_flags(socket->conn, &socket->rest, NETCONN_DONTBLOCK | NETCONN_NOAUTORCVD);
        if (err == ERR_WOULDBLOCK)
            return WM_MQTT_PORT_WOULD_BLOCK;
        if (err != ERR_OK) {
            socket->rest = NULL;
            return err == ERR_CLSD ? 0 : err;
        }
        taskENTER_CRITICAL();
        socket->received--;
        taskEXIT_CRITICAL();
        socket->at = 0;
        size_t opened = socket->rest->tot_len, kept = EXCESS - socket->kept;
        if (kept > opened)
            kept = opened;
        socket->kept += kept;
        if (opened > kept)
            netconn_tcp_recvd(socket->conn, opened - kept);
    }
    u16_t wanted = len < UINT16_MAX ? (u16_t)len : UINT16_MAX;
    u16_t copied = pbuf_copy_partial(socket->rest, buffer, wanted, socket->at);
    socket->at = (u16_t)(socket->at + copied);
    if (socket->at >= socket->rest->tot_len) {
        pbuf_free(socket->rest);
        socket->rest = NULL;
    }
    return copied;
}

int wm_mqtt_port_write(void *handle, const uint8_t *bytes, size_t len)
{
    struct socket *socket = handle;
    size_t written = 0;
    err_t err = netconn_write_partly(socket->conn, bytes, len, NETCONN_COPY | NETCONN_DONTBLOCK, &written);
    if (err == ERR_WOULDBLOCK)
        return WM_MQTT_PORT_WOULD_BLOCK;
    return err == ERR_OK ? (int)written : err;
}

/* In lwIP's task, which closes the connection only after this. */
static void acknowledge(void *handle)
{
    struct socket *socket = handle;
    struct tcp_pcb *pcb = socket->conn->pcb.tcp;
    if (pcb != NULL && tcp_is_flag_set(pcb, TF_ACK_DELAY)) {
        tcp_set_flags(pcb, TF_ACK_NOW);
        tcp_output(pcb);
    }
}

void wm_mqtt_port_acknowledge(void *socket)
{
    /* When lwIP's task has no place for it, the acknowledgement comes later. */
    tcpip_try_callback(acknowledge, socket);
}

void wm_mqtt_port_shutdown(void *handle)
{
    struct socket *socket = handle;
    netconn_shutdown(socket->conn, 0, 1);
}

struct question {
    struct tcpip_api_call_data call; /* first: lwIP hands on a pointer to it */
    struct netconn *conn;
};

/* In lwIP's task, or with its lock. */
static err_t ask_acknowledged(struct tcpip_api_call_data *call)
{
    struct tcp_pcb *pcb = ((struct question *)call)->conn->pcb.tcp;
    bool all = pcb == NULL || (pcb->unsent == NULL && pcb->unacked == NULL &&
                               /* there was no memory for the end of the stream: lwIP's timer will send it */
                               !tcp_is_flag_set(pcb, TF_CLOSEPEND));
    return all ? ERR_OK : ERR_INPROGRESS;
}

bool wm_mqtt_port_is_acknowledged(void *handle)
{
    struct question question = {.conn = ((struct socket *)handle)->conn};
    return tcpip_api_call(ask_acknowledged, &question.call) == ERR_OK;
}

void wm_mqtt_port_close(void *handle)
{
    struct socket *socket = handle;
    /* lwIP takes a window that is not all open for data that nobody has read, and closes with a reset. */
    if (socket->kept != 0)
        netconn_tcp_recvd(socket->conn, socket->kept);
#if LWIP_NETCONN_FULLDUPLEX
    /* After the end of the stream was read netconn_delete takes this for done, and leaves the connection to itself. */
    if (socket->conn != NULL)
        netconn_prepare_delete(socket->conn);
#endif
    netconn_delete(socket->conn);
    taskENTER_CRITICAL();
    struct socket **link = &sockets;
    while (*link != socket)
        link = &(*link)->next;
    *link = socket->next;
    taskEXIT_CRITICAL();
    if (socket->rest != NULL)
        pbuf_free(socket->rest);
    wm_mqtt_port_net_close(socket->net);
    free(socket);
}

/*
 * The device port's sockets: lwIP's netconn API with a callback that wakes the MQTT task.
 */
#include "wm_mqtt_lwip.h"

#include <stdlib.h>
#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "freertos/task.h"

#include "lwip/api.h"
#include "lwip/pbuf.h"
#include "lwip/tcp.h"

/* What a close may wait for memory, in milliseconds. lwIP's own limit is 20 s. */
#define CLOSE_TIMEOUT 250

/* What the receive window has beyond the mailbox for segments. A server that fills the window would overflow that: lwIP drops
 * what comes behind, and it is back after a time-out only. So this much of the window is never opened again. */
#define MAILBOX (DEFAULT_TCP_RECVMBOX_SIZE * TCP_MSS)
#define EXCESS  (TCP_WND > MAILBOX ? TCP_WND - MAILBOX : 0)

struct socket {
    struct socket *next;
    void *net;
    uintptr_t token;
    struct netconn *conn;
    struct pbuf *rest;   /* received, and not read to its end yet */
    u16_t at;            /* how far it was read */
    size_t kept;         /* how much of the window's excess is closed */
    unsigned received;   /* how often there was something to receive and nobody has come for it */
    bool ready;          /* something has happened that the task has not been told */
    bool blocked;        /* the task waits until the socket is connected, has room, or has sent everything */
    bool filled;         /* the mailbox for segments was full: lwIP may have lost the end of the stream */
};

/* All sockets: a netconn has no room for a pointer to ours. Like what a net's members say, short enough for critical
 * sections: there are as many as there are connected handles. */
static struct socket *sockets;

/*
 * Mostly in lwIP's task. What it finds stays: a socket is freed only after netconn_delete, which lwIP's task answers, so
 * that task is not in here for it any more.
 */
static void on_event(struct netconn *conn, enum netconn_evt event, u16_t len)
{
    void *net = NULL;
    (void)len;
    if (event == NETCONN_EVT_RCVMINUS || event == NETCONN_EVT_SENDMINUS)
        return;
    taskENTER_CRITICAL();
    for (struct socket *socket = sockets; socket != NULL; socket = socket->next) {
        if (socket->conn == conn) {
            /* An acknowledgement, which most writes have: nobody waits for it. */
            if (event == NETCONN_EVT_SENDPLUS && !socket->blocked)
                break;
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

bool wm_mqtt_lwip_ready(void *net, uintptr_t *token)
{
    bool ready = false;
    taskENTER_CRITICAL();
    for (struct socket *socket = sockets; socket != NULL && !ready; socket = socket->next) {
        ready = socket->ready && socket->net == net;
        if (ready) {
            socket->ready = false;
            *token = socket->token;
        }
    }
    taskEXIT_CRITICAL();
    return ready;
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

/* Looks whether there is memory for a netconn and its mailbox, and some for what lwIP allocates behind that: where the mailbox or a
 * timer finds none, the SDK's lwIP ends the program. */
static bool has_memory(void)
{
    enum { BEHIND = 1024 };
    void *conn = malloc(sizeof(struct netconn) + BEHIND);
    QueueHandle_t mailbox = xQueueCreate(DEFAULT_TCP_RECVMBOX_SIZE, sizeof(void *));
    bool found = conn != NULL && mailbox != NULL;
    if (mailbox != NULL)
        vQueueDelete(mailbox);
    free(conn);
    return found;
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
    if (has_memory())
        socket->conn = netconn_new_with_callback(type, on_event);
    if (socket->conn == NULL)
        return ERR_MEM;
    netconn_set_nonblocking(socket->conn, 1);
    netconn_set_sendtimeout(socket->conn, CLOSE_TIMEOUT);
    /* lwIP's task does not know this connection before netconn_connect, and afterwards nothing here touches it. */
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
    socket->blocked = true;
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
    /* In this order: where an attempt fails, lwIP's task notes the error before it ends the attempt. */
    bool connecting = netconn_is_flag_set(socket->conn, NETCONN_FLAG_IN_NONBLOCKING_CONNECT);
    err_t err = netconn_err(socket->conn);
    if (err != ERR_OK)
        return err;
    return connecting ? WM_MQTT_PORT_WOULD_BLOCK : 0;
}

/* All of it. lwIP takes a window that is not all open for data that nobody has read, and closes with a reset. */
static void open_window(struct socket *socket)
{
    if (socket->kept != 0)
        netconn_tcp_recvd(socket->conn, socket->kept);
    socket->kept = 0;
}

/* lwIP tells the end of the stream only once, also if the mailbox has no place for it. */
static err_t ask_ended(struct tcpip_api_call_data *call)
{
    struct tcp_pcb *pcb = ((struct netconn *)wm_mqtt_lwip_subject(call))->pcb.tcp;
    return pcb != NULL && pcb->state == CLOSE_WAIT && pcb->refused_data == NULL ? ERR_CLSD : ERR_OK;
}

int wm_mqtt_port_read(void *handle, uint8_t *buffer, size_t len)
{
    struct socket *socket = handle;
    if (socket->rest == NULL) {
        /* First: what comes behind this is no end. */
        bool ended = socket->filled && wm_mqtt_lwip_call(ask_ended, socket->conn) == ERR_CLSD;
        /* The SDK's sys_arch sleeps for a tick on an empty mailbox, also when it was told not to wait. */
        taskENTER_CRITICAL();
        bool empty = socket->received == 0;
        taskEXIT_CRITICAL();
        err_t err = ended ? ERR_CLSD : ERR_WOULDBLOCK;
        if (empty)
            socket->filled = ended;
        else
            err = netconn_recv_tcp_pbuf_flags(socket->conn, &socket->rest, NETCONN_DONTBLOCK | NETCONN_NOAUTORCVD | NETCONN_NOFIN);
        /* The end, which lwIP keeps. If it were taken, this half of the stream would be closed, and when the other one has ended too
         * lwIP would free the connection without a word: the netconn would still know it. */
        if (err == ERR_WOULDBLOCK && netconn_is_flag_set(socket->conn, NETCONN_FIN_RX_PENDING)) {
            taskENTER_CRITICAL();
            socket->received = 0;
            taskEXIT_CRITICAL();
            err = ERR_CLSD;
        }
        if (err == ERR_WOULDBLOCK)
            return WM_MQTT_PORT_WOULD_BLOCK;
        if (err != ERR_OK) {
            socket->rest = NULL;
            if (err != ERR_CLSD)
                return err;
            open_window(socket); /* nothing more comes */
            return 0;
        }
        taskENTER_CRITICAL();
        if (socket->received-- >= DEFAULT_TCP_RECVMBOX_SIZE)
            socket->filled = true;
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

struct write {
    struct socket *socket;
    const uint8_t *bytes;
    size_t len; /* then: how many lwIP has taken */
};

/* netconn_write does the same, but where the interface is down it returns an error for bytes that lwIP has taken and will send. */
static err_t write_now(struct tcpip_api_call_data *call)
{
    struct write *write = wm_mqtt_lwip_subject(call);
    struct netconn *conn = write->socket->conn;
    struct tcp_pcb *pcb = conn->pcb.tcp;
    err_t err = netconn_err(conn);
    if (err != ERR_OK || pcb == NULL)
        return err != ERR_OK ? err : ERR_CONN;
    if (write->len > tcp_sndbuf(pcb))
        write->len = tcp_sndbuf(pcb);
    if (write->len > UINT16_MAX)
        write->len = UINT16_MAX;
    err = write->len == 0 ? ERR_MEM : tcp_write(pcb, write->bytes, (u16_t)write->len, TCP_WRITE_FLAG_COPY);
    /* Where the server takes small segments only, lwIP's queue has no places for so many, and takes none. */
    while (err == ERR_MEM && pcb->snd_queuelen == 0 && (write->len /= 2) > 0)
        err = tcp_write(pcb, write->bytes, (u16_t)write->len, TCP_WRITE_FLAG_COPY);
    write->socket->blocked = err == ERR_MEM;
    if (err == ERR_MEM) {
        /* lwIP's timer looks whether there is room. */
        netconn_set_flags(conn, NETCONN_FLAG_CHECK_WRITESPACE);
        err = ERR_WOULDBLOCK;
    }
    tcp_output(pcb);
    return err;
}

int wm_mqtt_port_write(void *handle, const uint8_t *bytes, size_t len)
{
    struct write write = {handle, bytes, len};
    err_t err = wm_mqtt_lwip_call(write_now, &write);
    if (err == ERR_WOULDBLOCK)
        return WM_MQTT_PORT_WOULD_BLOCK;
    return err == ERR_OK ? (int)write.len : err;
}

static err_t acknowledge(struct tcpip_api_call_data *call)
{
    struct tcp_pcb *pcb = ((struct netconn *)wm_mqtt_lwip_subject(call))->pcb.tcp;
    if (pcb != NULL && tcp_is_flag_set(pcb, TF_ACK_DELAY)) {
        tcp_set_flags(pcb, TF_ACK_NOW);
        tcp_output(pcb);
    }
    return ERR_OK;
}

void wm_mqtt_port_acknowledge(void *handle)
{
    wm_mqtt_lwip_call(acknowledge, ((struct socket *)handle)->conn);
}

/* What a netconn receives with. */
static tcp_recv_fn receive;

/* When both sides have ended their stream, lwIP frees the connection some seconds later, or as soon as it needs memory, and tells
 * nobody: the netconn must not know it any more. lwIP does what is left to do for it. */
static err_t receive_to_the_end(void *conn, struct tcp_pcb *pcb, struct pbuf *data, err_t err)
{
    err = receive(conn, pcb, data, err);
    if (pcb->state == CLOSING || pcb->state == TIME_WAIT) {
        /* The mailbox had no place for the last bytes: lwIP would keep them with the connection, and not free them with it. */
        if (err != ERR_OK && data != NULL) {
            pbuf_free(data);
            err = ERR_OK;
        }
        pcb->errf(conn, ERR_CLSD);
        tcp_arg(pcb, NULL);
        tcp_recv(pcb, NULL);
        tcp_sent(pcb, NULL);
        tcp_poll(pcb, NULL, 0);
        tcp_err(pcb, NULL);
    }
    return err;
}

static err_t watch_for_the_end(struct tcpip_api_call_data *call)
{
    struct tcp_pcb *pcb = ((struct netconn *)wm_mqtt_lwip_subject(call))->pcb.tcp;
    if (pcb != NULL && pcb->recv != NULL && pcb->recv != receive_to_the_end) {
        receive = pcb->recv;
        tcp_recv(pcb, receive_to_the_end);
    }
    return ERR_OK;
}

void wm_mqtt_port_shutdown(void *handle)
{
    struct socket *socket = handle;
    socket->blocked = true;
    wm_mqtt_lwip_call(watch_for_the_end, socket->conn);
    netconn_shutdown(socket->conn, 0, 1);
}

static err_t ask_acknowledged(struct tcpip_api_call_data *call)
{
    struct tcp_pcb *pcb = ((struct netconn *)wm_mqtt_lwip_subject(call))->pcb.tcp;
    bool all = pcb == NULL || (pcb->unsent == NULL && pcb->unacked == NULL &&
                               /* there was no memory for the end of the stream: lwIP's timer will send it */
                               !tcp_is_flag_set(pcb, TF_CLOSEPEND));
    return all ? ERR_OK : ERR_INPROGRESS;
}

bool wm_mqtt_port_is_acknowledged(void *handle)
{
    return wm_mqtt_lwip_call(ask_acknowledged, ((struct socket *)handle)->conn) == ERR_OK;
}

void wm_mqtt_port_close(void *handle)
{
    struct socket *socket = handle;
    open_window(socket);
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

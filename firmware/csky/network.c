/* The device port's network on sockets of the host, in place of wm_mqtt_lwip.c and wm_mqtt_socket.c, which need a network
 * card: they run in the RV32 images. Names: `localhost` and those under
 * `.test` are the host, those under `.silent` get no answer; and addresses. */
#include "wm_mqtt_port.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "board.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "machine.h"

enum { SO_ERROR_NUMBER = 4 };

struct net {
    SemaphoreHandle_t wake;
    unsigned users;
    struct lookup {
        struct lookup *next;
        struct wm_mqtt_port_event event;
    } *answers;
};

struct socket {
    struct socket *next;
    struct net *net;
    uintptr_t token;
    int fd;
    short wanted; /* what the task waits for, of POLLIN and POLLOUT */
    bool ready;   /* something has happened that the task has not been told */
    bool connected;
};

static struct socket *sockets;

void *wm_mqtt_port_net_open(void)
{
    struct net *net = calloc(1, sizeof *net);
    if (net == NULL) return NULL;
    net->wake = xSemaphoreCreateBinary();
    net->users = 1;
    if (net->wake != NULL) return net;
    free(net);
    return NULL;
}

void wm_mqtt_port_net_share(void *net) { ((struct net *)net)->users++; }

void wm_mqtt_port_net_close(void *handle)
{
    struct net *net = handle;
    if (--net->users > 0) return;
    while (net->answers != NULL) {
        struct lookup *lookup = net->answers;
        net->answers = lookup->next;
        free(lookup);
    }
    vSemaphoreDelete(net->wake);
    free(net);
}

void wm_mqtt_port_net_wake(void *net) { xSemaphoreGive(((struct net *)net)->wake); }

void wm_mqtt_port_net_task_ends(void) {}
void network_task_ends(void *task) { (void)task; }
void network_start(void) {}
void network_forget_closed(void) {}

static bool take_event(struct net *net, struct wm_mqtt_port_event *event)
{
    struct lookup *lookup = net->answers;
    if (lookup != NULL) {
        net->answers = lookup->next;
        *event = lookup->event;
        free(lookup);
        return true;
    }
    for (struct socket *socket = sockets; socket != NULL; socket = socket->next) {
        if (socket->ready && socket->net == net) {
            socket->ready = false;
            *event = (struct wm_mqtt_port_event){.token = socket->token};
            return true;
        }
    }
    return false;
}

bool wm_mqtt_port_net_wait(void *handle, uint32_t timeout, struct wm_mqtt_port_event *event)
{
    struct net *net = handle;
    if (take_event(net, event)) return true;
    if (timeout == 0 || xSemaphoreTake(net->wake, wm_mqtt_port_ticks(timeout)) != pdTRUE) return false;
    return take_event(net, event);
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len >= end_len && strcasecmp(name + len - end_len, end) == 0;
}

bool wm_mqtt_port_net_resolve(void *handle, uintptr_t token, const char *host, size_t len, uint16_t port, uint8_t family)
{
    if (family != 0) return false;
    struct net *net = handle;
    struct lookup *lookup = calloc(1, sizeof *lookup);
    char name[64];
    unsigned parts[4];
    if (lookup == NULL) return false;
    snprintf(name, sizeof name, "%.*s", (int)len, host);
    if (strcasecmp(name, "localhost") == 0 || ends_with(name, ".test")) strcpy(name, "127.0.0.1");
    struct wm_mqtt_port_event *event = &lookup->event;
    *event = (struct wm_mqtt_port_event){.token = token, .resolved = true, .port = port};
    event->found = sscanf(name, "%u.%u.%u.%u", &parts[0], &parts[1], &parts[2], &parts[3]) == 4;
    for (int i = 0; event->found && i < 4; i++) event->address.bytes[i] = (uint8_t)parts[i];
    if (ends_with(name, ".silent")) {
        free(lookup);
        return true;
    }
    lookup->next = net->answers;
    net->answers = lookup;
    wm_mqtt_port_net_wake(net);
    return true;
}

/* None waits for a place. */
void wm_mqtt_port_net_forget(void *net, uintptr_t token) { (void)net, (void)token; }

/* ---- sockets ---- */

size_t network_wanted(struct pollfd *fds, size_t room)
{
    size_t count = 0;
    for (struct socket *socket = sockets; socket != NULL; socket = socket->next) {
        configASSERT(count < room);
        fds[count++] = (struct pollfd){.fd = socket->wanted ? socket->fd : -1, .events = socket->wanted};
    }
    return count;
}

/* Nobody opens or closes a socket between that call and this one. */
void network_ready(const struct pollfd *fds, size_t count)
{
    struct socket *socket = sockets;
    for (size_t i = 0; i < count; i++, socket = socket->next) {
        if (!fds[i].revents) continue;
        BaseType_t woken = pdFALSE;
        socket->wanted &= (short)~fds[i].revents;
        if (fds[i].revents & ~(POLLIN | POLLOUT)) socket->wanted = 0;
        socket->ready = true;
        xSemaphoreGiveFromISR(socket->net->wake, &woken);
        portYIELD_FROM_ISR(woken);
    }
}

static int result(struct socket *socket, long got, short direction)
{
    if (got != -LINUX_EAGAIN) return (int)got;
    socket->wanted |= direction;
    return WM_MQTT_PORT_WOULD_BLOCK;
}

void *wm_mqtt_port_connect(void *net, uintptr_t token, const struct wm_mqtt_port_address *address, uint16_t port, int *error)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    struct socket *socket = NULL;
    memcpy(&to.sin_addr, address->bytes, 4);
    long fd = address->is_v6 ? -LINUX_EAFNOSUPPORT : linux_call(LINUX_SOCKET, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || (socket = calloc(1, sizeof *socket)) == NULL) {
        if (fd >= 0) linux_call(LINUX_CLOSE, fd);
        *error = fd < 0 ? (int)fd : -1;
        return NULL;
    }
    linux_call(LINUX_SETSOCKOPT, fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, (long)&on, sizeof on);
    *socket = (struct socket){.next = sockets, .net = net, .token = token, .fd = (int)fd, .wanted = POLLOUT};
    sockets = socket;
    wm_mqtt_port_net_share(net);
    long failed = linux_call(LINUX_CONNECT, fd, (long)&to, sizeof to);
    if (failed == 0 || failed == -LINUX_EINPROGRESS) return socket;
    *error = (int)failed;
    wm_mqtt_port_close(socket);
    return NULL;
}

int wm_mqtt_port_established(void *handle)
{
    struct socket *socket = handle;
    int error = 0, len = sizeof error;
    if (socket->connected) return 0;
    struct pollfd fd = {.fd = socket->fd, .events = POLLOUT};
    long now[2] = {0, 0};
    if (linux_call(LINUX_PPOLL, (long)&fd, 1, (long)now) == 0) {
        socket->wanted |= POLLOUT;
        return WM_MQTT_PORT_WOULD_BLOCK;
    }
    linux_call(LINUX_GETSOCKOPT, socket->fd, SOL_SOCKET, SO_ERROR_NUMBER, (long)&error, (long)&len);
    socket->connected = error == 0;
    socket->wanted |= POLLIN;
    return -error;
}

int wm_mqtt_port_read(void *handle, uint8_t *buffer, size_t len)
{
    struct socket *socket = handle;
    return result(socket, linux_call(LINUX_RECVFROM, socket->fd, (long)buffer, (long)len, 0), POLLIN);
}

int wm_mqtt_port_write(void *handle, const uint8_t *bytes, size_t len)
{
    struct socket *socket = handle;
    return result(socket, linux_call(LINUX_SENDTO, socket->fd, (long)bytes, (long)len, MSG_NOSIGNAL), POLLOUT);
}

void wm_mqtt_port_acknowledge(void *handle)
{
    int on = 1;
    linux_call(LINUX_SETSOCKOPT, ((struct socket *)handle)->fd, IPPROTO_TCP, 12 /* TCP_QUICKACK */, (long)&on, sizeof on);
}

void wm_mqtt_port_shutdown(void *handle) { linux_call(LINUX_SHUTDOWN, ((struct socket *)handle)->fd, SHUT_WR); }

bool wm_mqtt_port_is_acknowledged(void *handle)
{
    struct pollfd fd = {.fd = ((struct socket *)handle)->fd};
    long now[2] = {0, 0};
    int unacknowledged = 0;
    linux_call(LINUX_IOCTL, fd.fd, 0x5411 /* TIOCOUTQ */, (long)&unacknowledged);
    /* Or the connection is over: without events that are asked for, poll() tells no more. */
    return unacknowledged == 0 || linux_call(LINUX_PPOLL, (long)&fd, 1, (long)now) > 0;
}

void wm_mqtt_port_close(void *handle)
{
    struct socket *socket = handle;
    linux_call(LINUX_CLOSE, socket->fd);
    port_mask();
    struct socket **link = &sockets;
    while (*link != socket) link = &(*link)->next;
    *link = socket->next;
    port_unmask();
    wm_mqtt_port_net_close(socket->net);
    free(socket);
}

/* Sockets of the host: posix/calls.c. Numbers are Linux'. */
#ifndef FIRMWARE_SYS_SOCKET_H
#define FIRMWARE_SYS_SOCKET_H

#include <stdint.h>
#include <sys/types.h>

typedef unsigned socklen_t;
typedef uint16_t sa_family_t;
struct sockaddr {
    sa_family_t sa_family;
    char sa_data[14];
};
struct linger {
    int l_onoff, l_linger;
};

#define AF_INET  2
#define AF_INET6 10

#define SOCK_STREAM   1
#define SOCK_NONBLOCK 04000
#define SOCK_CLOEXEC  02000000

#define SOL_SOCKET   1
#define SO_REUSEADDR 2
#define SO_RCVBUF    8
#define SO_LINGER    13

#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#define SHUT_WR      1

int socket(int domain, int type, int protocol);
int bind(int fd, const struct sockaddr *address, socklen_t len);
int listen(int fd, int backlog);
int accept(int fd, struct sockaddr *address, socklen_t *len);
int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int connect(int fd, const struct sockaddr *address, socklen_t len);
int getsockname(int fd, struct sockaddr *address, socklen_t *len);
int setsockopt(int fd, int level, int name, const void *value, socklen_t len);
ssize_t recv(int fd, void *to, size_t len, int flags);
ssize_t send(int fd, const void *bytes, size_t len, int flags);
int shutdown(int fd, int how);

#endif

/* poll() on the host's files: posix/calls.c. */
#ifndef FIRMWARE_POLL_H
#define FIRMWARE_POLL_H

#define POLLIN  1
#define POLLOUT 4

struct pollfd {
    int fd;
    short events, revents;
};
int poll(struct pollfd *fds, unsigned long count, int ms);

#endif

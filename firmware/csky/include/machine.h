/* The machine that the C-SKY images run on: any emulator that carries out these calls of Linux for them. */
#ifndef MACHINE_H
#define MACHINE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers that all architectures of Linux share since C-SKY came. */
enum linux_call {
    LINUX_IOCTL = 29,
    LINUX_CLOSE = 57,
    LINUX_WRITE = 64,
    LINUX_PPOLL = 73,
    LINUX_EXIT_GROUP = 94,
    LINUX_CLOCK_GETTIME = 113,
    LINUX_SOCKET = 198,
    LINUX_CONNECT = 203,
    LINUX_SENDTO = 206,
    LINUX_RECVFROM = 207,
    LINUX_SETSOCKOPT = 208,
    LINUX_GETSOCKOPT = 209,
    LINUX_SHUTDOWN = 210,
    LINUX_GETRANDOM = 278,
};
enum { LINUX_EAGAIN = 11, LINUX_EAFNOSUPPORT = 97, LINUX_EINPROGRESS = 115 };

/* The result, or a negative number of an error. */
#define linux_call(call, ...) linux_call_with(call, (const long[6]){__VA_ARGS__})
long linux_call_with(enum linux_call call, const long *arguments);

void machine_start_ticks(void);
/* Waits so many milliseconds at most for the line to the agent or a socket, tells those who wait for them, and counts the ticks;
 * whether a task should be switched. */
bool machine_look(int ms);
/* The same and the switch. */
void port_interrupts(int ms);

/* Sockets that somebody waits for: fills `fds`, and hears which are ready. */
size_t network_wanted(struct pollfd *fds, size_t room);
void network_ready(const struct pollfd *fds, size_t count);

#endif

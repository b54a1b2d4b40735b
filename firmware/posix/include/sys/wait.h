/* Processes of the host: posix/calls.c. */
#ifndef FIRMWARE_SYS_WAIT_H
#define FIRMWARE_SYS_WAIT_H

#include <sys/types.h>

#define WNOHANG 1
pid_t waitpid(pid_t pid, int *status, int options);

#endif

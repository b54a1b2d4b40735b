/* Calls that the host's agent (agent.py) carries out for the firmware. */
#ifndef AGENT_H
#define AGENT_H

#include <stddef.h>

/* As in agent.py. */
enum agent_call {
    AGENT_ARGUMENTS,
    AGENT_SOCKET,
    AGENT_BIND,
    AGENT_LISTEN,
    AGENT_ACCEPT,
    AGENT_CONNECT,
    AGENT_PORT,
    AGENT_OPTION,
    AGENT_POLL,
    AGENT_RECV,
    AGENT_SEND,
    AGENT_SHUTDOWN,
    AGENT_CLOSE,
    AGENT_PIPE,
    AGENT_OPEN,
    AGENT_READ,
    AGENT_WRITE,
    AGENT_SEEK,
    AGENT_SPAWN,
    AGENT_WAIT,
    AGENT_KILL,
    AGENT_MKDTEMP,
    AGENT_UNLINK,
    AGENT_RMDIR,
    AGENT_ACCESS,
    AGENT_USER,
};

typedef struct {
    int a, b, c;
    const void *send; /* bytes for the agent */
    size_t send_len;
    void *receive; /* room for bytes from it; what does not fit is lost */
    size_t room;
    size_t received; /* set by the call */
} agent_call_t;

/* Waits for the answer: the result, and errno when that is negative. */
int agent_call(enum agent_call call, agent_call_t *data);

#endif

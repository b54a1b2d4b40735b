/* A broker that runs by itself in a thread: accepts everybody, acknowledges everything, counts. */
#ifndef AUTO_BROKER_H
#define AUTO_BROKER_H

#include <stdbool.h>

typedef struct {
    int connections; /* accepted so far */
    int open;        /* now */
    int count[16];   /* packets received, by type (1 CONNECT ... 14 DISCONNECT) */
    long bytes;      /* of PUBLISH payloads */
} auto_stats_t;
typedef struct auto_broker auto_broker_t;
auto_broker_t *auto_broker_open(void);
char *auto_broker_uri(auto_broker_t *broker); /* of the scheme that is tested: scheme.h */
int auto_broker_port(const auto_broker_t *broker);
auto_stats_t auto_broker_stats(auto_broker_t *broker);
/* Until n packets of this type have come. */
bool auto_broker_wait(auto_broker_t *broker, int type, int n, long ms);
/* Closes every open connection and goes on listening. */
void auto_broker_drop_all(auto_broker_t *broker);

#endif

/* A subscriber that shares nothing with the library: its own socket, straight to the broker, and its own few packets. */
#ifndef OBSERVER_H
#define OBSERVER_H

#include <stdbool.h>

/* Subscribes to c/# with QoS 2 in a persistent session, in a thread that never ends. What it gets goes to the ledger. When the
 * broker goes it comes back with it. */
void observer_start(int port);
/* Whether it is subscribed on a connection that stands: a PINGREQ that is sent now is answered. */
bool observer_answers(void);

#endif

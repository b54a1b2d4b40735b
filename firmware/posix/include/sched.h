/* sched_yield() as the stand-in of the SDK uses it: on FreeRTOS the priorities say who runs, and a task of the same one has its turn
 * at the next tick. */
#ifndef SCHED_H
#define SCHED_H

static inline int sched_yield(void) { return 0; }

#endif

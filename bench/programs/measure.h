/* What a piece of work takes of the process: all of its threads. */
#ifndef MEASURE_H
#define MEASURE_H

/* Seconds of a clock that only runs forwards. */
double measure_now(void);
/* Must be called when the client's threads run. With counts, system calls are counted too; it costs a little, so not while time is. */
void measure_begin(int counts);
/* Prints a line of JSON, for so many messages that were done and lost in so many seconds; more is further members, ", " in front. */
void measure_end(long done, long lost, double seconds, const char *more);

#endif

/* Programs that the harness starts. */
#ifndef PROCESS_H
#define PROCESS_H

#include <sys/types.h>

/* Starts argv[0]; it ends with this program at the latest. With a log its outputs are appended to that file; without one
 * *in and *out are the ends of pipes to its standard input and from its standard output. -1: it cannot be started. */
pid_t process_start(char *const *argv, int *in, int *out, const char *log);

/* The path of a program of ffi-tests/peers, in memory of the test. */
char *peer_program(const char *name);
/* Makes the test certificates and sets $WM_MQTT_CERTS to their folder, which goes with the program. */
const char *certs_make(void);

#endif

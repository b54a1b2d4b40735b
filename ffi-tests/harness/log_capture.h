/* The library's log as a text that a test can look into. */
#ifndef LOG_CAPTURE_H
#define LOG_CAPTURE_H

#include <stdbool.h>

/* From now to the end of the test: every line of every level is kept and none is printed. */
void log_capture(void);
bool log_has(const char *text); /* so far */
int log_count(const char *text); /* how often */
char *log_text(void); /* so far; memory of the test, main thread only */
void log_clear(void);

#endif

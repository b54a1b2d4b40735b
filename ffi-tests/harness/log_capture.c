#define _GNU_SOURCE
#include "log_capture.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "wm_log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *text;
static size_t length;
static wm_log_level_t level_before;

static int keep(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static int keep(const char *format, va_list args)
{
    char *line;
    int n = vasprintf(&line, format, args);
    if (n < 0) abort();
    pthread_mutex_lock(&lock);
    text = realloc(text, length + (size_t)n + 1);
    if (!text) abort();
    memcpy(text + length, line, (size_t)n + 1);
    length += (size_t)n;
    pthread_mutex_unlock(&lock);
    free(line);
    return n;
}

void log_clear(void)
{
    pthread_mutex_lock(&lock);
    free(text);
    text = NULL;
    length = 0;
    pthread_mutex_unlock(&lock);
}

static void end(void *unused)
{
    (void)unused;
    wm_log_set_level(level_before);
    wm_log_set_vprintf(vprintf);
    if (check_has_failed() && text) fprintf(stderr, "    the log:\n%s", text);
    log_clear();
}

void log_capture(void)
{
    level_before = wm_log_get_level();
    at_test_end(END_MEMORY, end, NULL);
    wm_log_set_vprintf(keep);
    wm_log_set_level(WM_LOG_LEVEL_VERBOSE);
}

int log_count(const char *part)
{
    int count = 0;
    pthread_mutex_lock(&lock);
    for (const char *at = text; at && (at = strstr(at, part)) != NULL; at++) count++;
    pthread_mutex_unlock(&lock);
    return count;
}

char *log_text(void)
{
    pthread_mutex_lock(&lock);
    char *copy = test_printf("%s", text ? text : "");
    pthread_mutex_unlock(&lock);
    return copy;
}

bool log_has(const char *part) { return log_count(part) > 0; }

/*
 * Time: everything counts from the program's start on the monotonic clock, as a device counts from its reset.
 */
#include <unistd.h>

#include "host.h"
#include "wm_log.h"

static struct timespec g_start;
static pid_t g_process;

static struct timespec now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t;
}

__attribute__((constructor(101))) static void note_start(void)
{
    g_start   = now();
    g_process = getpid();
}

bool wm_host_forked(void)
{
    return getpid() != g_process;
}

uint64_t wm_host_now_ms(void)
{
    struct timespec t = now();
    int64_t ns        = (int64_t)(t.tv_sec - g_start.tv_sec) * 1000000000 + (t.tv_nsec - g_start.tv_nsec);
    return (uint64_t)ns / 1000000;
}

uint32_t wm_os_internal_get_time_ms(void)
{
    return (uint32_t)wm_host_now_ms();
}

struct timespec wm_host_deadline(uint32_t ms)
{
    struct timespec t = now();
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

void wm_host_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

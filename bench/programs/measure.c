#define _GNU_SOURCE
#include "measure.h"

#include <dirent.h>
#include <dlfcn.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 1024 };

static struct rusage begin;
static long begin_allocations = -1, begin_calls = -1;
static int counters[THREADS], counter_count;

double measure_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double cpu(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) + (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * 1e-6;
}

/* VmHWM: what getrusage says survives exec, and would be the parent's. */
static long peak(void)
{
    char line[256];
    long kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "r");

    while (status && fgets(line, sizeof line, status) && sscanf(line, "VmHWM: %ld", &kilobytes) != 1)
        ;
    if (status)
        fclose(status);
    return kilobytes * 1024;
}

/* Of count.c, when that is preloaded. */
static long allocations(void)
{
    long (*count)(void) = (long (*)(void))dlsym(RTLD_DEFAULT, "count_allocations");
    return count ? count() : -1;
}

static void count_calls(void)
{
    struct perf_event_attr attributes = {.type = PERF_TYPE_TRACEPOINT, .size = sizeof attributes, .inherit = 1};
    FILE *id            = fopen("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "r");
    DIR *threads        = opendir("/proc/self/task");
    unsigned long event = 0;

    if (id && fscanf(id, "%lu", &event) == 1) {
        attributes.config = event;
        for (struct dirent *one; threads && counter_count < THREADS && (one = readdir(threads));)
            if (one->d_name[0] != '.') {
                long fd = syscall(SYS_perf_event_open, &attributes, atoi(one->d_name), -1, -1, 0);
                if (fd >= 0)
                    counters[counter_count++] = (int)fd;
            }
    }
    if (id)
        fclose(id);
    if (threads)
        closedir(threads);
}

static long calls(void)
{
    unsigned long long sum = 0, one;

    for (int i = 0; i < counter_count; i++)
        if (read(counters[i], &one, sizeof one) == sizeof one)
            sum += one;
    return counter_count > 0 ? (long)sum : -1;
}

void measure_begin(int counts)
{
    if (counts)
        count_calls();
    begin_calls       = calls();
    begin_allocations = allocations();
    getrusage(RUSAGE_SELF, &begin);
}

void measure_end(long done, long lost, double seconds, const char *more)
{
    struct rusage end;

    getrusage(RUSAGE_SELF, &end);
    long calls_made = calls(), allocated = allocations();
    printf("{\"done\": %ld, \"lost\": %ld, \"seconds\": %.6f, \"cpu\": %.6f, \"switches\": %ld, \"peak\": %ld", done, lost, seconds,
           cpu(&end) - cpu(&begin), end.ru_nvcsw + end.ru_nivcsw - begin.ru_nvcsw - begin.ru_nivcsw, peak());
    if (calls_made >= 0)
        printf(", \"system_calls\": %ld", calls_made - begin_calls);
    if (allocated >= 0)
        printf(", \"allocations\": %ld", allocated - begin_allocations);
    printf("%s}\n", more);
    fflush(stdout);
}

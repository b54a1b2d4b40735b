/*
 * What the tests of the host stand-in share. The rest of ffi-tests trusts what these programs check, so they use
 * nothing of its harness. Each is one source that includes this file before any other:
 *
 *   cc -std=gnu11 -I include tests/sdk_events.c src/[a-z]*.c -lpthread -o sdk_events && ./sdk_events
 *
 * Exit status 0 and a last line "N passed, 0 failed" mean success.
 */
#ifndef SDK_CHECK_H
#define SDK_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_int g_passed, g_failed;

#define CHECK(condition)                                                         \
    do {                                                                         \
        if (condition) {                                                         \
            g_passed++;                                                          \
        } else {                                                                 \
            g_failed++;                                                          \
            fprintf(stderr, "%s:%d: failed: %s\n", __func__, __LINE__, #condition); \
        }                                                                        \
    } while (0)

/* The last thing main() does: prints the counts; the exit status. */
static inline int report(void)
{
    printf("%d passed, %d failed\n", g_passed, g_failed);
    return g_failed != 0;
}

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The path of this program, for those that start themselves with an argument: what can only be seen from outside. */
static inline const char *self(void)
{
    static char path[4096];
    if (!path[0] && readlink("/proc/self/exe", path, sizeof path - 1) <= 0) {
        perror("/proc/self/exe");
        exit(1);
    }
    return path;
}

/* Runs this program with an argument; its exit status and how long it took. */
static inline int run_child(const char *what, double *seconds)
{
    char *argv[] = { (char *)self(), (char *)what, NULL };
    double start = now();
    int status   = 0;

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        execv(argv[0], argv);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    *seconds = now() - start;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif

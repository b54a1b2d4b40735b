/*
 * Tests of the host stand-in: how a process ends while the event task and other tasks are at work, and that they leave
 * its signals alone.
 */
#include "sdk_check.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "wm_event.h"
#include "wm_host.h"

static wm_event_group_t const A = "GROUP";

static SemaphoreHandle_t g_done;
static sem_t g_entered;

struct load {
    int number;
    char text[48];
};

/* Reads all of its data. */
static void take_load(wm_event_group_t group, int event, void *data, void *priv)
{
    struct load *l = data;
    (void)group;
    (void)event;
    atomic_fetch_add((atomic_int *)priv, l->number + (int)strnlen(l->text, sizeof l->text));
}

static void sleep_for_ever(void *arg)
{
    xSemaphoreGive(g_done);
    vTaskDelay(portMAX_DELAY);
    atomic_fetch_add((atomic_int *)arg, 100); /* never */
}

static void call_exit(wm_event_group_t group, int event, void *data, void *priv)
{
    (void)group;
    (void)event;
    (void)data;
    (void)priv;
    exit(3);
}

static void never_return(wm_event_group_t group, int event, void *data, void *priv)
{
    (void)group;
    (void)event;
    (void)data;
    (void)priv;
    sem_post(&g_entered);
    for (;;) {
        pause();
    }
}

static void *send_for_ever(void *arg)
{
    (void)arg;
    for (;;) {
        wm_event_send(A, 1, "data", 5);
        xSemaphoreGive(g_done);
    }
    return NULL;
}

/* A process that fork() made while other threads held locks, and whose tasks are not there, ends as any other. */
static int exit_behind_fork(void)
{
    pthread_t sender;
    g_done = xSemaphoreCreateBinary();
    for (int i = 0; i < 2; i++) {
        pthread_create(&sender, NULL, send_for_ever, NULL);
    }
    double start = now();
    for (int i = 0; i < 50; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(5);
            exit(3);
        }
        waitpid(pid, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 3) {
            return 1;
        }
    }
    return now() - start < 10 ? 3 : 1;
}

/* A program that blocks a signal at its begin and waits for it gets it: the event task, older than main(), does not. */
static int wait_for_signal(void)
{
    sigset_t set;
    int got = 0;
    wm_event_send(A, 1, "data", 5);
    wm_host_event_idle(5000); /* the event task has begun */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGTERM);
    sigwait(&set, &got);
    return got == SIGTERM ? 3 : 1;
}

static int child(const char *what)
{
    if (strcmp(what, "exit-behind-fork") == 0) {
        return exit_behind_fork();
    }
    if (strcmp(what, "signal") == 0) {
        return wait_for_signal();
    }
    if (strcmp(what, "exit-in-callback") == 0) {
        wm_event_add_callback(A, 1, call_exit, NULL);
        wm_host_event_idle(5000);
        wm_event_send(A, 1, "data", 5);
        wm_event_send(A, 1, "more", 5);
        for (;;) {
            pause();
        }
    }
    if (strcmp(what, "exit-blocked") == 0) {
        wm_event_add_callback(A, 1, never_return, NULL);
        wm_host_event_idle(5000);
        wm_event_send(A, 1, "data", 5);
        sem_wait(&g_entered);
        wm_event_send(A, 1, "more", 5);
        return 3;
    }
    if (strcmp(what, "exit-queued") == 0) {
        static atomic_int sum, sink;
        wm_event_add_callback(A, 1, take_load, &sum);
        for (int i = 0; i < 100; i++) {
            struct load l = { .number = i };
            wm_event_send(A, 1, &l, sizeof l);
        }
        g_done = xSemaphoreCreateCounting(2, 0);
        xTaskCreate(sleep_for_ever, "sleeper", 512, &sink, 1, NULL);
        xTaskCreate(sleep_for_ever, "sleeper", 512, &sink, 1, NULL);
        xSemaphoreTake(g_done, 1000);
        xSemaphoreTake(g_done, 1000);
        vSemaphoreDelete(g_done);
        return 3;
    }
    return 2;
}

static void test_process_end(void)
{
    double seconds;
    CHECK(run_child("exit-in-callback", &seconds) == 3 && seconds < 10);
    CHECK(run_child("exit-blocked", &seconds) == 3 && seconds < 10);
    CHECK(run_child("exit-queued", &seconds) == 3 && seconds < 10);
    CHECK(run_child("signal", &seconds) == 3);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* what threads hold that a forked process does not have */
    CHECK(run_child("exit-behind-fork", &seconds) == 3);
}

int main(int argc, char **argv)
{
    sem_init(&g_entered, 0, 0);
    if (argc > 1) {
        return child(argv[1]);
    }
    test_process_end();
    return report();
}

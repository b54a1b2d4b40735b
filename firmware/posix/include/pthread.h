/* What the harness uses of POSIX threads, over FreeRTOS. */
#ifndef FIRMWARE_PTHREAD_H
#define FIRMWARE_PTHREAD_H

#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"

typedef TaskHandle_t pthread_t;
typedef struct {
    int unused;
} pthread_attr_t, pthread_condattr_t, pthread_mutexattr_t;

typedef struct {
    SemaphoreHandle_t handle; /* made with the first lock */
    StaticSemaphore_t place;
} pthread_mutex_t;
#define PTHREAD_MUTEX_INITIALIZER {.handle = NULL}

typedef struct {
    struct cond_waiter *first;
} pthread_cond_t;
#define PTHREAD_COND_INITIALIZER {.first = NULL}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
/* The same with a stack of so many bytes and this priority. */
int pthread_create_with(pthread_t *thread, size_t stack, int priority, void *(*run)(void *), void *arg);
int pthread_join(pthread_t thread, void **result);
pthread_t pthread_self(void);
#define pthread_equal(a, b) ((a) == (b))
/* Threads that have ended but were not joined: tasks to FreeRTOS still. */
int pthread_ended(void);
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before);

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int pthread_mutex_destroy(pthread_mutex_t *mutex);
int pthread_mutex_lock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);

int pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int pthread_cond_destroy(pthread_cond_t *cond);
int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
/* Time-outs are of CLOCK_MONOTONIC. */
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int pthread_cond_signal(pthread_cond_t *cond);
int pthread_cond_broadcast(pthread_cond_t *cond);
#define pthread_condattr_init(attr)            (*(attr) = (pthread_condattr_t){0})
#define pthread_condattr_setclock(attr, clock) ((void)(attr))
#define pthread_condattr_destroy(attr)         ((void)(attr))

#endif

/*
 * The host's side of an SDK example: calls its main(), which returns once the client is connected, and keeps the
 * process alive until the broker has acknowledged the example's message.
 *
 * Exit status 0: PUBLISHED came, and DATA too if EXAMPLE_EXPECT_DATA is set in the environment. 1: it did not come
 * within EXAMPLE_TIMEOUT seconds (30). The example's own callback has handled the events by then.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "wm_host.h"
#include "wm_mqtt_client.h"

/* The example's main(), renamed in its object file. */
int app_main(void);

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_changed;
static int g_count[WM_EVENT_MQTT_CLIENT_PUBLISHED + 1];

static void count(wm_event_group_t group, int event, void *data, void *priv)
{
    (void)group;
    (void)data;
    (void)priv;
    if (event < 0 || event > WM_EVENT_MQTT_CLIENT_PUBLISHED) {
        return;
    }
    pthread_mutex_lock(&g_lock);
    g_count[event]++;
    pthread_cond_signal(&g_changed);
    pthread_mutex_unlock(&g_lock);
}

int main(void)
{
    const char *limit = getenv("EXAMPLE_TIMEOUT");
    int want_data     = getenv("EXAMPLE_EXPECT_DATA") != NULL;
    int err           = 0;
    pthread_condattr_t attr;
    struct timespec deadline;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&g_changed, &attr);
    pthread_condattr_destroy(&attr);
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += limit ? atoi(limit) : 30;

    wm_event_add_callback(WM_MQTT_EV, WM_EVENT_ANY_TYPE, count, NULL);
    app_main();

    pthread_mutex_lock(&g_lock);
    while (err == 0 &&
           (!g_count[WM_EVENT_MQTT_CLIENT_PUBLISHED] || (want_data && !g_count[WM_EVENT_MQTT_CLIENT_DATA]))) {
        err = pthread_cond_timedwait(&g_changed, &g_lock, &deadline);
    }
    fprintf(stderr, "keeper: CONNECTED %d, DISCONNECTED %d, DATA %d, PUBLISHED %d\n",
            g_count[WM_EVENT_MQTT_CLIENT_CONNECTED], g_count[WM_EVENT_MQTT_CLIENT_DISCONNECTED],
            g_count[WM_EVENT_MQTT_CLIENT_DATA], g_count[WM_EVENT_MQTT_CLIENT_PUBLISHED]);
    pthread_mutex_unlock(&g_lock);

    /* This callback was registered first: let the example's own see the event as well. */
    wm_host_event_idle(2000);
    return err != 0;
}

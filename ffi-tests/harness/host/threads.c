#define _GNU_SOURCE
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

enum { MOST = 256 };

int thread_ids(int *ids, int max)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/task");
    if (!dir) return -1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        if (n < max) ids[n] = atoi(entry->d_name);
        n++;
    }
    closedir(dir);
    return n;
}

int thread_count(void)
{
    return thread_ids(NULL, 0);
}

static bool is_mqtt_thread(int id)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", id);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    (void)!fgets(name, sizeof name, file);
    fclose(file);
    return strcmp(name, "mqtt_client\n") == 0;
}

/* By its name too: beside a thread that ends just now, the folder may leave one out and show that of a lookup alone. */
static int only_new_thread(const int *before, int before_count)
{
    int ids[MOST], n = thread_ids(ids, MOST), found = -1;
    for (int i = 0; i < n && i < MOST; i++) {
        bool old = !is_mqtt_thread(ids[i]);
        for (int k = 0; k < before_count; k++) old = old || before[k] == ids[i];
        if (old) continue;
        if (found != -1) return -1;
        found = ids[i];
    }
    return found;
}

int new_thread(const int *before, int before_count)
{
    int id = -1;
    for (long until = now_ms() + scaled(3000); id < 0 && now_ms() < until; sleep_ms(1))
        id = only_new_thread(before, before_count);
    return id;
}

long thread_switches(int id)
{
    char path[64], line[128];
    long value = -1;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", id);
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &value) == 1) break;
    fclose(file);
    return value;
}

typedef struct {
    long id;
    long switches; /* of both kinds */
} resting_t;

/* Another thread, if it sleeps. */
static bool rests(int id, resting_t *to)
{
    char path[64], line[128], state = 0;
    long voluntary = -1, forced = -1;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", id);
    FILE *file = fopen(path, "r");
    if (!file) return false; /* it has just ended: look again */
    while (fgets(line, sizeof line, file)) {
        (void)!sscanf(line, "State: %c", &state);
        (void)!sscanf(line, "voluntary_ctxt_switches: %ld", &voluntary);
        (void)!sscanf(line, "nonvoluntary_ctxt_switches: %ld", &forced);
    }
    fclose(file);
    *to = (resting_t){id, voluntary + forced};
    return state == 'S';
}

/* How many sleep; -1 if one does not. */
static int all_rest(resting_t *resting)
{
    int ids[MOST], n = thread_ids(ids, MOST), count = 0, self = gettid();
    for (int i = 0; i < n && i < MOST; i++) {
        if (ids[i] == self) continue;
        if (!rests(ids[i], &resting[count++])) return -1;
    }
    return count;
}

bool threads_come_to_rest(void)
{
    resting_t first[MOST], second[MOST];
    for (long until = now_ms() + scaled(3000); now_ms() < until; sleep_ms(1)) {
        int n = all_rest(first);
        /* Those that have not run between the two looks have all slept at the time between them. */
        if (n >= 0 && all_rest(second) == n && memcmp(first, second, (size_t)n * sizeof *first) == 0) return true;
    }
    return false;
}

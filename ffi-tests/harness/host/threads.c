#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

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

static int only_new_thread(const int *before, int before_count)
{
    int ids[256], n = thread_ids(ids, 256), found = -1;
    for (int i = 0; i < n && i < 256; i++) {
        bool old = false;
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

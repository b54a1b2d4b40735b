#define _GNU_SOURCE
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "process.h"

static char dir[200];

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static void remove_certs(void) { nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS); }

const char *certs_make(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/wm-certs-XXXXXX", tmp && strlen(tmp) < 150 ? tmp : "/tmp");
    REQUIRE(mkdtemp(dir) != NULL);
    atexit(remove_certs);
    char *argv[] = {peer_program("certs"), dir, NULL};
    int in, out, status;
    pid_t pid = process_start(argv, &in, &out, NULL);
    REQUIRE(pid > 0);
    close(in);
    close(out);
    REQUIRE_EQ(waitpid(pid, &status, 0), pid);
    if (status != 0) FAIL("%s fails (status %d): `make peers` builds it", argv[0], status);
    setenv("WM_MQTT_CERTS", dir, 1); /* for processes that a test starts of its own program too */
    return dir;
}

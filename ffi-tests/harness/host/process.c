#define _GNU_SOURCE
#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <unistd.h>

static void redirect(int in, int out, int errors)
{
    dup2(in, 0);
    dup2(out, 1);
    if (errors >= 0) dup2(errors, 2);
}

pid_t process_start(char *const *argv, int *in, int *out, const char *log)
{
    int from[2] = {-1, -1}, to[2] = {-1, -1};
    if (!log && (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)) return -1;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        int file = log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
        if (log) redirect(open("/dev/null", O_RDONLY), file, file);
        else redirect(to[0], from[1], -1);
        execvp(argv[0], argv);
        _exit(127);
    }
    if (log) return pid;
    close(to[0]);
    close(from[1]);
    *in = to[1];
    *out = from[0];
    /* Tests that make hundreds of connections need not read what a relay says about each. */
    fcntl(*out, F_SETPIPE_SZ, 1 << 20);
    return pid;
}

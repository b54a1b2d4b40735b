/* What the harness uses of POSIX: files, sockets and processes of the host, through its agent; time and the alarm here. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "board.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "freertos/timers.h"
#include "process.h"

#define CALL(call, ...) agent_call(call, &(agent_call_t){__VA_ARGS__})

/* ---- sockets ---- */

static const struct sockaddr_in *in(const struct sockaddr *address) { return (const struct sockaddr_in *)address; }

int socket(int domain, int type, int protocol)
{
    (void)protocol;
    return CALL(AGENT_SOCKET, .a = domain, .b = type);
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
    (void)len;
    return CALL(AGENT_BIND, .a = fd, .b = address->sa_family, .c = ntohs(in(address)->sin_port));
}

int listen(int fd, int backlog) { return CALL(AGENT_LISTEN, .a = fd, .b = backlog); }

int accept(int fd, struct sockaddr *address, socklen_t *len)
{
    (void)address;
    (void)len;
    return CALL(AGENT_ACCEPT, .a = fd);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    (void)flags;
    return accept(fd, address, len);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    (void)len;
    return CALL(AGENT_CONNECT, .a = fd, .b = ntohs(in(address)->sin_port));
}

int getsockname(int fd, struct sockaddr *address, socklen_t *len)
{
    (void)len;
    int port = CALL(AGENT_PORT, .a = fd);
    if (port < 0) return -1;
    ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
    return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    return CALL(AGENT_OPTION, .a = fd, .b = level, .c = name, .send = value, .send_len = len);
}

ssize_t recv(int fd, void *to, size_t len, int flags)
{
    return CALL(AGENT_RECV, .a = fd, .b = (int)len, .c = flags, .receive = to, .room = len);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    enum { MOST = 16384 }; /* of what may be megabytes the host's socket takes only so much at once */
    if (len > MOST) len = MOST;
    return CALL(AGENT_SEND, .a = fd, .c = flags, .send = bytes, .send_len = len);
}

int shutdown(int fd, int how) { return CALL(AGENT_SHUTDOWN, .a = fd, .b = how); }

int poll(struct pollfd *fds, unsigned long count, int ms)
{
    size_t size = count * sizeof *fds;
    return CALL(AGENT_POLL, .a = ms, .send = fds, .send_len = size, .receive = fds, .room = size);
}

/* ---- files ---- */

int open(const char *path, int flags, ...)
{
    int kind = flags & O_ACCMODE ? (flags & O_APPEND ? 2 : 1) : 0;
    return CALL(AGENT_OPEN, .a = kind, .send = path, .send_len = strlen(path));
}

int close(int fd) { return CALL(AGENT_CLOSE, .a = fd); }

ssize_t read(int fd, void *to, size_t len)
{
    return CALL(AGENT_READ, .a = fd, .b = (int)len, .receive = to, .room = len);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    if (fd != 1 && fd != 2) return CALL(AGENT_WRITE, .a = fd, .send = bytes, .send_len = len);
    board_write(bytes, len);
    return (ssize_t)len;
}

off_t lseek(int fd, off_t offset, int from) { return CALL(AGENT_SEEK, .a = fd, .b = (int)offset, .c = from); }

int pipe2(int fds[2], int flags)
{
    (void)flags;
    return CALL(AGENT_PIPE, .receive = fds, .room = 2 * sizeof *fds);
}

static int with_path(enum agent_call call, const char *path)
{
    return CALL(call, .send = path, .send_len = strlen(path));
}

int unlink(const char *path) { return with_path(AGENT_UNLINK, path); }
int rmdir(const char *path) { return with_path(AGENT_RMDIR, path); }

int access(const char *path, int mode)
{
    return CALL(AGENT_ACCESS, .a = mode, .send = path, .send_len = strlen(path));
}

char *mkdtemp(char *path)
{
    size_t len = strlen(path);
    return CALL(AGENT_MKDTEMP, .send = path, .send_len = len, .receive = path, .room = len) < 0 ? NULL : path;
}

/* A name that nobody has: that of a folder, which makes way for the file. */
int mkstemp(char *path)
{
    return mkdtemp(path) && rmdir(path) == 0 ? open(path, O_WRONLY | O_CREAT, 0600) : -1;
}

struct passwd *getpwuid(uid_t unused)
{
    static char name[40];
    static struct passwd user = {.pw_name = name};
    (void)unused;
    return CALL(AGENT_USER, .receive = name, .room = sizeof name - 1) < 0 ? NULL : &user;
}

uid_t geteuid(void) { return 0; }

/* ---- processes ---- */

pid_t process_start(char *const *argv, int *in_end, int *out_end, const char *log)
{
    char text[2000];
    size_t len = 0;
    int ends[2];
    for (int i = -1; i < 0 || argv[i]; i++) {
        const char *word = i >= 0 ? argv[i] : log ? log : "";
        len += (size_t)snprintf(text + len, sizeof text - len, "%s", word) + 1;
        configASSERT(len < sizeof text);
    }
    pid_t pid = CALL(AGENT_SPAWN, .a = !log, .send = text, .send_len = len, .receive = ends, .room = sizeof ends);
    if (pid > 0 && !log) {
        *in_end = ends[0];
        *out_end = ends[1];
    }
    return pid;
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    int ignored;
    return CALL(AGENT_WAIT, .a = pid, .b = options, .receive = status ? status : &ignored, .room = sizeof ignored);
}

int kill(pid_t pid, int signal_number)
{
    enum { LINUX_SIGSTOP = 19 }; /* the one that the C library counts differently */
    return CALL(AGENT_KILL, .a = pid, .b = signal_number == SIGSTOP ? LINUX_SIGSTOP : signal_number);
}

/* ---- memory of the harness, formatted ---- */

int vasprintf(char **text, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    *text = len < 0 ? NULL : harness_malloc((size_t)len + 1);
    if (*text) vsnprintf(*text, (size_t)len + 1, format, again);
    va_end(again);
    return *text ? len : -1;
}

/* ---- time ---- */

int clock_gettime(clockid_t clock, struct timespec *t)
{
    (void)clock;
    uint64_t us = board_now_us();
    *t = (struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    return 0;
}

int nanosleep(const struct timespec *t, struct timespec *left)
{
    (void)left;
    vTaskDelay(pdMS_TO_TICKS((TickType_t)t->tv_sec * 1000 + (TickType_t)(t->tv_nsec / 1000000)) + 1);
    return 0;
}

/* As on the device nobody has set the clock: it counts from 1970. */
int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    (void)zone;
    uint64_t us = board_now_us();
    *t = (struct timeval){.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
    return 0;
}

static void alarm_comes(TimerHandle_t timer)
{
    (void)timer;
    raise(SIGALRM);
}

int setitimer(int which, const struct itimerval *restrict value, struct itimerval *restrict old)
{
    static StaticTimer_t place;
    static TimerHandle_t timer;
    (void)which;
    (void)old;
    if (!timer) timer = xTimerCreateStatic("alarm", 1, pdFALSE, NULL, alarm_comes, &place);
    TickType_t ticks = (TickType_t)value->it_value.tv_sec * 1000 + (TickType_t)(value->it_value.tv_usec / 1000);
    if (ticks) xTimerChangePeriod(timer, ticks, portMAX_DELAY);
    else xTimerStop(timer, portMAX_DELAY);
    return 0;
}

pid_t getpid(void) { return 1; }

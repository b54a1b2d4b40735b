#define _GNU_SOURCE
#include "mosquitto.h"

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

#include "check.h"
#include "fake_broker.h"
#include "process.h"
#include "scheme.h"

struct mosquitto {
    char dir[64], config[96], log[96];
    int port, second; /* 0: no second one */
    pid_t pid;
    relay_t *relay;
};

static const char *program(void)
{
    const char *named = getenv("MOSQUITTO");
    if (named && *named) return named;
    return access("/usr/sbin/mosquitto", X_OK) == 0 ? "/usr/sbin/mosquitto" : "mosquitto";
}

static void end(mosquitto_t *broker, int signal_number)
{
    if (broker->pid <= 0) return;
    kill(broker->pid, signal_number);
    waitpid(broker->pid, NULL, 0);
    broker->pid = 0;
}

void mosquitto_stop(mosquitto_t *broker) { end(broker, SIGTERM); }
void mosquitto_kill(mosquitto_t *broker) { end(broker, SIGKILL); }

void mosquitto_freeze(mosquitto_t *broker) { kill(broker->pid, SIGSTOP); }

static void clean_up(void *arg)
{
    mosquitto_t *broker = arg;
    mosquitto_kill(broker);
    unlink(broker->config);
    unlink(broker->log);
    rmdir(broker->dir);
    free(broker);
}

static bool accepts(int port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    close(fd);
    return yes;
}

static void show_log(const mosquitto_t *broker)
{
    char line[300];
    FILE *file = fopen(broker->log, "r");
    while (file && fgets(line, sizeof line, file)) fprintf(stderr, "    mosquitto: %s", line);
    if (file) fclose(file);
}

void mosquitto_restart(mosquitto_t *broker)
{
    mosquitto_stop(broker);
    const char *path = program();
    char *argv[] = {(char *)path, "-c", broker->config, NULL};
    pid_t pid = process_start(argv, NULL, NULL, broker->log);
    REQUIRE(pid > 0);
    broker->pid = pid;
    for (long until = now_ms() + scaled(10000);;) {
        if (accepts(broker->port) && (!broker->second || accepts(broker->second))) return;
        int status;
        bool ended = waitpid(pid, &status, WNOHANG) == pid;
        if (ended) broker->pid = 0;
        if (ended || now_ms() > until) {
            show_log(broker);
            FAIL("%s does not start", path);
        }
        sleep_ms(5);
    }
}

static mosquitto_t *start(const char *config, bool with_second)
{
    mosquitto_t *broker = check_alloc(sizeof *broker);
    const char *tmp = getenv("TMPDIR");
    snprintf(broker->dir, sizeof broker->dir, "%s/wm-mosquitto-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    REQUIRE(mkdtemp(broker->dir) != NULL);
    snprintf(broker->config, sizeof broker->config, "%s/conf", broker->dir);
    snprintf(broker->log, sizeof broker->log, "%s/log", broker->dir);
    at_test_end(END_SERVERS, clean_up, broker);
    broker->port = unused_port();
    while (with_second && (!broker->second || broker->second == broker->port)) broker->second = unused_port();

    FILE *file = fopen(broker->config, "w");
    REQUIRE(file != NULL);
    struct passwd *user = getpwuid(geteuid());
    fprintf(file, "listener %d 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nlog_type error\nlog_type warning\n",
            broker->port);
    if (user) fprintf(file, "user %s\n", user->pw_name); /* or it drops root's rights and cannot read this */
    if (with_second) fprintf(file, "listener %d 127.0.0.1\n", broker->second);
    fprintf(file, "%s\n", config ? config : "");
    fclose(file);
    mosquitto_restart(broker);
    return broker;
}

mosquitto_t *mosquitto_start(const char *config) { return start(config, false); }
mosquitto_t *mosquitto_start_with(const char *listener) { return start(listener, true); }

int mosquitto_port(const mosquitto_t *broker) { return broker->port; }
int mosquitto_second_port(const mosquitto_t *broker) { return broker->second; }
char *mosquitto_uri(mosquitto_t *broker) { return scheme_uri(&broker->relay, broker->port); }

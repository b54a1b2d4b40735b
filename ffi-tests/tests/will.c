/* The will: sent by the broker when the client dies, and not when it leaves. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "client.h"
#include "mosquitto.h"
#include "raw_client.h"
#include "wm_log.h"

static const char *program;

static config_t with_will(char *uri, int qos, bool retain)
{
    return (config_t){.uri = uri,
                      .client_id = "mortal",
                      .clean_session = 1,
                      .will_topic = "will/t",
                      .will_msg = "gone",
                      .will_qos = (uint8_t)qos,
                      .will_retain = retain};
}

/* The process that dies: connects, says so on stdout, and waits for its end. */
static int mortal(char *uri, int qos)
{
    wm_log_set_level(WM_LOG_LEVEL_NONE); /* stdout is the pipe */
    config_t config = with_will(uri, qos, false);
    scheme_config(&config);
    handle_t handle = wm_mqtt_client_init(&config);
    if (!handle || wm_mqtt_client_connect(handle) != 0) return 1;
    if (write(1, "c", 1) != 1) return 1;
    for (;;) pause();
}

static pid_t start_mortal(char *uri, int qos)
{
    char number[16];
    snprintf(number, sizeof number, "%d", qos);
    int out[2];
    REQUIRE_EQ(pipe(out), 0);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], 1);
        execl(program, program, "--mortal", uri, number, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    char c = 0;
    ssize_t n = read(out[0], &c, 1);
    close(out[0]);
    if (n == 1 && c == 'c') return pid;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    FAIL("the other process did not connect");
    return -1;
}

static void process_dies(void)
{
    mosquitto_t *broker = mosquitto_start(NULL);
    raw_client_t *watcher = raw_connect(mosquitto_port(broker), "watcher", true);
    raw_subscribe(watcher, "will/#", 2);
    for (int qos = 0; qos <= 2; qos++) {
        check_row("QoS %d", qos);
        pid_t pid = start_mortal(mosquitto_uri(broker), qos);
        bool early = !raw_silence(watcher, 50);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        CHECK(!early);
        raw_message_t message;
        REQUIRE(raw_receive(watcher, &message, 5000));
        CHECK_STR(message.topic, "will/t");
        CHECK_STR(message.payload, "gone");
        CHECK_EQ(message.qos, qos);
    }
}

static void leaves(void)
{
    static const char *const names[] = {"deinit", "disconnect", "reconnect"};
    mosquitto_t *broker = mosquitto_start(NULL);
    raw_client_t *watcher = raw_connect(mosquitto_port(broker), "watcher", true);
    raw_subscribe(watcher, "will/#", 2);
    for (int how = 0; how < 3; how++) {
        check_row("%s", names[how]);
        config_t config = with_will(mosquitto_uri(broker), 1, true);
        handle_t handle = client_new(&config);
        CHECK_EQ(wm_mqtt_client_connect(handle), 0);
        if (how == 0) CHECK_EQ(client_deinit(handle), 0);
        if (how == 1) CHECK_EQ(wm_mqtt_client_disconnect(handle), 0);
        if (how == 2) CHECK_EQ(wm_mqtt_client_reconnect(handle), 0);
        CHECK(raw_silence(watcher, 200));
        if (how > 0) CHECK_EQ(client_deinit(handle), 0);
    }
    CHECK(raw_silence(watcher, 100));
}

/* Whoever is kicked by another client of the same id has not left either. */
static void kicked(void)
{
    mosquitto_t *broker = mosquitto_start(NULL);
    raw_client_t *watcher = raw_connect(mosquitto_port(broker), "watcher", true);
    raw_subscribe(watcher, "will/#", 2);
    config_t config = with_will(mosquitto_uri(broker), 2, true);
    handle_t handle = client_new(&config);
    CHECK_EQ(wm_mqtt_client_connect(handle), 0);
    raw_connect(mosquitto_port(broker), "mortal", true);
    raw_message_t message;
    REQUIRE(raw_receive(watcher, &message, 5000));
    CHECK_STR(message.payload, "gone");
    expect_lost(handle);
    check_row("retained");
    raw_client_t *late = raw_connect(mosquitto_port(broker), "late", true);
    raw_subscribe(late, "will/t", 0);
    REQUIRE(raw_receive(late, &message, 5000));
    CHECK(message.retained);
    CHECK_STR(message.payload, "gone");
}

static const test_t tests[] = {TEST(process_dies), TEST(leaves), TEST(kicked)};

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc == 4 && strcmp(argv[1], "--mortal") == 0) return mortal(argv[2], atoi(argv[3]));
    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}

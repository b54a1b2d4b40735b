#define _GNU_SOURCE
#include "peers.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "process.h"

enum { LIMIT_MS = 10000, MAX_WORDS = 32 };

char *peer_program(const char *name)
{
    const char *dir = getenv("WM_MQTT_PEERS");
    return test_printf("%s/%s", dir && *dir ? dir : "ffi-tests/peers/target/debug", name);
}

/* ---- certificates ---- */

const char *cert_path(const char *name)
{
    const char *dir = getenv("WM_MQTT_CERTS");
    return test_printf("%s/%s", dir && *dir ? dir : certs_make(), name);
}

char *cert_text(const char *name)
{
    enum { ROOM = 65536 };
    FILE *file = fopen(cert_path(name), "r");
    if (!file) FAIL("no test certificate %s", name);
    char *text = test_alloc(ROOM);
    size_t len = fread(text, 1, ROOM - 1, file);
    fclose(file);
    REQUIRE(len > 0 && len < ROOM - 1);
    return text;
}

/* ---- relays ---- */

struct relay {
    pid_t pid;
    int in, out, port;
    char *text; /* what it printed */
    size_t len, room, taken;
};

/* The next line, without its end; NULL: none until then. */
static char *next_line(relay_t *relay, long until)
{
    for (;;) {
        char *begin = relay->text + relay->taken, *end = relay->text ? strchr(begin, '\n') : NULL;
        if (end) {
            relay->taken = (size_t)(end + 1 - relay->text);
            return test_printf("%.*s", (int)(end - begin), begin);
        }
        long left = until - now_ms();
        struct pollfd p = {.fd = relay->out, .events = POLLIN};
        if (poll(&p, 1, left > 0 ? (int)left : 0) <= 0 && left <= 0) return NULL;
        if (!p.revents) continue;
        if (relay->room - relay->len < 1024) {
            relay->room += 4096;
            relay->text = realloc(relay->text, relay->room);
            if (!relay->text) abort();
            relay->text[relay->len] = 0;
        }
        ssize_t n = read(relay->out, relay->text + relay->len, relay->room - relay->len - 1);
        if (n <= 0 && !(n < 0 && errno == EINTR)) return NULL; /* it has ended */
        if (n > 0) relay->len += (size_t)n;
        relay->text[relay->len] = 0;
    }
}

void relay_stop(relay_t *relay)
{
    if (relay->pid <= 0) return;
    kill(relay->pid, SIGKILL);
    waitpid(relay->pid, NULL, 0);
    close(relay->in);
    close(relay->out);
    relay->pid = 0;
}

static void relay_end(void *arg)
{
    relay_t *relay = arg;
    if (check_has_failed() && relay->pid > 0) {
        relay->taken = 0;
        for (const char *line; (line = next_line(relay, 0));) fprintf(stderr, "    relay: %s\n", line);
    }
    relay_stop(relay);
    free(relay->text);
    free(relay);
}

const char *relay_line_at(const char *file, int line, relay_t *relay, const char *word)
{
    size_t len = strlen(word);
    long until = now_ms() + scaled(LIMIT_MS);
    for (const char *text; (text = next_line(relay, until));)
        if (strncmp(text, word, len) == 0 && (text[len] == ' ' || text[len] == 0)) return text;
    check_failed(file, line, true, "the relay prints no line \"%s ...\" within %d s", word, LIMIT_MS / 1000);
    return NULL;
}

/* With these words, and those that the options are a format of. */
static relay_t *start(char *const *words, const char *options, va_list args)
{
    char text[1000];
    int length = vsnprintf(text, sizeof text, options, args);
    REQUIRE(length >= 0 && length < (int)sizeof text);

    char *argv[MAX_WORDS + 1] = {NULL}, *rest;
    int n = 0;
    while (words[n]) argv[n] = words[n], n++;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        REQUIRE(n < MAX_WORDS);
        argv[n++] = word[0] == '@' ? (char *)cert_path(word + 1) : word;
    }
    relay_t *relay = check_alloc(sizeof *relay);
    relay->pid = process_start(argv, &relay->in, &relay->out, NULL);
    REQUIRE(relay->pid > 0);
    at_test_end(END_SERVERS, relay_end, relay);
    const char *line = relay_line(relay, "listening"), *colon = strrchr(line, ':');
    relay->port = colon ? atoi(colon + 1) : 0;
    REQUIRE(relay->port > 0);
    return relay;
}

relay_t *relay_start(int port, const char *options, ...)
{
    va_list args;
    va_start(args, options);
    char *words[] = {peer_program("relay"), "--to", test_printf("127.0.0.1:%d", port), NULL};
    relay_t *relay = start(words, options, args);
    va_end(args);
    return relay;
}

relay_t *bad_peer_start(const char *options, ...)
{
    va_list args;
    va_start(args, options);
    char *words[] = {peer_program("bad-peer"), NULL};
    relay_t *peer = start(words, options, args);
    va_end(args);
    return peer;
}

relay_t *chaos_start(const char *options, ...)
{
    va_list args;
    va_start(args, options);
    char *words[] = {peer_program("chaos-proxy"), NULL};
    relay_t *proxy = start(words, options, args);
    va_end(args);
    return proxy;
}

int relay_port(const relay_t *relay) { return relay->port; }

char *relay_uri(const relay_t *relay, const char *scheme)
{
    return test_printf("%s://localhost:%d", scheme, relay->port);
}

const char *line_value(const char *line, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = line; (at = strstr(at, name)); at += len) {
        if ((at > line && at[-1] != ' ') || at[len] != '=') continue;
        at += len + 1;
        return test_printf("%.*s", (int)strcspn(at, " "), at);
    }
    return "";
}

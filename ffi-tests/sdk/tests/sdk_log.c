/*
 * Tests of the host stand-in: the log.
 */
#include "sdk_check.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "wm_error.h"
#define LOG_TAG "sdk_log"
#include "wm_log.h"

/* The exit status of the child "level" that starts with this level. */
#define STARTS_WITH(level) (10 + (int)(level))

static char g_logged[512];

static int keep(const char *format, va_list args)
{
    return vsnprintf(g_logged, sizeof g_logged, format, args);
}

static void *log_lines(void *arg)
{
    char fill[700];
    memset(fill, 'a' + (int)(intptr_t)arg, sizeof fill);
    for (int i = 0; i < 100; i++) {
        wm_log_raw_info("<%.*s>\r\n", i * 7, fill);
    }
    return NULL;
}

static void test_log(void)
{
    wm_log_set_level(WM_LOG_LEVEL_INFO);
    unsigned stamp;
    CHECK(wm_log_get_level() == WM_LOG_LEVEL_INFO);
    wm_log_set_vprintf(keep);
    CHECK(wm_log_printf(WM_LOG_LEVEL_INFO, "t", "%s", "four") == 4 && strcmp(g_logged, "four") == 0);
    wm_log_info("value %d", 42);
    CHECK(sscanf(g_logged, "[I] (%u) sdk_log: value 42", &stamp) == 1);
    CHECK(strcmp(g_logged + strlen(g_logged) - 4, "42\r\n") == 0);
    g_logged[0] = '\0';
    wm_log_debug("hidden");
    CHECK(g_logged[0] == '\0');
    CHECK(wm_log_set_level(WM_LOG_LEVEL_DEBUG) == WM_ERR_SUCCESS);
    wm_log_debug("shown");
    CHECK(strncmp(g_logged, "[D] (", 5) == 0);
    CHECK(wm_log_set_level((wm_log_level_t)6) == WM_ERR_FAILED && wm_log_get_level() == WM_LOG_LEVEL_DEBUG);
    CHECK(wm_log_hex_dump(WM_LOG_LEVEL_INFO, "t", "name", 16, "0123456789abcdef\x01", 17) == WM_ERR_SUCCESS);
    CHECK(strncmp(g_logged, "0x0010   01   ", 14) == 0 && strcmp(g_logged + strlen(g_logged) - 5, "  .\r\n") == 0);
    CHECK(wm_log_hex_dump(WM_LOG_LEVEL_INFO, "t", "name", 0, "0", 1) == WM_ERR_INVALID_PARAM);
    CHECK(wm_log_hex_dump(WM_LOG_LEVEL_INFO, "t", "name", 33, "0", 1) == WM_ERR_INVALID_PARAM);
    uint8_t all[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    CHECK(wm_log_hex_dump(WM_LOG_LEVEL_INFO, "t", "name", 32, all, sizeof all) == WM_ERR_SUCCESS);
    wm_log_set_level(WM_LOG_LEVEL_INFO);
    wm_log_set_vprintf(NULL);
    CHECK(wm_log_printf(WM_LOG_LEVEL_ERROR, "t", "silence") == 0);
}

/* A line as log_lines() makes it: one letter, repeated, in angle brackets. */
static bool is_whole(const char *line)
{
    const char same[] = { line[1], '\0' };
    size_t n          = line[1] == '>' ? 0 : strspn(line + 1, same);
    return line[0] == '<' && strcmp(line + 1 + n, ">\r\n") == 0;
}

/* Lines of several threads, long ones among them, must come out whole. */
static void test_log_lines_do_not_mix(void)
{
    char command[4200], line[1024];
    int lines = 0, whole = 0;

    snprintf(command, sizeof command, "'%s' log-lines", self());
    FILE *in = popen(command, "r");
    while (in && fgets(line, sizeof line, in)) {
        lines++;
        whole += is_whole(line);
    }
    CHECK(in && pclose(in) == 0);
    CHECK(lines == 400 && whole == 400);
}

static void child_log_lines(void)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&t[i], NULL, log_lines, (void *)(intptr_t)i);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
}

static void test_level_from_environment(void)
{
    double seconds;
    CHECK(run_child("level", &seconds) == STARTS_WITH(WM_LOG_LEVEL_INFO));
    setenv("WM_LOG_LEVEL", "5", 1);
    CHECK(run_child("level", &seconds) == STARTS_WITH(WM_LOG_LEVEL_VERBOSE));
    setenv("WM_LOG_LEVEL", "55", 1);
    CHECK(run_child("level", &seconds) == STARTS_WITH(WM_LOG_LEVEL_INFO));
    unsetenv("WM_LOG_LEVEL");
}

static int child(const char *what)
{
    if (strcmp(what, "log-lines") == 0) {
        child_log_lines();
        return 0;
    }
    if (strcmp(what, "level") == 0) {
        return STARTS_WITH(wm_log_get_level());
    }
    return 2;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return child(argv[1]);
    }
    unsetenv("WM_LOG_LEVEL"); /* the caller's level is not for the children */
    test_level_from_environment();
    test_log();
    test_log_lines_do_not_mix();
    return report();
}

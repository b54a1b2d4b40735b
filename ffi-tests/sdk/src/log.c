/*
 * The log. Each call makes its text first and hands it to stdio in one piece, flushed, so lines of several threads do
 * not mix and none is missing after a crash.
 */
#include <ctype.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "wm_error.h"
#include "wm_log.h"
#include "wm_types.h"

#define DUMP_WIDTH_MAX 32

static int print_whole(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static atomic_int g_level                = CONFIG_LOG_DEFAULT_LEVEL;
static _Atomic(wm_log_vprintf_t) g_print = print_whole;

__attribute__((constructor(101))) static void level_from_environment(void)
{
    const char *level = getenv("WM_LOG_LEVEL");
    if (level && level[0] >= '0' && level[0] <= '5' && !level[1]) {
        atomic_store(&g_level, level[0] - '0');
    }
}

static int print_whole(const char *format, va_list args)
{
    char on_stack[512];
    char *text = on_stack;
    va_list again;

    va_copy(again, args);
    int len = vsnprintf(on_stack, sizeof on_stack, format, args);
    if (len >= (int)sizeof on_stack) {
        text = malloc((size_t)len + 1);
        if (text) {
            vsnprintf(text, (size_t)len + 1, format, again);
        }
    }
    va_end(again);
    if (len < 0 || !text) {
        return -1;
    }
    flockfile(stdout);
    fwrite(text, 1, (size_t)len, stdout);
    fflush(stdout);
    funlockfile(stdout);
    if (text != on_stack) {
        free(text);
    }
    return len;
}

int wm_log_vprintf(wm_log_level_t level, const char *tag, const char *format, va_list args)
{
    (void)tag;
    wm_log_vprintf_t print = atomic_load(&g_print);
    if (!format || !print || (int)level > atomic_load(&g_level)) {
        return 0;
    }
    return print(format, args);
}

int wm_log_printf(wm_log_level_t level, const char *tag, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = wm_log_vprintf(level, tag, format, args);
    va_end(args);
    return len;
}

int wm_printf_direct(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = print_whole(fmt, args);
    va_end(args);
    return len;
}

static void dump_line(char *line, size_t room, size_t offset, const uint8_t *bytes, size_t n, size_t width)
{
    int at = snprintf(line, room, "0x%04zx ", offset);
    for (size_t i = 0; i < width; i++) {
        at += snprintf(line + at, room - (size_t)at, i % 8 ? "" : " ");
        at += i < n ? snprintf(line + at, room - (size_t)at, " %02x", bytes[i])
                    : snprintf(line + at, room - (size_t)at, "   ");
    }
    at += snprintf(line + at, room - (size_t)at, "  ");
    for (size_t i = 0; i < n; i++) {
        line[at++] = isprint(bytes[i]) ? (char)bytes[i] : '.';
    }
    line[at] = '\0';
}

int wm_log_hex_dump(wm_log_level_t level, const char *tag, const char *name, uint8_t width, const void *data,
                    size_t data_len)
{
    static const char letters[] = "NEWIDV";
    const uint8_t *bytes        = data;
    /* Offset, a gap every 8 bytes, "_xx" and one character per byte. */
    char line[20 + 2 + DUMP_WIDTH_MAX / 8 + DUMP_WIDTH_MAX * 4 + 1];

    if (level > WM_LOG_LEVEL_VERBOSE || !tag || !name || width == 0 || width > DUMP_WIDTH_MAX || !data ||
        data_len == 0) {
        return WM_ERR_INVALID_PARAM;
    }
    if ((int)level > atomic_load(&g_level)) {
        return WM_ERR_SUCCESS;
    }
    wm_log_printf(level, tag, "[%c] (%u) %s: dump [%s]\r\n", letters[level], (unsigned)wm_os_internal_get_time_ms(), tag,
                  name);
    for (size_t at = 0; at < data_len; at += width) {
        size_t n = data_len - at < width ? data_len - at : width;
        dump_line(line, sizeof line, at, bytes + at, n, width);
        wm_log_printf(level, tag, "%s\r\n", line);
    }
    return WM_ERR_SUCCESS;
}

int wm_log_set_level(wm_log_level_t level)
{
    if (level > WM_LOG_LEVEL_VERBOSE) {
        return WM_ERR_FAILED;
    }
    atomic_store(&g_level, (int)level);
    return WM_ERR_SUCCESS;
}

wm_log_level_t wm_log_get_level(void)
{
    return (wm_log_level_t)atomic_load(&g_level);
}

int wm_log_set_vprintf(wm_log_vprintf_t user_vprintf)
{
    atomic_store(&g_print, user_vprintf);
    return WM_ERR_SUCCESS;
}

int wm_log_init(void)
{
    return WM_ERR_SUCCESS;
}

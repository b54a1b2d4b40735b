/**
 * @file wm_log.h
 * @brief Host stand-in: the SDK's log. Lines go to standard output, one write each, ended by CR LF.
 *
 * The environment variable WM_LOG_LEVEL (0 to 5) replaces the level at start. A source sets its tag by defining
 * LOG_TAG before it includes this file. The macros use the GNU form of variadic arguments, as the SDK's do, so
 * sources that call them cannot be compiled with -Wpedantic.
 */
#ifndef WM_HOST_LOG_H
#define WM_HOST_LOG_H

#include "wmsdk_config.h"
#include <stdint.h>
#include <stdarg.h>
#include <assert.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How important a line is. A line is shown if its level is not above the current one. */
typedef enum {
    WM_LOG_LEVEL_NONE,    /**< nothing is shown */
    WM_LOG_LEVEL_ERROR,   /**< something failed */
    WM_LOG_LEVEL_WARN,    /**< something looks wrong */
    WM_LOG_LEVEL_INFO,    /**< normal course of things */
    WM_LOG_LEVEL_DEBUG,   /**< for the developer of a module */
    WM_LOG_LEVEL_VERBOSE, /**< for the patient developer of a module */
} wm_log_level_t;

#if !defined(LOG_TAG)
#define LOG_TAG "NO_TAG" /**< the tag of sources that set none */
#endif

/** Milliseconds since the start of the program. */
uint32_t wm_os_internal_get_time_ms(void);

/** An output function for formatted text, of vprintf's type. */
typedef int (*wm_log_vprintf_t)(const char *, va_list);

/** Writes formatted text if @p level is shown; returns the number of characters written, 0 if not shown. */
int wm_log_printf(wm_log_level_t level, const char *tag, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** wm_log_printf() with an argument list. */
int wm_log_vprintf(wm_log_level_t level, const char *tag, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/** Writes @p data as lines of @p width bytes (1 to 32): offset, hexadecimal values, characters. */
int wm_log_hex_dump(wm_log_level_t level, const char *tag, const char *name, uint8_t width, const void *data,
                    size_t data_len);

/** Sets the level; WM_ERR_FAILED if there is no such level. */
int wm_log_set_level(wm_log_level_t level);

/** The current level. */
wm_log_level_t wm_log_get_level(void);

/** Replaces the output function; NULL silences the log. */
int wm_log_set_vprintf(wm_log_vprintf_t user_vprintf);

/** Writes formatted text whatever the level. */
int wm_printf_direct(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** Nothing to start on a host: WM_ERR_SUCCESS. */
int wm_log_init(void);

/** The format of a line: level letter, milliseconds, tag, text. */
#define LOG_FMT(letter, fmt) "[" #letter "] (%u) %s: " fmt "\r\n"
/** The time stamp of a line. */
#define WM_GET_MS(...) wm_os_internal_get_time_ms()

#if CONFIG_LOG_DEFAULT_LEVEL
/** Text as it stands, without level letter, time and line end. */
#define wm_log_raw(level, fmt, ...) wm_log_printf(level, LOG_TAG, fmt, ##__VA_ARGS__)
/** A dump with the tag of this source. */
#define wm_log_dump(level, name, width, buf, size) wm_log_hex_dump(level, LOG_TAG, name, width, buf, size)
/** One line; the other line macros are made of it. */
#define WM_HOST_LOG_LINE(level, letter, fmt, ...) \
    wm_log_printf(level, LOG_TAG, LOG_FMT(letter, fmt), (unsigned)WM_GET_MS(), LOG_TAG, ##__VA_ARGS__)
#else
#define wm_log_raw(level, fmt, ...)                ((void)0)
#define wm_log_dump(level, name, width, buf, size) ((void)0)
#define WM_HOST_LOG_LINE(level, letter, fmt, ...)  ((void)0)
#endif

#define wm_log_error(fmt, ...)   WM_HOST_LOG_LINE(WM_LOG_LEVEL_ERROR, E, fmt, ##__VA_ARGS__)   /**< line at ERROR */
#define wm_log_warn(fmt, ...)    WM_HOST_LOG_LINE(WM_LOG_LEVEL_WARN, W, fmt, ##__VA_ARGS__)    /**< line at WARN */
#define wm_log_info(fmt, ...)    WM_HOST_LOG_LINE(WM_LOG_LEVEL_INFO, I, fmt, ##__VA_ARGS__)    /**< line at INFO */
#define wm_log_debug(fmt, ...)   WM_HOST_LOG_LINE(WM_LOG_LEVEL_DEBUG, D, fmt, ##__VA_ARGS__)   /**< line at DEBUG */
#define wm_log_verbose(fmt, ...) WM_HOST_LOG_LINE(WM_LOG_LEVEL_VERBOSE, V, fmt, ##__VA_ARGS__) /**< line at VERBOSE */

#define wm_log_raw_error(fmt, ...)   wm_log_raw(WM_LOG_LEVEL_ERROR, fmt, ##__VA_ARGS__)   /**< raw text at ERROR */
#define wm_log_raw_warn(fmt, ...)    wm_log_raw(WM_LOG_LEVEL_WARN, fmt, ##__VA_ARGS__)    /**< raw text at WARN */
#define wm_log_raw_info(fmt, ...)    wm_log_raw(WM_LOG_LEVEL_INFO, fmt, ##__VA_ARGS__)    /**< raw text at INFO */
#define wm_log_raw_debug(fmt, ...)   wm_log_raw(WM_LOG_LEVEL_DEBUG, fmt, ##__VA_ARGS__)   /**< raw text at DEBUG */
#define wm_log_raw_verbose(fmt, ...) wm_log_raw(WM_LOG_LEVEL_VERBOSE, fmt, ##__VA_ARGS__) /**< raw text at VERBOSE */

/* Dumps, 16 bytes a line, at the level in their name. */
#define wm_log_dump_error(name, buf, size)   wm_log_dump(WM_LOG_LEVEL_ERROR, name, 16, buf, size)
#define wm_log_dump_warn(name, buf, size)    wm_log_dump(WM_LOG_LEVEL_WARN, name, 16, buf, size)
#define wm_log_dump_info(name, buf, size)    wm_log_dump(WM_LOG_LEVEL_INFO, name, 16, buf, size)
#define wm_log_dump_debug(name, buf, size)   wm_log_dump(WM_LOG_LEVEL_DEBUG, name, 16, buf, size)
#define wm_log_dump_verbose(name, buf, size) wm_log_dump(WM_LOG_LEVEL_VERBOSE, name, 16, buf, size)

#ifdef __cplusplus
}
#endif

#endif

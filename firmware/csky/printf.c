/* The formatted output of C for tests and harness: that of this newlib knows neither `z` nor `ll`. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "freertos/FreeRTOS.h"

typedef struct {
    char *to; /* NULL: the file */
    FILE *file;
    size_t room, len;
} out_t;

static void put(out_t *out, const char *text, size_t len)
{
    if (!out->to) fwrite(text, 1, len, out->file);
    for (size_t i = 0; out->to && i < len && out->len + i + 1 < out->room; i++) out->to[out->len + i] = text[i];
    out->len += len;
}

static void fill(out_t *out, char with, long count)
{
    for (; count > 0; count--) put(out, &with, 1);
}

/* One conversion: what it begins with, digits of at least `digits`, all in `width`. */
static void field(out_t *out, const char *sign, const char *text, long len, long digits, long width, char pad)
{
    long signs = (long)strlen(sign), zeros = digits > len ? digits - len : 0;
    long rest = width - signs - zeros - len;
    if (pad == ' ') fill(out, ' ', rest);
    put(out, sign, (size_t)signs);
    fill(out, '0', zeros + (pad == '0' && rest > 0 ? rest : 0));
    put(out, text, (size_t)len);
    if (pad == '-') fill(out, ' ', rest);
}

static void number(out_t *out, uint64_t value, unsigned base, const char *digit, const char *sign, long precision, long width,
                   char pad)
{
    char text[24], *at = text + sizeof text;
    for (; value > 0; value /= base) *--at = digit[value % base];
    if (precision >= 0 && pad == '0') pad = ' ';
    field(out, sign, at, text + sizeof text - at, precision < 0 ? 1 : precision, width, pad);
}

static void format_to(out_t *out, const char *format, va_list *args)
{
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    for (const char *at = format; *at; at++) {
        const char *from = at;
        while (*at && *at != '%') at++;
        put(out, from, (size_t)(at - from));
        if (!*at) return;
        char pad = ' ', plus = 0;
        while (strchr("-0+ #", *++at)) {
            if (*at == '-' || (*at == '0' && pad == ' ')) pad = *at;
            if (*at == '+') plus = '+';
        }
        long numbers[2] = {0, -1}; /* width and precision */
        for (int i = 0; i < 2; i++) {
            if (i == 1 && *at != '.') break;
            if (i == 1) numbers[1] = (at++, 0);
            if (*at == '*') numbers[i] = (at++, va_arg(*args, int));
            else
                for (; *at >= '0' && *at <= '9'; at++) numbers[i] = numbers[i] * 10 + (*at - '0');
        }
        if (numbers[0] < 0) numbers[0] = (pad = '-', -numbers[0]);
        int longs = 0;
        for (; strchr("hlzjt", *at); at++) longs += *at == 'l' ? 1 : *at == 'j' ? 2 : 0;
        long width = numbers[0], precision = numbers[1];
        switch (*at) {
            case 'd':
            case 'i': {
                int64_t value = longs > 1 ? va_arg(*args, long long) : va_arg(*args, int);
                const char sign[2] = {value < 0 ? '-' : plus};
                number(out, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, lower, sign, precision, width, pad);
                break;
            }
            case 'u':
            case 'x':
            case 'X': {
                uint64_t value = longs > 1 ? va_arg(*args, unsigned long long) : va_arg(*args, unsigned);
                number(out, value, *at == 'u' ? 10 : 16, *at == 'X' ? upper : lower, "", precision, width, pad);
                break;
            }
            case 'p': number(out, (uintptr_t)va_arg(*args, void *), 16, lower, "0x", 8, width, pad); break;
            case 'c': field(out, "", &(char){(char)va_arg(*args, int)}, 1, 0, width, pad); break;
            case 's': {
                const char *text = va_arg(*args, const char *);
                if (!text) text = "(null)";
                field(out, "", text, (long)strnlen(text, precision < 0 ? SIZE_MAX : (size_t)precision), 0, width, pad);
                break;
            }
            case '%': put(out, "%", 1); break;
            default: board_failed("an unknown format", format, 0);
        }
    }
}

int vsnprintf(char *restrict to, size_t room, const char *restrict format, va_list args)
{
    char none;
    out_t out = {.to = to ? to : &none, .room = to ? room : 0};
    va_list copy;
    va_copy(copy, args);
    format_to(&out, format, &copy);
    va_end(copy);
    if (out.room > 0) out.to[out.len < out.room ? out.len : out.room - 1] = 0;
    return (int)out.len;
}

int vfprintf(FILE *restrict file, const char *restrict format, va_list args)
{
    out_t out = {.file = file};
    va_list copy;
    va_copy(copy, args);
    format_to(&out, format, &copy);
    va_end(copy);
    return (int)out.len;
}

#define VARIADIC(call)             \
    va_list args;                  \
    va_start(args, format);        \
    int len = call;                \
    va_end(args);                  \
    return len

int snprintf(char *restrict to, size_t room, const char *restrict format, ...) { VARIADIC(vsnprintf(to, room, format, args)); }
int sprintf(char *restrict to, const char *restrict format, ...) { VARIADIC(vsnprintf(to, SIZE_MAX / 2, format, args)); }
int fprintf(FILE *restrict file, const char *restrict format, ...) { VARIADIC(vfprintf(file, format, args)); }
int printf(const char *restrict format, ...) { VARIADIC(vfprintf(stdout, format, args)); }
int vprintf(const char *restrict format, va_list args) { return vfprintf(stdout, format, args); }

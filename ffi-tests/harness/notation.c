#define _GNU_SOURCE
#include "notation.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

void text_put(text_t *t, int byte, bool any)
{
    if (t->len == t->room) {
        t->room = t->room ? 2 * t->room : 256;
        t->bytes = realloc(t->bytes, t->room);
        t->any = realloc(t->any, t->room);
        if (!t->bytes || !t->any) abort();
    }
    t->bytes[t->len] = (uint8_t)byte;
    t->any[t->len++] = any;
}

void text_insert_length(text_t *t, size_t at)
{
    size_t body = t->len - at, value = body;
    uint8_t coded[4];
    size_t n = 0;
    do {
        coded[n] = value % 128;
        value /= 128;
        if (value) coded[n] |= 128;
        n++;
    } while (value);
    for (size_t i = 0; i < n; i++) text_put(t, 0, false);
    memmove(t->bytes + at + n, t->bytes + at, body);
    memmove(t->any + at + n, t->any + at, body);
    memcpy(t->bytes + at, coded, n);
    memset(t->any + at, 0, n);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static text_t parse(const char *text)
{
    text_t t = {0};
    size_t open[8];
    int depth = 0;
    for (const char *p = text; *p;) {
        if (isspace((unsigned char)*p)) {
            p++;
        } else if (*p == '[') {
            if (depth == 8) goto bad;
            open[depth++] = t.len;
            p++;
        } else if (*p == ']') {
            if (!depth) goto bad;
            text_insert_length(&t, open[--depth]);
            p++;
        } else if (*p == '\'' || (*p == 's' && p[1] == '\'')) {
            bool string = *p == 's';
            p += string ? 2 : 1;
            const char *end = strchr(p, '\'');
            if (!end) goto bad;
            if (string) {
                text_put(&t, (int)((end - p) >> 8), false);
                text_put(&t, (int)((end - p) & 255), false);
            }
            while (p < end) text_put(&t, (uint8_t)*p++, false);
            p++;
        } else if (*p == '?' && p[1] == '?') {
            text_put(&t, 0, true);
            p += 2;
        } else if (hex_digit(p[0]) >= 0 && p[1] && hex_digit(p[1]) >= 0) {
            text_put(&t, hex_digit(p[0]) * 16 + hex_digit(p[1]), false);
            p += 2;
        } else {
            goto bad;
        }
    }
    if (depth) goto bad;
    return t;
bad:
    fprintf(stderr, "harness: cannot read the bytes in: %s\n", text);
    abort();
}

text_t text_vparse(const char *format, va_list args)
{
    char *text;
    if (vasprintf(&text, format, args) < 0) abort();
    text_t t = parse(text);
    free(text);
    return t;
}

void text_free(text_t *t)
{
    free(t->bytes);
    free(t->any);
}

uint8_t *bytes_of(size_t *len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_t t = text_vparse(format, args);
    va_end(args);
    uint8_t *bytes = test_alloc(t.len);
    if (t.len) memcpy(bytes, t.bytes, t.len);
    *len = t.len;
    text_free(&t);
    return bytes;
}

void dump_bytes(char *out, size_t room, const uint8_t *bytes, const uint8_t *any, size_t len)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < len && n + 8 < room; i++) {
        if (i == 120) {
            snprintf(out + n, room - n, "...");
            return;
        }
        n += (size_t)snprintf(out + n, room - n, any && any[i] ? "?? " : "%02x ", bytes[i]);
    }
}

/* Bytes written as text: hex pairs ("10 0c", spaces optional), 'text' for its characters, s'text' for an MQTT string
 * (two bytes of length before it), ?? for any byte (in expectations only), and [ ... ] for a remaining length and the
 * bytes it counts. The text is a printf format:
 *
 *     uint8_t *bytes = bytes_of(&len, "32 [ s'topic' %04x 'payload' ]", id);
 *
 * A text that cannot be read aborts the program. */
#ifndef NOTATION_H
#define NOTATION_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The text as bytes in memory of the test. */
uint8_t *bytes_of(size_t *len, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The rest is for the harness. */
typedef struct {
    uint8_t *bytes, *any; /* any[i]: a wildcard */
    size_t len, room;
} text_t;

text_t text_vparse(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
void text_put(text_t *t, int byte, bool any);
void text_insert_length(text_t *t, size_t at); /* before the bytes from `at` on: their number as a remaining length */
void text_free(text_t *t);

/* Bytes as hex pairs, wildcards (any may be NULL) as ??; cut off after 120 bytes or where the room ends. */
void dump_bytes(char *out, size_t room, const uint8_t *bytes, const uint8_t *any, size_t len);

#endif

/* What was promised, and what became of it: every message that was published, with what publish returned, and who has received it.
 *
 * A stream is what one handle publishes with one QoS, all of it to one topic; its messages have numbers. A reader has got a stream
 * right if
 *
 * - it has only messages that publish did not refuse, whole, with the topic and QoS of their stream;
 * - with QoS 1 and 2 it has all of them once a fence has come, a message behind all the others;
 * - with QoS 0 and 2 it has none twice;
 * - whatever the QoS, it has them in their order: what comes again (QoS 1) counts when it comes first.
 *
 * And each message with QoS 1 or 2 has one PUBLISHED event. */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOST_HANDLES = 256, LARGEST = 65535, SMALLEST = 20 };

/* Who receives each message: the observer, whose way to the broker nothing disturbs, and a handle of the library. */
typedef enum { OBSERVER, RECEIVER, READERS } reader_t;

/* A broker that dies forgets. These are allowed while such a round lasts, and for brokers that do so anyway. */
typedef struct {
    bool lose;    /* what it has acknowledged */
    bool drop;    /* the same, but on its way to handles of the library only, over the bad network */
    bool again;   /* QoS 0 and 2 twice */
    bool resent;  /* the same, but to handles of the library only, over the bad network */
    bool reorder; /* messages out of their order, to handles of the library only */
    bool stuck;   /* an acknowledgement or a message does not come before the next connection */
    bool low;     /* it cannot take QoS 2 over a bad network: in a storm nothing is published with it */
    bool raise;   /* a QoS above that of the message, where the subscription has it */
} allowance_t;

void ledger_begin(int generation, int handles);
void ledger_allow(allowance_t allowance);

/* Writes the stream's next message into payload (LARGEST bytes), and its topic. Returns its number. */
unsigned ledger_offer(int handle, int qos, uint8_t *payload, size_t len, char topic[32]);
/* What publish has returned for it. */
void ledger_answer(int handle, int qos, unsigned number, int result);
/* A PUBLISHED event. */
void ledger_published(int id);
void ledger_arrived(reader_t reader, int qos, const char *topic, size_t topic_len, const uint8_t *payload, size_t len);
/* The handle whose messages a topic carries; -1: none of this generation's. */
int ledger_topic(const char *topic, size_t len);

/* The last message of each stream with QoS 1 and 2 was accepted and has arrived, and every PUBLISHED event has come. `what` says,
 * if not, what is missing. */
bool ledger_settled(char *what, size_t room);
/* Judges what was published since the last time. */
void ledger_close(void);

/* A mistake: printed, the first 20 of them, and counted. */
void ledger_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int ledger_failures(void);

typedef struct {
    long accepted[3], refused[3], received[READERS][3], again[READERS][3], lost[READERS][3], published;
} totals_t;
totals_t ledger_totals(void);

#endif

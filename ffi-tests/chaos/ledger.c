#include "ledger.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_MESSAGES = 8192, SHOWN = 20 };

enum state { NEVER, OFFERED, ACCEPTED, REFUSED };

typedef struct {
    unsigned next;                /* number of the next message */
    unsigned judged;              /* all before it */
    uint8_t state[MOST_MESSAGES]; /* enum state */
    uint8_t seen[READERS][MOST_MESSAGES];
    unsigned newest[READERS]; /* one more than the largest number seen */
} stream_t;

/* In front of each payload; behind it a pattern that depends on it. */
typedef struct {
    uint32_t generation, handle, qos, number, len;
} head_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static stream_t streams[MOST_HANDLES][3];
static int outstanding[65536]; /* messages accepted less PUBLISHED events, by identifier */
static int unequal;            /* how many of these are not 0 */
static int generation, handles, failures;
static allowance_t allowed;
static totals_t totals;

_Static_assert(sizeof(head_t) == SMALLEST, "the smallest payload is a head");

static void fail(const char *format, va_list args)
{
    if (failures++ >= SHOWN) return;
    fputs("FAIL ", stdout);
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
}

void ledger_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&lock);
    fail(format, args);
    pthread_mutex_unlock(&lock);
    va_end(args);
}

/* With the lock held. */
static void wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(format, args);
    va_end(args);
}

int ledger_failures(void)
{
    pthread_mutex_lock(&lock);
    int n = failures;
    pthread_mutex_unlock(&lock);
    return n;
}

void ledger_begin(int number, int handle_count)
{
    pthread_mutex_lock(&lock);
    generation = number;
    handles = handle_count;
    memset(streams, 0, sizeof streams);
    memset(outstanding, 0, sizeof outstanding);
    unequal = 0;
    pthread_mutex_unlock(&lock);
}

void ledger_allow(allowance_t allowance)
{
    pthread_mutex_lock(&lock);
    allowed = allowance;
    pthread_mutex_unlock(&lock);
}

static uint8_t pattern(const head_t *head, size_t i)
{
    return (uint8_t)(head->handle * 31 + head->qos * 7 + head->number * 13 + i + i / 251);
}

unsigned ledger_offer(int handle, int qos, uint8_t *payload, size_t len, char topic[32])
{
    pthread_mutex_lock(&lock);
    stream_t *stream = &streams[handle][qos];
    unsigned number = stream->next++;
    if (number >= MOST_MESSAGES) abort(); /* a round is seconds long */
    stream->state[number] = OFFERED;
    head_t head = {(uint32_t)generation, (uint32_t)handle, (uint32_t)qos, number, (uint32_t)len};
    pthread_mutex_unlock(&lock);
    memcpy(payload, &head, sizeof head);
    for (size_t i = sizeof head; i < len; i++) payload[i] = pattern(&head, i);
    snprintf(topic, 32, "c/%d/%d/%d", (int)head.generation, handle, qos);
    return number;
}

static void balance(int id, int change)
{
    int *count = &outstanding[id & 65535];
    unequal -= *count != 0;
    *count += change;
    unequal += *count != 0;
}

void ledger_answer(int handle, int qos, unsigned number, int result)
{
    pthread_mutex_lock(&lock);
    stream_t *stream = &streams[handle][qos];
    bool accepted = qos ? result > 0 : result == 0;
    if (!accepted && result >= 0) wrong("publish with QoS %d returns %d", qos, result);
    stream->state[number] = accepted ? ACCEPTED : REFUSED;
    if (accepted && qos) balance(result, 1);
    (accepted ? totals.accepted : totals.refused)[qos]++;
    for (int reader = 0; !accepted && reader < READERS; reader++)
        if (stream->seen[reader][number]) wrong("message %u of %d/%d was refused (%d), and has arrived", number, handle, qos, result);
    pthread_mutex_unlock(&lock);
}

void ledger_published(int id)
{
    pthread_mutex_lock(&lock);
    balance(id, -1);
    totals.published++;
    pthread_mutex_unlock(&lock);
}

int ledger_topic(const char *topic, size_t len)
{
    char text[32], exact[32];
    int of, handle, qos;
    if (len >= sizeof text) return -1;
    memcpy(text, topic, len);
    text[len] = 0;
    if (sscanf(text, "c/%d/%d/%d", &of, &handle, &qos) != 3 || of != generation) return -1;
    snprintf(exact, sizeof exact, "c/%d/%d/%d", of, handle, qos);
    return strcmp(text, exact) == 0 && handle < handles ? handle : -1;
}

void ledger_arrived(reader_t reader, int qos, const char *topic, size_t topic_len, const uint8_t *payload, size_t len)
{
    static const char *const names[] = {"the observer", "the receiver"};
    const char *name = names[reader];
    char expected[32];
    head_t head;
    if (len < sizeof head) return ledger_fail("%s has got %zu bytes", name, len);
    memcpy(&head, payload, sizeof head);
    pthread_mutex_lock(&lock);
    /* A session of an earlier generation has been ended; its messages were judged. */
    if (head.generation < (uint32_t)generation) goto end;
    snprintf(expected, sizeof expected, "c/%u/%u/%u", head.generation, head.handle, head.qos);
    stream_t *stream = head.handle < (uint32_t)handles && head.qos < 3 ? &streams[head.handle][head.qos] : NULL;
    if (!stream || head.number >= stream->next || head.len != len ||
        !(head.qos == (uint32_t)qos || (allowed.raise && head.qos < (uint32_t)qos)) || strlen(expected) != topic_len ||
        memcmp(expected, topic, topic_len) != 0) {
        wrong("%s has got what was not published: %zu bytes with QoS %d to %.*s", name, len, qos, (int)topic_len, topic);
        goto end;
    }
    qos = (int)head.qos;
    for (size_t i = sizeof head; i < len; i++) {
        if (payload[i] == pattern(&head, i)) continue;
        wrong("%s has got message %u to %s with byte %zu of %zu changed", name, head.number, expected, i, len);
        break;
    }
    unsigned number = head.number;
    if (stream->state[number] == REFUSED) wrong("%s has got message %u to %s, which was refused", name, number, expected);
    if (stream->seen[reader][number]) {
        totals.again[reader][qos]++;
        if (qos != 1 && !allowed.again && !(allowed.resent && reader == RECEIVER)) wrong("%s has got message %u to %s twice", name, number, expected);
    } else {
        totals.received[reader][qos]++;
        if (number < stream->newest[reader] && !(allowed.reorder && reader == RECEIVER))
            wrong("%s has got message %u to %s behind %u", name, number, expected, stream->newest[reader] - 1);
        else if (number >= stream->newest[reader]) stream->newest[reader] = number + 1;
        stream->seen[reader][number] = 1;
    }
end:
    pthread_mutex_unlock(&lock);
}

/* Where a fence may overtake the others these must have come, too. */
static bool all_received(const stream_t *stream)
{
    for (unsigned n = stream->judged; n < stream->next; n++)
        if (stream->state[n] == ACCEPTED && !stream->seen[RECEIVER][n]) return false;
    return true;
}

bool ledger_settled(char *what, size_t room)
{
    int open = 0;
    pthread_mutex_lock(&lock);
    what[0] = 0;
    for (int handle = 0; handle < handles; handle++) {
        for (int qos = 1; qos <= 2; qos++) {
            stream_t *stream = &streams[handle][qos];
            unsigned fence = stream->next ? stream->next - 1 : 0;
            bool settled = stream->next > stream->judged && stream->state[fence] == ACCEPTED;
            for (int reader = 0; reader < READERS; reader++) settled = settled && stream->seen[reader][fence];
            if (allowed.reorder && !allowed.lose) settled = settled && all_received(stream);
            if (!settled && open++ == 0)
                snprintf(what, room, "message %u to c/%d/%d/%d: accepted %d, observed %d, received %d", fence, generation, handle,
                         qos, stream->state[fence] == ACCEPTED, stream->seen[OBSERVER][fence], stream->seen[RECEIVER][fence]);
        }
    }
    size_t len = strlen(what);
    int missing = 0, excess = 0;
    for (int id = 0; id < 65536 && unequal; id++) *(outstanding[id] > 0 ? &missing : &excess) += abs(outstanding[id]);
    if (open || unequal)
        snprintf(what + len, room - len, " (%d streams; %d PUBLISHED events missing, %d too many)", open, missing, excess);
    bool settled = open == 0 && unequal == 0;
    pthread_mutex_unlock(&lock);
    return settled;
}

void ledger_close(void)
{
    pthread_mutex_lock(&lock);
    for (int handle = 0; handle < handles; handle++) {
        for (int qos = 0; qos < 3; qos++) {
            stream_t *stream = &streams[handle][qos];
            for (; stream->judged < stream->next; stream->judged++) {
                if (stream->state[stream->judged] != ACCEPTED) continue;
                for (int reader = 0; reader < READERS; reader++) {
                    if (stream->seen[reader][stream->judged]) continue;
                    totals.lost[reader][qos]++;
                    if (qos && !allowed.lose && !(allowed.drop && reader == RECEIVER))
                        wrong("message %u to c/%d/%d/%d has not reached the %s", stream->judged, generation, handle, qos,
                              reader == OBSERVER ? "observer" : "receiver");
                }
            }
        }
    }
    pthread_mutex_unlock(&lock);
}

totals_t ledger_totals(void)
{
    pthread_mutex_lock(&lock);
    totals_t copy = totals;
    pthread_mutex_unlock(&lock);
    return copy;
}

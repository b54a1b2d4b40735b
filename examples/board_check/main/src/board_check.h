/* Checks of a board, and the report of them. */
#ifndef BOARD_CHECK_H
#define BOARD_CHECK_H

#include <stdint.h>

/* What is checked. */
typedef struct {
    void (*print)(const char *line);                        /* takes the report */
    const char *(*compute)(unsigned number, uint64_t *result); /* as computations.h has it; NULL: not in this library */
    int (*fill_random)(void *to, uint32_t len);             /* 0: done */
    const char *const *uris;                                /* of brokers; NULL behind the last */
    const char *ca;                                         /* who has signed their certificates, as PEM; or NULL */
} board_t;

/* Does all checks and prints the report, which takes a minute or two; how many things are wrong. */
unsigned board_check(const board_t *board);

#endif

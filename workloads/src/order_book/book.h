/* The book: limit and market orders, cancels, price-time priority. */
#ifndef ORDER_BOOK_BOOK_H
#define ORDER_BOOK_BOOK_H

#include "levels.h"
#include "memory.h"
#include "message.h"

#include <stddef.h>

enum status {
    RESTING = 1,   /* what is left of a limit order is in the book */
    FILLED = 2,    /* nothing is left */
    EXHAUSTED = 3, /* a market order found no more; what is left of it is dropped */
    CANCELLED = 4,
    UNKNOWN = 5, /* nothing to cancel: never there, filled, or cancelled already */
    REFUSED = 6, /* not a request, an id twice, or the book is full */
    NO_MEMORY = 7,
};

struct counts {
    uint64_t statuses[NO_MEMORY + 1];
    uint64_t trades;
    uint64_t quantity; /* traded */
};

struct book {
    struct levels sides[2];
    struct order **by_id; /* NULL: not in the book */
    uint64_t ids_max;
    size_t live;
    size_t live_max;
    uint64_t sequence;
    struct memory *memory;
    struct counts counts;
};

/* A book for ids 1 to ids_max - 1 of which at most live_max rest at once. */
bool book_open(struct book *book, struct memory *memory, uint64_t ids_max, size_t live_max);

/* Frees every resting order. */
void book_close(struct book *book);

/* Does a request. Its fills, in the order in which they were made, are in scratch memory. */
enum status book_handle(
    struct book *book, const struct request *request, struct fill **fills, size_t *fill_count,
    uint32_t *left);

/* What is not as it must be; NULL: all is well. Takes time that grows with the book. */
const char *book_check(const struct book *book);

#endif

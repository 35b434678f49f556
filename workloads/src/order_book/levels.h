/* One side of the book: a queue of orders for each price, and which prices have any. */
#ifndef ORDER_BOOK_LEVELS_H
#define ORDER_BOOK_LEVELS_H

#include "order.h"

#include <stdbool.h>
#include <stddef.h>

struct level {
    struct order *first; /* the earliest: matched first */
    struct order *last;
    uint64_t quantity; /* of all orders */
    uint64_t count;
};

enum { WORDS = PRICES / 64 };

_Static_assert(WORDS == 64, "one word says which words have a bit");

struct levels {
    struct level at[PRICES];
    uint64_t words[WORDS]; /* a bit for each price with orders */
    uint64_t summary;      /* a bit for each word with a bit */
};

static inline bool levels_any(const struct levels *levels) { return levels->summary != 0; }

/* Of levels that have any. */
static inline uint32_t levels_lowest(const struct levels *levels) {
    uint32_t word = (uint32_t)__builtin_ctzll(levels->summary);
    return word * 64 + (uint32_t)__builtin_ctzll(levels->words[word]);
}

static inline uint32_t levels_highest(const struct levels *levels) {
    uint32_t word = 63 - (uint32_t)__builtin_clzll(levels->summary);
    return word * 64 + 63 - (uint32_t)__builtin_clzll(levels->words[word]);
}

/* Behind all others of its price. */
static inline void levels_add(struct levels *levels, struct order *order) {
    struct level *level = &levels->at[order->price];
    order->earlier = level->last;
    order->later = NULL;
    if (level->last) {
        level->last->later = order;
    } else {
        level->first = order;
        levels->words[order->price / 64] |= 1ull << order->price % 64;
        levels->summary |= 1ull << order->price / 64;
    }
    level->last = order;
    level->quantity += order->quantity;
    level->count++;
}

static inline void levels_remove(struct levels *levels, struct order *order) {
    struct level *level = &levels->at[order->price];
    if (order->earlier) order->earlier->later = order->later;
    else level->first = order->later;
    if (order->later) order->later->earlier = order->earlier;
    else level->last = order->earlier;
    level->quantity -= order->quantity;
    level->count--;
    if (level->first) return;
    levels->words[order->price / 64] &= ~(1ull << order->price % 64);
    if (levels->words[order->price / 64] == 0) levels->summary &= ~(1ull << order->price / 64);
}

#endif

/* An order that rests in the book, and what a match with it leaves. */
#ifndef ORDER_BOOK_ORDER_H
#define ORDER_BOOK_ORDER_H

#include <stdint.h>

enum side { BUY = 0, SELL = 1 };

/* Prices are ticks, 0 to PRICES - 1: a band, as exchanges have one. */
enum { PRICES = 4096 };

/* The largest quantity of an order, in lots: what bounds the fills of a request. */
enum { QUANTITY_MAX = 1000 };

struct order {
    struct order *earlier; /* of the same price; NULL: this one is next */
    struct order *later;
    uint64_t id;
    uint64_t sequence; /* of the request that brought it: the time in "price-time priority" */
    uint32_t owner;
    uint32_t quantity; /* what is left of it */
    uint32_t price;
    uint32_t side;
};

_Static_assert(sizeof(struct order) == 48, "the example is of orders of 48 bytes");

/* A part of a request that met a resting order. Lives in the request's scratch memory. */
struct fill {
    struct fill *next;
    uint64_t maker; /* id of the resting order */
    uint32_t price; /* the maker's */
    uint32_t quantity;
};

#endif

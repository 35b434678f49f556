/* The way of a request: decoded, done in the book, answered. */
#ifndef ORDER_BOOK_GATEWAY_H
#define ORDER_BOOK_GATEWAY_H

#include "book.h"

/* Where answers go: as a socket's buffer, written round and round. */
enum { OUTBOX_BYTES = 1 << 16 };

struct gateway {
    struct book *book;
    struct memory *memory;
    uint64_t digest; /* of every answer */
    size_t position;
    uint8_t outbox[OUTBOX_BYTES + ANSWER_BYTES_MAX];
};

void gateway_open(struct gateway *gateway, struct book *book, struct memory *memory);

/* One request of MESSAGE_BYTES. False: there is no memory. */
bool gateway_handle(struct gateway *gateway, const uint8_t *message);

#endif

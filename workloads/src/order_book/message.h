/* A request as it comes over the wire: 24 bytes, big-endian. */
#ifndef ORDER_BOOK_MESSAGE_H
#define ORDER_BOOK_MESSAGE_H

#include <stdint.h>

enum { MESSAGE_BYTES = 24 };

enum kind { LIMIT = 1, MARKET = 2, CANCEL = 3 };

struct request {
    uint64_t id; /* of the order that is new, or that is to be cancelled */
    uint32_t kind;
    uint32_t side;
    uint32_t owner;
    uint32_t price; /* of LIMIT */
    uint32_t quantity;
};

static inline void put_u32(uint8_t *bytes, uint32_t value) {
    for (int i = 0; i < 4; i++) bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline uint32_t get_u32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline void message_encode(const struct request *request, uint8_t *bytes) {
    put_u32(bytes, request->kind << 8 | request->side);
    put_u32(bytes + 4, (uint32_t)(request->id >> 32));
    put_u32(bytes + 8, (uint32_t)request->id);
    put_u32(bytes + 12, request->owner);
    put_u32(bytes + 16, request->price);
    put_u32(bytes + 20, request->quantity);
}

static inline void message_decode(const uint8_t *bytes, struct request *request) {
    uint32_t head = get_u32(bytes);
    request->kind = head >> 8;
    request->side = head & 0xff;
    request->id = (uint64_t)get_u32(bytes + 4) << 32 | get_u32(bytes + 8);
    request->owner = get_u32(bytes + 12);
    request->price = get_u32(bytes + 16);
    request->quantity = get_u32(bytes + 20);
}

#endif

/* Requests in, answers out; what a request needs lives until it is answered. */
#include "gateway.h"

#include <string.h>

/* An answer: this, and `fills` of the next. */
struct answer {
    uint64_t id;
    uint32_t status;
    uint32_t left;
    uint64_t fills;
};

struct report {
    uint64_t maker;
    uint32_t price;
    uint32_t quantity;
};

_Static_assert(sizeof(struct answer) + FILLS_MAX * sizeof(struct report) <= ANSWER_BYTES_MAX, "");
_Static_assert(sizeof(struct fill) <= 32 && sizeof(struct request) <= 64, "SCRATCH_BYTES_MAX");

void gateway_open(struct gateway *gateway, struct book *book, struct memory *memory) {
    memset(gateway, 0, sizeof *gateway);
    gateway->book = book;
    gateway->memory = memory;
    gateway->digest = 0xcbf29ce484222325u;
}

/* FNV-1a, of words rather than bytes. */
static uint64_t digest_add(uint64_t digest, uint64_t word) {
    return (digest ^ word) * 0x100000001b3u;
}

static void digest_answer(struct gateway *gateway, const struct answer *answer) {
    uint64_t digest = gateway->digest;
    digest = digest_add(digest, answer->id);
    digest = digest_add(digest, (uint64_t)answer->status << 32 | answer->left);
    const struct report *reports = (const struct report *)(answer + 1);
    for (uint64_t i = 0; i < answer->fills; i++) {
        digest = digest_add(digest, reports[i].maker);
        digest = digest_add(digest, (uint64_t)reports[i].price << 32 | reports[i].quantity);
    }
    gateway->digest = digest;
}

static void send(struct gateway *gateway, const struct answer *answer, size_t bytes) {
    memcpy(gateway->outbox + gateway->position, answer, bytes);
    gateway->position = (gateway->position + bytes) % OUTBOX_BYTES;
}

static bool answer_request(struct gateway *gateway, const uint8_t *message) {
    struct request *request = scratch_alloc(gateway->memory, sizeof *request);
    if (!request) return false;
    message_decode(message, request);
    struct fill *fills;
    size_t count;
    uint32_t left;
    enum status status = book_handle(gateway->book, request, &fills, &count, &left);
    if (status == NO_MEMORY) return false;
    size_t bytes = sizeof(struct answer) + count * sizeof(struct report);
    struct answer *answer = scratch_alloc(gateway->memory, bytes);
    if (!answer) return false;
    *answer = (struct answer){request->id, status, left, count};
    struct report *report = (struct report *)(answer + 1);
    for (const struct fill *fill = fills; fill; fill = fill->next) {
        *report++ = (struct report){fill->maker, fill->price, fill->quantity};
    }
    digest_answer(gateway, answer);
    send(gateway, answer, bytes);
    return true;
}

bool gateway_handle(struct gateway *gateway, const uint8_t *message) {
    bool answered = answer_request(gateway, message);
    scratch_reset(gateway->memory);
    return answered;
}

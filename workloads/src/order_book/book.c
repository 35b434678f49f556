/* The matching. */
#include "book.h"

#include <string.h>
#include <sys/mman.h>

bool book_open(struct book *book, struct memory *memory, uint64_t ids_max, size_t live_max) {
    memset(book, 0, sizeof *book);
    /* Not malloc, and in memory: the tables are the same for both kinds of memory. */
    size_t bytes = ids_max * sizeof *book->by_id;
    void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (table == MAP_FAILED) return false;
    book->by_id = table;
    book->ids_max = ids_max;
    book->live_max = live_max;
    book->memory = memory;
    return true;
}

void book_close(struct book *book) {
    for (uint64_t id = 0; id < book->ids_max && book->live > 0; id++) {
        if (!book->by_id[id]) continue;
        order_free(book->memory, book->by_id[id]);
        book->live--;
    }
    munmap(book->by_id, book->ids_max * sizeof *book->by_id);
}

static void take_out(struct book *book, struct order *order) {
    levels_remove(&book->sides[order->side], order);
    book->by_id[order->id] = NULL;
    book->live--;
    order_free(book->memory, order);
}

static bool crosses(const struct request *request, uint32_t price) {
    if (request->kind == MARKET) return true;
    return request->side == BUY ? price <= request->price : price >= request->price;
}

/* Matches with the other side as long as there is something at a fit price. What is left; false:
 * no scratch memory. */
static bool match(struct book *book, const struct request *request, struct fill **fills,
                  size_t *fill_count, uint32_t *left) {
    struct levels *other = &book->sides[1 - request->side];
    while (*left > 0 && levels_any(other)) {
        uint32_t best = request->side == BUY ? levels_lowest(other) : levels_highest(other);
        if (!crosses(request, best)) break;
        struct level *level = &other->at[best];
        struct order *maker = level->first;
        uint32_t quantity = maker->quantity < *left ? maker->quantity : *left;
        struct fill *fill = scratch_alloc(book->memory, sizeof *fill);
        if (!fill) return false;
        *fill = (struct fill){NULL, maker->id, best, quantity};
        *fills = fill;
        fills = &fill->next;
        ++*fill_count;
        book->counts.trades++;
        book->counts.quantity += quantity;
        *left -= quantity;
        maker->quantity -= quantity;
        level->quantity -= quantity;
        if (maker->quantity == 0) take_out(book, maker);
    }
    return true;
}

static enum status rest(struct book *book, const struct request *request, uint32_t left) {
    struct order *order = order_alloc(book->memory);
    if (!order) return NO_MEMORY;
    *order = (struct order){
        .id = request->id,
        .sequence = book->sequence,
        .owner = request->owner,
        .quantity = left,
        .price = request->price,
        .side = request->side,
    };
    levels_add(&book->sides[request->side], order);
    book->by_id[request->id] = order;
    book->live++;
    return RESTING;
}

static bool is_sound(const struct book *book, const struct request *request) {
    if (request->id == 0 || request->id >= book->ids_max) return false;
    if (request->kind == CANCEL) return true;
    if (request->kind != LIMIT && request->kind != MARKET) return false;
    if (request->side != BUY && request->side != SELL) return false;
    if (request->quantity == 0 || request->quantity > QUANTITY_MAX) return false;
    if (book->by_id[request->id]) return false;
    if (request->kind == MARKET) return true;
    /* A limit of the book, not of its memory: with any memory the same orders are refused. */
    return request->price < PRICES && book->live < book->live_max;
}

static enum status decide(struct book *book, const struct request *request, struct fill **fills,
                          size_t *fill_count, uint32_t *left) {
    if (!is_sound(book, request)) return REFUSED;
    if (request->kind == CANCEL) {
        struct order *order = book->by_id[request->id];
        if (!order) return UNKNOWN;
        *left = order->quantity;
        take_out(book, order);
        return CANCELLED;
    }
    *left = request->quantity;
    if (!match(book, request, fills, fill_count, left)) return NO_MEMORY;
    if (*left == 0) return FILLED;
    return request->kind == MARKET ? EXHAUSTED : rest(book, request, *left);
}

enum status book_handle(
    struct book *book, const struct request *request, struct fill **fills, size_t *fill_count,
    uint32_t *left) {
    *fills = NULL;
    *fill_count = 0;
    *left = 0;
    book->sequence++;
    enum status status = decide(book, request, fills, fill_count, left);
    book->counts.statuses[status]++;
    return status;
}

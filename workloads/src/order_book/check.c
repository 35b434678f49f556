/* What must hold of a book between two requests. */
#include "book.h"

static const char *check_level(const struct book *book, uint32_t side, uint32_t price) {
    const struct level *level = &book->sides[side].at[price];
    const struct order *earlier = NULL;
    uint64_t quantity = 0, count = 0;
    for (const struct order *order = level->first; order; order = order->later) {
        if (order->earlier != earlier) return "a queue is not linked both ways";
        if (order->side != side || order->price != price) return "an order is in a wrong queue";
        if (order->quantity == 0) return "a filled order is in the book";
        if (order->id >= book->ids_max || book->by_id[order->id] != order) {
            return "an order is not found by its id";
        }
        if (earlier && earlier->sequence >= order->sequence) return "a queue is out of order";
        quantity += order->quantity;
        count++;
        if (count > level->count) return "a queue has more orders than its level says";
        earlier = order;
    }
    if (level->last != earlier) return "a queue does not end with its last order";
    if (level->count != count) return "a queue has fewer orders than its level says";
    if (level->quantity != quantity) return "a level's quantity is not the sum of its orders";
    bool bit = book->sides[side].words[price / 64] >> price % 64 & 1;
    if (bit != (count > 0)) return "a price's bit does not say whether it has orders";
    return NULL;
}

const char *book_check(const struct book *book) {
    uint64_t count = 0;
    for (uint32_t side = BUY; side <= SELL; side++) {
        const struct levels *levels = &book->sides[side];
        for (uint32_t price = 0; price < PRICES; price++) {
            const char *problem = check_level(book, side, price);
            if (problem) return problem;
            count += levels->at[price].count;
        }
        for (uint32_t word = 0; word < WORDS; word++) {
            bool bit = levels->summary >> word & 1;
            if (bit != (levels->words[word] != 0)) return "the summary of a side is wrong";
        }
    }
    if (count != book->live) return "not as many orders in the queues as are live";
    uint64_t found = 0;
    for (uint64_t id = 0; id < book->ids_max; id++) found += book->by_id[id] != NULL;
    if (found != book->live) return "not as many orders in the table as are live";
    const struct levels *bids = &book->sides[BUY], *asks = &book->sides[SELL];
    if (levels_any(bids) && levels_any(asks) && levels_highest(bids) >= levels_lowest(asks)) {
        return "the best bid and the best ask cross";
    }
    return NULL;
}

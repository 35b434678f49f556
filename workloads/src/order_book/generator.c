/* Who sends what: makers near the price, cancels of what is open, and now and then a burst.
 *
 * A burst is one of three things that an exchange knows: a rush of orders on one side, market
 * orders that sweep through prices, or makers who pull back and cancel. It ends, and the quiet
 * stretch after it fills the book again. All arithmetic is of integers. */
#include "generator.h"

#include "message.h"
#include "order.h"

#include <stdbool.h>

/* xoshiro256** of Blackman and Vigna, its state from splitmix64. */
struct random {
    uint64_t state[4];
};

static uint64_t rotate(uint64_t value, int count) { return value << count | value >> (64 - count); }

static void random_seed(struct random *random, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t mixed = seed += 0x9e3779b97f4a7c15u;
        mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
        random->state[i] = mixed ^ mixed >> 31;
    }
}

static uint64_t random_next(struct random *random) {
    uint64_t *state = random->state;
    uint64_t result = rotate(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate(state[3], 45);
    return result;
}

/* 0 to limit - 1. */
static uint32_t below(struct random *random, uint32_t limit) {
    return (uint32_t)((random_next(random) >> 32) * limit >> 32);
}

/* 0, 1, 2 ..., each half as likely as the last, stretched `scale` times. */
static uint32_t decaying(struct random *random, uint32_t scale) {
    uint32_t halvings = (uint32_t)__builtin_ctzll(random_next(random) | 1ull << 20);
    return halvings * scale + below(random, scale);
}

enum phase { QUIET, RUSH, SWEEP, PULL, PHASES };

/* Of 100 requests: limit orders, then cancels; the rest are market orders. */
static const struct mix {
    uint32_t limits, cancels;
    uint32_t length_min, length_spread;
} mixes[PHASES] = {
    [QUIET] = {58, 40, 1000, 4000},
    [RUSH] = {80, 18, 100, 900},
    [SWEEP] = {40, 30, 50, 250},
    [PULL] = {9, 90, 200, 1800},
};

struct generator {
    struct random random;
    enum phase phase;
    uint32_t left; /* requests until the phase ends */
    uint32_t side; /* that a burst favours */
    int32_t mid;   /* the price that walks, in ticks */
    uint64_t last_id;
    size_t open_count;
    uint64_t open[LIVE_MAX]; /* ids that were sent and not yet cancelled */
};

enum { MID_MIN = 512, MID_MAX = PRICES - 512, RECENT = 256, SWEEP_QUANTITY_MAX = 400 };

static void walk(struct generator *generator) {
    uint32_t chance = generator->phase == QUIET ? 64 : 8;
    if (below(&generator->random, chance) != 0) return;
    bool up = below(&generator->random, 2) == 0;
    /* A sweep drags the price its own way. */
    if (generator->phase == SWEEP) up = generator->side == BUY;
    generator->mid += up ? 1 : -1;
    if (generator->mid < MID_MIN) generator->mid = MID_MIN;
    if (generator->mid > MID_MAX) generator->mid = MID_MAX;
}

static void next_phase(struct generator *generator) {
    if (generator->left-- > 0) return;
    bool quiet = generator->phase != QUIET;
    generator->phase = quiet ? QUIET : RUSH + below(&generator->random, PHASES - RUSH);
    const struct mix *mix = &mixes[generator->phase];
    generator->left = mix->length_min + below(&generator->random, mix->length_spread);
    generator->side = below(&generator->random, 2);
}

/* Half of them of the newest, as market makers do who follow the price. */
static struct request cancel(struct generator *generator) {
    size_t count = generator->open_count;
    bool recent = below(&generator->random, 2) == 0 && count > RECENT;
    size_t pick = recent ? count - 1 - below(&generator->random, RECENT)
                         : below(&generator->random, (uint32_t)count);
    struct request request = {.id = generator->open[pick], .kind = CANCEL};
    generator->open[pick] = generator->open[count - 1];
    generator->open_count--;
    return request;
}

static struct request order(struct generator *generator, enum kind kind) {
    struct random *random = &generator->random;
    bool burst = generator->phase == RUSH || generator->phase == SWEEP;
    struct request request = {.id = ++generator->last_id, .kind = kind};
    /* One after the other: an initialiser may draw its numbers in any order. */
    request.side = burst && below(random, 4) != 0 ? generator->side : below(random, 2);
    request.owner = below(random, 500);
    request.quantity = 1 + below(random, 100);
    if (generator->phase == SWEEP && kind == MARKET) {
        request.quantity = 1 + below(random, SWEEP_QUANTITY_MAX);
    }
    if (kind == MARKET) return request;
    /* One in sixteen is willing to trade at once. */
    int32_t away = below(random, 16) == 0 ? -(int32_t)below(random, 4) : 1;
    away += (int32_t)decaying(random, 8);
    int32_t price = generator->mid + (request.side == BUY ? -away : away);
    request.price = (uint32_t)price;
    generator->open[generator->open_count++] = request.id;
    return request;
}

static struct request next(struct generator *generator) {
    next_phase(generator);
    walk(generator);
    const struct mix *mix = &mixes[generator->phase];
    uint32_t draw = below(&generator->random, 100);
    bool full = generator->open_count == LIVE_MAX;
    if (generator->open_count > 0 &&
        (full || (draw >= mix->limits && draw < mix->limits + mix->cancels))) {
        return cancel(generator);
    }
    return order(generator, draw < mix->limits + mix->cancels ? LIMIT : MARKET);
}

void generate(uint64_t seed, size_t count, uint8_t *messages) {
    static struct generator generator;
    generator = (struct generator){.mid = PRICES / 2, .left = 5000};
    random_seed(&generator.random, seed);
    for (size_t i = 0; i < count; i++) {
        struct request request = next(&generator);
        message_encode(&request, messages + i * MESSAGE_BYTES);
    }
}

/* Latencies in ticks, every one kept; and what is printed of them. */
#ifndef ORDER_BOOK_SAMPLES_H
#define ORDER_BOOK_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct samples {
    uint32_t *ticks;
    size_t count;
    size_t capacity;
};

/* Room for so many, in memory before the first is added. */
bool samples_open(struct samples *samples, size_t capacity);
void samples_close(struct samples *samples);

/* What does not fit is not kept; the room is made for all there are. */
static inline void samples_add(struct samples *samples, uint64_t ticks) {
    if (samples->count == samples->capacity) return;
    samples->ticks[samples->count++] = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

/* Ascending; before samples_at and samples_print. */
void samples_sort(struct samples *samples);

/* The value that a part (0 to 1) of all do not exceed; 0 without samples. */
uint32_t samples_at(const struct samples *samples, double part);

/* Pairs of nothing: what the timer itself costs. */
void samples_measure_timer(struct samples *samples);

/* What all of them are multiples of: some counters move in large steps. */
uint32_t samples_step(const struct samples *samples);

/* The figures as one JSON object: percentiles in ns with `cost` ticks taken off each, and the raw
 * distribution as [ticks from, ticks to, count]. */
void samples_print(const struct samples *samples, uint32_t cost, double ns_per_tick);

#endif

/* Latencies sorted, ranked and printed. */
#include "samples.h"

#include "clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

bool samples_open(struct samples *samples, size_t capacity) {
    /* Not malloc: what is measured must not meet the tables of the measurement. */
    size_t bytes = (capacity + 1) * sizeof(uint32_t);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    memset(memory, 1, bytes);
    *samples = (struct samples){memory, 0, capacity};
    return true;
}

void samples_close(struct samples *samples) {
    if (samples->ticks) munmap(samples->ticks, (samples->capacity + 1) * sizeof(uint32_t));
    *samples = (struct samples){NULL, 0, 0};
}

/* By bytes, the lowest first; `spare` has the same room. */
static void radix_sort(uint32_t *values, uint32_t *spare, size_t count) {
    for (int shift = 0; shift < 32; shift += 8) {
        size_t starts[257] = {0};
        for (size_t i = 0; i < count; i++) starts[(values[i] >> shift & 0xff) + 1]++;
        for (int byte = 0; byte < 256; byte++) starts[byte + 1] += starts[byte];
        for (size_t i = 0; i < count; i++) spare[starts[values[i] >> shift & 0xff]++] = values[i];
        uint32_t *other = values;
        values = spare;
        spare = other;
    }
}

void samples_sort(struct samples *samples) {
    struct samples spare;
    if (samples->count < 2 || !samples_open(&spare, samples->count)) return;
    /* Four rounds: the result lies where it began. */
    radix_sort(samples->ticks, spare.ticks, samples->count);
    samples_close(&spare);
}

uint32_t samples_at(const struct samples *samples, double part) {
    if (samples->count == 0) return 0;
    double wanted = part * (double)samples->count;
    size_t rank = (size_t)wanted;
    if ((double)rank < wanted) rank++;
    if (rank == 0) rank = 1;
    return samples->ticks[rank - 1];
}

void samples_measure_timer(struct samples *samples) {
    while (samples->count < samples->capacity) {
        uint64_t begin = clock_ticks();
        samples_add(samples, clock_ticks() - begin);
    }
}

uint32_t samples_step(const struct samples *samples) {
    uint32_t step = 0;
    for (size_t i = 0; i < samples->count; i++) {
        uint32_t ticks = samples->ticks[i];
        while (ticks != 0) {
            uint32_t rest = step % ticks;
            step = ticks;
            ticks = rest;
        }
    }
    return step;
}

/* Exact below 64, from there 32 steps to a doubling. */
static uint32_t bucket_start(uint32_t ticks) {
    int shift = 0;
    while (ticks >> shift >= 64) shift++;
    return ticks >> shift << shift;
}

static uint32_t bucket_last(uint32_t start) {
    int shift = 0;
    while (start >> shift >= 64) shift++;
    return start + (uint32_t)((1ull << shift) - 1);
}

void samples_print(const struct samples *samples, uint32_t cost, double ns_per_tick) {
    static const struct {
        const char *name;
        double part;
    } ranks[] = {
        {"p50", 0.5},       {"p90", 0.9},       {"p99", 0.99},
        {"p99.9", 0.999},   {"p99.99", 0.9999}, {"max", 1.0},
    };
    printf("{\"count\":%zu", samples->count);
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        uint32_t ticks = samples_at(samples, ranks[i].part);
        double ns = ticks > cost ? (ticks - cost) * ns_per_tick : 0;
        printf(",\"%s\":%.1f", ranks[i].name, ns);
    }
    double sum = 0;
    for (size_t i = 0; i < samples->count; i++) sum += samples->ticks[i];
    double mean = samples->count ? sum / (double)samples->count - cost : 0;
    printf(",\"mean\":%.2f,\"ticks\":[", mean * ns_per_tick);
    size_t i = 0;
    while (i < samples->count) {
        uint32_t last = bucket_last(bucket_start(samples->ticks[i]));
        size_t first = i;
        while (i < samples->count && samples->ticks[i] <= last) i++;
        printf("%s[%" PRIu32 ",%" PRIu32 ",%zu]", first ? "," : "",
               bucket_start(samples->ticks[first]), last, i - first);
    }
    printf("]}");
}

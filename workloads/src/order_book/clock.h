/* The timer of single calls: the time-stamp counter between fences on x86-64, the monotonic clock
 * elsewhere. A tick is a nanosecond of the one and a cycle of the counter of the other. */
#ifndef ORDER_BOOK_CLOCK_H
#define ORDER_BOOK_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#if defined __x86_64__

#define CLOCK_SOURCE "tsc"

/* Fenced on both sides: neither what is before nor what is after runs into what is timed. */
static inline uint64_t clock_ticks(void) {
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

#else

#define CLOCK_SOURCE "monotonic"

static inline uint64_t clock_ticks(void) { return clock_nanoseconds(); }

#endif

/* Ticks in a second; takes 20 ms where it has to be measured. */
uint64_t clock_rate(void);

#endif

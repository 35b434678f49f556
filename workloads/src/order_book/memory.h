/* The memory of the book, decided when it is compiled: malloc, or with ORDER_BOOK_POOL a pool for
 * orders and an arena for the scratch memory of a request. Both are inlined, so that neither pays
 * for a choice. With TIME_ALLOCATIONS each call is timed. */
#ifndef ORDER_BOOK_MEMORY_H
#define ORDER_BOOK_MEMORY_H

#include "clock.h"
#include "order.h"
#include "samples.h"

/* What a request may take: itself, its fills, its answer. */
enum {
    FILLS_MAX = QUANTITY_MAX, /* each fill is of one lot at least */
    SCRATCH_OBJECTS_MAX = FILLS_MAX + 2,
    ANSWER_BYTES_MAX = 32 + 24 * FILLS_MAX,
    SCRATCH_BYTES_MAX = 64 + (int)(32 * FILLS_MAX) + ANSWER_BYTES_MAX,
};

#if defined ORDER_BOOK_POOL
#include "memory_pool.h"
#else
#include "memory_malloc.h"
#endif

enum call { ORDER_ALLOC, ORDER_FREE, SCRATCH_ALLOC, SCRATCH_RESET, CALLS };

#if defined TIME_ALLOCATIONS

extern struct samples call_samples[CALLS];

#define TIMED(call, work)                                                                          \
    do {                                                                                           \
        uint64_t begin = clock_ticks();                                                            \
        work;                                                                                      \
        samples_add(&call_samples[call], clock_ticks() - begin);                                   \
    } while (0)

#else

#define TIMED(call, work) work

#endif

/* NULL: there is no memory. */
static inline struct order *order_alloc(struct memory *memory) {
    struct order *order;
    TIMED(ORDER_ALLOC, order = memory_order_alloc(memory));
    return order;
}

static inline void order_free(struct memory *memory, struct order *order) {
    TIMED(ORDER_FREE, memory_order_free(memory, order));
}

/* Until the next scratch_reset. NULL: there is no memory. */
static inline void *scratch_alloc(struct memory *memory, size_t size) {
    void *object;
    TIMED(SCRATCH_ALLOC, object = memory_scratch_alloc(memory, size));
    return object;
}

static inline void scratch_reset(struct memory *memory) {
    TIMED(SCRATCH_RESET, memory_scratch_reset(memory));
}

#endif

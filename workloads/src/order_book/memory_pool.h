/* Memory from liballoc's pools and arenas: all of it is there before the first order. */
#ifndef ORDER_BOOK_MEMORY_POOL_H
#define ORDER_BOOK_MEMORY_POOL_H

#include <hft_alloc.h>
#include <stdbool.h>

#define MEMORY_NAME "pool"

struct memory {
    hft_pool_t *orders;
    hft_arena_t *scratch;
};

static inline bool memory_open(struct memory *memory, size_t orders_max) {
    memory->orders = hft_pool_create(sizeof(struct order), orders_max);
    memory->scratch = hft_arena_create(SCRATCH_BYTES_MAX);
    return memory->orders && memory->scratch;
}

static inline void memory_close(struct memory *memory) {
    hft_pool_destroy(memory->orders);
    hft_arena_destroy(memory->scratch);
}

static inline struct order *memory_order_alloc(struct memory *memory) {
    return hft_pool_alloc(memory->orders);
}

static inline void memory_order_free(struct memory *memory, struct order *order) {
    hft_pool_free(memory->orders, order);
}

static inline void *memory_scratch_alloc(struct memory *memory, size_t size) {
    return hft_arena_alloc(memory->scratch, size);
}

static inline void memory_scratch_reset(struct memory *memory) {
    hft_arena_reset(memory->scratch);
}

#endif

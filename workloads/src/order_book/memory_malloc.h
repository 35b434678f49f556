/* Memory from malloc: what a program does that thinks of nothing. */
#ifndef ORDER_BOOK_MEMORY_MALLOC_H
#define ORDER_BOOK_MEMORY_MALLOC_H

#include <stdbool.h>
#include <stdlib.h>

#define MEMORY_NAME "malloc"

struct memory {
    void *scratch[SCRATCH_OBJECTS_MAX]; /* what is to be freed after the request */
    size_t scratch_count;
};

static inline bool memory_open(struct memory *memory, size_t orders_max) {
    (void)orders_max;
    memory->scratch_count = 0;
    return true;
}

static inline void memory_close(struct memory *memory) { (void)memory; }

static inline struct order *memory_order_alloc(struct memory *memory) {
    (void)memory;
    return malloc(sizeof(struct order));
}

static inline void memory_order_free(struct memory *memory, struct order *order) {
    (void)memory;
    free(order);
}

static inline void *memory_scratch_alloc(struct memory *memory, size_t size) {
    if (memory->scratch_count == SCRATCH_OBJECTS_MAX) return NULL;
    void *object = malloc(size);
    if (object) memory->scratch[memory->scratch_count++] = object;
    return object;
}

static inline void memory_scratch_reset(struct memory *memory) {
    while (memory->scratch_count > 0) free(memory->scratch[--memory->scratch_count]);
}

#endif

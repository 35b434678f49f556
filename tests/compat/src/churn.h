/* Random malloc, calloc, aligned_alloc, realloc and free with contents verified: what a case does
 * to see that the heap works where it was put. Blocks also change hands between threads.
 * Makes no system call of its own. */
#ifndef CHURN_H
#define CHURN_H

#include <pthread.h>
#include <stdatomic.h>

#include "memory.h"

enum { CHURN_SLOTS = 256, CHURN_SHARED = 64 };

struct churn_block {
    size_t size;
    uint64_t mark; /* size and mark: the first bytes of the block itself */
};

static UNUSED_FUNCTION _Atomic(struct churn_block *) churn_shared[CHURN_SHARED];

static UNUSED_FUNCTION void churn_write(struct churn_block *block, size_t size, uint64_t mark) {
    block->size = size;
    block->mark = mark;
    stamp(block + 1, size - sizeof *block, (unsigned char)mark);
}

static UNUSED_FUNCTION void churn_check(const struct churn_block *block) {
    size_t rest = block->size - sizeof *block;
    CHECK(stamped(block + 1, rest, (unsigned char)block->mark), "a block of %zu changed",
          block->size);
}

/* Log-uniform from 16 bytes to `size_max`. */
static UNUSED_FUNCTION size_t churn_size(uint64_t *random, size_t size_max) {
    unsigned doublings = 63 - (unsigned)__builtin_clzl(size_max) - 4;
    size_t low = (size_t)16 << next_random(random) % doublings;
    return low + next_random(random) % low;
}

static UNUSED_FUNCTION struct churn_block *churn_make(uint64_t *random, size_t size_max) {
    size_t size = churn_size(random, size_max);
    struct churn_block *block;
    switch (next_random(random) % 4) {
    case 0:
        block = (struct churn_block *)calloc(1, size);
        CHECK(block != NULL && stamped(block, size, 0), "calloc of %zu", size);
        break;
    case 1:
        block = (struct churn_block *)aligned_alloc(64, (size + 63) & ~(size_t)63);
        break;
    default: block = (struct churn_block *)malloc(size);
    }
    CHECK(block != NULL, "%zu bytes refused", size);
    churn_write(block, size, next_random(random));
    return block;
}

static UNUSED_FUNCTION struct churn_block *churn_resize(struct churn_block *block,
                                                        uint64_t *random, size_t size_max) {
    size_t before = block->size, size = churn_size(random, size_max);
    unsigned char first = (unsigned char)block->mark;
    block = (struct churn_block *)realloc(block, size);
    CHECK(block != NULL, "realloc to %zu refused", size);
    int is_whole = block->size == before && (unsigned char)block->mark == first;
    CHECK(size < sizeof *block || is_whole, "a block of %zu lost its beginning", before);
    churn_write(block, size, next_random(random));
    return block;
}

/* `operations` of them from a seed; every block is freed at the end. */
static UNUSED_FUNCTION void churn(uint64_t seed, unsigned operations, size_t size_max) {
    static __thread struct churn_block *slots[CHURN_SLOTS];
    uint64_t random = seed * 0x9e3779b97f4a7c15u + 1;
    for (unsigned i = 0; i < operations; i++) {
        struct churn_block **slot = &slots[next_random(&random) % CHURN_SLOTS];
        if (*slot == NULL) {
            *slot = churn_make(&random, size_max);
            continue;
        }
        churn_check(*slot);
        switch (next_random(&random) % 4) {
        case 0: *slot = churn_resize(*slot, &random, size_max); break;
        case 1: /* another thread frees it */
            *slot = atomic_exchange(&churn_shared[next_random(&random) % CHURN_SHARED], *slot);
            break;
        default:
            free(*slot);
            *slot = NULL;
        }
    }
    for (int i = 0; i < CHURN_SLOTS; i++) {
        free(slots[i]);
        slots[i] = NULL;
    }
}

static UNUSED_FUNCTION void churn_free_shared(void) {
    for (int i = 0; i < CHURN_SHARED; i++) free(atomic_exchange(&churn_shared[i], NULL));
}

struct churn_task {
    uint64_t seed;
    unsigned operations;
    size_t size_max;
};

static UNUSED_FUNCTION void *churn_thread(void *argument) {
    const struct churn_task *task = (const struct churn_task *)argument;
    churn(task->seed, task->operations, task->size_max);
    return NULL;
}

/* The same in so many threads at once. */
static UNUSED_FUNCTION void churn_threads(unsigned count, unsigned operations, size_t size_max) {
    enum { MOST = 64 };
    pthread_t threads[MOST];
    struct churn_task tasks[MOST];
    CHECK(count <= MOST, "%u threads", count);
    for (unsigned i = 0; i < count; i++) {
        tasks[i] = (struct churn_task){i + 1, operations, size_max};
        CHECK(pthread_create(&threads[i], NULL, churn_thread, &tasks[i]) == 0, "thread %u", i);
    }
    for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
    churn_free_shared();
}

#endif

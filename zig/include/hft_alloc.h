/* hft_alloc.h: pools, arenas and a size-class router for bounded latency, over the code of alloc.h.
 *
 * Pools and arenas: one thread at a time. The router: any thread. Sizes and alignments are in
 * bytes. Functions that return a pointer return NULL with errno: EINVAL for an object size or a
 * capacity of 0, or whose product overflows, an alignment that is no power of two, no such node;
 * ENOMEM when there is no memory or the pool or arena is used up. More of everything (growth,
 * locked memory, huge pages, threads that share a pool) is in alloc.h. */
#ifndef LIBALLOC_HFT_ALLOC_H
#define LIBALLOC_HFT_ALLOC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct alloc_pool hft_pool_t;
typedef struct alloc_arena hft_arena_t;

typedef struct {
    size_t object_size;       /* bytes asked for, at least 8 */
    size_t total_objects;     /* capacity */
    size_t allocated_objects; /* live */
    size_t free_objects;
    size_t allocations_count; /* since the pool was created */
    size_t frees_count;
    size_t bytes_allocated;   /* allocated_objects * object_size */
    size_t bytes_overhead;    /* all bytes held beyond total_objects * object_size */
} pool_stats_t;

/* ---- Pools ----
 * Of objects of `object_size` bytes (below 8 it counts as 8), aligned to 16 or to `align`, a power
 * of two. hft_pool_alloc gives NULL after exactly the capacity. All memory is there when create
 * returns: no later call meets a page fault. O(1); a freed object is the next one given out. */
hft_pool_t *hft_pool_create(size_t object_size, size_t initial_capacity);
hft_pool_t *hft_pool_create_aligned(size_t size, size_t cap, size_t align);
/* On a NUMA node. */
hft_pool_t *hft_pool_create_numa(size_t size, size_t cap, int node);
/* With guard bytes, and the places that the two functions with file and line are given. */
hft_pool_t *hft_pool_create_debug(size_t size, size_t cap);

void *hft_pool_alloc(hft_pool_t *pool);
/* NULL is ignored. */
void hft_pool_free(hft_pool_t *pool, void *object);
/* With every object in it. NULL is ignored. */
void hft_pool_destroy(hft_pool_t *pool);
/* Nothing happens when one of them is NULL. */
void hft_pool_stats(hft_pool_t *pool, pool_stats_t *stats);

/* A debug pool remembers where each object was allocated and freed, and reports a double free, a
 * foreign pointer and an overflow with the places. `file` must stay valid. Others ignore it. */
void *hft_pool_alloc_debug(hft_pool_t *pool, const char *file, int line);
void hft_pool_free_debug(hft_pool_t *pool, void *object, const char *file, int line);
#define pool_alloc(pool) hft_pool_alloc_debug((pool), __FILE__, __LINE__)
#define pool_free(pool, object) hft_pool_free_debug((pool), (object), __FILE__, __LINE__)

/* Walks the free list, and in a debug pool every guard. 0: all is well; -1 with errno EINVAL and a
 * line on stderr that says what is wrong. */
int hft_pool_check(hft_pool_t *pool);

/* ---- Arenas ----
 * Of `capacity` bytes, all there when create returns; objects on multiples of 16, freed together
 * by reset, in O(1). */
hft_arena_t *hft_arena_create(size_t capacity);
void *hft_arena_alloc(hft_arena_t *arena, size_t size);
void hft_arena_reset(hft_arena_t *arena);
void hft_arena_destroy(hft_arena_t *arena);

/* ---- The router ----
 * Blocks of 16, 32, 64, 128, 256, 512, 1024 and 2048 bytes from pools of the calling thread, which
 * are refilled from slabs and returned when the thread ends; larger ones from the heap. Any thread
 * may free them. Size 0 is as 1. NULL with errno ENOMEM. Under Valgrind or AddressSanitizer a block
 * has the size that was asked for, not that of its class. */

/* Makes the first hft_alloc of the process as fast as later ones. Need not be called. */
void hft_init(void);
/* The same for the calling thread: fills its pools. Need not be called. */
void hft_thread_init(void);
void *hft_alloc(size_t size);
void hft_free(void *pointer);

#ifdef __cplusplus
}
#endif

#endif

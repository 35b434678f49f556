/* alloc.h: liballoc under names of its own, usable beside another malloc; and allocators to choose:
 * heaps, arenas, pools.
 *
 * liballoc.so and liballoc.a also define malloc and its family, for the whole process.
 * liballoc-apart.so and liballoc-apart.a define these names and those of hft_alloc.h alone: malloc
 * stays the process's own, and a block of alloc_malloc or of a heap goes to alloc_free only, never
 * to free or realloc. alloc_free, alloc_realloc and alloc_usable_size hand what is no block of the
 * library to the process's own malloc (option `foreign`: or refuse it).
 *
 * Sizes and alignments are in bytes. Functions that return a pointer return NULL with errno ENOMEM
 * when there is no memory or the size is over PTRDIFF_MAX; on success errno is left alone.
 *
 * The first part (alloc_malloc to alloc_config) and heaps may be called from any thread. A block
 * from them or from the malloc family of the same library, where it has one, may be freed by any
 * freeing function of either. What an arena or a pool hands out belongs to it alone: free() does
 * not take it. */
#ifndef LIBALLOC_ALLOC_H
#define LIBALLOC_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A block of at least `size` bytes, aligned to 16. Size 0 gives a unique pointer. */
void *alloc_malloc(size_t size);

/* Frees a block. NULL is ignored. errno is never touched. */
void alloc_free(void *pointer);

/* A zeroed block for `count` elements of `size` bytes; an overflowing product is ENOMEM. */
void *alloc_calloc(size_t count, size_t size);

/* Changes the size of a block, which may move; contents are kept up to the smaller size.
 * alloc_realloc(NULL, n) allocates; alloc_realloc(p, 0) frees and returns NULL. On failure the
 * block is as it was. */
void *alloc_realloc(void *pointer, size_t size);

/* A block whose address is a multiple of `alignment`, a power of two (else NULL, errno EINVAL). */
void *alloc_aligned_alloc(size_t alignment, size_t size);

/* Bytes of a live block that may be used; 0 for NULL. All of them may be written, realloc keeps
 * them, and the number stays the same until the block is resized. */
size_t alloc_usable_size(const void *pointer);

/* A snapshot over all threads, which are not stopped: exact when they rest. */
typedef struct alloc_stats_t {
    uint64_t allocations;     /* blocks that left slabs and runs (a pair of malloc and free that
                                 a thread's magazine serves is not counted) */
    uint64_t frees;           /* blocks that came back, or lie in a magazine */
    uint64_t bytes_in_use;    /* bytes of live blocks, by size class */
    uint64_t bytes_mapped;    /* bytes of slabs, runs and mappings held */
    uint64_t bytes_resident;  /* bytes of those in physical memory, asked of the kernel */
    uint64_t total_allocated; /* bytes handed out since the start, counted like allocations */
    uint64_t total_pages;     /* bytes_mapped in pages of the operating system */
    double fragmentation_pct; /* 100 * (1 - in use / mapped) when most was in use */
} alloc_stats_t;

/* Fills the first `size` bytes of `*out` (pass sizeof(alloc_stats_t)). 0; -1 with errno EINVAL
 * when `out` is NULL or `size` is 0. */
int alloc_stats(alloc_stats_t *out, size_t size);

/* The same and more as one JSON object, like snprintf: writes at most `size` bytes including the
 * terminating zero, returns the length the whole text needs. */
int alloc_stats_json(char *buffer, size_t size);

/* Sets options at run time, in the words of ALLOC_CONF ("decay_ms:500,thp:never"). 0; -1 with
 * errno EINVAL and a line on stderr when one was not understood; the others hold. Call it before
 * other threads allocate: an option is a plain variable. */
int alloc_config(const char *options);

/* ---- Heaps: blocks that are freed one by one, or all at once ----
 *
 * Any thread may use a heap; its calls take the heap's lock. Its blocks may also go to alloc_free,
 * alloc_realloc (which moves to the calling thread's own heap what it cannot resize in place) and
 * alloc_usable_size. Not from signal handlers that may interrupt a call of the library. After fork
 * the child has a copy of each heap; one that another thread was just using is lost to it: calls
 * then fail with ENOMEM. (A malloc_trim by any thread uses each heap for a moment.) */
typedef struct alloc_heap alloc_heap_t;

/* A heap that holds at most `bytes_max` bytes of memory (slabs of 16 to 160 KiB for each size class
 * in use, runs of whole 16 KiB, free blocks in them included); 0: no limit of its own. What it
 * returns is a number rather than an address, and is not given out again. NULL with errno ENOMEM,
 * also when there are 32,768 heaps. */
alloc_heap_t *alloc_heap_create(size_t bytes_max);

/* Frees the heap and every block in it, in time that grows with the memory it holds and not with
 * the number of blocks. Returns how many blocks were live (also in alloc_stats_json, added up).
 * NULL: 0; a heap that was destroyed already is reported, and the process aborted.
 *
 * Frees by other threads may be under way or come later. alloc_heap_free with the heap's handle is
 * then done or ignored, and never touches memory that has a new owner, whenever it comes. A plain
 * free has the address alone: until it has looked up whose block that is (its first instructions)
 * it may as well be a free by the new owner; from there on it is done, ignored, or reported as a
 * double free, which aborts. No other call may run or come later. */
size_t alloc_heap_destroy(alloc_heap_t *heap);

/* As alloc_malloc, alloc_calloc, alloc_aligned_alloc and alloc_realloc, in this heap. NULL with
 * errno ENOMEM also when the heap's limit is reached; EINVAL when `heap` is NULL. A block given to
 * alloc_heap_realloc may be of any heap; it is of this one afterwards if it moved. */
void *alloc_heap_malloc(alloc_heap_t *heap, size_t size);
void *alloc_heap_calloc(alloc_heap_t *heap, size_t count, size_t size);
void *alloc_heap_aligned_alloc(alloc_heap_t *heap, size_t alignment, size_t size);
void *alloc_heap_realloc(alloc_heap_t *heap, void *pointer, size_t size);

/* Frees a block of this heap, or as alloc_free one of another. Does nothing when the heap was
 * destroyed: see there. */
void alloc_heap_free(alloc_heap_t *heap, void *pointer);

/* 1: `pointer` lies in memory of this heap, 0: it does not. Any value may be asked for. */
int alloc_heap_owns(alloc_heap_t *heap, const void *pointer);

typedef struct alloc_heap_stats_t {
    uint64_t live_blocks;  /* allocations - frees */
    uint64_t bytes_in_use; /* bytes of live blocks, by size class */
    uint64_t bytes_held;   /* bytes of its slabs and runs */
    uint64_t bytes_max;    /* its limit; 0: none */
    uint64_t allocations;  /* blocks handed out since it was created */
    uint64_t frees;        /* blocks that came back */
} alloc_heap_stats_t;

/* Fills the first `size` bytes of `*out`. 0; -1 with errno EINVAL when `heap` or `out` is NULL,
 * `size` is 0, or the heap was destroyed or lost. The same for arenas and pools below. */
int alloc_heap_stats(alloc_heap_t *heap, alloc_heap_stats_t *out, size_t size);

/* ---- Memory of arenas and pools: flags, or-ed together ---- */

/* Every page is in memory before the create (or grow) call returns. */
#define ALLOC_PREFAULT 1u
/* The memory is locked (mlock). When the system refuses, create fails with NULL and its errno
 * (ENOMEM: over RLIMIT_MEMLOCK; EPERM). */
#define ALLOC_LOCK 2u
/* Huge pages are asked for, on a multiple of 2 MiB. Where the system has none, ordinary ones. */
#define ALLOC_HUGE_PAGES 4u
/* The memory comes from the NUMA node in the options, as long as that has some. NULL with errno
 * EINVAL when there is no such node. Where the system may not be asked (ENOSYS, EPERM) and the node
 * exists, it comes from anywhere. Pools only. */
#define ALLOC_ON_NODE 8u
/* Arenas: never more than the first chunk. */
#define ALLOC_FIXED 16u
/* Pools: guard bytes before and after each object, the place of each call, every free checked;
 * misuse is reported with the places and aborts. In liballoc-debug every pool is like that (those
 * that threads share: see there). */
#define ALLOC_DEBUG 32u

/* ---- Arenas: many objects, freed together ----
 *
 * One thread at a time. Allocation moves a pointer downwards; nothing is freed one by one. */
typedef struct alloc_arena alloc_arena_t;

/* An arena whose first chunk has room for `capacity` bytes; every object takes its size rounded up
 * to a multiple of 16. When it is used up further chunks follow, each twice as large as the last,
 * 64 KiB to 2 MiB; an object over 2 MiB gets a chunk of its size, whose rest is used too. None
 * follow with ALLOC_FIXED. Chunks that hold nothing any more are used again, those of large objects
 * for large objects; one that is too small for the next of these may be given back for a larger
 * one. Flags: ALLOC_PREFAULT, ALLOC_LOCK, ALLOC_HUGE_PAGES, ALLOC_FIXED. NULL with errno EINVAL
 * (capacity 0, unknown flag) or ENOMEM. */
alloc_arena_t *alloc_arena_create(size_t capacity, unsigned flags);

/* `size` bytes on a multiple of 16; contents undefined. Size 0 gives a pointer that may not be
 * written through and may equal another. NULL with errno ENOMEM. */
void *alloc_arena_alloc(alloc_arena_t *arena, size_t size);

/* The same on a multiple of `alignment`, a power of two (else NULL with errno EINVAL). One below 16
 * packs tighter than alloc_arena_alloc. */
void *alloc_arena_alloc_aligned(alloc_arena_t *arena, size_t size, size_t alignment);

/* A moment in the life of an arena. A value: it may be copied, and dropped without a call. */
typedef struct alloc_arena_checkpoint_t {
    void *chunk;
    uint64_t arena;
    uint64_t position;
    uint64_t allocations;
    uint64_t serial;
} alloc_arena_checkpoint_t;

/* This moment, to rewind to, any number of times, until the arena is rewound to an earlier one. */
alloc_arena_checkpoint_t alloc_arena_checkpoint(const alloc_arena_t *arena);

/* Frees everything allocated since; chunks that become free are kept for reuse. 0; -1 with errno
 * EINVAL when the checkpoint is of another arena or was undone, which is when the arena has since
 * been rewound, or reset, to where less was allocated: then nothing happens. An undone checkpoint
 * is never taken.
 *
 * The time does not depend on what is freed. It takes a search among the rewinds that the arena
 * remembers: those after which something was allocated and kept, as long as it is. They are 16 in
 * the arena, and 16 bytes each in a block of the heap beyond. Only when there is no memory for that
 * may a checkpoint be refused that was not undone: one made after the last rewind remembered and
 * before one that is not. */
int alloc_arena_rewind(alloc_arena_t *arena, alloc_arena_checkpoint_t checkpoint);

/* Frees everything, keeps all chunks for reuse. O(1). */
void alloc_arena_reset(alloc_arena_t *arena);

/* Gives the chunks back that hold nothing; returns how many bytes. */
size_t alloc_arena_trim(alloc_arena_t *arena);

/* Frees the arena with everything in it; how many objects there were since the last reset (also in
 * alloc_stats_json, added up). NULL: 0. */
size_t alloc_arena_destroy(alloc_arena_t *arena);

typedef struct alloc_arena_stats_t {
    uint64_t allocations;    /* objects since the last reset (a rewind takes its part back) */
    uint64_t bytes_in_use;   /* bytes of these, with what alignment costs */
    uint64_t bytes_held;     /* bytes of all chunks */
    uint64_t bytes_peak;     /* the most bytes_in_use, as seen when a chunk was full, at a rewind or
                                reset, and now */
    uint64_t chunks;
    uint64_t resets;         /* calls of reset */
    uint64_t bytes_overhead; /* bytes of the arena's own structures, and what chunks leave unused */
} alloc_arena_stats_t;

/* Fills the first `size` bytes of `*out`, as alloc_heap_stats. */
int alloc_arena_stats(const alloc_arena_t *arena, alloc_arena_stats_t *out, size_t size);

/* ---- Pools: objects of one size ----
 *
 * One thread at a time (alloc_shared_pool_*: any). A freed object is the next one given out. The
 * library writes into free objects (a link of 8 bytes).
 *
 * Each object takes its size rounded up to a multiple of the alignment: one of 40 bytes takes 48.
 * Besides there are 256 bytes for the pool, and what the heap rounds up the block with the objects
 * by: up to a half below 64 KiB, a quarter below 8 MiB, next to nothing above; pages of that are
 * not touched. For 1,000 objects of 64 bytes all this is 2.8 % of their size, for 1,000,000 under
 * 0.1 %. With ALLOC_HUGE_PAGES it is a whole number of pages, and 2 MiB at least. A debug pool
 * takes some 80 bytes more for each object. alloc_pool_stats has the sum (bytes_overhead). */
typedef struct alloc_pool alloc_pool_t;

enum alloc_pool_policy {
    ALLOC_POOL_FAIL = 0,     /* used up: NULL with errno ENOMEM */
    ALLOC_POOL_GROW = 1,     /* used up: as many objects again as there are */
    ALLOC_POOL_FALL_BACK = 2 /* used up: the object comes from the general heap, and returns to it
                                when it is freed */
};

/* Zero is a fit value for all but the first two. */
typedef struct alloc_pool_options_t {
    size_t object_size; /* bytes, at least 1; below 8 it counts as 8 */
    size_t capacity;    /* objects, at least 1 */
    size_t alignment;   /* a power of two; 0: 16, and never less */
    int policy;         /* enum alloc_pool_policy */
    unsigned flags;     /* ALLOC_PREFAULT, _LOCK, _HUGE_PAGES, _ON_NODE, _DEBUG */
    int node;           /* with ALLOC_ON_NODE */
} alloc_pool_options_t;

/* `size` is sizeof(alloc_pool_options_t). Fewer bytes: the other options are zero. More, from a
 * later header: they must be zero. NULL with errno EINVAL (an object size or capacity of 0, or
 * whose product overflows; an alignment that is no power of two; an unknown policy or flag; an
 * option that this library does not know and that is not zero; no such node), ENOMEM, or what mlock
 * said. */
alloc_pool_t *alloc_pool_create(const alloc_pool_options_t *options, size_t size);

/* An object, contents undefined; NULL with errno ENOMEM when there is none. O(1). */
void *alloc_pool_alloc(alloc_pool_t *pool);

/* Gives an object back. O(1). NULL is ignored. Anything but a live object of this pool is misuse:
 * reported and the process aborted where it is found, which is always the case with ALLOC_DEBUG. */
void alloc_pool_free(alloc_pool_t *pool, void *object);

/* The same with the place of the call, which a debug pool remembers. `file` must stay valid. */
void *alloc_pool_alloc_at(alloc_pool_t *pool, const char *file, int line);
void alloc_pool_free_at(alloc_pool_t *pool, void *object, const char *file, int line);

/* Frees the pool with every object; how many were live (also in alloc_stats_json, added up).
 * NULL: 0. */
size_t alloc_pool_destroy(alloc_pool_t *pool);

/* Walks the free list, and in a debug pool every guard, those of objects from the general heap
 * included. 0: all is well; -1 with errno EINVAL and a line on stderr that says what is wrong. */
int alloc_pool_check(alloc_pool_t *pool);

typedef struct alloc_pool_stats_t {
    uint64_t object_size;       /* as asked for, at least 8 */
    uint64_t total_objects;     /* capacity now; blocks of the general heap not counted */
    uint64_t allocated_objects; /* live, those from the general heap included */
    uint64_t free_objects;
    uint64_t allocations;       /* since the pool was created */
    uint64_t frees;
    uint64_t bytes_allocated;   /* allocated_objects * object_size */
    uint64_t bytes_overhead;    /* all bytes held beyond total_objects * object_size */
    uint64_t fallback_objects;  /* live ones from the general heap */
} alloc_pool_stats_t;

/* Fills the first `size` bytes of `*out`, as alloc_heap_stats. */
int alloc_pool_stats(const alloc_pool_t *pool, alloc_pool_stats_t *out, size_t size);

/* A pool for any number of threads: lock-free, no ABA. */
typedef struct alloc_shared_pool alloc_shared_pool_t;

/* As alloc_pool_create, but with policy ALLOC_POOL_FAIL only, without ALLOC_DEBUG, and for at most
 * 2^32 - 2 objects (else NULL with errno EINVAL). */
alloc_shared_pool_t *alloc_shared_pool_create(const alloc_pool_options_t *options, size_t size);

/* An object, contents undefined. A thread that finds its part of the pool empty takes from the
 * parts of others: NULL with errno ENOMEM means that all of them were found empty, at one moment,
 * or a thousand times while other threads moved objects between them. */
void *alloc_shared_pool_alloc(alloc_shared_pool_t *pool);

/* Gives an object back; any thread may. NULL is ignored. What lies outside the pool, or is not
 * aligned as its objects are, is reported and the process aborted. Of the rest the release library
 * sees nothing: after a double free two threads may get the same object. liballoc-debug, and the
 * library under a memory checker, report that and a pointer into an object too; there are no guard
 * bytes and no places. */
void alloc_shared_pool_free(alloc_shared_pool_t *pool, void *object);

/* Frees the pool with every object; how many were live (also in alloc_stats_json, added up). No
 * other call may run or come later. NULL: 0. */
size_t alloc_shared_pool_destroy(alloc_shared_pool_t *pool);

/* As alloc_pool_stats; exact when no other call runs. */
int alloc_shared_pool_stats(alloc_shared_pool_t *pool, alloc_pool_stats_t *out, size_t size);

#ifdef __cplusplus
}
#endif

#endif

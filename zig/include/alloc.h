/* alloc.h: liballoc under names of its own, usable beside another malloc.
 *
 * All functions may be called from any thread. Sizes and alignments are in bytes. A pointer from
 * any function of this header or of the malloc family of the same library may be freed by any
 * freeing function of either. Functions that return a pointer return NULL with errno ENOMEM when
 * there is no memory or the size is over PTRDIFF_MAX; on success errno is left alone. */
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

#ifdef __cplusplus
}
#endif

#endif

/* Every C entry that allocates, and every one that frees, as tables.
 *
 * Names that glibc lacks are weak here: absent there, and `every_entry_exists` demands them of
 * liballoc. */
#ifndef ENTRIES_H
#define ENTRIES_H

#include <errno.h>

#include "memory.h"

#ifdef __cplusplus
extern "C" {
#endif
#define WEAK __attribute__((weak))
void *__libc_malloc(size_t) WEAK;
void *__libc_calloc(size_t, size_t) WEAK;
void *__libc_realloc(void *, size_t) WEAK;
void *__libc_memalign(size_t, size_t) WEAK;
void *__libc_valloc(size_t) WEAK;
void *__libc_pvalloc(size_t) WEAK;
int __posix_memalign(void **, size_t, size_t) WEAK;
void __libc_free(void *) WEAK;
void cfree(void *) WEAK;
void free_sized(void *, size_t) WEAK;
void free_aligned_sized(void *, size_t, size_t) WEAK;
void *alloc_malloc(size_t) WEAK;
void *alloc_calloc(size_t, size_t) WEAK;
void *alloc_realloc(void *, size_t) WEAK;
void *alloc_aligned_alloc(size_t, size_t) WEAK;
size_t alloc_usable_size(void *) WEAK;
void alloc_free(void *) WEAK;
#ifdef __cplusplus
}
#endif

struct entry {
    const char *name;
    void *(*allocate)(size_t size);
    void *needs; /* the symbol behind it: NULL where this malloc has none */
};

#define ALIGNED_ENTRY(name, call)                                                                  \
    static void *name(size_t size) {                                                               \
        void *block = NULL;                                                                        \
        int status = call(&block, 16, size);                                                       \
        if (status != 0) errno = status;                                                           \
        return status == 0 ? block : NULL;                                                         \
    }
#define ENTRY(name, expression)                                                                    \
    static void *name(size_t size) { return expression; }

ALIGNED_ENTRY(via_posix_memalign, posix_memalign)
ALIGNED_ENTRY(via_libc_posix_memalign, __posix_memalign)
ENTRY(via_malloc, malloc(size))
ENTRY(via_calloc, calloc(1, size))
ENTRY(via_calloc_bytes, calloc(size, 1))
ENTRY(via_realloc, realloc(NULL, size))
ENTRY(via_reallocarray, reallocarray(NULL, size, 1))
ENTRY(via_aligned_alloc, aligned_alloc(16, size))
ENTRY(via_memalign, memalign(16, size))
ENTRY(via_valloc, valloc(size))
ENTRY(via_pvalloc, pvalloc(size))
ENTRY(via_libc_malloc, __libc_malloc(size))
ENTRY(via_libc_calloc, __libc_calloc(size, 1))
ENTRY(via_libc_realloc, __libc_realloc(NULL, size))
ENTRY(via_libc_memalign, __libc_memalign(16, size))
ENTRY(via_libc_valloc, __libc_valloc(size))
ENTRY(via_libc_pvalloc, __libc_pvalloc(size))
ENTRY(via_alloc_malloc, alloc_malloc(size))
ENTRY(via_alloc_calloc, alloc_calloc(size, 1))
ENTRY(via_alloc_realloc, alloc_realloc(NULL, size))
ENTRY(via_alloc_aligned_alloc, alloc_aligned_alloc(16, size))

static const struct entry entries[] = {
    {"malloc", via_malloc, (void *)malloc},
    {"calloc(1, n)", via_calloc, (void *)calloc},
    {"calloc(n, 1)", via_calloc_bytes, (void *)calloc},
    {"realloc(NULL)", via_realloc, (void *)realloc},
    {"reallocarray(NULL)", via_reallocarray, (void *)reallocarray},
    {"aligned_alloc", via_aligned_alloc, (void *)aligned_alloc},
    {"memalign", via_memalign, (void *)memalign},
    {"posix_memalign", via_posix_memalign, (void *)posix_memalign},
    {"valloc", via_valloc, (void *)valloc},
    {"pvalloc", via_pvalloc, (void *)pvalloc},
    {"__libc_malloc", via_libc_malloc, (void *)__libc_malloc},
    {"__libc_calloc", via_libc_calloc, (void *)__libc_calloc},
    {"__libc_realloc", via_libc_realloc, (void *)__libc_realloc},
    {"__libc_memalign", via_libc_memalign, (void *)__libc_memalign},
    {"__libc_valloc", via_libc_valloc, (void *)__libc_valloc},
    {"__libc_pvalloc", via_libc_pvalloc, (void *)__libc_pvalloc},
    {"__posix_memalign", via_libc_posix_memalign, (void *)__posix_memalign},
    {"alloc_malloc", via_alloc_malloc, (void *)alloc_malloc},
    {"alloc_calloc", via_alloc_calloc, (void *)alloc_calloc},
    {"alloc_realloc", via_alloc_realloc, (void *)alloc_realloc},
    {"alloc_aligned_alloc", via_alloc_aligned_alloc, (void *)alloc_aligned_alloc},
};

#define ENTRY_COUNT (sizeof entries / sizeof entries[0])

/* Walks the entries that this malloc has. */
#define FOR_EACH_ENTRY(each)                                                                       \
    for (const struct entry *each = entries; each < entries + ENTRY_COUNT; each++)                 \
        if (each->needs != NULL)

static UNUSED_FUNCTION int is_page_entry(const struct entry *each) {
    return strstr(each->name, "valloc") != NULL; /* valloc, pvalloc: a page for every block */
}

#endif

/* The calls that abi.c chooses from, beside the allocating ones of entries.h: aligned and C++
 * entries, every entry that frees, every one that resizes.
 *
 * The C++ operators are called by their symbols, which are weak: only liballoc brings them into a
 * C program. */
#ifndef CALLS_H
#define CALLS_H

#include "entries.h"

void *_Znwm(size_t) WEAK;
void *_Znam(size_t) WEAK;
void *_ZnwmSt11align_val_t(size_t, size_t) WEAK;
void *_ZnamSt11align_val_t(size_t, size_t) WEAK;
void _ZdlPv(void *) WEAK;
void _ZdaPv(void *) WEAK;
void _ZdlPvm(void *, size_t) WEAK;
void _ZdaPvm(void *, size_t) WEAK;
void _ZdlPvSt11align_val_t(void *, size_t) WEAK;
void _ZdaPvSt11align_val_t(void *, size_t) WEAK;
void _ZdlPvmSt11align_val_t(void *, size_t, size_t) WEAK;
void _ZdaPvmSt11align_val_t(void *, size_t, size_t) WEAK;

struct aligned_entry {
    const char *name;
    void *(*allocate)(size_t alignment, size_t size);
    void *needs;
    int aligned; /* honours the alignment beyond 16 */
};

struct release {
    const char *name;
    void (*give_back)(void *pointer, size_t size, size_t alignment);
    void *needs;
};

struct resizer {
    const char *name;
    void *(*resize)(void *pointer, size_t size);
    void *needs;
};

static void *by_posix_memalign(size_t alignment, size_t size) {
    void *block = NULL;
    return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}
#define ALIGNED(id, expression)                                                                    \
    static void *id(size_t alignment, size_t size) {                                               \
        (void)alignment;                                                                           \
        return expression;                                                                         \
    }
ALIGNED(by_new, _Znwm(size))
ALIGNED(by_new_array, _Znam(size))
ALIGNED(by_new_aligned, _ZnwmSt11align_val_t(size, alignment))
ALIGNED(by_new_array_aligned, _ZnamSt11align_val_t(size, alignment))

static const struct aligned_entry aligned_entries[] = {
    {"memalign", memalign, (void *)memalign, 1},
    {"aligned_alloc", aligned_alloc, (void *)aligned_alloc, 1},
    {"posix_memalign", by_posix_memalign, (void *)posix_memalign, 1},
    {"alloc_aligned_alloc", alloc_aligned_alloc, (void *)alloc_aligned_alloc, 1},
    {"new", by_new, (void *)_Znwm, 0},
    {"new[]", by_new_array, (void *)_Znam, 0},
    {"new aligned", by_new_aligned, (void *)_ZnwmSt11align_val_t, 1},
    {"new[] aligned", by_new_array_aligned, (void *)_ZnamSt11align_val_t, 1},
};
#define ALIGNED_COUNT (sizeof aligned_entries / sizeof aligned_entries[0])

#define FREE(id, call)                                                                             \
    static void id(void *p, size_t size, size_t alignment) {                                       \
        (void)size;                                                                                \
        (void)alignment;                                                                           \
        call;                                                                                      \
    }
FREE(to_free, free(p))
FREE(to_realloc, (void)!realloc(p, 0))
FREE(to_cfree, cfree(p))
FREE(to_libc_free, __libc_free(p))
FREE(to_free_sized, free_sized(p, size))
FREE(to_free_aligned_sized, free_aligned_sized(p, alignment, size))
FREE(to_alloc_free, alloc_free(p))
FREE(to_delete, _ZdlPv(p))
FREE(to_delete_array, _ZdaPv(p))
FREE(to_delete_sized, _ZdlPvm(p, size))
FREE(to_delete_array_sized, _ZdaPvm(p, size))
FREE(to_delete_aligned, _ZdlPvSt11align_val_t(p, alignment))
FREE(to_delete_array_aligned, _ZdaPvSt11align_val_t(p, alignment))
FREE(to_delete_sized_aligned, _ZdlPvmSt11align_val_t(p, size, alignment))
FREE(to_delete_array_sized_aligned, _ZdaPvmSt11align_val_t(p, size, alignment))

static const struct release releases[] = {
    {"free", to_free, (void *)free},
    {"realloc to nothing", to_realloc, (void *)realloc},
    {"cfree", to_cfree, (void *)cfree},
    {"__libc_free", to_libc_free, (void *)__libc_free},
    {"free_sized", to_free_sized, (void *)free_sized},
    {"free_aligned_sized", to_free_aligned_sized, (void *)free_aligned_sized},
    {"alloc_free", to_alloc_free, (void *)alloc_free},
    {"delete", to_delete, (void *)_ZdlPv},
    {"delete[]", to_delete_array, (void *)_ZdaPv},
    {"delete sized", to_delete_sized, (void *)_ZdlPvm},
    {"delete[] sized", to_delete_array_sized, (void *)_ZdaPvm},
    {"delete aligned", to_delete_aligned, (void *)_ZdlPvSt11align_val_t},
    {"delete[] aligned", to_delete_array_aligned, (void *)_ZdaPvSt11align_val_t},
    {"delete sized aligned", to_delete_sized_aligned, (void *)_ZdlPvmSt11align_val_t},
    {"delete[] sized aligned", to_delete_array_sized_aligned, (void *)_ZdaPvmSt11align_val_t},
};
#define RELEASE_COUNT (sizeof releases / sizeof releases[0])

static void *with_reallocarray(void *pointer, size_t size) {
    return reallocarray(pointer, size, 1);
}

static const struct resizer resizers[] = {
    {"realloc", realloc, (void *)realloc},
    {"reallocarray", with_reallocarray, (void *)reallocarray},
    {"__libc_realloc", __libc_realloc, (void *)__libc_realloc},
    {"alloc_realloc", alloc_realloc, (void *)alloc_realloc},
};
#define RESIZER_COUNT (sizeof resizers / sizeof resizers[0])

#endif

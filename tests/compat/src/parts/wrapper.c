/* A shared object that wraps malloc as memory profilers do: it counts, and hands every call to the
 * next malloc in link order, which it finds with dlsym at the first call. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static long counts[4];
static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);

/* Blocks for dlsym itself, which may call calloc while the next calloc is not known yet. */
static char early[4096] __attribute__((aligned(16)));
static size_t early_used;

long wrapper_count(int which) { return __atomic_load_n(&counts[which], __ATOMIC_RELAXED); }

static void count(int which) { __atomic_fetch_add(&counts[which], 1, __ATOMIC_RELAXED); }

static void *early_block(size_t size) {
    size_t start = early_used;
    early_used += (size + 15) & ~(size_t)15;
    return early_used <= sizeof early ? early + start : NULL;
}

static void find(void) {
    static __thread int finding;
    if (finding) return;
    finding = 1;
    *(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
    *(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&next_free = dlsym(RTLD_NEXT, "free");
    *(void **)&next_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    *(void **)&next_aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    *(void **)&next_calloc = dlsym(RTLD_NEXT, "calloc");
    finding = 0;
}

void *malloc(size_t size) {
    if (next_malloc == NULL) find();
    count(0);
    return next_malloc != NULL ? next_malloc(size) : early_block(size);
}

void *calloc(size_t number, size_t size) {
    if (next_calloc == NULL) find();
    count(1);
    return next_calloc != NULL ? next_calloc(number, size) : early_block(number * size);
}

void *realloc(void *block, size_t size) {
    if (next_realloc == NULL) find();
    count(2);
    return next_realloc(block, size);
}

void free(void *block) {
    if (block == NULL || ((char *)block >= early && (char *)block < early + sizeof early)) return;
    if (next_free == NULL) find();
    count(3);
    next_free(block);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    if (next_posix_memalign == NULL) find();
    return next_posix_memalign(out, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    if (next_aligned_alloc == NULL) find();
    return next_aligned_alloc(alignment, size);
}

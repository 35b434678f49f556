/* A preloadable malloc that is wrong in one way, chosen by FAULT. It is wrong from the pass with
 * the number PASS on: allocbench forks once for each. Blocks are never reused, so that the fault is
 * all that there is to find. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NONE, TWICE, MISALIGNED, SHORT, NOT_ZERO, NO_COPY, NO_MEMORY, CRASH, SCRIBBLE };

#ifndef PASS
#define PASS 1
#endif

#define AREA ((size_t)8 << 30)
#define LATE 500

static char *area;
static size_t used;
static unsigned calls;
static unsigned forks;

static void count_fork(void) { forks++; }

__attribute__((constructor)) static void start(void) { pthread_atfork(count_fork, NULL, NULL); }

static int is_wrong(int fault) { return FAULT == fault && forks >= PASS; }

static char *carve(size_t size, size_t alignment) {
    if (!__atomic_load_n(&area, __ATOMIC_ACQUIRE)) {
        void *mapped = mmap(NULL, AREA, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED) return NULL;
        __atomic_store_n(&area, mapped, __ATOMIC_RELEASE);
    }
    size_t length = 16 + alignment + ((size + 15) & ~(size_t)15);
    size_t at = __atomic_fetch_add(&used, length, __ATOMIC_RELAXED);
    if (at + length > AREA) return NULL;
    uintptr_t block = ((uintptr_t)area + at + 16 + alignment - 1) & ~(uintptr_t)(alignment - 1);
    ((size_t *)block)[-1] = size;
    return (char *)block;
}

static size_t size_of(void *block) { return ((size_t *)block)[-1]; }

void *malloc(size_t size) {
    static char *last;
    unsigned call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (is_wrong(NO_MEMORY) && call > LATE) return NULL;
    if (is_wrong(CRASH) && call > LATE) raise(SIGSEGV);
    int again = is_wrong(TWICE) && call > LATE && call % 7 == 0;
    if (again && last && size_of(last) >= size) return last;
    char *block = carve(size, 16);
    if (block && is_wrong(MISALIGNED)) {
        block += 8;
        ((size_t *)block)[-1] = size;
    }
    return last = block;
}

void free(void *block) {
    if (block && is_wrong(SCRIBBLE)) memset(block, 0xa5, 4096);
}

void *calloc(size_t count, size_t size) {
    char *block = malloc(count * size);
    if (block && is_wrong(NOT_ZERO) && count * size > 100) block[100] = 1;
    return block;
}

void *realloc(void *old, size_t size) {
    if (!old) return malloc(size);
    char *block = malloc(size);
    if (!block) return NULL;
    size_t kept = size_of(old) < size ? size_of(old) : size;
    if (!is_wrong(NO_COPY)) memcpy(block, old, kept);
    return block;
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    *out = carve(size, is_wrong(MISALIGNED) ? 16 : alignment);
    return *out ? 0 : 12;
}

size_t malloc_usable_size(void *block) {
    if (!block) return 0;
    return is_wrong(SHORT) ? size_of(block) / 2 : size_of(block);
}

/* Not glibc's: nobody may take its word for what is held. */
struct info { size_t fields[10]; };

struct info mallinfo2(void) { return (struct info){{1 << 30}}; }

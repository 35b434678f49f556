/* A program on musl: whose malloc it has, and the heap at work in threads and after fork. */
#include <dlfcn.h>
#include <errno.h>
#include <sys/wait.h>

#include "../../../zig/include/alloc.h"
#include "churn.h"

#pragma weak alloc_stats

static uint64_t allocated(void) {
    alloc_stats_t now;
    CHECK(alloc_stats(&now, sizeof now) == 0, "alloc_stats");
    return now.total_allocated;
}

static void check_aligned(void) {
    for (size_t alignment = 16; alignment <= MIB; alignment *= 2) {
        void *block = aligned_alloc(alignment, alignment * 3);
        CHECK(block != NULL && is_aligned(block, alignment), "alignment %zu", alignment);
        CHECK(malloc_usable_size(block) >= alignment * 3, "alignment %zu", alignment);
        free(block);
        CHECK(posix_memalign(&block, alignment, 100) == 0, "alignment %zu", alignment);
        free(block);
    }
}

static void check_works(void) {
    check_aligned();
    churn(1, 20000, 4 * MIB);
    churn_threads(4, 3000, MIB);
    pid_t child = fork();
    CHECK(child >= 0, "fork");
    churn(2, 3000, MIB);
    if (child == 0) _exit(0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "the child: %d", status);
}

CASE(works) { check_works(); }

/* malloc, aligned_alloc and what libc allocates for itself all come from liballoc. */
OURS(ours) {
    CHECK(alloc_stats != NULL, "liballoc is not in the process");
    uint64_t before = allocated();
    char *line = strdup("a line");
    void *large = malloc(20 * MIB);
    CHECK(large != NULL && line != NULL, "malloc");
    CHECK(allocated() >= before + 20 * MIB, "malloc is not liballoc's");
    before = allocated();
    void *aligned = aligned_alloc(4096, 20 * MIB);
    CHECK(allocated() >= before + 20 * MIB, "aligned_alloc is not liballoc's");
    free(aligned);
    free(large);
    free(line);
    check_works();
}

/* Opened late, beside musl's own malloc: initial-exec TLS must resolve, errno too. */
OURS(opened) {
    void *library = dlopen(case_argv[0], RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL, "%s", dlerror());
    void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(library, "alloc_malloc");
    void (*release)(void *) = (void (*)(void *))dlsym(library, "alloc_free");
    CHECK(allocate != NULL && release != NULL, "alloc_malloc");
    for (size_t size = 1; size < 3 * MIB; size = size * 3 / 2 + 1) {
        void *block = allocate(size);
        CHECK(block != NULL, "%zu bytes", size);
        fill(block, size, 1);
        CHECK(intact(block, size, 1) == size, "%zu bytes", size);
        release(block);
    }
    errno = 0;
    CHECK(allocate((size_t)-1) == NULL && errno == ENOMEM, "errno is %d", errno);
}

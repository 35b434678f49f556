/* COMPAT C57: programs on musl, where malloc is preloaded, linked, or comes by dlopen. */
#include "../../abi/src/check.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/wait.h>

#include "../../../zig/include/alloc.h"

#pragma weak alloc_stats

#define BLOCKS 2000

static uint64_t allocated(void) {
    alloc_stats_t now;
    CHECK(alloc_stats(&now, sizeof now) == 0, "alloc_stats");
    return now.total_allocated;
}

/* malloc and aligned_alloc are liballoc's. */
OURS(is_liballoc) {
    enum { SIZE = 20 << 20 };
    CHECK(alloc_stats != NULL, "liballoc is not in the process");
    uint64_t before = allocated();
    free(malloc(SIZE));
    CHECK(allocated() >= before + SIZE, "malloc is not liballoc's");
    before = allocated();
    free(aligned_alloc(4096, SIZE));
    CHECK(allocated() >= before + SIZE, "aligned_alloc is not liballoc's");
}

/* Blocks of many sizes, handed on to another thread that frees them. */
static void *fill(void *argument) {
    char **blocks = argument;
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = (size_t)(i % 700) * (size_t)(i % 61) + 1;
        blocks[i] = i % 3 == 0 ? calloc(1, size) : malloc(size);
        CHECK(blocks[i] != NULL && malloc_usable_size(blocks[i]) >= size, "%zu", size);
        memset(blocks[i], i, size);
    }
    return NULL;
}

static void *drop(void *argument) {
    char **blocks = argument;
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(blocks[i][0] == (char)i, "block %d", i);
        free(blocks[i]);
    }
    return NULL;
}

OURS(threads) {
    static char *blocks[8][BLOCKS];
    for (int turn = 0; turn < 4; turn++) {
        pthread_t threads[8];
        for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, fill, blocks[i]);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
        for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, drop, blocks[7 - i]);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    }
}

OURS(forks) {
    static char *blocks[BLOCKS];
    fill(blocks);
    pid_t child = fork();
    CHECK(child >= 0, "fork");
    if (child == 0) {
        drop(blocks);
        run_threads();
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "child: %d", status);
    drop(blocks);
}

/* musl's own aligned_alloc fails when it finds malloc replaced, unless it is replaced too. */
OURS(aligned) {
    for (size_t alignment = 16; alignment <= 1 << 20; alignment *= 2) {
        void *block = aligned_alloc(alignment, alignment * 3);
        CHECK(block != NULL && (uintptr_t)block % alignment == 0, "aligned_alloc %zu", alignment);
        memset(block, 1, alignment * 3);
        void *other = NULL;
        CHECK(posix_memalign(&other, alignment, 100) == 0 && other != NULL, "%zu", alignment);
        free(block);
        free(other);
        free(memalign(alignment, 5));
    }
    free(realloc(aligned_alloc(64, 100), 5000));
}

OURS(libc_allocates) {
    char *line = NULL;
    CHECK(asprintf(&line, "%d %s", 42, "bytes") > 0 && strcmp(line, "42 bytes") == 0, "asprintf");
    free(line);
    char *copy = strdup("a copy");
    CHECK(copy != NULL && setenv("COPY", copy, 1) == 0 && getenv("COPY") != NULL, "setenv");
    free(copy);
    char *buffer = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&buffer, &length);
    CHECK(stream != NULL, "open_memstream");
    for (int i = 0; i < 10000; i++) fprintf(stream, "%d ", i);
    fclose(stream);
    CHECK(length > 40000 && strncmp(buffer, "0 1 2 ", 6) == 0, "%zu", length);
    free(buffer);
}

OURS(errno_says_no_memory) {
    errno = 0;
    CHECK(malloc(PTRDIFF_MAX) == NULL && errno == ENOMEM, "%d", errno);
    errno = 0;
    CHECK(calloc(SIZE_MAX / 2, 4) == NULL && errno == ENOMEM, "%d", errno);
}

/* Opened late: the word of initial-exec TLS must find room, in threads that are there already. */
static void *(*late_malloc)(size_t);
static void (*late_free)(void *);
static pthread_barrier_t opened;

static void *use_late(void *argument) {
    if (argument != NULL) pthread_barrier_wait(&opened);
    for (int i = 0; i < 10000; i++) {
        char *block = late_malloc((size_t)i);
        CHECK(block != NULL, "%d", i);
        memset(block, 1, (size_t)i);
        late_free(block);
    }
    return NULL;
}

OURS(by_dlopen) {
    pthread_t early, late;
    pthread_barrier_init(&opened, NULL, 2);
    CHECK(pthread_create(&early, NULL, use_late, &opened) == 0, "thread");
    void *library = dlopen(case_argv[0], RTLD_NOW);
    CHECK(library != NULL, "%s", dlerror());
    late_malloc = (void *(*)(size_t))dlsym(library, "alloc_malloc");
    late_free = (void (*)(void *))dlsym(library, "alloc_free");
    CHECK(late_malloc != NULL && late_free != NULL, "names");
    pthread_barrier_wait(&opened);
    CHECK(pthread_create(&late, NULL, use_late, NULL) == 0, "thread");
    use_late(NULL);
    pthread_join(early, NULL);
    pthread_join(late, NULL);
    CHECK(dlclose(library) == 0, "dlclose");
    late_free(late_malloc(100));
}

/* liballoc-apart in a program whose malloc is another: one promise a case. The name of the object
 * that malloc must come from is the second argument. */
#include "../../abi/src/check.h"
#include "alloc.h"
#include "hft_alloc.h"

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/wait.h>

static alloc_stats_t now(void) {
    alloc_stats_t stats;
    CHECK(alloc_stats(&stats, sizeof stats) == 0, "stats");
    return stats;
}

static const char *object_of(void *address) {
    Dl_info info;
    CHECK(address != NULL && dladdr(address, &info) != 0, "no object");
    const char *slash = strrchr(info.dli_fname, '/');
    return slash != NULL ? slash + 1 : info.dli_fname;
}

/* Nothing but the names of the headers is there, and the rest of the process notices nothing. */
OURS(names) {
    static const char *const others[] = {
        "malloc", "free", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign",
        "malloc_usable_size", "malloc_trim", "mallopt", "__libc_malloc", "__libc_free",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const char *found = object_of(dlsym(RTLD_DEFAULT, others[i]));
        CHECK(strcmp(found, case_argv[0]) == 0, "%s is of %s", others[i], found);
    }
    CHECK(dlsym(RTLD_DEFAULT, "_Znwm") == NULL, "operator new");
    CHECK(dlsym(RTLD_DEFAULT, "__asan_default_options") == NULL, "options of a sanitizer");
}

/* The two heaps know nothing of each other. */
OURS(two_heaps) {
    char *own = alloc_malloc(100);
    alloc_stats_t before = now();
    size_t other_before = mallinfo2().uordblks;
    static char *blocks[1000];
    for (int i = 0; i < 1000; i++) blocks[i] = malloc(5000);
    CHECK(now().bytes_in_use == before.bytes_in_use, "malloc came here");
    CHECK(mallinfo2().uordblks >= other_before + 5000000, "malloc went elsewhere");
    for (int i = 0; i < 1000; i++) free(blocks[i]);

    other_before = mallinfo2().uordblks;
    for (int i = 0; i < 1000; i++) memset(blocks[i] = alloc_malloc(5000), i, 5000);
    CHECK(now().bytes_in_use >= before.bytes_in_use + 5000000, "alloc_malloc is not counted");
    CHECK(mallinfo2().uordblks == other_before, "alloc_malloc went elsewhere");
    for (int i = 0; i < 1000; i++) alloc_free(blocks[i]);
    alloc_free(own);

    alloc_heap_t *heap = alloc_heap_create(0);
    CHECK(alloc_heap_calloc(heap, 10, 100) != NULL && alloc_heap_destroy(heap) == 1, "heap");
    hft_pool_t *pool = hft_pool_create(64, 10);
    CHECK(hft_pool_alloc(pool) != NULL, "pool");
    hft_pool_destroy(pool);
    void *routed = hft_alloc(100);
    CHECK(routed != NULL, "router");
    hft_free(routed);
    CHECK(mallinfo2().uordblks == other_before, "allocators to choose went elsewhere");
}

/* What is no block of ours is the process's: freed, measured, resized there. */
OURS(blocks_of_the_process) {
    free(malloc(1));
    alloc_free(alloc_malloc(1));
    size_t before = mallinfo2().uordblks;
    char *block = malloc(20000);
    CHECK(alloc_usable_size(block) == malloc_usable_size(block), "size");
    strcpy(block, "kept");
    block = alloc_realloc(block, 60000);
    CHECK(block != NULL && strcmp(block, "kept") == 0, "contents");
    CHECK(mallinfo2().uordblks >= before + 60000, "it moved to us");
    alloc_free(block);
    CHECK(mallinfo2().uordblks == before, "it was not freed");
    hft_free(strdup("a copy"));
    CHECK(mallinfo2().uordblks == before, "the copy was not freed");
}

/* With another copy preloaded and ours in the program: the other has malloc, each its own heap. */
OURS(two_copies) {
    void *other_stats = dlsym(RTLD_DEFAULT, "alloc_stats");
    CHECK(strcmp(object_of(dlsym(RTLD_DEFAULT, "malloc")), case_argv[0]) == 0, "whose is malloc");
    CHECK(strcmp(object_of(other_stats), case_argv[0]) == 0, "there is no other copy");
    int (*ask)(alloc_stats_t *, size_t) = (int (*)(alloc_stats_t *, size_t))other_stats;
    alloc_free(alloc_malloc(1));
    uint64_t before = now().bytes_in_use;
    alloc_stats_t empty, full;
    static char *blocks[1000];
    CHECK(ask(&empty, sizeof empty) == 0, "stats");
    for (int i = 0; i < 1000; i++) blocks[i] = malloc(5000);
    CHECK(now().bytes_in_use == before, "malloc came here");
    CHECK(ask(&full, sizeof full) == 0, "stats");
    CHECK(full.bytes_in_use >= empty.bytes_in_use + 5000000, "malloc went elsewhere");
    for (int i = 0; i < 1000; i++) alloc_free(blocks[i]);
    CHECK(ask(&full, sizeof full) == 0, "stats");
    CHECK(full.bytes_in_use == empty.bytes_in_use, "they were not freed there");
    for (int i = 0; i < 1000; i++) blocks[i] = alloc_malloc(5000);
    CHECK(ask(&full, sizeof full) == 0, "stats");
    CHECK(full.bytes_in_use == empty.bytes_in_use, "alloc_malloc went there");
    CHECK(now().bytes_in_use >= before + 5000000, "alloc_malloc is not counted");
    for (int i = 0; i < 1000; i++) alloc_free(blocks[i]);
}

/* With the drop-in preloaded, which comes first for every name. */
OURS(one_copy) {
    CHECK(strcmp(object_of(dlsym(RTLD_DEFAULT, "alloc_malloc")), case_argv[0]) == 0, "whose");
    free(alloc_malloc(100));
    alloc_free(malloc(100));
    uint64_t before = now().bytes_in_use;
    char *volatile block = malloc(100000);
    CHECK(now().bytes_in_use >= before + 100000, "malloc went elsewhere");
    free(block);
}

/* Which of the two ends the process says who found it. */
OURS(a_block_given_to_free) {
    char *volatile block = alloc_malloc(100);
    free(block);
}

OURS(a_block_of_the_process) {
    char *volatile block = malloc(100);
    alloc_free(block);
}

OURS(a_double_free) {
    char *volatile block = alloc_malloc(3 << 20);
    alloc_free(block);
    alloc_free(block);
}

OURS(no_memory_there) {
    alloc_free((void *)(uintptr_t)0x10000);
}

static volatile int stop;

static void *traffic(void *unused) {
    (void)unused;
    void *blocks[64] = {0};
    for (unsigned i = 0; !stop; i++) {
        alloc_free(blocks[i % 64]);
        blocks[i % 64] = alloc_malloc(i * 7919 % 600000); /* Many slow calls. */
    }
    for (int i = 0; i < 64; i++) alloc_free(blocks[i]);
    return NULL;
}

/* Children of a fork at any moment of other threads have both heaps. */
OURS(fork_among_threads) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, traffic, NULL);
    char *old = alloc_malloc(1000);
    for (int turn = 0; turn < 100; turn++) {
        pid_t child = fork();
        if (child == 0) {
            alloc_free(old);
            for (int i = 1; i < 300; i++) {
                char *block = alloc_malloc((size_t)i * 7000);
                if (block == NULL) _exit(1);
                block[0] = 1;
                alloc_free(block);
                free(malloc((size_t)i));
            }
            _exit(0);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child && status == 0, "%d: %d", turn, status);
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    alloc_free(old);
}

static void *leave_a_heap(void *kept) {
    void **blocks = kept;
    for (int i = 0; i < 500; i++) blocks[i] = alloc_malloc(1000);
    for (int i = 0; i < 400; i++) alloc_free(blocks[i]);
    return NULL;
}

/* What threads leave serves the threads after them. */
OURS(threads_that_end) {
    static void *blocks[500];
    uint64_t early = 0;
    for (int turn = 0; turn < 300; turn++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, leave_a_heap, blocks) == 0, "thread");
        pthread_join(thread, NULL);
        for (int i = 400; i < 500; i++) alloc_free(blocks[i]);
        if (turn == 20) early = now().bytes_mapped;
    }
    CHECK(now().bytes_mapped <= early + (1 << 20), "%llu after %llu",
          (unsigned long long)now().bytes_mapped, (unsigned long long)early);
}

/* hft_alloc.h: pools, arenas and the size-class router as the header documents them. */
#include "hft_alloc.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>

#include "memory.h"

#pragma weak hft_pool_create
#pragma weak hft_pool_create_aligned
#pragma weak hft_pool_create_numa
#pragma weak hft_pool_create_debug
#pragma weak hft_pool_alloc
#pragma weak hft_pool_free
#pragma weak hft_pool_destroy
#pragma weak hft_pool_stats
#pragma weak hft_pool_alloc_debug
#pragma weak hft_pool_free_debug
#pragma weak hft_pool_check
#pragma weak hft_arena_create
#pragma weak hft_arena_alloc
#pragma weak hft_arena_reset
#pragma weak hft_arena_destroy
#pragma weak hft_init
#pragma weak hft_thread_init
#pragma weak hft_alloc
#pragma weak hft_free

/* A linker leaves out a library of which only weak names are wanted. */
void *(*volatile strong_name)(size_t) = malloc;

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt;
}

OURS(pool_has_exactly_its_capacity) {
    enum { COUNT = 1000 };
    static void *objects[COUNT];
    hft_pool_t *pool = hft_pool_create(64, COUNT);
    CHECK(pool != NULL, "create");
    for (int i = 0; i < COUNT; i++) {
        objects[i] = hft_pool_alloc(pool);
        CHECK(objects[i] != NULL && is_aligned(objects[i], 16), "object %d", i);
        fill(objects[i], 64, (unsigned)i);
    }
    errno = 0;
    CHECK(hft_pool_alloc(pool) == NULL && errno == ENOMEM, "one too many");
    for (int i = 0; i < COUNT; i++) CHECK(intact(objects[i], 64, (unsigned)i) == 64, "%d", i);
    pool_stats_t stats;
    hft_pool_stats(pool, &stats);
    CHECK(stats.object_size == 64 && stats.total_objects == COUNT, "totals");
    CHECK(stats.allocated_objects == COUNT && stats.free_objects == 0, "live");
    CHECK(stats.allocations_count == COUNT && stats.frees_count == 0, "counts");
    CHECK(stats.bytes_allocated == COUNT * 64, "bytes");
    hft_pool_free(pool, objects[17]);
    hft_pool_free(pool, NULL);
    hft_pool_stats(pool, &stats);
    CHECK(stats.free_objects == 1 && stats.frees_count == 1, "one freed");
    CHECK(hft_pool_alloc(pool) == objects[17], "the one that was freed");
    CHECK(hft_pool_alloc(pool) == NULL, "one too many");
    hft_pool_stats(NULL, &stats);
    hft_pool_stats(pool, NULL);
    CHECK(hft_pool_check(pool) == 0, "check");
    hft_pool_destroy(pool);
    hft_pool_destroy(NULL);
}

OURS(small_objects_count_as_8) {
    hft_pool_t *pool = hft_pool_create(1, 10);
    pool_stats_t stats;
    hft_pool_stats(pool, &stats);
    CHECK(stats.object_size == 8, "%zu", stats.object_size);
    hft_pool_destroy(pool);
}

OURS(pool_needs_no_page_later) {
    enum { COUNT = 200000 };
    static void *objects[COUNT];
    memset(objects, 1, sizeof objects);
    hft_pool_t *pool = hft_pool_create(64, COUNT);
    long before = faults();
    for (int i = 0; i < COUNT; i++) *(char *)(objects[i] = hft_pool_alloc(pool)) = 1;
    for (int i = 0; i < COUNT; i++) hft_pool_free(pool, objects[i]);
    CHECK(faults() - before < 8, "%ld faults", faults() - before);
    hft_pool_destroy(pool);
    hft_arena_t *arena = hft_arena_create(8 * MIB);
    before = faults();
    for (int i = 0; i < 8; i++) memset(hft_arena_alloc(arena, MIB), 1, MIB);
    CHECK(faults() - before < 8, "%ld faults", faults() - before);
    hft_arena_destroy(arena);
}

OURS(kinds_of_pools) {
    hft_pool_t *aligned = hft_pool_create_aligned(24, 100, 64);
    hft_pool_t *node = hft_pool_create_numa(24, 100, 0);
    hft_pool_t *debug = hft_pool_create_debug(24, 100);
    CHECK(aligned != NULL && node != NULL && debug != NULL, "create");
    for (int i = 0; i < 100; i++) {
        void *object = hft_pool_alloc(aligned);
        CHECK(object != NULL && is_aligned(object, 64), "%p", object);
        CHECK((object = hft_pool_alloc(node)) != NULL, "node");
        fill(object, 24, 1);
        CHECK((object = pool_alloc(debug)) != NULL, "debug");
        fill(object, 24, 1);
        if (i % 2) pool_free(debug, object);
    }
    CHECK(hft_pool_alloc(aligned) == NULL && hft_pool_alloc(node) == NULL, "one too many");
    CHECK(hft_pool_check(debug) == 0, "check");
    hft_pool_destroy(aligned);
    hft_pool_destroy(node);
    hft_pool_destroy(debug);
    hft_pool_t *plain = hft_pool_create(24, 1);
    void *object = pool_alloc(plain);
    CHECK(object != NULL && pool_alloc(plain) == NULL, "the macros on another pool");
    pool_free(plain, object);
    hft_pool_destroy(plain);
}

#define REFUSED(expected, call)                                                                    \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((call) == NULL, #call);                                                              \
        CHECK(errno == expected, #call ": errno %d", errno);                                       \
    } while (0)

OURS(bad_arguments) {
    REFUSED(EINVAL, hft_pool_create(0, 10));
    REFUSED(EINVAL, hft_pool_create(10, 0));
    REFUSED(EINVAL, hft_pool_create(SIZE_MAX / 2, 3));
    REFUSED(EINVAL, hft_pool_create(SIZE_MAX, SIZE_MAX));
    REFUSED(ENOMEM, hft_pool_create((size_t)1 << 40, 1 << 20));
    REFUSED(EINVAL, hft_pool_create_aligned(8, 10, 0));
    for (size_t alignment = 3; alignment < 100; alignment++)
        if ((alignment & (alignment - 1)) != 0)
            REFUSED(EINVAL, hft_pool_create_aligned(8, 10, alignment));
    REFUSED(EINVAL, hft_pool_create_numa(8, 10, -1));
    REFUSED(EINVAL, hft_pool_create_numa(8, 10, 1000000));
    REFUSED(EINVAL, hft_pool_create_debug(0, 10));
    REFUSED(EINVAL, hft_arena_create(0));
    REFUSED(ENOMEM, hft_arena_create(SIZE_MAX));
    REFUSED(ENOMEM, hft_alloc(SIZE_MAX));
    errno = 0;
    CHECK(hft_pool_check(NULL) == -1 && errno == EINVAL, "check of NULL");
}

OURS(arena_of_a_capacity) {
    hft_arena_t *arena = hft_arena_create(1000);
    for (int turn = 0; turn < 100; turn++) {
        for (int i = 0; i < 10; i++) {
            void *object = hft_arena_alloc(arena, 90);
            CHECK(object != NULL && is_aligned(object, 16), "object %d", i);
            fill(object, 90, 1);
        }
        errno = 0;
        CHECK(hft_arena_alloc(arena, 90) == NULL && errno == ENOMEM, "used up");
        hft_arena_reset(arena);
    }
    hft_arena_destroy(arena);
    hft_arena_destroy(NULL);
}

OURS(router_classes) {
    for (size_t size = 0; size <= 5000; size++) {
        void *block = hft_alloc(size);
        size_t usable = malloc_usable_size(block), expected = 16;
        while (expected < size) expected *= 2;
        CHECK(block != NULL && is_aligned(block, 16), "%zu bytes", size);
        if (size <= 2048) CHECK(usable == expected, "%zu bytes: %zu", size, usable);
        CHECK(usable >= size, "%zu bytes: %zu", size, usable);
        fill(block, size, 1);
        hft_free(block);
    }
    hft_free(NULL);
}

static void *freed_by_another[1000];

static void *other_thread(void *unused) {
    (void)unused;
    hft_thread_init();
    for (int i = 0; i < 1000; i++) {
        CHECK(intact(freed_by_another[i], 100, (unsigned)i) == 100, "block %d", i);
        hft_free(freed_by_another[i]);
        freed_by_another[i] = hft_alloc(200);
        fill(freed_by_another[i], 200, (unsigned)i);
    }
    return NULL;
}

OURS(router_across_threads) {
    hft_init();
    for (int i = 0; i < 1000; i++) fill(freed_by_another[i] = hft_alloc(100), 100, (unsigned)i);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0, "thread");
    pthread_join(thread, NULL);
    for (int i = 0; i < 1000; i++) {
        CHECK(intact(freed_by_another[i], 200, (unsigned)i) == 200, "block %d", i);
        free(freed_by_another[i]);
    }
}

/* Nothing is asked of the system by the first calls after the thread has prepared. */
OURS(prepared_threads_need_no_page) {
    hft_init();
    hft_thread_init();
    void *blocks[8][30];
    memset(blocks, 1, sizeof blocks);
    hft_free(hft_alloc(16)); /* the code's own pages */
    hft_free(hft_alloc(2048));
    long before = faults();
    for (int class = 0; class < 8; class++)
        for (int i = 0; i < 30; i++) {
            blocks[class][i] = hft_alloc((size_t)16 << class);
            *(char *)blocks[class][i] = 1;
        }
    CHECK(faults() - before < 4, "%ld faults", faults() - before);
    for (int class = 0; class < 8; class++)
        for (int i = 0; i < 30; i++) hft_free(blocks[class][i]);
}

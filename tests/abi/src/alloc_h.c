/* alloc.h: the prefixed API as the header declares it, its statistics, and the same as JSON. */
#include "alloc.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>

#include "memory.h"

/* The library comes by preload: without it the program still links. */
#pragma weak alloc_malloc
#pragma weak alloc_free
#pragma weak alloc_calloc
#pragma weak alloc_realloc
#pragma weak alloc_aligned_alloc
#pragma weak alloc_usable_size
#pragma weak alloc_stats
#pragma weak alloc_stats_json
#pragma weak alloc_config

static alloc_stats_t stats(void) {
    alloc_stats_t now;
    memset(&now, 0xff, sizeof now);
    CHECK(alloc_stats(&now, sizeof now) == 0, "alloc_stats");
    return now;
}

OURS(blocks) {
    for (size_t size = 0; size <= 40 * MIB; size = size * 3 + 1) {
        void *block = alloc_malloc(size);
        CHECK(block != NULL && is_aligned(block, 16), "alloc_malloc(%zu)", size);
        CHECK(alloc_usable_size(block) >= size, "usable size of %zu", size);
        fill(block, size, 1);
        block = alloc_realloc(block, size * 2 + 1);
        CHECK(intact(block, size, 1) == size, "alloc_realloc from %zu", size);
        alloc_free(block);
        void *zero = alloc_calloc(3, size);
        CHECK(zeroes(zero, 3 * size) == 3 * size, "alloc_calloc of %zu", size);
        alloc_free(zero);
    }
    for (size_t alignment = 1; alignment <= 64 * MIB; alignment *= 2) {
        void *block = alloc_aligned_alloc(alignment, 100);
        CHECK(is_aligned(block, alignment), "alloc_aligned_alloc(%zu): %p", alignment, block);
        alloc_free(block);
    }
    alloc_free(NULL);
    CHECK(alloc_realloc(alloc_malloc(10), 0) == NULL, "alloc_realloc(p, 0)");
}

OURS(one_heap_with_malloc) {
    free(alloc_malloc(100));
    alloc_free(malloc(100));
    free(alloc_realloc(malloc(100), 5000));
    alloc_free(realloc(alloc_malloc(100), 5000));
}

OURS(stats_follow_the_program) {
    enum { COUNT = 10000 };
    static void *blocks[COUNT];
    alloc_stats_t before = stats();
    for (int i = 0; i < COUNT; i++) blocks[i] = memset(malloc(1000), 1, 1000);
    alloc_stats_t during = stats();
    for (int i = 0; i < COUNT; i++) free(blocks[i]);
    alloc_stats_t after = stats();
    CHECK(during.bytes_in_use >= before.bytes_in_use + 9900 * 1000, "bytes_in_use");
    CHECK(after.bytes_in_use <= before.bytes_in_use + 512 * KIB, "bytes_in_use after the frees");
    CHECK(during.bytes_mapped >= during.bytes_in_use, "bytes_mapped");
    CHECK(during.bytes_resident >= 9 * MIB, "bytes_resident %zu", (size_t)during.bytes_resident);
    CHECK(during.allocations >= before.allocations + COUNT - 2048, "allocations");
    CHECK(after.frees >= during.frees + COUNT - 2048, "frees");
    CHECK(after.allocations >= during.allocations, "allocations never go back");
    CHECK(after.total_allocated >= before.total_allocated + 9 * MIB, "total_allocated");
    CHECK(after.allocations >= after.frees, "more frees than allocations");
    CHECK(during.total_pages * (size_t)sysconf(_SC_PAGESIZE) >= during.bytes_in_use, "total_pages");
    CHECK(during.fragmentation_pct >= 0 && during.fragmentation_pct <= 100, "%f",
          during.fragmentation_pct);
}

OURS(stats_of_huge_blocks) {
    alloc_stats_t before = stats();
    void *block = malloc(100 * MIB);
    alloc_stats_t during = stats();
    free(block);
    alloc_stats_t after = stats();
    CHECK(during.bytes_in_use >= before.bytes_in_use + 100 * MIB, "bytes_in_use");
    CHECK(during.bytes_mapped >= before.bytes_mapped + 100 * MIB, "bytes_mapped");
    CHECK(after.bytes_in_use <= before.bytes_in_use + MIB, "bytes_in_use after free");
    CHECK(during.allocations > before.allocations && after.frees > before.frees, "counts");
}

static void *allocate_and_free(void *unused) {
    (void)unused;
    for (int i = 0; i < 100000; i++) free(malloc(100));
    return NULL;
}

OURS(stats_of_threads_that_ended) {
    alloc_stats_t before = stats();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate_and_free, NULL) == 0, "thread");
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    alloc_stats_t after = stats();
    CHECK(after.allocations >= after.frees, "counts");
    CHECK(after.bytes_in_use <= before.bytes_in_use + 256 * KIB, "bytes_in_use");
}

/* A program built against an older, shorter struct: what fits is filled, nothing beyond it. */
OURS(stats_of_a_shorter_struct) {
    alloc_stats_t now;
    memset(&now, 0x5a, sizeof now);
    CHECK(alloc_stats(&now, sizeof now.allocations) == 0, "a shorter struct is refused");
    const unsigned char *bytes = (const unsigned char *)&now;
    for (size_t i = sizeof now.allocations; i < sizeof now; i++)
        CHECK(bytes[i] == 0x5a, "byte %zu was written", i);
    CHECK(bytes[sizeof now.allocations - 1] != 0x5a, "nothing was written");
}

/* A newer, longer struct: the tail that this library does not know is zero. */
OURS(stats_of_a_longer_struct) {
    struct {
        alloc_stats_t known;
        unsigned char unknown[64];
    } now;
    memset(&now, 0x5a, sizeof now);
    CHECK(alloc_stats(&now.known, sizeof now) == 0, "a longer struct is refused");
    CHECK(zeroes(now.unknown, sizeof now.unknown) == sizeof now.unknown, "the tail");
}

OURS(stats_refuse_null) { CHECK(alloc_stats(NULL, sizeof(alloc_stats_t)) != 0, "NULL"); }

/* Printed for the test to parse; measured like snprintf before. */
OURS(stats_as_json) {
    char text[4096];
    int needed = alloc_stats_json(NULL, 0);
    CHECK(needed > 2 && (size_t)needed < sizeof text, "%d bytes", needed);
    int length = alloc_stats_json(text, sizeof text);
    CHECK(length > 2 && (size_t)length == strlen(text), "%d of %zu bytes", length, strlen(text));
    char little[8];
    memset(little, 0x5a, sizeof little);
    CHECK(alloc_stats_json(little, 5) > 5, "the length that was needed");
    CHECK(little[4] == 0 && little[5] == 0x5a, "the end of a short buffer");
    if (write(1, text, (size_t)length) != length) _exit(9);
}

/* An option set by the program itself; NULL is refused. */
OURS(config_at_run_time) {
    CHECK(alloc_config("mmap_threshold:4m") == 0, "a known option");
    size_t before = mallinfo2().hblks;
    void *block = alloc_malloc(5 * MIB);
    CHECK(mallinfo2().hblks == before + 1, "no mapping of its own");
    alloc_free(block);
    errno = 0;
    CHECK(alloc_config(NULL) == -1 && errno == EINVAL, "NULL");
}

OURS(config_refuses_unknown_words) {
    errno = 0;
    CHECK(alloc_config("no_such_key:1,mmap_threshold:4m") == -1 && errno == EINVAL, "unknown");
    void *block = alloc_malloc(5 * MIB);
    CHECK(mallinfo2().hblks == 1, "the option beside it holds");
    alloc_free(block);
    _exit(0); /* the warning on stderr is asked for in test_abi_conf */
}

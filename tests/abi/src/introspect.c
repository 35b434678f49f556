/* mallinfo2, malloc_info, malloc_stats, malloc_trim and mallopt answer for this heap. */
#include <pthread.h>

#include "entries.h"

static size_t in_use(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd; /* glibc counts its mappings in the second alone */
}

/* Allocates `count` blocks, and checks that the figure follows within `slack` bytes. */
static void check_follows(size_t size, size_t count, size_t slack) {
    static void *blocks[20000];
    size_t before = in_use();
    for (size_t i = 0; i < count; i++) {
        blocks[i] = malloc(size);
        CHECK(blocks[i] != NULL, "%zu bytes", size);
    }
    size_t during = in_use();
    for (size_t i = 0; i < count; i++) free(blocks[i]);
    size_t after = in_use();
    CHECK(during + slack >= before + size * count, "%zu x %zu: %zu to %zu", count, size, before,
          during);
    CHECK(during <= before + size * count * 3 / 2 + slack, "%zu x %zu: %zu to %zu", count, size,
          before, during);
    CHECK(after <= before + slack, "%zu x %zu: %zu remain of %zu", count, size, after, before);
}

CASE(C40_mallinfo2_follows_small_blocks) { check_follows(100, 20000, 256 * KIB); }
CASE(C40_mallinfo2_follows_medium_blocks) { check_follows(5000, 4000, 512 * KIB); }
CASE(C40_mallinfo2_follows_large_blocks) { check_follows(600 * KIB, 40, 2 * MIB); }
CASE(C40_mallinfo2_follows_huge_blocks) { check_follows(48 * MIB, 5, MIB); }

CASE(C40_mallinfo2_counts_mappings) {
    struct mallinfo2 before = mallinfo2();
    void *first = malloc(64 * MIB);
    void *second = malloc(40 * MIB);
    struct mallinfo2 during = mallinfo2();
    free(first);
    free(second);
    struct mallinfo2 after = mallinfo2();
    CHECK(during.hblks == before.hblks + 2, "hblks %zu to %zu", before.hblks, during.hblks);
    CHECK(during.hblkhd >= before.hblkhd + 104 * MIB, "hblkhd %zu", during.hblkhd);
    CHECK(during.hblkhd <= before.hblkhd + 105 * MIB, "hblkhd %zu", during.hblkhd);
    CHECK(after.hblks == before.hblks, "hblks %zu after free", after.hblks);
    CHECK(after.hblkhd == before.hblkhd, "hblkhd %zu after free", after.hblkhd);
}

static void *allocate_here(void *slot) {
    void **blocks = (void **)slot;
    for (int i = 0; i < 1000; i++) blocks[i] = malloc(1000);
    return NULL;
}

/* Also blocks of a thread that has gone. glibc's mallinfo2 counts its main arena alone. */
OURS(C40_mallinfo2_counts_other_threads) {
    static void *blocks[1000];
    size_t before = in_use();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, allocate_here, blocks) == 0, "thread");
    pthread_join(thread, NULL);
    size_t during = in_use();
    CHECK(during >= before + 900 * 1000, "%zu to %zu", before, during);
    for (int i = 0; i < 1000; i++) free(blocks[i]);
    CHECK(in_use() <= before + 256 * KIB, "%zu after free", in_use());
}

CASE(C40_mallinfo_is_the_narrow_form) {
    void *block = malloc(30 * MIB);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    struct mallinfo narrow = mallinfo();
#pragma GCC diagnostic pop
    struct mallinfo2 wide = mallinfo2();
    CHECK(narrow.uordblks == (int)wide.uordblks, "%d, %zu", narrow.uordblks, wide.uordblks);
    CHECK(narrow.hblkhd == (int)wide.hblkhd, "%d, %zu", narrow.hblkhd, wide.hblkhd);
    CHECK(narrow.arena == (int)wide.arena, "%d, %zu", narrow.arena, wide.arena);
    free(block);
}

CASE(C40_mallinfo2_is_consistent) {
    static void *blocks[5000];
    for (size_t i = 0; i < 5000; i++) blocks[i] = malloc(i);
    for (size_t i = 0; i < 5000; i += 2) free(blocks[i]);
    struct mallinfo2 info = mallinfo2();
    CHECK(info.arena + info.hblkhd > 0, "an empty heap");
    CHECK(info.uordblks <= info.arena, "uordblks %zu of %zu", info.uordblks, info.arena);
    CHECK(info.fordblks <= info.arena, "fordblks %zu of %zu", info.fordblks, info.arena);
    CHECK(info.fsmblks <= info.fordblks, "fsmblks %zu of %zu", info.fsmblks, info.fordblks);
    CHECK(info.fsmblks >= info.smblks * 16 && (info.fsmblks == 0 || info.smblks > 0),
          "%zu bytes in %zu blocks", info.fsmblks, info.smblks);
    for (size_t i = 1; i < 5000; i += 2) free(blocks[i]);
}

/* Of free blocks that wait for the next malloc, count and bytes move together. */
CASE(C40_mallinfo2_counts_waiting_blocks) {
    void *block = malloc(96);
    size_t size = malloc_usable_size(block);
    free(block);
    struct mallinfo2 with = mallinfo2();
    block = malloc(96);
    struct mallinfo2 without = mallinfo2();
    CHECK(malloc_usable_size(block) == size, "another size");
    size_t blocks = with.smblks - without.smblks, bytes = with.fsmblks - without.fsmblks;
    CHECK(blocks <= 1 && bytes == blocks * size, "%zu bytes in %zu blocks", bytes, blocks);
    free(block);
}

/* The document goes to stdout, where the test parses it. */
CASE(C40_malloc_info_document) {
    void *small = malloc(100);
    void *huge = malloc(50 * MIB);
    CHECK(malloc_info(0, stdout) == 0, "malloc_info failed");
    free(small);
    free(huge);
}

CASE(C40_malloc_info_refuses_options) {
    FILE *sink = fopen("/dev/null", "w");
    errno = 0;
    int status = malloc_info(1, sink);
    CHECK(status == EINVAL || (status == -1 && errno == EINVAL), "status %d", status);
    fclose(sink);
}

/* The report goes to stderr, where the test reads it. */
CASE(C40_malloc_stats_report) {
    void *block = malloc(100);
    malloc_stats();
    free(block);
}

CASE(C40_malloc_trim_gives_back) {
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(5000);
        memset(blocks[i], 1, 5000);
    }
    size_t full = process_size().resident;
    void *last = malloc(5000); /* keeps glibc from trimming by itself */
    for (int i = 0; i < COUNT; i++) free(blocks[i]);
    int status = malloc_trim(0);
    size_t trimmed = process_size().resident;
    CHECK(status == 0 || status == 1, "status %d", status);
    CHECK(trimmed + 80 * MIB < full, "%zu MiB to %zu MiB", full / MIB, trimmed / MIB);
    free(last);
}

CASE(C40_malloc_trim_of_little_is_harmless) {
    for (int i = 0; i < 100; i++) {
        int status = malloc_trim((size_t)i * 1000);
        CHECK(status == 0 || status == 1, "status %d", status);
    }
}

CASE(C40_mallopt_knows_what_glibc_knows) {
    const int known[] = {M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX,
                         M_CHECK_ACTION, M_PERTURB, M_ARENA_TEST, M_ARENA_MAX};
    const int values[] = {64, 128 * 1024, 64 * 1024, 128 * 1024, 1000, 3, 0, 4, 8};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        CHECK(mallopt(known[i], values[i]) == 1, "parameter %d", known[i]);
    void *block = malloc(1000);
    CHECK(block != NULL, "malloc after mallopt");
    free(block);
}

/* realloc: as malloc, as free, and everything between. */
#include <pthread.h>

#include "entries.h"

CASE(C34_null_is_malloc) {
    for (size_t size = 0; size <= 100000; size = size * 2 + 1) {
        void *block = realloc(NULL, size);
        CHECK(block != NULL && malloc_usable_size(block) >= size, "realloc(NULL, %zu)", size);
        fill(block, size, 1);
        free(block);
    }
}

CASE(C34_zero_frees) {
    const size_t sizes[] = {0, 1, 100, 5000, 100000, 3 * MIB, 64 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CHECK(realloc(malloc(sizes[i]), 0) == NULL, "realloc(%zu bytes, 0)", sizes[i]);
    }
    size_t before = process_size().mapped;
    for (int turn = 0; turn < 200; turn++) CHECK(realloc(malloc(64 * MIB), 0) == NULL, "huge");
    CHECK(process_size().mapped < before + 256 * MIB, "realloc(p, 0) does not free");
}

static void check_resize(size_t from, size_t to) {
    void *block = malloc(from);
    CHECK(block != NULL, "%zu bytes", from);
    fill(block, from, 9);
    block = realloc(block, to);
    CHECK(block != NULL && is_aligned(block, 16), "%zu to %zu: %p", from, to, block);
    size_t kept = from < to ? from : to;
    CHECK(intact(block, kept, 9) == kept, "%zu to %zu: byte %zu", from, to,
          intact(block, kept, 9));
    CHECK(malloc_usable_size(block) >= to, "%zu to %zu", from, to);
    fill(block, to, 10);
    free(block);
}

CASE(C35_contents_are_kept) {
    for (size_t from = 0; from <= 3 * MIB; from += from / 3 + 5) {
        for (size_t to = 1; to <= 3 * MIB; to += to / 3 + 5) check_resize(from, to);
    }
}

CASE(every_step_of_growth) {
    char *block = NULL;
    for (size_t size = 1; size <= 20000; size++) {
        block = (char *)realloc(block, size);
        CHECK(block != NULL, "%zu bytes", size);
        block[size - 1] = (char)(size * 13);
        if (size % 500 != 0) continue;
        for (size_t i = 1; i <= size; i++)
            CHECK(block[i - 1] == (char)(i * 13), "byte %zu at %zu", i, size);
    }
    for (size_t size = 20000; size >= 1; size -= 7) {
        block = (char *)realloc(block, size);
        CHECK(block[size - 1] == (char)(size * 13), "shrunk to %zu", size);
        if (size <= 7) break;
    }
    free(block);
}

/* Small neighbours are allocated between the steps, so that growth in place runs into them. */
CASE(neighbours_survive_growth) {
    enum { COUNT = 50 };
    void *blocks[COUNT] = {NULL};
    size_t sizes[COUNT] = {0};
    uint64_t state = 12345;
    for (int turn = 0; turn < 20000; turn++) {
        size_t index = next_random(&state) % COUNT;
        size_t size = 1 + next_random(&state) % (turn % 10 == 0 ? 200000 : 3000);
        blocks[index] = realloc(blocks[index], size);
        size_t kept = size < sizes[index] ? size : sizes[index];
        CHECK(intact(blocks[index], kept, (unsigned)index) == kept, "turn %d", turn);
        fill(blocks[index], size, (unsigned)index);
        sizes[index] = size;
    }
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(intact(blocks[i], sizes[i], (unsigned)i) == sizes[i], "block %zu", i);
        free(blocks[i]);
    }
}

CASE(C35_aligned_blocks) {
    for (size_t alignment = 16; alignment <= 8 * MIB; alignment *= 2) {
        for (size_t size = 10; size <= 3 * MIB; size = size * 7 + 1) {
            void *block = memalign(alignment, size);
            fill(block, size, 2);
            block = realloc(block, size * 2);
            CHECK(intact(block, size, 2) == size, "%zu, %zu grown", alignment, size);
            fill(block, size * 2, 3);
            block = realloc(block, size / 2 + 1);
            CHECK(intact(block, size / 2 + 1, 3) == size / 2 + 1, "%zu, %zu", alignment, size);
            free(block);
        }
    }
}

static unsigned char *resized(unsigned char *block, size_t from, size_t to) {
    block = (unsigned char *)realloc(block, to);
    CHECK(block != NULL, "%zu MiB to %zu MiB", from / MIB, to / MIB);
    size_t kept = from < to ? from : to;
    for (size_t i = 0; i < kept; i += 4096)
        CHECK(block[i] == (unsigned char)(i / 4096 * 3), "%zu to %zu: at %zu", from, to, i);
    for (size_t i = 0; i < to; i += 4096) block[i] = (unsigned char)(i / 4096 * 3);
    return block;
}

CASE(huge_blocks_grow_and_shrink) {
    size_t size = MIB;
    unsigned char *block = resized(NULL, 0, size);
    for (size_t to = 2 * MIB; to <= 256 * MIB; size = to, to *= 2) block = resized(block, size, to);
    for (size_t to = size / 2; to >= MIB; size = to, to /= 2) block = resized(block, size, to);
    block = resized(block, size, 200 * MIB + 12345);
    block = resized(block, 200 * MIB + 12345, 50 * MIB + 1);
    block = resized(block, 50 * MIB + 1, 60 * MIB);
    block = resized(block, 60 * MIB, 1000);
    free(block);
}

/* Shrinking a huge block gives the pages back at once. */
CASE(huge_blocks_shrink_in_memory) {
    char *block = (char *)malloc(256 * MIB);
    memset(block, 1, 256 * MIB);
    size_t full = process_size().resident;
    block = (char *)realloc(block, 64 * MIB);
    size_t shrunk = process_size().resident;
    CHECK(shrunk + 180 * MIB < full, "%zu MiB to %zu MiB", full / MIB, shrunk / MIB);
    free(block);
}

/* mremap moves pages: growth to 256 MiB must not need the old and the new block at once. */
CASE(huge_growth_does_not_copy) {
    char *block = (char *)malloc(200 * MIB);
    memset(block, 1, 200 * MIB);
    size_t before = process_size().resident;
    block = (char *)realloc(block, 800 * MIB);
    size_t after = process_size().resident;
    CHECK(block != NULL && after < before + 8 * MIB, "%zu to %zu MiB", before / MIB, after / MIB);
    CHECK(block[0] == 1 && block[200 * MIB - 1] == 1, "contents");
    free(block);
}

CASE(huge_blocks_with_large_alignment) {
    for (size_t alignment = 8 * KIB; alignment <= 256 * MIB; alignment *= 8) {
        unsigned char *block = (unsigned char *)memalign(alignment, 40 * MIB);
        CHECK(block != NULL && is_aligned(block, alignment), "alignment %zu", alignment);
        for (size_t i = 0; i < 40 * MIB; i += 4096) block[i] = (unsigned char)(i / 4096 * 3);
        block = resized(block, 40 * MIB, 100 * MIB);
        block = resized(block, 100 * MIB, 33 * MIB);
        free(block);
    }
}

CASE(reallocarray_is_realloc) {
    char *block = (char *)reallocarray(NULL, 10, 10);
    fill(block, 100, 4);
    block = (char *)reallocarray(block, 1000, 100);
    CHECK(block != NULL && intact(block, 100, 4) == 100, "contents");
    CHECK(reallocarray(block, 0, 100) == NULL, "zero elements free the block");
}

/* Blocks above 32 KiB are runs: they grow into what is free behind them, and shrink, in place. At
 * first nothing is in their way. */
OURS(medium_blocks_stay) {
    static const size_t sizes[] = {40000,   41000,   100000, 101000,  500000, 2 * MIB, 3 * MIB,
                                   3500000, 2200000, 900000, 1000000, 400000, 60000,   33000};
    for (int turn = 0; turn < 50; turn++) {
        char *block = (char *)malloc(sizes[0]), *first = block;
        char *behind = NULL;
        fill(block, sizes[0], 3);
        for (size_t i = 1; i < sizeof sizes / sizeof sizes[0]; i++) {
            size_t kept = sizes[i] < sizes[i - 1] ? sizes[i] : sizes[i - 1];
            if (i == 6 && turn % 2 == 1) behind = (char *)malloc(50000);
            block = (char *)realloc(block, sizes[i]);
            CHECK(intact(block, kept, 3) == kept, "to %zu: contents", sizes[i]);
            CHECK(malloc_usable_size(block) >= sizes[i], "to %zu: usable", sizes[i]);
            /* Only what shrinks from above 2 MiB to half leaves its run. */
            if (sizes[i - 1] > 2 * MIB && sizes[i] < 2 * MIB) first = block;
            CHECK(turn > 0 || block == first, "to %zu: it moved", sizes[i]);
            fill(block, sizes[i], 3);
        }
        free(block);
        free(behind);
    }
    CHECK(mallinfo2().uordblks < MIB, "%zu bytes in use", mallinfo2().uordblks);
}

struct hand_over {
    char *block;
    size_t size;
};

static void *grow_and_free(void *argument) {
    struct hand_over *given = (struct hand_over *)argument;
    char *block = (char *)realloc(given->block, given->size * 2);
    CHECK(intact(block, given->size, 4) == given->size, "contents");
    fill(block, given->size * 2, 4);
    free(block);
    return NULL;
}

/* Another thread's block belongs to another heap: it moves, and comes home when freed. */
CASE(medium_blocks_of_another_thread) {
    for (size_t size = 33000; size < 3 * MIB; size = size * 5 / 4) {
        struct hand_over given = {(char *)malloc(size), size};
        fill(given.block, size, 4);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, grow_and_free, &given) == 0, "thread");
        pthread_join(thread, NULL);
    }
}

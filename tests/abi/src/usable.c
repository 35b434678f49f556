/* malloc_usable_size: enough, stable, writable to the last byte, and kept by realloc. */
#include "entries.h"

CASE(C35_of_null_is_zero) { CHECK(malloc_usable_size(NULL) == 0, "it is not"); }

OURS(C35_prefixed_of_null_is_zero) { CHECK(alloc_usable_size(NULL) == 0, "it is not"); }

static void check_size(const struct entry *each, size_t size) {
    void *block = each->allocate(size);
    CHECK(block != NULL, "%s(%zu)", each->name, size);
    size_t usable = malloc_usable_size(block);
    CHECK(usable >= size, "%s(%zu): usable %zu", each->name, size, usable);
    stamp(block, usable, 0x33);
    CHECK(malloc_usable_size(block) == usable, "%s(%zu): not stable", each->name, size);
    CHECK(stamped(block, usable, 0x33), "%s(%zu): not kept", each->name, size);
    if (alloc_usable_size != NULL)
        CHECK(alloc_usable_size(block) == usable, "%s(%zu): two answers", each->name, size);
    free(block);
}

CASE(C35_at_least_the_request) {
    FOR_EACH_ENTRY(each) {
        for (size_t size = 0; size <= 2048; size++) check_size(each, size);
        for (size_t size = 2049; size <= 64 * MIB; size += size / 4 + 1) check_size(each, size);
    }
}

/* All of the usable area is the block's own: neighbours filled to the brim stay whole. */
CASE(C35_neighbours_do_not_overlap) {
    enum { COUNT = 64 };
    void *blocks[COUNT];
    for (size_t size = 1; size <= 20000; size += size / 8 + 1) {
        for (unsigned i = 0; i < COUNT; i++) {
            blocks[i] = malloc(size);
            fill(blocks[i], malloc_usable_size(blocks[i]), i);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            size_t usable = malloc_usable_size(blocks[i]);
            CHECK(intact(blocks[i], usable, i) == usable, "block %u of %zu bytes", i, size);
        }
        for (unsigned i = 0; i < COUNT; i++) free(blocks[i]);
    }
}

/* systemd and others write to all of it and expect realloc to carry all of it along. */
CASE(C35_realloc_copies_all_of_it) {
    for (size_t size = 1; size <= 8 * MIB; size += size / 6 + 1) {
        void *block = malloc(size);
        size_t usable = malloc_usable_size(block);
        fill(block, usable, 5);
        block = realloc(block, usable * 2 + 64);
        CHECK(intact(block, usable, 5) == usable, "%zu of %zu bytes kept", intact(block, usable, 5),
              usable);
        size_t grown = malloc_usable_size(block);
        fill(block, grown, 6);
        size_t smaller = grown / 3 + 1;
        block = realloc(block, smaller);
        CHECK(intact(block, smaller, 6) == smaller, "shrunk to %zu", smaller);
        free(block);
    }
}

CASE(C35_aligned_blocks) {
    for (size_t alignment = 16; alignment <= 4 * MIB; alignment *= 4) {
        for (size_t size = 1; size <= 3 * MIB; size = size * 5 + 3) {
            void *block = memalign(alignment, size);
            size_t usable = malloc_usable_size(block);
            CHECK(usable >= size, "memalign(%zu, %zu): %zu", alignment, size, usable);
            fill(block, usable, 8);
            CHECK(intact(block, usable, 8) == usable, "memalign(%zu, %zu)", alignment, size);
            free(block);
        }
    }
}

/* Waste is bounded: a class is at most a quarter larger than what was asked, plus 16 bytes. The
 * first blocks, a page of them and what a magazine takes, are as large as a power of two. */
OURS(C35_waste_is_bounded) {
    for (size_t size = 16; size <= 2 * MIB; size += size / 16 + 1) {
        for (size_t held = 0; size <= KIB && held <= 16 * KIB; held += size) {
            size_t usable = malloc_usable_size(malloc(size));
            CHECK(usable < 2 * size + 16, "%zu bytes hold %zu", size, usable);
        }
        void *block = malloc(size);
        size_t usable = malloc_usable_size(block);
        /* Above 32 KiB in steps of 16 KiB. */
        size_t most = size + size / 4 + 16, step = (size + 16 * KIB - 1) / (16 * KIB) * (16 * KIB);
        if (size > 32 * KIB && step > most) most = step;
        CHECK(usable <= most, "%zu bytes hold %zu", size, usable);
        free(block);
    }
}

/* A program with a block of each size does not touch a page for each: 20 without sharing. */
OURS(first_blocks_share_pages) {
    static const size_t sizes[] = {16,  32,  48,  64,  80,  96,  112, 128, 160, 192,
                                   224, 256, 320, 384, 448, 512, 640, 768, 896, 1024};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    uintptr_t pages[COUNT];
    unsigned found = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        uintptr_t page = (uintptr_t)malloc(sizes[i]) / (4 * KIB);
        unsigned known = 0;
        while (known < found && pages[known] != page) known++;
        if (known == found) pages[found++] = page;
    }
    CHECK(found <= 12, "%u pages", found);
}

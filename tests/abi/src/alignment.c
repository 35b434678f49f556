/* Alignment: 16 for every size of every entry, and what the aligned entries promise beyond. */
#include "entries.h"

static void check_aligned_block(const struct entry *each, size_t size) {
    unsigned char *block = (unsigned char *)each->allocate(size);
    CHECK(block != NULL, "%s(%zu) failed", each->name, size);
    CHECK(is_aligned(block, 16), "%s(%zu) gave %p", each->name, size, (void *)block);
    if (size > 0) block[0] = block[size - 1] = 1;
    free(block);
}

OURS(C05_every_entry_exists) {
    for (size_t i = 0; i < ENTRY_COUNT; i++)
        CHECK(entries[i].needs != NULL, "%s is missing", entries[i].name);
    CHECK(cfree != NULL && free_sized != NULL && free_aligned_sized != NULL, "sized frees");
    CHECK(__libc_free != NULL && alloc_free != NULL && alloc_usable_size != NULL, "frees");
}

CASE(C33_every_size_to_4096) {
    FOR_EACH_ENTRY(each) {
        for (size_t size = 0; size <= 4096; size++) check_aligned_block(each, size);
    }
}

CASE(C33_many_live_blocks_of_every_size) {
    static void *blocks[1025][4];
    FOR_EACH_ENTRY(each) {
        if (is_page_entry(each)) continue;
        for (int copy = 0; copy < 4; copy++) {
            for (size_t size = 0; size <= 1024; size++) {
                blocks[size][copy] = each->allocate(size);
                CHECK(is_aligned(blocks[size][copy], 16), "%s(%zu)", each->name, size);
                fill(blocks[size][copy], size, (unsigned)(size * 4 + (size_t)copy));
            }
        }
        for (size_t size = 0; size <= 1024; size++) {
            for (int copy = 0; copy < 4; copy++) {
                unsigned seed = (unsigned)(size * 4 + (size_t)copy);
                CHECK(intact(blocks[size][copy], size, seed) == size, "%s(%zu) overlaps",
                      each->name, size);
                free(blocks[size][copy]);
            }
        }
    }
}

CASE(C33_sweep_to_64_mib) {
    FOR_EACH_ENTRY(each) {
        for (size_t size = 4097; size <= 64 * MIB; size += size / 5 + 1) {
            check_aligned_block(each, size);
        }
        for (size_t power = 4096; power <= 64 * MIB; power *= 2) {
            for (size_t size = power - 1; size <= power + 1; size++)
                check_aligned_block(each, size);
        }
    }
}

static void check_alignment(size_t alignment, size_t size) {
    void *blocks[3] = {NULL, NULL, NULL};
    blocks[0] = memalign(alignment, size);
    blocks[1] = aligned_alloc(alignment, size);
    int status = posix_memalign(&blocks[2], alignment < 8 ? 8 : alignment, size);
    CHECK(status == 0, "posix_memalign(%zu, %zu) = %d", alignment, size, status);
    for (int i = 0; i < 3; i++) {
        CHECK(blocks[i] != NULL, "entry %d, alignment %zu, size %zu failed", i, alignment, size);
        CHECK(is_aligned(blocks[i], alignment) && is_aligned(blocks[i], 16),
              "entry %d, alignment %zu, size %zu gave %p", i, alignment, size, blocks[i]);
        CHECK(malloc_usable_size(blocks[i]) >= size, "entry %d, alignment %zu", i, alignment);
        stamp(blocks[i], size, (unsigned char)(i + 1));
    }
    for (int i = 0; i < 3; i++) {
        CHECK(stamped(blocks[i], size, (unsigned char)(i + 1)), "entry %d overlaps", i);
        free(blocks[i]);
    }
}

CASE(C33_alignments_to_1_gib) {
    for (size_t alignment = 1; alignment <= GIB; alignment *= 2) {
        const size_t sizes[] = {0, 1, 15, 17, 100, 1000, 5000, 40000, 300000, 3 * MIB, 33 * MIB};
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            check_alignment(alignment, sizes[i]);
        }
        if (alignment > 64 * MIB) continue;
        check_alignment(alignment, alignment);
        check_alignment(alignment, alignment - 1);
        check_alignment(alignment, alignment + 1);
    }
}

CASE(C33_many_live_aligned_blocks) {
    enum { COUNT = 200 };
    static void *blocks[COUNT];
    for (size_t alignment = 16; alignment <= MIB; alignment *= 2) {
        for (unsigned i = 0; i < COUNT; i++) {
            blocks[i] = aligned_alloc(alignment, 24 + i);
            CHECK(is_aligned(blocks[i], alignment), "block %u of %zu: %p", i, alignment, blocks[i]);
            fill(blocks[i], 24 + i, i);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            CHECK(intact(blocks[i], 24 + i, i) == 24 + i, "block %u of %zu", i, alignment);
            free(blocks[i]);
        }
    }
}

CASE(C33_posix_memalign_refuses_bad_alignments) {
    const size_t bad[] = {0, 1, 2, 3, 4, 7, 9, 12, 15, 17, 24, 48, 100, 4095, 4097,
                          SIZE_MAX, SIZE_MAX / 2, (size_t)PTRDIFF_MAX, SIZE_MAX - 15};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        void *block = (void *)0x5a5a;
        errno = 77;
        int status = posix_memalign(&block, bad[i], 100);
        CHECK(status == EINVAL, "alignment %zu gave %d", bad[i], status);
        CHECK(block == (void *)0x5a5a, "alignment %zu: the pointer was written", bad[i]);
        CHECK(errno == 77, "alignment %zu: errno became %d", bad[i], errno);
    }
}

/* glibc 2.36 rounds up here; C17 and glibc 2.38 say EINVAL. */
OURS(C33_aligned_alloc_refuses_bad_alignments) {
    const size_t bad[] = {0, 3, 5, 7, 9, 12, 15, 17, 24, 100, 4097, SIZE_MAX, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        errno = 0;
        CHECK(aligned_alloc(bad[i], 100) == NULL, "alignment %zu", bad[i]);
        CHECK(errno == EINVAL, "alignment %zu: errno %d", bad[i], errno);
        errno = 0;
        CHECK(alloc_aligned_alloc(bad[i], 100) == NULL, "alignment %zu", bad[i]);
        CHECK(errno == EINVAL, "alloc_aligned_alloc(%zu): errno %d", bad[i], errno);
    }
}

CASE(C33_memalign_rounds_up) {
    const size_t odd[] = {0, 1, 3, 7, 17, 24, 33, 48, 100, 1000, 4097, 70000, 3 * MIB};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        size_t rounded = 16;
        while (rounded < odd[i]) rounded *= 2;
        void *block = memalign(odd[i], 100);
        CHECK(block != NULL && is_aligned(block, rounded), "memalign(%zu) gave %p", odd[i], block);
        free(block);
    }
}

CASE(C33_memalign_refuses_what_cannot_be_rounded) {
    errno = 0;
    CHECK(memalign(SIZE_MAX / 2 + 2, 100) == NULL, "alignment over half of the address space");
    CHECK(errno == EINVAL, "errno %d", errno);
}

CASE(C33_valloc_and_pvalloc_are_page_aligned) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t sizes[] = {0, 1, page - 1, page, page + 1, 100000, 40 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *block = valloc(sizes[i]);
        void *rounded = pvalloc(sizes[i]);
        CHECK(block != NULL && is_aligned(block, page), "valloc(%zu) gave %p", sizes[i], block);
        CHECK(rounded != NULL && is_aligned(rounded, page), "pvalloc(%zu)", sizes[i]);
        size_t whole = (sizes[i] + page - 1) / page * page;
        CHECK(malloc_usable_size(rounded) >= whole, "pvalloc(%zu) is no whole page", sizes[i]);
        stamp(rounded, whole, 9);
        free(block);
        free(rounded);
    }
}

CASE(C34_zero_bytes_give_unique_pointers) {
    enum { COUNT = 500 };
    static void *blocks[COUNT * ENTRY_COUNT];
    size_t count = 0;
    FOR_EACH_ENTRY(each) {
        for (int i = 0; i < COUNT; i++) {
            void *block = each->allocate(0);
            CHECK(block != NULL, "%s(0)", each->name);
            CHECK(is_aligned(block, 16), "%s(0) gave %p", each->name, block);
            blocks[count++] = block;
            if (is_page_entry(each) && i == 20) break;
        }
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            CHECK(blocks[i] != blocks[j], "%p was given twice", blocks[i]);
    for (size_t i = 0; i < count; i++) free(blocks[i]);
}

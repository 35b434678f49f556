/* Requests that cannot be met: NULL, errno ENOMEM, and nothing else changed. */
#include "entries.h"

static const size_t impossible[] = {
    (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX + 4096, SIZE_MAX - 4096, SIZE_MAX - 4095,
    SIZE_MAX - 64,           SIZE_MAX - 16,              SIZE_MAX - 15,   SIZE_MAX - 1,
    SIZE_MAX,                (size_t)PTRDIFF_MAX,        (size_t)PTRDIFF_MAX - 4096,
};
#define IMPOSSIBLE_COUNT (sizeof impossible / sizeof impossible[0])

#define EXPECT_ENOMEM(call)                                                                        \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((call) == NULL, "it succeeded");                                                     \
        CHECK(errno == ENOMEM, #call ": errno is %d", errno);                                      \
    } while (0)

CASE(C34_every_entry_refuses_huge_sizes) {
    FOR_EACH_ENTRY(each) {
        for (size_t i = 0; i < IMPOSSIBLE_COUNT; i++) {
            errno = 0;
            void *block = each->allocate(impossible[i]);
            CHECK(block == NULL, "%s(%zu) gave %p", each->name, impossible[i], block);
            CHECK(errno == ENOMEM, "%s(%zu): errno is %d", each->name, impossible[i], errno);
        }
    }
}

CASE(C34_calloc_products) {
    EXPECT_ENOMEM(calloc(SIZE_MAX, 2));
    EXPECT_ENOMEM(calloc(2, SIZE_MAX));
    EXPECT_ENOMEM(calloc(SIZE_MAX / 2 + 1, 2));
    EXPECT_ENOMEM(calloc(((size_t)1 << 32) + 1, (size_t)1 << 32));
    EXPECT_ENOMEM(calloc((size_t)1 << 32, (size_t)1 << 32));
    EXPECT_ENOMEM(calloc(SIZE_MAX / 16 + 1, 16));
    EXPECT_ENOMEM(calloc((size_t)1 << 62, 2));
}

CASE(C34_reallocarray_keeps_the_block) {
    char *block = (char *)malloc(100);
    fill(block, 100, 3);
    EXPECT_ENOMEM(reallocarray(block, SIZE_MAX, 2));
    EXPECT_ENOMEM(reallocarray(block, 2, SIZE_MAX));
    EXPECT_ENOMEM(reallocarray(block, ((size_t)1 << 32) + 1, (size_t)1 << 32));
    EXPECT_ENOMEM(reallocarray(NULL, SIZE_MAX / 2 + 1, 2));
    CHECK(intact(block, 100, 3) == 100, "the block changed");
    block = (char *)reallocarray(block, 10, 100);
    CHECK(block != NULL && intact(block, 100, 3) == 100, "the block is lost");
    free(block);
}

CASE(C34_realloc_keeps_the_block) {
    const size_t sizes[] = {1, 100, 5000, 100000, 3 * MIB, 40 * MIB};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        char *block = (char *)malloc(sizes[s]);
        fill(block, sizes[s], (unsigned)s);
        for (size_t i = 0; i < IMPOSSIBLE_COUNT; i++) {
            errno = 0;
            CHECK(realloc(block, impossible[i]) == NULL, "realloc to %zu", impossible[i]);
            CHECK(errno == ENOMEM, "realloc to %zu: errno is %d", impossible[i], errno);
        }
        CHECK(intact(block, sizes[s], (unsigned)s) == sizes[s], "%zu bytes changed", sizes[s]);
        free(block);
    }
}

CASE(C33_aligned_entries) {
    for (size_t alignment = 16; alignment <= (size_t)1 << 62; alignment *= 2) {
        for (size_t i = 0; i < IMPOSSIBLE_COUNT; i++) {
            void *block = (void *)0x5a5a;
            EXPECT_ENOMEM(memalign(alignment, impossible[i]));
            EXPECT_ENOMEM(aligned_alloc(alignment, impossible[i]));
            errno = 55;
            int status = posix_memalign(&block, alignment, impossible[i]);
            CHECK(status == ENOMEM, "posix_memalign(%zu) = %d", alignment, status);
            CHECK(block == (void *)0x5a5a, "the pointer was written");
        }
    }
}

/* The standard says nothing of errno here; glibc sets it with ENOMEM, and keeps it with EINVAL. */
static void check_posix_memalign(int (*entry)(void **, size_t, size_t), const char *name) {
    for (size_t alignment = 8; alignment <= (size_t)1 << 30; alignment *= 2) {
        void *block = (void *)0x5a5a;
        for (size_t i = 0; i < IMPOSSIBLE_COUNT; i++) {
            errno = 55;
            int status = entry(&block, alignment, impossible[i]);
            CHECK(status == ENOMEM, "%s(%zu, %zu) = %d", name, alignment, impossible[i], status);
            CHECK(errno == ENOMEM, "%s(%zu, %zu): errno is %d", name, alignment, impossible[i],
                  errno);
        }
        errno = 55;
        CHECK(entry(&block, alignment + 1, 16) == EINVAL, "%s(%zu)", name, alignment + 1);
        CHECK(entry(&block, sizeof(void *) / 2, 16) == EINVAL, "%s(4)", name);
        CHECK(errno == 55, "%s: errno is %d after EINVAL", name, errno);
        CHECK(block == (void *)0x5a5a, "%s wrote the pointer", name);
    }
}

CASE(C14_posix_memalign_sets_errno) {
    check_posix_memalign(posix_memalign, "posix_memalign");
    if (__posix_memalign != NULL) check_posix_memalign(__posix_memalign, "__posix_memalign");
}

/* The sum of alignment and size wraps, or is just below the wrap. */
CASE(C33_huge_alignment_and_huge_size) {
    const size_t large = (size_t)1 << 62;
    void *block = NULL;
    for (size_t shift = 40; shift <= 62; shift++) {
        size_t alignment = (size_t)1 << shift;
        EXPECT_ENOMEM(memalign(alignment, SIZE_MAX - alignment));
        EXPECT_ENOMEM(memalign(alignment, SIZE_MAX - alignment + 1));
        EXPECT_ENOMEM(memalign(alignment, SIZE_MAX - alignment - 4096));
        EXPECT_ENOMEM(aligned_alloc(alignment, (size_t)PTRDIFF_MAX - 1));
    }
    EXPECT_ENOMEM(memalign(large, 1));
    EXPECT_ENOMEM(aligned_alloc(large, large));
    CHECK(posix_memalign(&block, large, large) == ENOMEM, "posix_memalign");
    CHECK(posix_memalign(&block, large * 2, 16) == ENOMEM, "posix_memalign of 2^63");
}

CASE(C34_page_entries) {
    EXPECT_ENOMEM(valloc((size_t)-1));
    EXPECT_ENOMEM(pvalloc((size_t)-1));
    EXPECT_ENOMEM(pvalloc((size_t)-4095));
    EXPECT_ENOMEM(pvalloc((size_t)-4096));
}

OURS(C34_prefixed_entries) {
    EXPECT_ENOMEM(alloc_calloc(SIZE_MAX, 2));
    EXPECT_ENOMEM(alloc_calloc(((size_t)1 << 32) + 1, (size_t)1 << 32));
    EXPECT_ENOMEM(alloc_aligned_alloc((size_t)1 << 62, (size_t)1 << 62));
    void *block = alloc_malloc(100);
    EXPECT_ENOMEM(alloc_realloc(block, SIZE_MAX));
    alloc_free(block);
}

/* After all those refusals the heap still works. */
CASE(C34_works_afterwards) {
    for (int turn = 0; turn < 1000; turn++) {
        CHECK(malloc(SIZE_MAX - (size_t)turn) == NULL, "turn %d", turn);
        char *block = (char *)malloc(1000);
        CHECK(block != NULL, "turn %d", turn);
        memset(block, turn, 1000);
        free(block);
    }
}

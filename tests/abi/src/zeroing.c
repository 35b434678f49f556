/* calloc gives zeroes, whatever the memory was before. */
#include <pthread.h>

#include "entries.h"

static void check_zero(const char *what, void *block, size_t size) {
    CHECK(block != NULL, "%s: %zu bytes", what, size);
    size_t clean = zeroes(block, size);
    CHECK(clean == size, "%s: byte %zu of %zu is not zero", what, clean, size);
}

/* Dirties `count` blocks to their last usable byte, frees them, and asks for as many again. */
static void recycle(size_t size, int count) {
    void *blocks[64];
    for (int i = 0; i < count; i++) {
        blocks[i] = malloc(size);
        CHECK(blocks[i] != NULL, "%zu bytes", size);
        memset(blocks[i], 0xa5, malloc_usable_size(blocks[i]));
    }
    for (int i = 0; i < count; i++) free(blocks[i]);
    for (int i = 0; i < count; i++) {
        blocks[i] = i % 2 ? calloc(1, size) : calloc(size, 1);
        check_zero("after free", blocks[i], size);
        memset(blocks[i], 0x5a, size);
    }
    for (int i = 0; i < count; i++) free(blocks[i]);
}

CASE(C36_every_size_to_1024) {
    for (size_t size = 1; size <= 1024; size++) recycle(size, 32);
}

CASE(C36_sizes_to_64_kib) {
    for (size_t size = 1024; size <= 64 * KIB; size += 48) recycle(size, 4);
}

CASE(C36_large_sizes) {
    for (size_t size = 64 * KIB; size <= 80 * MIB; size += size / 3 + 4321) recycle(size, 2);
}

/* Slabs that were of one class, emptied, and given to another: nothing may shine through. */
CASE(C36_memory_of_another_class) {
    enum { COUNT = 4000 };
    static void *blocks[COUNT];
    const size_t sizes[] = {16, 48, 112, 320, 1000, 3000, 9000, 24, 640, 20000, 40000, 200};
    for (size_t turn = 0; turn < sizeof sizes / sizeof sizes[0]; turn++) {
        size_t count = 4 * MIB / sizes[turn];
        if (count > COUNT) count = COUNT;
        for (size_t i = 0; i < count; i++) {
            blocks[i] = calloc(1, sizes[turn]);
            check_zero("other class", blocks[i], sizes[turn]);
            memset(blocks[i], 0xff, malloc_usable_size(blocks[i]));
        }
        for (size_t i = 0; i < count; i++) free(blocks[i]);
    }
}

CASE(C36_after_trim) {
    enum { COUNT = 600 };
    static void *blocks[COUNT];
    for (int turn = 0; turn < 6; turn++) {
        size_t size = (size_t)5000 << turn;
        for (int i = 0; i < COUNT >> turn; i++) {
            blocks[i] = malloc(size);
            memset(blocks[i], 0xcc, size);
        }
        for (int i = 0; i < COUNT >> turn; i += 1 + turn % 2) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
        malloc_trim(0);
        for (int i = 0; i < COUNT >> turn; i++) {
            void *block = calloc(1, size);
            check_zero("after malloc_trim", block, size);
            memset(block, 0xdd, size);
            free(blocks[i]);
            blocks[i] = block;
        }
        for (int i = 0; i < COUNT >> turn; i++) free(blocks[i]);
    }
}

static void *free_them(void *argument) {
    void **blocks = (void **)argument;
    for (int i = 0; blocks[i] != NULL; i++) free(blocks[i]);
    return NULL;
}

CASE(C36_after_frees_by_another_thread) {
    static void *blocks[2001];
    for (int turn = 0; turn < 20; turn++) {
        size_t size = 16 + (size_t)(turn * turn) * 90;
        for (int i = 0; i < 2000; i++) {
            blocks[i] = malloc(size);
            memset(blocks[i], 0xee, size);
        }
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, free_them, blocks) == 0, "thread");
        pthread_join(thread, NULL);
        for (int i = 0; i < 2000; i++) {
            blocks[i] = calloc(1, size);
            check_zero("after remote frees", blocks[i], size);
        }
        free_them(blocks);
    }
}

CASE(C36_odd_products) {
    for (size_t count = 1; count <= 300; count += 7) {
        for (size_t size = 1; size <= 300; size += 11) {
            unsigned char *block = (unsigned char *)calloc(count, size);
            check_zero("product", block, count * size);
            CHECK(malloc_usable_size(block) >= count * size, "%zu x %zu", count, size);
            memset(block, 0x77, count * size);
            free(block);
        }
    }
    free(calloc(0, 5));
    free(calloc(5, 0));
}

/* A block that grew with mremap or in place is not asked to be zero; its calloc'ed part stays. */
CASE(C36_grown_by_realloc_keeps_its_zeroes) {
    for (size_t size = 16; size <= 8 * MIB; size *= 2) {
        void *block = calloc(1, size);
        block = realloc(block, size * 3);
        check_zero("grown", block, size);
        memset(block, 0x99, size * 3);
        free(block);
    }
}

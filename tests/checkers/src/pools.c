/* One error a case on objects of pools and arenas, and traffic without any, as errors.c. */
#include "alloc.h"
#include "hft_alloc.h"

#include "../../abi/src/check.h"

enum { COUNT = 200 };

static volatile char seen;

static alloc_pool_t *make(size_t size, size_t alignment, unsigned flags, int policy) {
    alloc_pool_options_t options = {
        .object_size = size, .capacity = COUNT, .alignment = alignment, .policy = policy,
        .flags = flags};
    alloc_pool_t *pool = alloc_pool_create(&options, sizeof options);
    CHECK(pool != NULL, "pool");
    return pool;
}

static void clean_pool(size_t size, size_t alignment, unsigned flags, int policy) {
    char *objects[COUNT * 2];
    alloc_pool_t *pool = make(size, alignment, flags, policy);
    int count = policy == ALLOC_POOL_FAIL ? COUNT : 2 * COUNT;
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < count; i++) {
            objects[i] = alloc_pool_alloc(pool);
            CHECK(objects[i] != NULL, "object %d", i);
            memset(objects[i], i, size);
        }
        CHECK(policy != ALLOC_POOL_FAIL || alloc_pool_alloc(pool) == NULL, "one too many");
        CHECK(alloc_pool_check(pool) == 0, "check");
        for (int i = turn; i < count; i++) alloc_pool_free(pool, objects[i]);
    }
    CHECK(alloc_pool_destroy(pool) == 1, "live");
}

static void clean_shared(size_t size) {
    char *objects[COUNT];
    alloc_pool_options_t options = {.object_size = size, .capacity = COUNT};
    alloc_shared_pool_t *pool = alloc_shared_pool_create(&options, sizeof options);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < COUNT; i++) {
            objects[i] = alloc_shared_pool_alloc(pool);
            CHECK(objects[i] != NULL, "object %d", i);
            memset(objects[i], i, size);
        }
        CHECK(alloc_shared_pool_alloc(pool) == NULL, "one too many");
        for (int i = turn; i < COUNT; i++) alloc_shared_pool_free(pool, objects[i]);
    }
    CHECK(alloc_shared_pool_destroy(pool) == 1, "live");
}

static void clean_arena(unsigned flags) {
    alloc_arena_t *arena = alloc_arena_create(100000, flags);
    for (int turn = 0; turn < 3; turn++) {
        alloc_arena_checkpoint_t moment = alloc_arena_checkpoint(arena);
        for (int part = 0; part < 2; part++) {
            for (int i = 0; i < COUNT; i++) {
                size_t size = (size_t)(1 + i * (flags & ALLOC_FIXED ? 1 : 10));
                size_t alignment = (size_t)1 << (i % 9);
                char *object = i % 2 ? alloc_arena_alloc(arena, size)
                                     : alloc_arena_alloc_aligned(arena, size, alignment);
                CHECK(object != NULL, "object %d of %zu bytes", i, size);
                memset(object, i, size);
            }
            CHECK(alloc_arena_rewind(arena, moment) == 0, "rewind");
        }
        alloc_arena_alloc(arena, 17);
        if (turn == 1) alloc_arena_reset(arena);
        alloc_arena_trim(arena);
    }
    CHECK(alloc_arena_destroy(arena) == 1, "objects");
}

/* A checkpoint in a chunk that is gone is refused without a look at it, also when the arena has
 * forgotten the rewind that undid it. */
static void stale_checkpoint(void) {
    alloc_arena_t *arena = alloc_arena_create(64, 0);
    alloc_arena_checkpoint_t start = alloc_arena_checkpoint(arena);
    alloc_arena_alloc(arena, 64);
    alloc_arena_alloc(arena, 500);
    alloc_arena_checkpoint_t second = alloc_arena_checkpoint(arena);
    CHECK(alloc_arena_rewind(arena, start) == 0 && alloc_arena_trim(arena) > 0, "trim");
    for (int i = 0; i < 100; i++) {
        alloc_arena_alloc(arena, 5000);
        alloc_arena_checkpoint_t here = alloc_arena_checkpoint(arena);
        alloc_arena_alloc(arena, 5000);
        CHECK(alloc_arena_rewind(arena, here) == 0, "back to here");
    }
    CHECK(alloc_arena_rewind(arena, second) == -1, "a chunk that is gone");
    alloc_arena_destroy(arena);
}

OURS(clean) {
    stale_checkpoint();
    const unsigned flags[] = {0, ALLOC_PREFAULT, ALLOC_HUGE_PAGES, ALLOC_DEBUG};
    for (int i = 0; i < 4; i++) {
        for (int policy = ALLOC_POOL_FAIL; policy <= ALLOC_POOL_FALL_BACK; policy++) {
            clean_pool(13, 0, flags[i], policy);
            clean_pool(64, 64, flags[i], policy);
        }
        clean_arena(i == 3 ? ALLOC_FIXED : flags[i]);
    }
    clean_shared(13);
    clean_shared(64);
}

/* Pools and arenas end properly: the error is the only one. */
static void end_pool(alloc_pool_t *pool, char *object) {
    alloc_pool_free(pool, object);
    CHECK(alloc_pool_destroy(pool) < COUNT + 1, "live");
}

OURS(overflow_of_pool) {
    alloc_pool_t *pool = make(13, 0, 0, ALLOC_POOL_FAIL);
    char *object = alloc_pool_alloc(pool);
    object[13] = 1;
    end_pool(pool, object);
}

OURS(overflow_of_mapped_pool) {
    alloc_pool_t *pool = make(64, 0, ALLOC_HUGE_PAGES, ALLOC_POOL_FAIL);
    char *object = alloc_pool_alloc(pool);
    seen = object[64];
    end_pool(pool, object);
}

OURS(underflow_of_pool) {
    alloc_pool_t *pool = make(64, 0, 0, ALLOC_POOL_FAIL);
    char *object = alloc_pool_alloc(pool);
    object[-1] = 1;
    end_pool(pool, object);
}

OURS(use_after_pool_free) {
    alloc_pool_t *pool = make(13, 0, 0, ALLOC_POOL_FAIL);
    char *object = alloc_pool_alloc(pool);
    alloc_pool_free(pool, object);
    object[2] = 1;
    alloc_pool_destroy(pool);
}

OURS(overflow_of_fallback) {
    alloc_pool_t *pool = make(13, 0, 0, ALLOC_POOL_FALL_BACK);
    for (int i = 0; i < COUNT; i++) alloc_pool_alloc(pool);
    char *object = alloc_pool_alloc(pool);
    object[13] = 1;
    end_pool(pool, object);
}

OURS(overflow_of_shared_pool) {
    alloc_pool_options_t options = {.object_size = 24, .capacity = 10};
    alloc_shared_pool_t *pool = alloc_shared_pool_create(&options, sizeof options);
    char *object = alloc_shared_pool_alloc(pool);
    object[24] = 1;
    alloc_shared_pool_destroy(pool);
}

OURS(use_after_shared_pool_free) {
    alloc_pool_options_t options = {.object_size = 24, .capacity = 10};
    alloc_shared_pool_t *pool = alloc_shared_pool_create(&options, sizeof options);
    char *object = alloc_shared_pool_alloc(pool);
    alloc_shared_pool_free(pool, object);
    object[0] = 1;
    alloc_shared_pool_destroy(pool);
}

/* Classes of 64, 512 and 16 bytes. */
OURS(overflow_of_router) {
    char *block = hft_alloc(40);
    block[40] = 1;
    hft_free(block);
}

OURS(overflow_of_medium_in_router) {
    char *block = hft_alloc(300);
    seen = block[300];
    hft_free(block);
}

OURS(overflow_of_prepared_router) {
    hft_thread_init();
    char *block = hft_alloc(13);
    block[13] = 1;
    hft_free(block);
}

OURS(overflow_of_arena) {
    alloc_arena_t *arena = alloc_arena_create(1000, 0);
    char *object = alloc_arena_alloc(arena, 13);
    object[13] = 1;
    alloc_arena_destroy(arena);
}

OURS(overflow_of_aligned_in_arena) {
    alloc_arena_t *arena = alloc_arena_create(1000, 0);
    alloc_arena_alloc(arena, 1);
    char *object = alloc_arena_alloc_aligned(arena, 64, 64);
    seen = object[64];
    alloc_arena_destroy(arena);
}

OURS(use_after_arena_reset) {
    alloc_arena_t *arena = alloc_arena_create(1000, 0);
    char *object = alloc_arena_alloc(arena, 13);
    alloc_arena_reset(arena);
    object[2] = 1;
    alloc_arena_destroy(arena);
}

OURS(use_after_arena_rewind) {
    alloc_arena_t *arena = alloc_arena_create(1000, 0);
    char *kept = alloc_arena_alloc(arena, 13);
    alloc_arena_checkpoint_t moment = alloc_arena_checkpoint(arena);
    char *object = alloc_arena_alloc(arena, 5000);
    alloc_arena_rewind(arena, moment);
    kept[12] = 1;
    object[4999] = 1;
    alloc_arena_destroy(arena);
}

/* Misuse of debug pools, a case each. Before the misuse happens a case writes the line that the
 * library must report. */
#include <inttypes.h>

#include "alloc.h"
#include "check.h"
#include "hft_alloc.h"

enum { SIZE = 24, COUNT = 10 };

static hft_pool_t *pool;
static char *object;

static void expect(const char *function, const void *at, const char *words) {
    printf("liballoc: %s(0x%" PRIxPTR "): %s\n", function, (uintptr_t)at, words);
    fflush(stdout);
}

static void prepare(void) {
    pool = hft_pool_create_debug(SIZE, COUNT);
    object = hft_pool_alloc_debug(pool, "a.c", 5);
    CHECK(object != NULL, "no object");
    memset(object, 1, SIZE);
}

OURS(double_free) {
    prepare();
    hft_pool_free_debug(pool, object, "b.c", 10);
    hft_pool_free(pool, hft_pool_alloc_debug(pool, "a.c", 6));
    hft_pool_free_debug(pool, hft_pool_alloc_debug(pool, "a.c", 7), "b.c", 11);
    expect("pool_free", object, "double free at b.c:12, freed at b.c:11, allocated at a.c:7");
    hft_pool_free_debug(pool, object, "b.c", 12);
}

OURS(double_free_with_others_between) {
    prepare();
    char *other = hft_pool_alloc_debug(pool, "a.c", 6);
    hft_pool_free_debug(pool, object, "b.c", 10);
    hft_pool_free_debug(pool, other, "b.c", 11);
    expect("pool_free", object, "double free at b.c:12, freed at b.c:10, allocated at a.c:5");
    hft_pool_free_debug(pool, object, "b.c", 12);
}

OURS(double_free_by_the_macros) {
    pool = hft_pool_create_debug(SIZE, COUNT);
#line 100 "macros.c"
    object = pool_alloc(pool);
    pool_free(pool, object);
    expect("pool_free", object,
           "double free at macros.c:104, freed at macros.c:101, allocated at macros.c:100");
    pool_free(pool, object);
}

OURS(double_free_at_unknown_places) {
    pool = hft_pool_create_debug(SIZE, COUNT);
    object = hft_pool_alloc(pool);
    hft_pool_free(pool, object);
    expect("pool_free", object, "double free");
    hft_pool_free(pool, object);
}

OURS(overflow) {
    prepare();
    object[SIZE] = 1;
    expect("pool_free", object, "overflow at b.c:12, allocated at a.c:5");
    hft_pool_free_debug(pool, object, "b.c", 12);
}

OURS(overflow_found_by_check) {
    prepare();
    object[SIZE + 7] = 1;
    expect("pool_check", object, "overflow, allocated at a.c:5");
    CHECK(hft_pool_check(pool) == -1, "not found");
    abort();
}

OURS(underflow) {
    prepare();
    object[-1] = 1;
    expect("pool_free", object, "underflow at b.c:12, allocated at a.c:5");
    hft_pool_free_debug(pool, object, "b.c", 12);
}

OURS(written_after_free) {
    prepare();
    hft_pool_free_debug(pool, object, "b.c", 10);
    object[SIZE - 1] = 1;
    expect("pool_alloc", object,
           "written after free, found at a.c:6, freed at b.c:10, allocated at a.c:5");
    hft_pool_alloc_debug(pool, "a.c", 6);
}

OURS(written_after_free_found_by_check) {
    prepare();
    hft_pool_free_debug(pool, object, "b.c", 10);
    object[0] = 1;
    expect("pool_check", object, "written after free, freed at b.c:10, allocated at a.c:5");
    CHECK(hft_pool_check(pool) == -1, "not found");
    abort();
}

OURS(foreign_stack) {
    prepare();
    static char other[64] __attribute__((aligned(16)));
    expect("pool_free", other, "foreign pointer at b.c:12");
    hft_pool_free_debug(pool, other, "b.c", 12);
}

OURS(foreign_heap) {
    prepare();
    char *block = malloc(SIZE);
    expect("pool_free", block, "foreign pointer at b.c:12");
    hft_pool_free_debug(pool, block, "b.c", 12);
}

OURS(object_of_another_pool) {
    prepare();
    char *other = hft_pool_alloc_debug(hft_pool_create_debug(SIZE, COUNT), "a.c", 6);
    expect("pool_free", other, "foreign pointer at b.c:12");
    hft_pool_free_debug(pool, other, "b.c", 12);
}

OURS(misaligned) {
    prepare();
    expect("pool_free", object + 1, "misaligned pointer at b.c:12, allocated at a.c:5");
    hft_pool_free_debug(pool, object + 1, "b.c", 12);
}

OURS(interior) {
    prepare();
    expect("pool_free", object + 16, "interior pointer at b.c:12, allocated at a.c:5");
    hft_pool_free_debug(pool, object + 16, "b.c", 12);
}

OURS(never_allocated) {
    prepare();
    char *next = hft_pool_alloc(pool);
    char *never = next + (next - object);
    expect("pool_free", never, "never allocated at b.c:12");
    hft_pool_free_debug(pool, never, "b.c", 12);
}

/* What came from the general heap has guards too. */
OURS(overflow_of_fallback) {
    alloc_pool_options_t options = {.object_size = SIZE,
                                    .capacity = 1,
                                    .policy = ALLOC_POOL_FALL_BACK,
                                    .flags = ALLOC_DEBUG};
    alloc_pool_t *falls_back = alloc_pool_create(&options, sizeof options);
    alloc_pool_alloc(falls_back);
    object = alloc_pool_alloc_at(falls_back, "a.c", 5);
    object[SIZE] = 1;
    expect("pool_free", object, "overflow at b.c:12, allocated at a.c:5");
    alloc_pool_free_at(falls_back, object, "b.c", 12);
}

OURS(overflow_of_fallback_found_by_check) {
    alloc_pool_options_t options = {.object_size = SIZE,
                                    .capacity = 1,
                                    .policy = ALLOC_POOL_FALL_BACK,
                                    .flags = ALLOC_DEBUG};
    alloc_pool_t *falls_back = alloc_pool_create(&options, sizeof options);
    alloc_pool_alloc(falls_back);
    object = alloc_pool_alloc_at(falls_back, "a.c", 5);
    CHECK(alloc_pool_check(falls_back) == 0, "nothing is wrong yet");
    object[SIZE] = 1;
    expect("pool_check", object, "overflow, allocated at a.c:5");
    CHECK(alloc_pool_check(falls_back) == -1, "not found");
    abort();
}

/* Also level 0 sees these, for what they cost nothing. */
static alloc_pool_t *plain(void) {
    alloc_pool_options_t options = {.object_size = SIZE, .capacity = COUNT};
    pool = alloc_pool_create(&options, sizeof options);
    object = alloc_pool_alloc(pool);
    return pool;
}

OURS(foreign_to_a_plain_pool) {
    plain();
    expect("pool_free", (void *)16, "foreign pointer");
    alloc_pool_free(pool, (void *)16);
}

OURS(misaligned_of_a_plain_pool_that_falls_back) {
    alloc_pool_options_t options = {
        .object_size = SIZE, .capacity = 1, .policy = ALLOC_POOL_FALL_BACK};
    pool = alloc_pool_create(&options, sizeof options);
    object = alloc_pool_alloc(pool);
    CHECK(alloc_pool_alloc(pool) != NULL, "from the heap");
    expect("pool_free", object + 8, "misaligned pointer");
    alloc_pool_free(pool, object + 8);
}

OURS(foreign_to_a_shared_pool) {
    alloc_pool_options_t options = {.object_size = SIZE, .capacity = COUNT};
    alloc_shared_pool_t *shared = alloc_shared_pool_create(&options, sizeof options);
    object = alloc_shared_pool_alloc(shared);
    expect("shared_pool_free", object + 16, "interior pointer");
    alloc_shared_pool_free(shared, object + 16);
}

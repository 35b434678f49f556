/* Misuse of shared pools that the debug library alone sees, a case each, as in pools.c. */
#include <inttypes.h>

#include "alloc.h"
#include "check.h"

enum { SIZE = 64, COUNT = 100 };

static alloc_shared_pool_t *pool;
static char *object;

static void prepare(void) {
    alloc_pool_options_t options = {.object_size = SIZE, .capacity = COUNT};
    pool = alloc_shared_pool_create(&options, sizeof options);
    object = alloc_shared_pool_alloc(pool);
    CHECK(object != NULL, "no object");
    memset(object, 1, SIZE);
}

static void expect(const char *at) {
    printf("liballoc: shared_pool_free(0x%" PRIxPTR "): double free, or never allocated\n",
           (uintptr_t)at);
    fflush(stdout);
}

OURS(double_free) {
    prepare();
    alloc_shared_pool_free(pool, object);
    expect(object);
    alloc_shared_pool_free(pool, object);
}

OURS(double_free_with_others_between) {
    prepare();
    char *other = alloc_shared_pool_alloc(pool);
    alloc_shared_pool_free(pool, object);
    alloc_shared_pool_free(pool, other);
    memset(object, 0xff, SIZE);
    expect(object);
    alloc_shared_pool_free(pool, object);
}

OURS(never_allocated) {
    prepare();
    char *last = object + (COUNT - 1) * SIZE;
    expect(last);
    alloc_shared_pool_free(pool, last);
}

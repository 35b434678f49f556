/* errno: success leaves it alone, free never touches it. */
#include <pthread.h>

#include "entries.h"

static const size_t sizes[] = {0,         1,          100,      1024,     1025,    5000,
                               33000,     70000,      300000,   3 * MIB,  31 * MIB, 33 * MIB,
                               100 * MIB, 300 * MIB};
#define SIZE_COUNT (sizeof sizes / sizeof sizes[0])

static void check_entries(const char *when) {
    FOR_EACH_ENTRY(each) {
        for (size_t i = 0; i < SIZE_COUNT; i++) {
            errno = 4321;
            void *block = each->allocate(sizes[i]);
            CHECK(block != NULL && errno == 4321, "%s: %s(%zu): errno is %d", when, each->name,
                  sizes[i], errno);
            stamp(block, sizes[i] < MIB ? sizes[i] : MIB, 1);
            free(block);
            CHECK(errno == 4321, "%s: free of %s(%zu): errno is %d", when, each->name, sizes[i],
                  errno);
        }
    }
}

static int constructor_errno = -1;

static void __attribute__((constructor)) first_call_of_the_process(void) {
    errno = 4321;
    free(malloc(100));
    constructor_errno = errno;
}

CASE(C14_first_call) { CHECK(constructor_errno == 4321, "errno was %d", constructor_errno); }

CASE(C14_every_entry) { check_entries("main"); }

static void *first_call_of_a_thread(void *unused) {
    (void)unused;
    errno = 4321;
    void *block = malloc(64);
    CHECK(errno == 4321, "errno is %d", errno);
    free(block);
    CHECK(errno == 4321, "errno is %d", errno);
    check_entries("thread");
    return NULL;
}

CASE(C14_first_call_in_a_thread) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, first_call_of_a_thread, NULL) == 0, "thread");
    pthread_join(thread, NULL);
}

CASE(C14_realloc_of_every_kind) {
    for (size_t from = 0; from < SIZE_COUNT; from++) {
        for (size_t to = 1; to < SIZE_COUNT; to++) {
            void *block = malloc(sizes[from]);
            errno = 4321;
            block = realloc(block, sizes[to]);
            CHECK(block != NULL && errno == 4321, "%zu to %zu: errno is %d", sizes[from],
                  sizes[to], errno);
            free(block);
            CHECK(errno == 4321, "free: errno is %d", errno);
        }
    }
}

CASE(C14_free_of_null) {
    errno = 4321;
    free(NULL);
    CHECK(errno == 4321, "errno is %d", errno);
    CHECK(malloc_usable_size(NULL) == 0 && errno == 4321, "errno is %d", errno);
    CHECK(realloc(malloc(10), 0) == NULL && errno == 4321, "errno is %d", errno);
}

/* Many blocks at once: refills, flushes, fresh slabs and their release. */
CASE(C14_many_blocks) {
    enum { COUNT = 100000 };
    static void *blocks[COUNT];
    for (int turn = 0; turn < 3; turn++) {
        errno = 4321;
        for (size_t i = 0; i < COUNT; i++) blocks[i] = malloc(16 + (i * 37) % 700);
        CHECK(errno == 4321, "malloc: errno is %d", errno);
        for (size_t i = 0; i < COUNT; i++) free(blocks[i]);
        CHECK(errno == 4321, "free: errno is %d", errno);
        malloc_trim(0);
        CHECK(errno == 4321, "malloc_trim: errno is %d", errno);
    }
}

/* A failure sets it, the success after that does not clear it. */
CASE(C14_failure_stays_visible) {
    errno = 0;
    CHECK(malloc(SIZE_MAX) == NULL && errno == ENOMEM, "errno is %d", errno);
    void *block = malloc(100);
    free(block);
    CHECK(errno == ENOMEM, "errno is %d", errno);
}

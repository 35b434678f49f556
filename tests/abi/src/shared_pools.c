/* Pools that threads share: capacity, statistics, bad options, and threads that hammer one with
 * every object's contents verified. */
#include "alloc.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/wait.h>

#include "memory.h"

#pragma weak alloc_shared_pool_create
#pragma weak alloc_shared_pool_alloc
#pragma weak alloc_shared_pool_free
#pragma weak alloc_shared_pool_destroy
#pragma weak alloc_shared_pool_stats

/* A linker leaves out a library of which only weak names are wanted. */
void *(*volatile strong_name)(size_t) = malloc;

static alloc_shared_pool_t *make(size_t size, size_t capacity, unsigned flags) {
    alloc_pool_options_t options = {.object_size = size, .capacity = capacity, .flags = flags};
    alloc_shared_pool_t *pool = alloc_shared_pool_create(&options, sizeof options);
    CHECK(pool != NULL, "create: %d", errno);
    return pool;
}

static alloc_pool_stats_t stats(alloc_shared_pool_t *pool) {
    alloc_pool_stats_t now;
    CHECK(alloc_shared_pool_stats(pool, &now, sizeof now) == 0, "stats");
    return now;
}

OURS(exactly_the_capacity) {
    static void *objects[1000];
    for (size_t capacity = 1; capacity <= 1000; capacity = capacity * 2 + 1) {
        for (size_t size = 1; size <= 300; size = size * 2 + 1) {
            alloc_shared_pool_t *pool = make(size, capacity, size % 2 ? ALLOC_PREFAULT : 0);
            for (size_t i = 0; i < capacity; i++) {
                objects[i] = alloc_shared_pool_alloc(pool);
                CHECK(objects[i] != NULL && is_aligned(objects[i], 16), "object %zu", i);
                fill(objects[i], size, (unsigned)i);
            }
            errno = 0;
            CHECK(alloc_shared_pool_alloc(pool) == NULL && errno == ENOMEM, "one too many");
            for (size_t i = 0; i < capacity; i++) {
                CHECK(intact(objects[i], size, (unsigned)i) == size, "object %zu", i);
                alloc_shared_pool_free(pool, objects[i]);
            }
            alloc_shared_pool_free(pool, NULL);
            alloc_pool_stats_t now = stats(pool);
            CHECK(now.total_objects == capacity && now.free_objects == capacity, "free");
            CHECK(now.allocations == capacity && now.frees == capacity, "counts");
            CHECK(alloc_shared_pool_alloc(pool) != NULL, "again");
            CHECK(alloc_shared_pool_destroy(pool) == 1, "live");
        }
    }
    CHECK(alloc_shared_pool_destroy(NULL) == 0, "NULL");
}

enum { HELD = 100, STEPS = 200000 };

struct work {
    alloc_shared_pool_t *pool;
    uint64_t seed;
    size_t refused, left;
};

/* What a thread writes into an object is there when it looks again. */
static void *hammer(void *given) {
    struct work *work = given;
    uint64_t state = work->seed;
    void *held[HELD] = {NULL};
    for (int step = 0; step < STEPS; step++) {
        size_t which = next_random(&state) % HELD;
        unsigned mark = (unsigned)(work->seed * HELD + which);
        if (held[which] == NULL) {
            held[which] = alloc_shared_pool_alloc(work->pool);
            if (held[which] == NULL) work->refused++;
            else fill(held[which], 48, mark);
            continue;
        }
        CHECK(intact(held[which], 48, mark) == 48, "an object has two owners");
        alloc_shared_pool_free(work->pool, held[which]);
        held[which] = NULL;
    }
    for (size_t i = 0; i < HELD; i++) {
        if (held[i] == NULL) continue;
        CHECK(intact(held[i], 48, (unsigned)(work->seed * HELD + i)) == 48, "two owners");
        alloc_shared_pool_free(work->pool, held[i]);
    }
    return NULL;
}

static void hammer_with(size_t threads, size_t capacity) {
    struct work work[4];
    pthread_t ids[4];
    alloc_shared_pool_t *pool = make(48, capacity, 0);
    for (size_t i = 0; i < threads; i++) {
        work[i] = (struct work){.pool = pool, .seed = i + 1};
        CHECK(pthread_create(&ids[i], NULL, hammer, &work[i]) == 0, "thread");
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        if (capacity >= threads * HELD)
            CHECK(work[i].refused == 0, "refused %zu times with objects free", work[i].refused);
    }
    alloc_pool_stats_t now = stats(pool);
    CHECK(now.free_objects == capacity && now.allocations == now.frees, "%zu free of %zu",
          (size_t)now.free_objects, capacity);
    CHECK(alloc_shared_pool_destroy(pool) == 0, "live");
}

OURS(two_threads) {
    for (size_t capacity = 1; capacity <= 1000; capacity *= 10) hammer_with(2, capacity);
    hammer_with(2, 2 * HELD);
}

OURS(four_threads) {
    for (size_t capacity = 1; capacity <= 1000; capacity *= 10) hammer_with(4, capacity);
    hammer_with(4, 4 * HELD);
}

/* One thread allocates, the other frees: objects come back. */
static void *volatile passed[64];

static void *free_what_is_passed(void *pool) {
    for (int done = 0; done < STEPS;) {
        for (int i = 0; i < 64; i++) {
            void *object = __atomic_exchange_n(&passed[i], NULL, __ATOMIC_ACQ_REL);
            if (object == NULL) continue;
            CHECK(intact(object, 48, 7) == 48, "contents");
            alloc_shared_pool_free(pool, object);
            done++;
        }
    }
    return NULL;
}

OURS(passed_to_another_thread) {
    alloc_shared_pool_t *pool = make(48, 66, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_what_is_passed, pool) == 0, "thread");
    for (int step = 0; step < STEPS; step++) {
        void *object = alloc_shared_pool_alloc(pool);
        CHECK(object != NULL, "64 lie there, one is in each thread's hand");
        fill(object, 48, 7);
        void *none = NULL;
        for (int i = step % 64; !__atomic_compare_exchange_n(
                 &passed[i], &none, object, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
             i = (i + 1) % 64)
            none = NULL;
    }
    pthread_join(thread, NULL);
    CHECK(stats(pool).free_objects == 66, "free");
    CHECK(alloc_shared_pool_destroy(pool) == 0, "live");
}

OURS(child_has_a_copy) {
    alloc_shared_pool_t *pool = make(32, 100, 0);
    void *object = alloc_shared_pool_alloc(pool);
    pid_t child = fork();
    if (child == 0) {
        alloc_shared_pool_free(pool, object);
        for (int i = 0; i < 100; i++) CHECK(alloc_shared_pool_alloc(pool) != NULL, "%d", i);
        CHECK(alloc_shared_pool_destroy(pool) == 100, "live");
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "child %x", status);
    CHECK(alloc_shared_pool_destroy(pool) == 1, "live");
}

OURS(bad_options) {
    const alloc_pool_options_t rows[] = {
        {.object_size = 0, .capacity = 8},
        {.object_size = 8, .capacity = 0},
        {.object_size = 8, .capacity = SIZE_MAX / 4},
        {.object_size = 8, .capacity = (size_t)1 << 32},
        {.object_size = 8, .capacity = 8, .alignment = 3},
        {.object_size = 8, .capacity = 8, .alignment = 24},
        {.object_size = 8, .capacity = 8, .policy = ALLOC_POOL_GROW},
        {.object_size = 8, .capacity = 8, .policy = ALLOC_POOL_FALL_BACK},
        {.object_size = 8, .capacity = 8, .flags = ALLOC_DEBUG},
        {.object_size = 8, .capacity = 8, .flags = ALLOC_FIXED},
        {.object_size = 8, .capacity = 8, .flags = ALLOC_ON_NODE, .node = 4711},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        errno = 0;
        CHECK(alloc_shared_pool_create(&rows[i], sizeof rows[i]) == NULL, "row %zu", i);
        CHECK(errno == EINVAL, "row %zu: errno %d", i, errno);
    }
    errno = 0;
    CHECK(alloc_shared_pool_create(NULL, 8) == NULL && errno == EINVAL, "NULL");
    alloc_pool_stats_t now;
    errno = 0;
    CHECK(alloc_shared_pool_stats(NULL, &now, sizeof now) == -1 && errno == EINVAL, "NULL pool");
}

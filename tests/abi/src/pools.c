/* Pools of alloc.h as the header documents them: capacity, order, policies, flags, statistics,
 * errno of every bad option, what check finds. */
#include "alloc.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "memory.h"

#pragma weak alloc_free
#pragma weak alloc_malloc
#pragma weak alloc_stats
#pragma weak alloc_pool_create
#pragma weak alloc_pool_alloc
#pragma weak alloc_pool_free
#pragma weak alloc_pool_alloc_at
#pragma weak alloc_pool_free_at
#pragma weak alloc_pool_destroy
#pragma weak alloc_pool_check
#pragma weak alloc_pool_stats

/* A linker leaves out a library of which only weak names are wanted. */
void *(*volatile strong_name)(size_t) = malloc;

static alloc_pool_t *make(alloc_pool_options_t options) {
    alloc_pool_t *pool = alloc_pool_create(&options, sizeof options);
    CHECK(pool != NULL, "create: %d", errno);
    return pool;
}

#define POOL(...) make((alloc_pool_options_t){__VA_ARGS__})

static alloc_pool_stats_t stats(const alloc_pool_t *pool) {
    alloc_pool_stats_t now;
    memset(&now, 0xff, sizeof now);
    CHECK(alloc_pool_stats(pool, &now, sizeof now) == 0, "alloc_pool_stats");
    return now;
}

/* Takes objects until there are none; fills each. */
static size_t exhaust(alloc_pool_t *pool, void **objects, size_t most, size_t size) {
    size_t count = 0;
    errno = 0;
    while (count < most && (objects[count] = alloc_pool_alloc(pool)) != NULL) {
        CHECK(errno == 0, "errno %d after a success", errno);
        fill(objects[count], size, (unsigned)count);
        count++;
    }
    return count;
}

OURS(exactly_the_capacity) {
    static void *objects[2000];
    const size_t sizes[] = {1, 7, 8, 16, 24, 64, 100, 4096, 5000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t capacity = 1; capacity <= 1000; capacity = capacity * 3 + 1) {
            for (unsigned flags = 0; flags <= ALLOC_PREFAULT; flags++) {
                alloc_pool_t *pool =
                    POOL(.object_size = sizes[s], .capacity = capacity, .flags = flags);
                CHECK(exhaust(pool, objects, 2000, sizes[s]) == capacity, "%zu of %zu", capacity,
                      sizes[s]);
                CHECK(errno == ENOMEM, "errno %d", errno);
                for (size_t i = 0; i < capacity; i++) {
                    CHECK(is_aligned(objects[i], 16), "%p", objects[i]);
                    CHECK(intact(objects[i], sizes[s], (unsigned)i) == sizes[s], "object %zu", i);
                }
                alloc_pool_free(pool, objects[capacity / 2]);
                CHECK(alloc_pool_alloc(pool) == objects[capacity / 2], "one freed");
                CHECK(alloc_pool_alloc(pool) == NULL, "one too many");
                for (size_t i = 0; i < capacity; i++) alloc_pool_free(pool, objects[i]);
                CHECK(alloc_pool_check(pool) == 0, "check");
                CHECK(alloc_pool_destroy(pool) == 0, "destroy");
            }
        }
    }
}

OURS(last_freed_first_given) {
    alloc_pool_t *pool = POOL(.object_size = 48, .capacity = 100);
    void *objects[100];
    for (int i = 0; i < 100; i++) objects[i] = alloc_pool_alloc(pool);
    for (int i = 0; i < 100; i++) alloc_pool_free(pool, objects[i]);
    for (int i = 99; i >= 0; i--) CHECK(alloc_pool_alloc(pool) == objects[i], "object %d", i);
    CHECK(alloc_pool_destroy(pool) == 100, "live");
}

OURS(alignment) {
    for (size_t alignment = 1; alignment <= 8192; alignment *= 2) {
        alloc_pool_t *pool =
            POOL(.object_size = 24, .capacity = 33, .alignment = alignment);
        for (int i = 0; i < 33; i++) {
            void *object = alloc_pool_alloc(pool);
            CHECK(object != NULL && is_aligned(object, alignment < 16 ? 16 : alignment), "%p",
                  object);
            fill(object, 24, 1);
        }
        CHECK(alloc_pool_destroy(pool) == 33, "live");
    }
}

OURS(statistics_add_up) {
    alloc_pool_t *pool = POOL(.object_size = 5, .capacity = 50);
    void *objects[50];
    for (int i = 0; i < 30; i++) objects[i] = alloc_pool_alloc(pool);
    for (int i = 0; i < 12; i++) alloc_pool_free(pool, objects[i]);
    alloc_pool_stats_t now = stats(pool);
    CHECK(now.object_size == 8, "object_size %zu", (size_t)now.object_size);
    CHECK(now.total_objects == 50, "total");
    CHECK(now.allocations == 30 && now.frees == 12, "counts");
    CHECK(now.allocated_objects == 18 && now.free_objects == 32, "live and free");
    CHECK(now.bytes_allocated == 18 * 8, "bytes");
    CHECK(now.bytes_overhead >= 50 * 8 && now.bytes_overhead < 16384, "overhead %zu",
          (size_t)now.bytes_overhead);
    CHECK(now.fallback_objects == 0, "fallback");
    errno = 0;
    CHECK(alloc_pool_stats(NULL, &now, sizeof now) == -1 && errno == EINVAL, "NULL pool");
    errno = 0;
    CHECK(alloc_pool_stats(pool, NULL, sizeof now) == -1 && errno == EINVAL, "NULL out");
    errno = 0;
    CHECK(alloc_pool_stats(pool, &now, 0) == -1 && errno == EINVAL, "size 0");
    memset(&now, 0x5a, sizeof now);
    CHECK(alloc_pool_stats(pool, &now, 8) == 0 && now.object_size == 8, "a shorter struct");
    CHECK(now.total_objects == 0x5a5a5a5a5a5a5a5aULL, "written beyond");
    CHECK(alloc_pool_destroy(pool) == 18, "live");
    CHECK(alloc_pool_destroy(NULL) == 0, "NULL");
}

/* A million objects of 64 bytes: the pool's own structures are next to nothing. */
OURS(overhead) {
    enum { COUNT = 1000000 };
    alloc_pool_t *pool = POOL(.object_size = 64, .capacity = COUNT);
    if (strstr(getenv("ABI_PROVIDER") ? getenv("ABI_PROVIDER") : "", "debug") != NULL) return;
    CHECK(stats(pool).bytes_overhead < COUNT * 64 / 100, "overhead %zu",
          (size_t)stats(pool).bytes_overhead);
    alloc_pool_destroy(pool);
}

OURS(grows) {
    static void *objects[5000];
    alloc_pool_t *pool =
        POOL(.object_size = 40, .capacity = 10, .policy = ALLOC_POOL_GROW, .alignment = 64);
    CHECK(exhaust(pool, objects, 5000, 40) == 5000, "growth");
    for (int i = 0; i < 5000; i++) {
        CHECK(is_aligned(objects[i], 64), "%p", objects[i]);
        CHECK(intact(objects[i], 40, (unsigned)i) == 40, "object %d", i);
    }
    alloc_pool_stats_t now = stats(pool);
    CHECK(now.total_objects == 5120, "total %zu", (size_t)now.total_objects);
    CHECK(now.allocated_objects == 5000 && now.free_objects == 120, "live and free");
    for (int i = 0; i < 5000; i += 2) alloc_pool_free(pool, objects[i]);
    CHECK(alloc_pool_check(pool) == 0, "check");
    CHECK(alloc_pool_destroy(pool) == 2500, "live");
}

OURS(falls_back) {
    static void *objects[1000];
    alloc_pool_t *pool =
        POOL(.object_size = 40, .capacity = 10, .policy = ALLOC_POOL_FALL_BACK, .alignment = 128);
    CHECK(exhaust(pool, objects, 1000, 40) == 1000, "fall back");
    alloc_pool_stats_t now = stats(pool);
    CHECK(now.total_objects == 10 && now.fallback_objects == 990, "%zu from the heap",
          (size_t)now.fallback_objects);
    CHECK(now.allocated_objects == 1000 && now.free_objects == 0, "live and free");
    for (int i = 0; i < 1000; i++) {
        CHECK(is_aligned(objects[i], 128), "%p", objects[i]);
        CHECK(intact(objects[i], 40, (unsigned)i) == 40, "object %d", i);
    }
    for (int i = 999; i >= 0; i--) alloc_pool_free(pool, objects[i]);
    now = stats(pool);
    CHECK(now.fallback_objects == 0 && now.free_objects == 10, "all back");
    CHECK(now.allocations == 1000 && now.frees == 1000, "counts");
    CHECK(alloc_pool_check(pool) == 0, "check");
    CHECK(exhaust(pool, objects, 15, 40) == 15, "once more");
    CHECK(alloc_pool_destroy(pool) == 15, "live");
}

/* What a pool had from the general heap and from slabs is all back. */
OURS(destroy_gives_everything_back) {
    alloc_stats_t before, after;
    for (int policy = ALLOC_POOL_FAIL; policy <= ALLOC_POOL_FALL_BACK; policy++) {
        alloc_stats(&before, sizeof before);
        for (int turn = 0; turn < 50; turn++) {
            static void *objects[3000];
            alloc_pool_t *pool = POOL(.object_size = 1000, .capacity = 1500, .policy = policy);
            exhaust(pool, objects, 3000, 1000);
            alloc_pool_destroy(pool);
        }
        alloc_stats(&after, sizeof after);
        CHECK(after.bytes_in_use < before.bytes_in_use + MIB, "%zu bytes stay",
              (size_t)(after.bytes_in_use - before.bytes_in_use));
    }
}

static void refused(alloc_pool_options_t options, int expected, const char *what) {
    errno = 0;
    alloc_pool_t *pool = alloc_pool_create(&options, sizeof options);
    CHECK(pool == NULL, "%s: not refused", what);
    CHECK(errno == expected, "%s: errno %d", what, errno);
}

#define REFUSED(expected, what, ...) refused((alloc_pool_options_t){__VA_ARGS__}, expected, what)

OURS(bad_options) {
    REFUSED(EINVAL, "size 0", .object_size = 0, .capacity = 10);
    REFUSED(EINVAL, "capacity 0", .object_size = 10, .capacity = 0);
    REFUSED(EINVAL, "a product that overflows", .object_size = SIZE_MAX / 2, .capacity = 3);
    REFUSED(EINVAL, "a product that overflows", .object_size = 16, .capacity = SIZE_MAX / 8);
    REFUSED(ENOMEM, "over PTRDIFF_MAX", .object_size = SIZE_MAX, .capacity = 1);
    REFUSED(ENOMEM, "over PTRDIFF_MAX", .object_size = 16, .capacity = SIZE_MAX / 32 + 1);
    REFUSED(ENOMEM, "too much", .object_size = 1 << 20, .capacity = (size_t)1 << 40);
    for (size_t alignment = 3; alignment < 100; alignment++) {
        if ((alignment & (alignment - 1)) == 0) continue;
        REFUSED(EINVAL, "alignment", .object_size = 8, .capacity = 8, .alignment = alignment);
    }
    REFUSED(EINVAL, "alignment", .object_size = 8, .capacity = 8, .alignment = SIZE_MAX);
    REFUSED(EINVAL, "policy", .object_size = 8, .capacity = 8, .policy = 3);
    REFUSED(EINVAL, "policy", .object_size = 8, .capacity = 8, .policy = -1);
    REFUSED(EINVAL, "flag", .object_size = 8, .capacity = 8, .flags = 1u << 31);
    REFUSED(EINVAL, "flag", .object_size = 8, .capacity = 8, .flags = ALLOC_FIXED);
    REFUSED(EINVAL, "node", .object_size = 8, .capacity = 8, .flags = ALLOC_ON_NODE, .node = -1);
    REFUSED(EINVAL, "node", .object_size = 8, .capacity = 8, .flags = ALLOC_ON_NODE, .node = 999);
    REFUSED(EINVAL, "node", .object_size = 8, .capacity = 8, .flags = ALLOC_ON_NODE,
            .node = 1 << 30);
    errno = 0;
    CHECK(alloc_pool_create(NULL, sizeof(alloc_pool_options_t)) == NULL && errno == EINVAL, "NULL");
    alloc_pool_options_t options = {.object_size = 8, .capacity = 8};
    errno = 0;
    CHECK(alloc_pool_create(&options, 8) == NULL && errno == EINVAL, "no capacity in so few bytes");
    /* Options of a later library: fit as long as they are zero. */
    struct {
        alloc_pool_options_t known;
        unsigned char later[24];
    } future = {.known = options};
    alloc_pool_t *pool = alloc_pool_create(&future.known, sizeof future);
    CHECK(pool != NULL, "later options of zero: errno %d", errno);
    alloc_pool_destroy(pool);
    for (size_t i = 0; i < sizeof future.later; i++) {
        memset(future.later, 0, sizeof future.later);
        future.later[i] = 1;
        errno = 0;
        CHECK(alloc_pool_create(&future.known, sizeof future) == NULL, "unknown byte %zu", i);
        CHECK(errno == EINVAL, "unknown byte %zu: errno %d", i, errno);
    }
    errno = 0;
    CHECK(alloc_pool_check(NULL) == -1 && errno == EINVAL, "check of NULL");
}

OURS(on_a_node) {
    alloc_pool_t *pool =
        POOL(.object_size = 100, .capacity = 1000, .flags = ALLOC_ON_NODE, .node = 0);
    for (int i = 0; i < 1000; i++) fill(alloc_pool_alloc(pool), 100, 1);
    CHECK(alloc_pool_destroy(pool) == 1000, "live");
}

static size_t resident_of(void *object, size_t length) {
    static unsigned char present[1 << 16];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
    char *start = (char *)((size_t)object & ~(page - 1));
    CHECK(mincore(start, length, present) == 0, "mincore: %d", errno);
    for (size_t i = 0; i < length / page; i++) count += present[i] & 1;
    return count * page;
}

OURS(prefaulted) {
    enum { SIZE = 32 * 1024, COUNT = 400 };
    unsigned flags[] = {ALLOC_PREFAULT, ALLOC_PREFAULT | ALLOC_HUGE_PAGES,
                        ALLOC_PREFAULT | ALLOC_ON_NODE, ALLOC_LOCK};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        alloc_pool_t *pool = POOL(.object_size = SIZE, .capacity = COUNT, .flags = flags[i]);
        char *first = alloc_pool_alloc(pool);
        CHECK(resident_of(first, (size_t)SIZE * COUNT) == (size_t)SIZE * COUNT, "flags %u",
              flags[i]);
        alloc_pool_destroy(pool);
    }
}

/* Counted by alloc_stats whichever memory it is. */
OURS(own_mappings_are_counted) {
    alloc_stats_t before, during, after;
    alloc_stats(&before, sizeof before);
    alloc_pool_t *pool = POOL(.object_size = 4096, .capacity = 4096,
                              .flags = ALLOC_HUGE_PAGES | ALLOC_PREFAULT);
    alloc_stats(&during, sizeof during);
    alloc_pool_destroy(pool);
    alloc_stats(&after, sizeof after);
    CHECK(during.bytes_mapped >= before.bytes_mapped + 16 * MIB, "bytes_mapped");
    CHECK(during.bytes_resident >= before.bytes_resident + 15 * MIB, "bytes_resident");
    CHECK(during.bytes_in_use >= before.bytes_in_use + 16 * MIB, "bytes_in_use");
    CHECK(after.bytes_mapped < before.bytes_mapped + 4 * MIB, "bytes_mapped after");
}

/* mlock refused: NULL with its errno. A child without privileges and with a limit. */
OURS(lock_refused) {
    for (int limit = 0; limit <= 65536; limit += 65536) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit none = {(rlim_t)limit, (rlim_t)limit};
            if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || setuid(65534) != 0) _exit(77);
            alloc_pool_options_t options = {
                .object_size = 1024, .capacity = 1024, .flags = ALLOC_LOCK};
            errno = 0;
            alloc_pool_t *pool = alloc_pool_create(&options, sizeof options);
            CHECK(pool == NULL, "locked");
            CHECK(errno == (limit == 0 ? EPERM : ENOMEM), "limit %d: errno %d", limit, errno);
            _exit(0);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child, "waitpid");
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77) SKIP("no other user to become");
        CHECK(status == 0, "limit %d: status %x", limit, status);
    }
}

OURS(free_of_null) {
    alloc_pool_t *pool = POOL(.object_size = 8, .capacity = 2);
    alloc_pool_free(pool, NULL);
    alloc_pool_free_at(pool, NULL, __FILE__, __LINE__);
    CHECK(stats(pool).frees == 0, "counted");
    void *object = alloc_pool_alloc_at(pool, __FILE__, __LINE__);
    CHECK(object != NULL, "alloc_at");
    alloc_pool_free_at(pool, object, __FILE__, __LINE__);
    CHECK(alloc_pool_destroy(pool) == 0, "live");
}

OURS(child_has_a_copy) {
    alloc_pool_t *pool = POOL(.object_size = 32, .capacity = 1000);
    static void *objects[1000];
    for (int i = 0; i < 500; i++) fill(objects[i] = alloc_pool_alloc(pool), 32, (unsigned)i);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 500; i++) {
            CHECK(intact(objects[i], 32, (unsigned)i) == 32, "object %d", i);
            alloc_pool_free(pool, objects[i]);
        }
        CHECK(exhaust(pool, objects, 1000, 32) == 1000, "in the child");
        CHECK(alloc_pool_destroy(pool) == 1000, "live");
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "child %x", status);
    CHECK(alloc_pool_check(pool) == 0, "check");
    CHECK(alloc_pool_destroy(pool) == 500, "live");
}

/* A model: random calls, contents verified. */
OURS(random_traffic) {
    enum { MOST = 3000 };
    static void *objects[MOST];
    for (int policy = ALLOC_POOL_FAIL; policy <= ALLOC_POOL_FALL_BACK; policy++) {
        alloc_pool_t *pool = POOL(.object_size = 56, .capacity = 700, .policy = policy);
        uint64_t state = 7;
        size_t live = 0;
        memset(objects, 0, sizeof objects);
        for (int step = 0; step < 200000; step++) {
            size_t which = next_random(&state) % (step % 50000 < 25000 ? MOST : 600);
            if (objects[which] != NULL) {
                CHECK(intact(objects[which], 56, (unsigned)which) == 56, "object %zu", which);
                alloc_pool_free(pool, objects[which]);
                objects[which] = NULL;
                live--;
                continue;
            }
            objects[which] = alloc_pool_alloc(pool);
            if (objects[which] == NULL) {
                CHECK(policy == ALLOC_POOL_FAIL && live == 700, "NULL with %zu live", live);
                continue;
            }
            fill(objects[which], 56, (unsigned)which);
            live++;
        }
        CHECK(alloc_pool_check(pool) == 0, "check");
        CHECK(alloc_pool_destroy(pool) == live, "live");
    }
}

/* Written after free: the list is broken, and check says so. */
OURS(check_finds_a_torn_list) {
    alloc_pool_t *pool = POOL(.object_size = 64, .capacity = 100);
    void **object = alloc_pool_alloc(pool);
    alloc_pool_free(pool, object);
    *object = (void *)0x12345;
    errno = 0;
    CHECK(alloc_pool_check(pool) == -1 && errno == EINVAL, "not found");
    *object = object; /* for ever */
    errno = 0;
    CHECK(alloc_pool_check(pool) == -1 && errno == EINVAL, "a cycle is not found");
    _exit(0);
}

/* The counters of alloc_stats while threads allocate, free each other's blocks and end. */
#include "alloc.h"
#include "churn.h"

/* The preload brings them. */
#pragma weak alloc_stats
#pragma weak alloc_stats_json

static atomic_int running;

static void check_sane(const alloc_stats_t *now) {
    const uint64_t *counters = (const uint64_t *)now;
    for (size_t i = 0; i < offsetof(alloc_stats_t, fragmentation_pct) / sizeof(uint64_t); i++)
        CHECK(counters[i] < (uint64_t)1 << 60, "counter %zu is negative: %lld", i,
              (long long)counters[i]);
    CHECK(now->frees <= now->allocations, "%llu frees of %llu", (unsigned long long)now->frees,
          (unsigned long long)now->allocations);
    CHECK(now->fragmentation_pct >= 0 && now->fragmentation_pct <= 100, "%f %%",
          now->fragmentation_pct);
}

static void *churn_and_end(void *argument) {
    churn((uint64_t)(uintptr_t)argument, 2000, 256 * KIB);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

OURS(never_negative_under_load) {
    enum { ROUNDS = 40, THREADS = 4 };
    alloc_stats_t now, last = {0};
    unsigned looks = 0;
    for (uintptr_t round = 0; round < ROUNDS; round++) {
        pthread_t threads[THREADS];
        atomic_store(&running, THREADS);
        for (uintptr_t i = 0; i < THREADS; i++) {
            void *seed = (void *)(round * THREADS + i + 1);
            CHECK(pthread_create(&threads[i], NULL, churn_and_end, seed) == 0, "thread");
        }
        do {
            CHECK(alloc_stats(&now, sizeof now) == 0, "alloc_stats");
            check_sane(&now);
            CHECK(now.total_allocated >= last.total_allocated || round == 0, "total went back");
            last = now;
            looks++;
        } while (atomic_load(&running) > 0);
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    }
    CHECK(looks >= ROUNDS, "%u looks", looks);
}

/* At rest they are exact: what is live is what the case holds. */
OURS(exact_at_rest) {
    enum { BLOCKS = 10000 };
    static void *blocks[BLOCKS];
    alloc_stats_t before, full, after;
    churn_threads(4, 3000, 256 * KIB);
    malloc_trim(0); /* what was freed for others arrives */
    CHECK(alloc_stats(&before, sizeof before) == 0, "alloc_stats");
    size_t usable = 0;
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc((size_t)(i % 100 == 0 ? 100000 : 100 + i % 1000));
        usable += malloc_usable_size(blocks[i]);
    }
    CHECK(alloc_stats(&full, sizeof full) == 0, "alloc_stats");
    CHECK(full.bytes_in_use - before.bytes_in_use == usable, "%llu bytes in use, %zu usable",
          (unsigned long long)(full.bytes_in_use - before.bytes_in_use), usable);
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    CHECK(alloc_stats(&after, sizeof after) == 0, "alloc_stats");
    CHECK(after.bytes_in_use == before.bytes_in_use, "%llu bytes in use, then %llu",
          (unsigned long long)before.bytes_in_use, (unsigned long long)after.bytes_in_use);
    check_sane(&after);
}

/* Resident bytes of private anonymous memory without a name: the heap, its tables, a few pages of
 * libc. Threads' stacks are gone. */
static size_t resident_heap(void) {
    char line[512];
    size_t sum = 0, kib = 0;
    int counted = 0;
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file != NULL, "smaps");
    while (fgets(line, sizeof line, file) != NULL) {
        char permissions[5], name[256];
        int fields = sscanf(line, "%*x-%*x %4s %*x %*s %*s %255s", permissions, name);
        if (fields > 0) counted = fields == 1;
        else if (counted && sscanf(line, "Rss: %zu kB", &kib) == 1) sum += kib * KIB;
    }
    fclose(file);
    return sum;
}

/* bytes_resident against the kernel's own account, and against the parts that are known. */
OURS(resident_against_smaps) {
    enum { BLOCKS = 60000 };
    static void *blocks[BLOCKS];
    char json[2048];
    alloc_stats_t now;
    uint64_t random = 69;
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = churn_size(&random, 16 * KIB);
        blocks[i] = memset(malloc(size), 1, size);
    }
    for (int i = 0; i < BLOCKS; i += 3) free(blocks[i]);
    churn_threads(4, 2000, 256 * KIB);
    void *huge = memset(malloc(40 * MIB), 1, 40 * MIB);
    CHECK(huge != NULL, "huge");
    CHECK(alloc_stats(&now, sizeof now) == 0, "alloc_stats");
    CHECK(alloc_stats_json(json, sizeof json) < (int)sizeof json, "JSON");
    size_t metadata = strtoul(strstr(json, "\"bytes_metadata\":") + 17, NULL, 10);
    size_t counted = now.bytes_resident + metadata, kernel = resident_heap();
    size_t apart = counted > kernel ? counted - kernel : kernel - counted;
    printf("%zu counted, %zu by the kernel\n", counted, kernel);
    CHECK(apart <= kernel * 3 / 100, "%zu KiB counted, %zu KiB by the kernel", counted / KIB,
          kernel / KIB);
    CHECK(now.bytes_resident <= now.bytes_mapped + now.bytes_mapped / 50, "resident over mapped");
}

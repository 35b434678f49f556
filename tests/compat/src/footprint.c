/* What is left resident when a program has freed everything and makes no further call.
 *
 *     footprint frees_all MIB SIZES ORDER
 *
 * SIZES: a number of bytes, or `log` (log-uniform, 16 bytes to 1 MiB), `small` (to 1 KiB). ORDER of
 * the frees: forward, backward, random. Prints what was resident: at the start, when full, in the
 * end. */
#include <sys/mman.h>

#include "churn.h"

struct table {
    void **blocks;
    size_t count;
};

/* The table lies in a mapping of its own, which is gone before the last look. */
static struct table allocate(size_t total, const char *sizes) {
    size_t fixed = strtoul(sizes, NULL, 10);
    size_t size_max = strcmp(sizes, "small") == 0 ? KIB : MIB;
    size_t least = fixed != 0 ? fixed : 100, held = 0;
    struct table table = {NULL, 0};
    uint64_t random = 66;
    table.blocks = (void **)mmap(NULL, total / least * sizeof(void *), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(table.blocks != MAP_FAILED, "the table");
    while (held < total && table.count < total / least) {
        size_t size = fixed != 0 ? fixed : churn_size(&random, size_max);
        void *block = malloc(size);
        CHECK(block != NULL, "%zu bytes, %zu MiB held", size, held / MIB);
        table.blocks[table.count++] = memset(block, 1, size);
        held += size;
    }
    return table;
}

static void reorder(struct table table, const char *order) {
    uint64_t random = 6;
    for (size_t i = 0; i < table.count; i++) {
        size_t other = i;
        if (strcmp(order, "random") == 0) other = i + next_random(&random) % (table.count - i);
        if (strcmp(order, "backward") == 0 && i < table.count / 2) other = table.count - 1 - i;
        void *block = table.blocks[i];
        table.blocks[i] = table.blocks[other];
        table.blocks[other] = block;
    }
}

CASE(frees_all) {
    CHECK(case_argc == 3, "%d arguments", case_argc);
    size_t total = strtoul(case_argv[0], NULL, 10) * MIB;
    free(malloc(1));
    size_t start = process_size().resident;
    struct table table = allocate(total, case_argv[1]);
    reorder(table, case_argv[2]);
    size_t full = process_size().resident;
    for (size_t i = 0; i < table.count; i++) free(table.blocks[i]);
    munmap(table.blocks, total / (strtoul(case_argv[1], NULL, 10) ?: 100) * sizeof(void *));
    printf("%zu %zu %zu\n", start, full, process_size().resident);
}

enum { SLOTS_MAX = 1 << 20 };
static struct { void *block; size_t size; } slots[SLOTS_MAX];

/* Random replacement with `argument 0` MiB live all the time, `argument 1` thousand times, sizes
 * log-uniform to `argument 2` bytes; 0: the distribution changes every 10,000. The most that was
 * resident, bytes; what is live in the end is in the first `*count` slots. */
static size_t keep_live(size_t *count) {
    CHECK(case_argc == 3, "%d arguments", case_argc);
    size_t live = strtoul(case_argv[0], NULL, 10) * MIB, held = 0, peak = 0;
    size_t rounds = strtoul(case_argv[1], NULL, 10) * 1000;
    size_t size_max = strtoul(case_argv[2], NULL, 10);
    uint64_t random = 67;
    *count = 0;
    for (size_t i = 0; i < rounds; i++) {
        size_t size = churn_size(&random, size_max ? size_max : (size_t)256 << i / 10000 % 6);
        while (held + size > live) {
            size_t victim = next_random(&random) % *count;
            free(slots[victim].block);
            held -= slots[victim].size;
            slots[victim] = slots[--*count];
        }
        CHECK(*count < SLOTS_MAX, "%zu blocks", *count);
        slots[*count].block = memset(malloc(size), 1, size);
        slots[(*count)++].size = size;
        held += size;
        if (i % 1000 != 0) continue;
        size_t now = process_size().resident;
        if (now > peak) peak = now;
    }
    return peak;
}

/* Prints the most that was resident, KiB. */
CASE(churns_live) {
    size_t count;
    printf("%zu\n", keep_live(&count) / KIB);
}

/* `argument 0` MiB are made of blocks of 1 MiB and every tenth is freed, so that an eighth may lie
 * idle; then blocks of 16 MiB come, into which no such hole goes, up to `argument 1` MiB live.
 * Prints what was resident before they came, and in the end, KiB. */
CASE(grows_over_holes) {
    enum { BLOCKS = 1024 };
    static void *blocks[BLOCKS];
    CHECK(case_argc == 2, "%d arguments", case_argc);
    size_t first = strtoul(case_argv[0], NULL, 10), last = strtoul(case_argv[1], NULL, 10);
    CHECK(first <= BLOCKS, "%zu blocks", first);
    size_t live = first;
    for (size_t i = 0; i < first; i++) blocks[i] = memset(malloc(MIB), 1, MIB);
    for (size_t i = 0; i < first; i += 10, live--) free(blocks[i]);
    size_t kept = process_size().resident;
    for (; live + 16 <= last; live += 16) CHECK(memset(malloc(16 * MIB), 2, 16 * MIB), "16 MiB");
    printf("%zu %zu\n", kept / KIB, process_size().resident / KIB);
}

/* Replaces as churns_live, then frees all of it and makes no further call: prints what is resident
 * above the start, KiB. */
CASE(churns_and_frees) {
    size_t start = process_size().resident, count;
    keep_live(&count);
    while (count > 0) free(slots[--count].block);
    printf("%zu\n", (process_size().resident - start) / KIB);
}

/* `argument 0` MiB of blocks of 16 bytes to 64 KiB are made, and freed at random down to
 * `argument 1` MiB; then the rest is freed. Prints what is resident above the start when they are
 * freed down, and when all is, KiB. */
CASE(shrinks) {
    CHECK(case_argc == 2, "%d arguments", case_argc);
    size_t high = strtoul(case_argv[0], NULL, 10) * MIB;
    size_t low = strtoul(case_argv[1], NULL, 10) * MIB, held = 0, count = 0;
    uint64_t random = 66;
    memset(slots, 1, sizeof slots);
    size_t start = process_size().resident;
    while (held < high) {
        size_t size = churn_size(&random, 64 * KIB);
        CHECK(count < SLOTS_MAX, "%zu blocks", count);
        slots[count].block = memset(malloc(size), 1, size);
        slots[count++].size = size;
        held += size;
    }
    while (held > low) {
        size_t victim = next_random(&random) % count;
        free(slots[victim].block);
        held -= slots[victim].size;
        slots[victim] = slots[--count];
    }
    size_t shrunk = process_size().resident - start;
    while (count > 0) free(slots[--count].block);
    printf("%zu %zu\n", shrunk / KIB, (process_size().resident - start) / KIB);
}

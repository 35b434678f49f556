/* A load that swings: after the third swing, memory that is needed again stays.
 *
 *     pingpong swings KIB COUNT
 *
 *     pingpong then_rests KIB COUNT
 *     pingpong grows COUNT
 *     pingpong huge_of_all_sizes
 *
 * frees and allocates COUNT blocks of KIB again and again; prints for every swing the calls of
 * madvise and munmap and the MiB that they gave back. Linked with a filter that counts. */
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "filter.h"
#include "memory.h"

#ifdef FILTER_CAN_TRAP
CASE(swings) {
    enum { SWINGS = 12, MOST = 4096 };
    static void *blocks[MOST];
    CHECK(case_argc == 2, "%d arguments", case_argc);
    size_t size = strtoul(case_argv[0], NULL, 10) * KIB, count = strtoul(case_argv[1], NULL, 10);
    CHECK(count <= MOST, "%zu blocks", count);
    free(malloc(1));
    struct trap *advise = trap_add(SYS_madvise, 0), *unmap = trap_add(SYS_munmap, 0);
    if (trap_install() != 0) SKIP("no seccomp filter here");
    for (int swing = 0; swing < SWINGS; swing++) {
        unsigned calls = advise->calls + unmap->calls;
        size_t bytes = advise->bytes + unmap->bytes;
        for (size_t i = 0; i < count; i++) {
            blocks[i] = malloc(size);
            CHECK(blocks[i] != NULL, "block %zu", i);
            /* Not every page: on a busy machine that takes longer than the second that counts. */
            for (size_t offset = 0; offset < size; offset += MIB) ((char *)blocks[i])[offset] = 1;
        }
        for (size_t i = 0; i < count; i++) free(blocks[i]);
        dprintf(1, "%u %zu\n", advise->calls + unmap->calls - calls,
                (advise->bytes + unmap->bytes - bytes) / MIB);
    }
}
#endif

/* The same, then two seconds of other work: nothing of what swung is left. */
CASE(then_rests) {
    static void *blocks[64];
    CHECK(case_argc == 2, "%d arguments", case_argc);
    size_t size = strtoul(case_argv[0], NULL, 10) * KIB, count = strtoul(case_argv[1], NULL, 10);
    CHECK(count <= 64, "%zu blocks", count);
    size_t before = process_size().resident;
    for (int swing = 0; swing < 8; swing++) {
        for (size_t i = 0; i < count; i++) {
            blocks[i] = malloc(size);
            CHECK(blocks[i] != NULL, "block %zu", i);
            memset(blocks[i], 1, size);
        }
        for (size_t i = 0; i < count; i++) free(blocks[i]);
    }
    size_t kept = process_size().resident;
    CHECK(kept > before + size, "nothing was kept: nothing is shown");
    struct timespec pause = {2, 0};
    nanosleep(&pause, NULL);
    for (int i = 0; i < 64; i++) blocks[i] = malloc(3000);
    for (int i = 0; i < 64; i++) free(blocks[i]);
    size_t after = process_size().resident;
    CHECK(after < before + 8 * MIB, "%zu MiB more than at the start", (after - before) / MIB);
}

static size_t faults(void) {
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0, "getrusage");
    return (size_t)usage.ru_minflt;
}

/* COUNT vectors grow by half from 100 bytes to 3 MB or more, one at random at a time, and begin
 * anew: 400,000 steps. Prints the page faults of all but the first 10,000. */
CASE(grows) {
    enum { MOST = 64, STEPS = 400000, FIRST = 10000, LAST = 3000000 };
    static struct { char *bytes; size_t size; } vectors[MOST];
    CHECK(case_argc == 1, "%d arguments", case_argc);
    size_t count = strtoul(case_argv[0], NULL, 10), before = 0;
    CHECK(count > 0 && count <= MOST, "%zu vectors", count);
    uint64_t random = 68;
    for (int step = 0; step < STEPS; step++) {
        size_t index = next_random(&random) % count, size = vectors[index].size;
        if (step == FIRST) before = faults();
        if (size >= LAST) {
            free(vectors[index].bytes);
            vectors[index].bytes = NULL;
            vectors[index].size = 0;
            continue;
        }
        size_t larger = size == 0 ? 100 : size + size / 2;
        char *bytes = (char *)realloc(vectors[index].bytes, larger);
        CHECK(bytes != NULL, "%zu bytes", larger);
        bytes[size] = bytes[larger - 1] = 1;
        vectors[index].bytes = bytes;
        vectors[index].size = larger;
    }
    printf("%zu\n", faults() - before);
}

/* Three huge blocks of 33 to 64 MiB are replaced at random: what is kept for the next never makes
 * more of it than was live. Prints how many pages were new, in percent of all that were wanted. */
CASE(huge_of_all_sizes) {
    enum { BLOCKS = 3, ROUNDS = 60 };
    struct { char *bytes; size_t size; } blocks[BLOCKS] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    size_t start = process_size().resident, live = 0, most = 0, wanted = 0, before = faults();
    uint64_t random = 66;
    for (int round = 0; round < ROUNDS; round++) {
        size_t index = next_random(&random) % BLOCKS;
        free(blocks[index].bytes);
        live -= blocks[index].size;
        size_t size = 33 * MIB + next_random(&random) % (31 * MIB);
        blocks[index].bytes = (char *)malloc(size);
        CHECK(blocks[index].bytes != NULL, "%zu bytes", size);
        blocks[index].size = size;
        stamp(blocks[index].bytes, size, 1);
        live += size;
        wanted += size;
        if (live > most) most = live;
        size_t resident = process_size().resident - start;
        CHECK(resident <= most + most / 8, "%zu MiB are resident in round %d, of %zu at most",
              resident / MIB, round, most / MIB);
    }
    printf("%zu\n", (faults() - before) * 100 / (wanted / 4096));
    /* calloc takes none of what is kept: that goes then. */
    for (int i = 0; i < BLOCKS; i++) free(blocks[i].bytes);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i].bytes = (char *)calloc(1, blocks[i].size);
        CHECK(blocks[i].bytes != NULL, "%zu zeroed bytes", blocks[i].size);
        stamp(blocks[i].bytes, blocks[i].size, 1);
        size_t resident = process_size().resident - start;
        CHECK(resident <= most + most / 8, "%zu MiB are resident, of %zu at most", resident / MIB,
              most / MIB);
    }
}

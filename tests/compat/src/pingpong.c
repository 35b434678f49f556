/* A load that swings: after the third swing, memory that is needed again stays.
 *
 *     pingpong swings KIB COUNT
 *
 *     pingpong then_rests KIB COUNT
 *
 * frees and allocates COUNT blocks of KIB again and again; prints for every swing the calls of
 * madvise and munmap and the MiB that they gave back. Linked with a filter that counts. */
#include <sys/mman.h>
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

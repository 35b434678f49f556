/* Huge blocks are mappings of their own: free returns them in that same call. */
#include "entries.h"

enum { COUNT = 10 };

CASE(ten_blocks_of_64_mib) {
    void *blocks[COUNT];
    free(malloc(1)); /* the heap itself is up */
    struct process_size before = process_size();
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(64 * MIB);
        memset(blocks[i], 1, 64 * MIB);
    }
    struct process_size full = process_size();
    CHECK(full.resident >= before.resident + 640 * MIB, "%zu MiB", full.resident / MIB);
    for (int i = 0; i < COUNT; i++) {
        free(blocks[i]);
        struct process_size now = process_size();
        size_t held = (size_t)(COUNT - 1 - i) * 64 * MIB;
        CHECK(now.resident <= before.resident + held + MIB, "after %d: %zu MiB resident", i + 1,
              now.resident / MIB);
        CHECK(now.mapped <= before.mapped + held + 4 * MIB, "after %d: %zu MiB mapped", i + 1,
              now.mapped / MIB);
    }
}

CASE(of_every_entry) {
    FOR_EACH_ENTRY(each) {
        free(malloc(1));
        size_t before = process_size().resident;
        void *blocks[3];
        for (int i = 0; i < 3; i++) {
            blocks[i] = each->allocate(64 * MIB);
            stamp(blocks[i], 64 * MIB, 1);
        }
        for (int i = 0; i < 3; i++) free(blocks[i]);
        size_t after = process_size().resident;
        CHECK(after <= before + MIB, "%s: %zu MiB", each->name, (after - before) / MIB);
        malloc_trim(0); /* What recurs too often may be kept for a second: start again. */
    }
}

/* The footprint after a phase of huge blocks with ever other sizes is bounded: one of them may be
 * kept for a second. */
CASE(sizes_that_never_recur) {
    free(malloc(1));
    struct process_size before = process_size();
    for (size_t i = 0; i < 300; i++) {
        size_t size = 33 * MIB + i * 123457;
        char *block = (char *)malloc(size);
        CHECK(block != NULL, "%zu bytes", size);
        block[0] = block[size - 1] = 1;
        free(block);
    }
    struct process_size after = process_size();
    CHECK(after.mapped <= before.mapped + 80 * MIB, "%zu", after.mapped - before.mapped);
    CHECK(after.resident <= before.resident + 2 * MIB, "%zu", after.resident - before.resident);
    malloc_trim(0);
    after = process_size();
    CHECK(after.mapped <= before.mapped + 8 * MIB, "%zu MiB", (after.mapped - before.mapped) / MIB);
}

/* Small blocks too, in the end: a program that freed everything and trimmed holds little. */
CASE(small_blocks_after_trim) {
    enum { SMALL = 400000 };
    static void *blocks[SMALL];
    memset(blocks, 0, sizeof blocks);
    for (int i = 0; i < SMALL; i++) blocks[i] = memset(malloc(200), 1, 200);
    size_t full = process_size().resident;
    for (int i = 0; i < SMALL; i++) free(blocks[i]);
    malloc_trim(0);
    size_t after = process_size().resident;
    CHECK(after + 70 * MIB <= full, "%zu MiB to %zu MiB", full / MIB, after / MIB);
}

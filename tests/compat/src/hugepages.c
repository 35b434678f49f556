/* Huge pages: never, where the heap asks (madvise), and everywhere: the footprint is the same.
 *
 *     hugepages footprint [always]
 *
 * prints resident KiB when full, when a random tenth is left, and when all is freed. `always` asks
 * for huge pages over all of the heap's address space, which is what the system setting does. */
#include <sys/mman.h>

#include "churn.h"

enum { BLOCKS = 400000 };
static void *blocks[BLOCKS];

/* Every private mapping of over 1 GiB is the heap's reservation, what is committed of it beside. */
static void ask_everywhere(void) {
    static char text[1 << 16];
    int file = open("/proc/self/maps", O_RDONLY);
    CHECK(file >= 0, "/proc/self/maps");
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    CHECK(length > 0 && length < (ssize_t)sizeof text - 1, "maps are longer than %zu", sizeof text);
    unsigned asked = 0;
    uintptr_t block = (uintptr_t)blocks[0];
    for (char *line = text; *line != 0; line = strchr(line, '\n') + 1) {
        char *rest;
        uintptr_t start = strtoul(line, &rest, 16), stop = strtoul(rest + 1, NULL, 16);
        int holds_blocks = block >= start && block < stop;
        if (stop - start <= GIB && !holds_blocks) continue;
        asked += madvise((void *)start, stop - start, MADV_HUGEPAGE) == 0;
    }
    CHECK(asked >= 2, "%u mappings", asked);
}

CASE(footprint) {
    uint64_t random = 48;
    memset(blocks, 0, sizeof blocks);
    blocks[0] = malloc(100);
    if (case_argc == 1) ask_everywhere();
    for (int i = 1; i < BLOCKS; i++) {
        size_t size = churn_size(&random, i % 100 == 0 ? 256 * KIB : KIB);
        blocks[i] = memset(malloc(size), 1, size);
    }
    size_t full = process_size().resident;
    for (int i = 0; i < BLOCKS; i++) {
        if (next_random(&random) % 10 == 0) continue;
        free(blocks[i]);
        blocks[i] = NULL;
    }
    size_t tenth = process_size().resident;
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    printf("%zu %zu %zu\n", full / KIB, tenth / KIB, process_size().resident / KIB);
}

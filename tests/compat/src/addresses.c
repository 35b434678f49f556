/* Address spaces of other sizes: the upper part is occupied before the library's first call. */
#include <sys/mman.h>

#include "late.h"

#include "churn.h"

/* Maps, without access, every gap from `low` on. Reads /proc/self/maps into a static buffer. */
static size_t occupy_from(uintptr_t low) {
    static char text[1 << 16];
    int file = open("/proc/self/maps", O_RDONLY);
    CHECK(file >= 0, "/proc/self/maps");
    size_t length = 0;
    for (ssize_t got; (got = read(file, text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)got;
    close(file);
    uintptr_t end = low, top = (uintptr_t)1 << 47;
    size_t taken = 0;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    for (char *line = text; line < text + length; line = strchr(line, '\n') + 1) {
        char *rest;
        uintptr_t start = strtoul(line, &rest, 16), stop = strtoul(rest + 1, NULL, 16);
        if (start > top) break;
        /* The stack keeps room to grow. */
        uintptr_t gap_end = strstr(line, "[stack]") == NULL ? start : start - 16 * MIB;
        char *newline = strchr(line, '\n');
        if (newline == NULL) break;
        if (strstr(line, "[stack]") > newline) gap_end = start;
        if (gap_end > end &&
            mmap((void *)end, gap_end - end, PROT_NONE, flags, -1, 0) != MAP_FAILED)
            taken += gap_end - end;
        if (stop > end) end = stop;
    }
    if (end < top - 4096 &&
        mmap((void *)end, top - 4096 - end, PROT_NONE, flags, -1, 0) != MAP_FAILED)
        taken += top - 4096 - end;
    return taken;
}

/* `argument 0`: the library; `argument 1`: bits of address space. */
OURS(of_so_many_bits) {
    unsigned bits = (unsigned)strtoul(case_argv[1], NULL, 10);
    size_t before = process_size().mapped;
    CHECK(before < GIB, "the heap is up already: %zu MiB mapped", before / MIB);
    CHECK(occupy_from((uintptr_t)1 << bits) > (size_t)1 << 46, "the upper part is not occupied");
    open_late(case_argv[0]);
    void *block = malloc(100);
    CHECK(block != NULL && (uintptr_t)block >> bits == 0, "a block at %p", block);
    churn(1, 20000, 4 * MIB);
    churn_threads(4, 3000, MIB);
    void *huge = malloc(100 * MIB);
    CHECK(huge != NULL && (uintptr_t)huge >> bits == 0, "a huge block at %p", huge);
    stamp(huge, 100 * MIB, 1);
    free(huge);
    free(block);
}

/* Where the CPU has five levels of page tables a hint gives addresses above 47 bits: foreign to
 * the heap, whose look-up must hold for any value. */
OURS(above_47_bits) {
    void *hint = (void *)((uintptr_t)1 << 55);
    void *high = mmap(hint, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(high != MAP_FAILED, "mmap");
    if ((uintptr_t)high >> 47 == 0) SKIP("no addresses above 47 bits here");
    open_late(case_argv[0]);
    free(malloc(1));
    free(high); /* foreign:ignore */
    memset(high, 1, 4096);
    churn(1, 5000, MIB);
}

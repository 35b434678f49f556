/* The budget of mappings (vm.max_map_count, 65,530 by default): what a heap may use of it. */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "churn.h"

enum { BUDGET = 65530 };

/* Lines of /proc/self/maps: mappings of this process. */
static size_t mappings(void) {
    static char buffer[1 << 16];
    size_t lines = 0;
    int file = open("/proc/self/maps", O_RDONLY);
    CHECK(file >= 0, "/proc/self/maps");
    for (ssize_t got; (got = read(file, buffer, sizeof buffer)) > 0;)
        for (ssize_t i = 0; i < got; i++) lines += buffer[i] == '\n';
    close(file);
    return lines;
}

/* Should memory run out, this process is the one to go. Address space is what is asked for here:
 * without huge pages, or the first touch of a block would bring 2 MiB. */
static void be_the_victim(void) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY);
    if (file < 0) return;
    if (write(file, "1000", 4) != 4) FAIL("oom_score_adj");
    close(file);
    CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0, "huge pages");
}

/* Up to `total` bytes of blocks of many sizes, nothing of them touched, then every other freed,
 * and the holes used again by blocks of other sizes. */
static void hold_sparse(size_t total, size_t allowed) {
    enum { MOST = 1 << 19 };
    static void *blocks[MOST];
    const size_t sizes[] = {40 * KIB, 64 * KIB, 200 * KIB, MIB, 3 * MIB, 9 * MIB, 20 * MIB};
    size_t before = mappings(), count = 0, held = 0;
    uint64_t random = 44;
    be_the_victim();
    for (; held < total && count < MOST; count++) {
        size_t size = sizes[next_random(&random) % 7] + next_random(&random) % 32 * KIB;
        blocks[count] = malloc(size);
        CHECK(blocks[count] != NULL, "%zu GiB held", held / GIB);
        held += size;
    }
    size_t full = mappings();
    for (size_t i = 0; i < count; i += 2) free(blocks[i]);
    size_t holes = mappings();
    for (size_t i = 0; i < count; i += 2) {
        blocks[i] = malloc(sizes[next_random(&random) % 6] + next_random(&random) % 32 * KIB);
        CHECK(blocks[i] != NULL, "block %zu again", i);
    }
    size_t mixed = mappings();
    for (size_t i = 0; i < count; i++) free(blocks[i]);
    printf("%zu blocks, %zu GiB: mappings %zu, full %zu, with holes %zu, mixed %zu, end %zu\n",
           count, held / GIB, before, full, holes, mixed, mappings());
    CHECK(full <= before + allowed, "%zu mappings, then %zu", before, full);
    CHECK(holes <= before + allowed, "with holes %zu", holes);
    CHECK(mixed <= before + allowed, "mixed %zu", mixed);
}

/* Memory is committed in steps of up to 64 MiB, and neighbouring steps may differ in whether they
 * want huge pages: two mappings a step at most. */
CASE(sparse_heap) {
    size_t total = strtoul(case_argv[0], NULL, 10) * GIB;
    hold_sparse(total, 500 + total / (32 * MIB));
}

/* Many blocks that realloc grew, each with a mapping of its own and room: in all fewer than the
 * system allows, or the program's own mmap fails next. */
CASE(grown_blocks) {
    enum { BLOCKS = 34000 }; /* two mappings each: more than there are */
    static char *blocks[BLOCKS];
    be_the_victim();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = (char *)malloc(100);
        blocks[i][0] = (char)i;
        blocks[i] = (char *)realloc(blocks[i], 4 * MIB + 4096);
        CHECK(blocks[i] != NULL && blocks[i][0] == (char)i, "block %d", i);
    }
    size_t full = mappings();
    printf("%zu\n", full);
    void *own = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(own != MAP_FAILED, "the program's own mmap is refused: %zu mappings", full);
    CHECK(full <= BUDGET / 2, "%zu mappings", full);
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(blocks[i][0] == (char)i, "block %d", i);
        free(blocks[i]);
    }
}

/* The same for blocks above the threshold, which have a mapping each. */
CASE(huge_blocks) {
    enum { BLOCKS = 70000 };
    static char *blocks[BLOCKS];
    size_t count = 0;
    be_the_victim();
    while (count < BLOCKS && (blocks[count] = (char *)malloc(33 * MIB)) != NULL) count++;
    printf("%zu blocks, %zu mappings\n", count, mappings());
    for (size_t i = 0; i < count; i++) free(blocks[i]);
    void *block = malloc(50 * MIB);
    CHECK(block != NULL, "after all were freed");
    free(block);
}

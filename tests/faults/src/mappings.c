/* The mappings of the process are used up (vm.max_map_count), or memory is locked: blocks of every
 * size are refused with ENOMEM or served, never with a crash, and all is well again afterwards. */
#include <sys/mman.h>
#include <sys/resource.h>

#include "entries.h"

enum { PAGES_MAX = 70000, ROUNDS = 40 };

static char *filler;
static size_t filler_length;

static unsigned long mappings_now(void) {
    static char text[1 << 16];
    unsigned long lines = 0;
    int file = open("/proc/self/maps", O_RDONLY);
    CHECK(file >= 0, "/proc/self/maps");
    for (ssize_t got; (got = read(file, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++) lines += text[i] == '\n';
    close(file);
    return lines;
}

/* Every second page without access: each page is a mapping of its own, until there are no more. */
static void use_up_mappings(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    filler_length = PAGES_MAX * 2 * page;
    filler = (char *)mmap(NULL, filler_length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(filler != MAP_FAILED, "mmap");
    for (size_t i = 0; i < PAGES_MAX; i++)
        if (mprotect(filler + i * 2 * page, page, PROT_NONE) != 0) return;
    SKIP("vm.max_map_count is too large here to be used up");
}

static void give_mappings_back(void) {
    CHECK(munmap(filler, filler_length) == 0, "munmap");
}

static const size_t sizes[] = {16, 3000, 50000, MIB + 7, 5 * MIB, 33 * MIB, 70 * MIB};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

struct tally {
    int served, refused;
};

static void *note(void *block, struct tally *tally) {
    if (block == NULL) CHECK(errno == ENOMEM, "errno is %d", errno);
    *(block == NULL ? &tally->refused : &tally->served) += 1;
    errno = 0;
    return block;
}

/* Blocks of all sizes taken, grown, shrunk, and some kept over the rounds. */
static void traffic(int rounds, struct tally *tally) {
    static unsigned char *kept[SIZES];
    static size_t lengths[SIZES];
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < SIZES; i++) {
            size_t size = sizes[i];
            unsigned char *block = (unsigned char *)note(malloc(size), tally);
            void *aligned = note(aligned_alloc(2 * MIB, size), tally);
            if (block != NULL) stamp(block, size, (unsigned char)i);
            void *grown = note(realloc(block, size * 3), tally);
            if (grown != NULL) {
                CHECK(block == NULL || ((unsigned char *)grown)[0] == i, "grown: %zu", size);
                block = (unsigned char *)grown;
                void *shrunk = note(realloc(block, size / 2 + 1), tally);
                if (shrunk != NULL) block = (unsigned char *)shrunk;
                size = size / 2 + 1;
            } else if (block != NULL) CHECK(stamped(block, size, (unsigned char)i), "%zu", size);
            free(aligned);
            if (kept[i] != NULL) {
                CHECK(stamped(kept[i], lengths[i], (unsigned char)i), "kept: %zu", lengths[i]);
                free(kept[i]);
            }
            kept[i] = block;
            lengths[i] = block == NULL ? 0 : size;
            if (block != NULL) stamp(block, size, (unsigned char)i);
        }
    }
    for (size_t i = 0; i < SIZES; i++) {
        free(kept[i]);
        kept[i] = NULL;
    }
}

static void used_up(int warm) {
    struct tally before = {0, 0}, during = {0, 0}, after = {0, 0};
    if (warm) traffic(2, &before);
    /* From the start: not even mallinfo2 was called, which would reserve the heap. */
    size_t in_use = warm ? mallinfo2().uordblks : 0;
    struct process_size size = process_size();
    use_up_mappings();
    traffic(ROUNDS, &during);
    give_mappings_back();
    traffic(2, &after);
    CHECK(after.refused == 0, "%d calls are refused afterwards", after.refused);
    CHECK(during.served > 0 || !warm, "nothing was served");
    malloc_trim(0);
    CHECK(mallinfo2().uordblks == in_use, "%zu bytes in use, %zu before", mallinfo2().uordblks,
          in_use);
    struct process_size now = process_size();
    CHECK(now.resident < size.resident + 24 * MIB, "%zu KiB resident, %zu before",
          now.resident >> 10, size.resident >> 10);
}

OURS(C41_used_up_from_the_start) { used_up(0); }
OURS(C41_used_up_later) { used_up(1); }

/* realloc grows many blocks into mappings of their own: when those run out it goes on otherwise. */
CASE(C44_used_up_by_the_blocks_themselves) {
    enum { BLOCKS = 2500, LEFT = 1500 };
    static unsigned char *blocks[BLOCKS];
    use_up_mappings();
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    CHECK(munmap(filler, page * LEFT) == 0, "munmap");
    int refused = 0;
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = (unsigned char *)malloc(100);
        CHECK(blocks[i] != NULL, "block %d", i);
        stamp(blocks[i], 100, (unsigned char)i);
        unsigned char *grown = (unsigned char *)realloc(blocks[i], 4 * MIB);
        if (grown == NULL) refused++;
        else blocks[i] = grown;
    }
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(blocks[i][0] == (i & 255) && blocks[i][99] == (i & 255), "block %d", i);
        if (i % 3 == 0) {
            unsigned char *grown = (unsigned char *)realloc(blocks[i], 9 * MIB);
            if (grown != NULL) blocks[i] = grown;
            CHECK(blocks[i][0] == (i & 255), "block %d grown", i);
        }
    }
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    CHECK(munmap(filler + page * LEFT, filler_length - page * LEFT) == 0, "munmap");
    struct tally after = {0, 0};
    traffic(2, &after);
    CHECK(after.refused == 0, "%d calls are refused afterwards", after.refused);
    CHECK(refused < BLOCKS / 2, "%d of %d refused", refused, BLOCKS);
}

/* C44: a large sparse heap with holes leaves the process most of its mappings. */
OURS(C44_sparse_heap_needs_few_mappings) {
    enum { BLOCKS = 40000 };
    static void *blocks[BLOCKS];
    uint64_t state = 77;
    unsigned long before = mappings_now();
    size_t sum = 0;
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = 64 * KIB + next_random(&state) % (10 * MIB);
        blocks[i] = malloc(size);
        CHECK(blocks[i] != NULL, "block %d of %zu after %zu MiB", i, size, sum >> 20);
        *(char *)blocks[i] = 1;
        sum += size;
    }
    CHECK(sum > 190 * GIB, "%zu", sum);
    for (int i = 0; i < BLOCKS; i++)
        if (next_random(&state) % 2) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    unsigned long mappings = mappings_now() - before;
    CHECK(mappings < 1000, "%lu mappings", mappings);
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
}

/* C45: what is mapped from now on is locked, and little may be locked. The heap was reserved
 * before and goes on; new mappings are refused, which is an ENOMEM like any other. */
CASE(C45_future_memory_is_locked) {
    struct tally before = {0, 0}, during = {0, 0}, after = {0, 0};
    if (geteuid() == 0) CHECK(setgid(65534) == 0 && setuid(65534) == 0, "setuid");
    traffic(1, &before);
    struct rlimit limit = {8 * MIB, 8 * MIB};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit");
    if (mlockall(MCL_FUTURE) != 0) SKIP("mlockall is refused");
    traffic(5, &during);
    for (size_t i = 0; i < 3; i++) {
        void *block = malloc(sizes[i]);
        CHECK(block != NULL, "%zu bytes", sizes[i]);
        free(block);
    }
    munlockall();
    traffic(1, &after);
    CHECK(after.refused == 0, "%d calls are refused afterwards", after.refused);
}

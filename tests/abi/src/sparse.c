/* Slabs of which little is held: their free pages go back to the system, the held blocks stay. */
#include <pthread.h>
#include <sys/resource.h>

#include "entries.h"

enum { BLOCKS_MAX = 1 << 20 };

static unsigned char *blocks[BLOCKS_MAX];
static unsigned sizes[BLOCKS_MAX];
static size_t count;
static uint64_t state = 88172645463325252u;

/* As many sizes of each doubling, `least` to 64 times that. */
static size_t any_size(size_t least) {
    size_t doubling = least << next_random(&state) % 6;
    return doubling + next_random(&state) % doubling;
}

/* First and last eight bytes of each block say which it is. */
static void mark(size_t i) {
    uint64_t word = i * 0x9e3779b97f4a7c15u;
    memcpy(blocks[i], &word, 8);
    memcpy(blocks[i] + sizes[i] - 8, &word, 8);
}

static void verify(size_t i) {
    uint64_t word = i * 0x9e3779b97f4a7c15u;
    CHECK(memcmp(blocks[i], &word, 8) == 0, "block %zu of %u bytes changed", i, sizes[i]);
    CHECK(memcmp(blocks[i] + sizes[i] - 8, &word, 8) == 0, "its end changed");
}

static size_t add(size_t bytes, size_t least) {
    size_t sum = 0;
    while (sum < bytes) {
        CHECK(count < BLOCKS_MAX, "more blocks than there is room for");
        size_t size = any_size(least);
        blocks[count] = (unsigned char *)malloc(size);
        CHECK(blocks[count] != NULL, "%zu bytes", size);
        stamp(blocks[count], size, 1);
        sizes[count] = (unsigned)size;
        mark(count++);
        sum += size;
    }
    return sum;
}

/* Frees all but one of `share`, in an order without order; the bytes that are left. */
static size_t thin_out(unsigned share) {
    size_t left = 0;
    for (size_t start = 0; start < 64; start++) {
        for (size_t i = start; i < count; i += 64) {
            if (blocks[i] == NULL) continue;
            if (next_random(&state) % share == 0) {
                left += sizes[i];
                continue;
            }
            verify(i);
            free(blocks[i]);
            blocks[i] = NULL;
        }
    }
    return left;
}

static void verify_all(void) {
    for (size_t i = 0; i < count; i++)
        if (blocks[i] != NULL) verify(i);
}

static void free_all(void) {
    for (size_t i = 0; i < count; i++) {
        if (blocks[i] != NULL) verify(i);
        free(blocks[i]);
    }
    count = 0;
}

/* With a quarter kept as idle pages, and what rounding costs. */
OURS(C66_memory_follows_a_heap_that_shrinks) {
    free(malloc(1));
    size_t before = process_size().resident;
    add(120 * MIB, KIB);
    size_t full = process_size().resident - before;
    size_t left = thin_out(7);
    size_t now = process_size().resident - before;
    CHECK(now < left * 9 / 4, "%zu MiB resident, %zu of %zu live", now / MIB, left / MIB,
          full / MIB);
    verify_all();
    add(100 * MIB, KIB); /* into the same slabs */
    size_t again = process_size().resident - before;
    CHECK(again < full + full / 8, "%zu MiB again, %zu before", again / MIB, full / MIB);
    verify_all();
    free_all();
    now = process_size().resident - before;
    CHECK(now < 8 * MIB, "%zu MiB after all was freed", now / MIB);
}

/* What lies about in sparse slabs is used before the process grows. */
OURS(C66_growth_takes_from_sparse_slabs) {
    free(malloc(1));
    size_t before = process_size().resident;
    add(100 * MIB, 16);
    add(60 * MIB, 256);
    thin_out(12);
    size_t thin = process_size().resident;
    add(40 * MIB, 2 * KIB);
    size_t grown = process_size().resident;
    CHECK(grown < thin + 24 * MIB, "%zu MiB, then %zu", thin / MIB, grown / MIB);
    verify_all();
    free_all();
    size_t now = process_size().resident - before;
    CHECK(now < 16 * MIB, "%zu MiB after all was freed", now / MIB);
}

/* As a server that answers each query with a table of its own: no page is faulted in every time. */
OURS(C68_no_storm_of_holes) {
    enum { ROUNDS = 60, WARM = 10 };
    struct rusage use;
    long warm = 0;
    for (int round = 0; round < ROUNDS; round++) {
        if (round == WARM) {
            getrusage(RUSAGE_SELF, &use);
            warm = use.ru_minflt;
        }
        add(16 * MIB, 64);
        for (size_t step = 0, i = 0; step < count; step++) {
            free(blocks[i]); /* in an order without order */
            blocks[i] = NULL;
            i = (i + 7919) % count;
        }
        free_all();
    }
    getrusage(RUSAGE_SELF, &use);
    long faults = use.ru_minflt - warm, all = (ROUNDS - WARM) * (long)(16 * MIB / 4096);
    CHECK(faults < all / 4, "%ld faults of %ld", faults, all);
}

CASE(C40_trim_takes_whole_pages_between_blocks) {
    add(60 * MIB, 256);
    size_t left = thin_out(10);
    malloc_trim(0);
    size_t resident = process_size().resident;
    CHECK(resident < left * 5 + 16 * MIB, "%zu MiB, %zu live", resident / MIB, left / MIB);
    verify_all();
    free_all();
}

CASE(C36_cleared_memory_from_sparse_slabs) {
    add(60 * MIB, 512);
    thin_out(10);
    malloc_trim(0);
    for (int i = 0; i < 20000; i++) {
        size_t size = any_size(512);
        unsigned char *block = (unsigned char *)calloc(1, size);
        CHECK(block != NULL, "%zu bytes", size);
        CHECK(zeroes(block, size) == size, "a cleared block of %zu is not", size);
        CHECK(count < BLOCKS_MAX, "blocks");
        sizes[count] = (unsigned)size;
        blocks[count] = block;
        mark(count++);
    }
    verify_all();
    free_all();
}

static void *thin_out_there(void *argument) {
    *(size_t *)argument = thin_out(8);
    return NULL;
}

/* Another thread frees: messages, helpers, and the owner's own slabs. */
OURS(C32_sparse_by_frees_of_another_thread) {
    size_t left, before = process_size().resident;
    add(100 * MIB, KIB);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, thin_out_there, &left) == 0, "thread");
    pthread_join(thread, NULL);
    add(MIB, 64); /* the owner comes by */
    size_t now = process_size().resident - before;
    CHECK(now < left * 5 / 2 + 10 * MIB, "%zu MiB, %zu live", now / MIB, left / MIB);
    verify_all();
    free_all();
}

static pthread_barrier_t steps;

static void *thin_out_more(void *argument) {
    *(size_t *)argument = thin_out(30);
    return NULL;
}

static void *thin_out_and_wait(void *argument) {
    add(60 * MIB, 32);
    *(size_t *)argument = thin_out(30);
    pthread_barrier_wait(&steps);
    pthread_barrier_wait(&steps);
    free_all();
    return argument;
}

/* The thread that made the slabs sleeps; then another one's, which has ended. */
OURS(C40_trim_takes_whole_pages_of_other_threads) {
    size_t left, before = process_size().resident;
    pthread_t thread;
    pthread_barrier_init(&steps, NULL, 2);
    CHECK(pthread_create(&thread, NULL, thin_out_and_wait, &left) == 0, "thread");
    pthread_barrier_wait(&steps);
    malloc_trim(0);
    size_t now = process_size().resident - before;
    CHECK(now < left * 4 + 16 * MIB, "asleep: %zu MiB, %zu live", now / MIB, left / MIB);
    verify_all();
    pthread_barrier_wait(&steps);
    pthread_join(thread, NULL);
    CHECK(pthread_create(&thread, NULL, thin_out_more, &left) == 0, "thread");
    pthread_join(thread, NULL);
    add(60 * MIB, 32);
    CHECK(pthread_create(&thread, NULL, thin_out_more, &left) == 0, "thread");
    pthread_join(thread, NULL);
    malloc_trim(0);
    now = process_size().resident - before;
    CHECK(now < left * 4 + 16 * MIB, "of both: %zu MiB, %zu live", now / MIB, left / MIB);
    verify_all();
    free_all();
}

/* What a heap of a few MiB keeps in its magazines must not keep a slab for each block. */
OURS(C66_a_small_heap_freed_at_random_is_small) {
    free(malloc(1));
    size_t before = process_size().resident;
    add(24 * MIB, 16);
    thin_out(5000);
    size_t now = process_size().resident - before;
    CHECK(now < 8 * MIB, "%zu KiB", now / KIB);
    verify_all();
    free_all();
}

/* How many of the blocks lie where huge pages are asked for. */
static size_t blocks_in_huge_pages(void) {
    char line[4096];
    unsigned long from, to, first = 0, end = 0;
    size_t sum = 0;
    FILE *maps = fopen("/proc/self/smaps", "r");
    CHECK(maps != NULL, "/proc/self/smaps");
    while (fgets(line, sizeof line, maps) != NULL) {
        /* The names of some fields begin as a number does. */
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            first = from;
            end = to;
            continue;
        }
        if (strncmp(line, "VmFlags:", 8) != 0 || strstr(line, " hg") == NULL) continue;
        for (size_t i = 0; i < count; i++)
            sum += (uintptr_t)blocks[i] >= first && (uintptr_t)blocks[i] < end;
    }
    fclose(maps);
    return sum;
}

/* How many of 64 MiB of blocks of one size lie there. */
static size_t of_one_size_in_huge_pages(size_t size) {
    for (count = 0; count < 64 * MIB / size; count++) {
        blocks[count] = (unsigned char *)malloc(size);
        CHECK(blocks[count] != NULL, "%zu bytes", size);
    }
    size_t inside = blocks_in_huge_pages();
    for (size_t i = 0; i < count; i++) free(blocks[i]);
    return inside;
}

/* What lies in slabs is used all over; also after a block that ends within a huge page. */
OURS(C48_huge_pages_under_slabs) {
    free(malloc(9 * MIB));
    size_t inside = of_one_size_in_huge_pages(32 * KIB);
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0) exit(77);
    CHECK(inside >= count / 2, "%zu of %zu blocks", inside, count);
}

/* Of longer blocks, as buffers and stacks are, programs touch what they like. */
OURS(C44_no_huge_pages_under_longer_blocks) {
    size_t inside = of_one_size_in_huge_pages(40 * KIB);
    CHECK(inside == 0, "%zu of %zu blocks", inside, count);
}

/* Else the kernel makes huge pages again of what has holes, and an idle program grows. */
OURS(C48_no_huge_pages_where_there_are_holes) {
    add(120 * MIB, KIB);
    if (blocks_in_huge_pages() == 0) exit(77); /* this system has none */
    thin_out(7);
    size_t left = blocks_in_huge_pages();
    CHECK(left == 0, "%zu blocks", left);
    free_all();
}

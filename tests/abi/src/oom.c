/* Memory runs out (RLIMIT_AS): NULL and ENOMEM, nothing lost, and it works again afterwards. */
#include <pthread.h>
#include <sys/resource.h>

#include "entries.h"

static void limit_what_to(int what, size_t bytes) {
    struct rlimit limit;
    CHECK(getrlimit(what, &limit) == 0, "getrlimit");
    limit.rlim_cur = bytes == 0 ? limit.rlim_max : bytes;
    CHECK(setrlimit(what, &limit) == 0, "setrlimit");
}

static void limit_to(size_t bytes) { limit_what_to(RLIMIT_AS, bytes); }

/* So much more than the program has now. Where libc's start has brought the heap up (in a static
 * program), what it reserved would hide the limit: the program then starts again under it. */
static void limit_to_more(size_t bytes) {
    size_t mapped = process_size().mapped;
    limit_to((mapped < 4 * GIB ? mapped : 16 * MIB) + bytes);
    if (mapped < 4 * GIB) return;
    execv("/proc/self/exe", case_argv - 2);
    FAIL("it cannot start again");
}

struct held {
    struct held *next;
    size_t size;
};

/* Takes blocks of `size` until there are no more, each with its pattern; the list of them. */
static struct held *exhaust(size_t size, size_t *count) {
    struct held *list = NULL;
    *count = 0;
    for (;;) {
        errno = 0;
        struct held *block = (struct held *)malloc(size);
        if (block == NULL) break;
        fill(block, size, (unsigned)size);
        block->next = list;
        block->size = size;
        list = block;
        ++*count;
        CHECK(*count * size < 4 * GIB, "the limit does not bite");
    }
    CHECK(errno == ENOMEM, "errno is %d", errno);
    return list;
}

static void check_and_free(struct held *list) {
    while (list != NULL) {
        struct held *next = list->next;
        size_t size = list->size;
        char *rest = (char *)(list + 1);
        for (size_t i = sizeof *list; i < size; i++)
            CHECK((unsigned char)rest[i - sizeof *list] == pattern((unsigned)size, i),
                  "a block of %zu changed", size);
        free(list);
        list = next;
    }
}

static void check_round(size_t size) {
    size_t first, second;
    limit_to_more(160 * MIB);
    struct held *list = exhaust(size, &first);
    for (int i = 0; i < 100; i++) { /* it stays refused, without a crash */
        errno = 0;
        void *extra = malloc(size * 64 + 64 * MIB);
        CHECK(extra == NULL && errno == ENOMEM, "errno is %d", errno);
    }
    check_and_free(list);
    check_and_free(exhaust(size, &second));
    CHECK(second >= first * 3 / 4, "%zu blocks of %zu at first, then %zu", first, size, second);
    limit_to(0);
    void *block = malloc(300 * MIB);
    CHECK(block != NULL, "after the limit is lifted");
    free(block);
}

CASE(C41_small_blocks) { check_round(100); }
CASE(C41_page_sized_blocks) { check_round(4000); }
CASE(C41_medium_blocks) { check_round(60 * KIB); }
CASE(C41_large_blocks) { check_round(MIB + 100); }
CASE(C41_huge_blocks) { check_round(40 * MIB); }

CASE(C41_mixed_sizes_after_each_other) {
    limit_to_more(160 * MIB);
    const size_t sizes[] = {100, 30000, 64, 500000, 1000, 35 * MIB, 16, 5000, 3 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t count;
        check_and_free(exhaust(sizes[i], &count));
        malloc_trim(0);
        CHECK(count * sizes[i] > 30 * MIB, "%zu: only %zu blocks", sizes[i], count);
    }
}

CASE(C41_realloc_keeps_what_it_cannot_grow) {
    limit_to_more(160 * MIB);
    const size_t sizes[] = {100, 5000, 200000, 3 * MIB, 40 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *block = malloc(sizes[i]);
        fill(block, sizes[i], 7);
        errno = 0;
        CHECK(realloc(block, 400 * MIB) == NULL && errno == ENOMEM, "errno is %d", errno);
        CHECK(intact(block, sizes[i], 7) == sizes[i], "%zu bytes changed", sizes[i]);
        block = realloc(block, sizes[i] + 100);
        CHECK(block != NULL && intact(block, sizes[i], 7) == sizes[i], "%zu", sizes[i]);
        free(block);
    }
}

CASE(C41_every_entry_says_enomem) {
    limit_to_more(160 * MIB);
    FOR_EACH_ENTRY(each) {
        errno = 0;
        CHECK(each->allocate(400 * MIB) == NULL, "%s", each->name);
        CHECK(errno == ENOMEM, "%s: errno is %d", each->name, errno);
        void *block = each->allocate(1000);
        CHECK(block != NULL, "%s does not work any more", each->name);
        free(block);
    }
}

static void *exhaust_in_a_thread(void *argument) {
    size_t size = *(size_t *)argument;
    for (int turn = 0; turn < 3; turn++) {
        size_t count;
        check_and_free(exhaust(size, &count));
    }
    return NULL;
}

CASE(C41_threads_that_run_out_together) {
    size_t sizes[] = {64, 3000, 40000, 700000};
    pthread_t threads[4];
    limit_to_more(256 * MIB);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, exhaust_in_a_thread, &sizes[i]) == 0, "thread");
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    limit_to(0);
    void *block = malloc(100 * MIB);
    CHECK(block != NULL, "after the limit is lifted");
    free(block);
}

static void *allocate_in_thread(void *argument) {
    void *block = malloc(200 * KIB);
    CHECK(block != NULL, "in a thread");
    free(block);
    return argument;
}

/* What `ulimit -v` does in a running shell: the limit comes when much is reserved already. */
CASE(C43_a_limit_set_later) {
    size_t count;
    void *before = malloc(3 * MIB);
    CHECK(before != NULL, "3 MiB");
    fill(before, 3 * MIB, 5);
    limit_to(GIB);
    void *large = malloc(300 * MIB);
    CHECK(large != NULL, "300 MiB of 1 GiB");
    memset(large, 1, MIB);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, allocate_in_thread, NULL) == 0, "a stack");
    pthread_join(thread, NULL);
    const size_t sizes[] = {40 * MIB, 100, 5000, 70 * KIB, 3 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check_and_free(exhaust(sizes[i], &count));
        CHECK(count * sizes[i] > 300 * MIB, "%zu blocks of %zu", count, sizes[i]);
    }
    CHECK(intact(before, 3 * MIB, 5) == 3 * MIB, "a block changed");
    free(before);
    free(large);
    limit_to(0);
    large = malloc(2 * GIB);
    CHECK(large != NULL, "after the limit is lifted");
    free(large);
}

/* Once all is freed what a limit counts is free too, for other blocks and for stacks. */
static void fill_and_free(size_t size, size_t least, size_t most) {
    size_t count;
    struct held *list = exhaust(size, &count);
    CHECK(count * size >= least && count * size <= most, "%zu blocks of %zu", count, size);
    check_and_free(list);
    void *large = malloc(most / 3);
    CHECK(large != NULL, "%zu bytes after all was freed", most / 3);
    free(large);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, allocate_in_thread, NULL) == 0, "a stack");
    pthread_join(thread, NULL);
}

/* Python's resource.setrlimit, a test suite that limits itself: no large block is refused first.
 * glibc does not get 200 MiB together once small blocks were all freed. */
OURS(C43_a_limit_set_later_binds_small_blocks) {
    free(malloc(100));
    limit_to(600 * MIB);
    fill_and_free(MIB, 400 * MIB, 600 * MIB);
    fill_and_free(100 * KIB, 300 * MIB, 600 * MIB);
    fill_and_free(3000, 300 * MIB, 600 * MIB);
    limit_to(0);
    void *large = malloc(2 * GIB);
    CHECK(large != NULL, "after the limit is lifted");
    free(large);
}

CASE(C43_a_limit_of_data_set_later) {
    free(malloc(100));
    limit_what_to(RLIMIT_DATA, 600 * MIB);
    fill_and_free(MIB, 400 * MIB, 600 * MIB);
    fill_and_free(3000, 300 * MIB, 600 * MIB);
}

OURS(C43_a_limit_lowered_twice) {
    size_t count;
    free(malloc(100));
    limit_to(GIB);
    void *large = malloc(300 * MIB);
    CHECK(large != NULL, "300 MiB of 1 GiB");
    check_and_free(exhaust(70 * KIB, &count));
    limit_to(512 * MIB);
    free(large);
    large = malloc(100 * MIB);
    CHECK(large != NULL, "100 MiB of 512");
    large = realloc(large, 200 * MIB);
    CHECK(large != NULL, "200 MiB of 512");
    free(large);
}

/* Run by the test under `ulimit -v`: the reservation is refused, the program works all the same. */
CASE(C41_fills_a_small_address_space) {
    enum { BLOCKS = 300 * 1024 };
    static void *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(1024);
        CHECK(blocks[i] != NULL, "block %u", i);
        memset(blocks[i], (int)i, 1024);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        const unsigned char *block = (const unsigned char *)blocks[i];
        CHECK(block[0] == (i & 255) && block[1023] == (i & 255), "block %u", i);
        free(blocks[i]);
    }
    void *large = malloc(32 * MIB);
    CHECK(large != NULL, "32 MiB after all was freed");
    free(large);
}

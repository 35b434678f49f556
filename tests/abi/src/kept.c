/* What is kept for reuse must not be in anybody's way: huge blocks that recur, what waits
 * for threads that do not call, and a realloc that needs no memory. */
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "entries.h"

/* So many bytes more than what is mapped now. */
static void limit_address_space(size_t above) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit");
    limit.rlim_cur = process_size().mapped + above;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
}

static void lift_limit(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
}

static void swing(size_t size) {
    for (int i = 0; i < 6; i++) {
        char *block = (char *)malloc(size);
        CHECK(block != NULL, "%zu bytes", size);
        block[0] = 1;
        free(block);
    }
}

OURS(C41_what_is_kept_makes_room) {
    limit_address_space(700 * MIB);
    swing(400 * MIB);
    int blocks = 0;
    while (calloc(1, 1000000) != NULL) blocks++;
    CHECK(blocks > 550, "calloc gave %d blocks of 1 MB in 700 MiB", blocks);
    CHECK(malloc(1000000) == NULL, "malloc finds what calloc did not");
    lift_limit();
}

OURS(C41_realloc_gets_what_is_kept) {
    free(malloc(1)); /* the heap is there before the limit */
    limit_address_space(700 * MIB);
    char *block = (char *)malloc(400 * MIB);
    CHECK(block != NULL, "400 MiB");
    block[0] = 7;
    swing(150 * MIB); /* the last of these is kept */
    block = (char *)realloc(block, 600 * MIB);
    CHECK(block != NULL && block[0] == 7, "400 to 600 MiB");
    free(block);
    lift_limit();
}

CASE(C41_realloc_needs_its_growth_only) {
    free(malloc(1)); /* the heap is there before the limit */
    limit_address_space(700 * MIB);
    size_t mapped = process_size().mapped;
    for (int turn = 0; turn < 4; turn++) {
        char *block = (char *)malloc(200 * MIB);
        CHECK(block != NULL, "turn %d", turn);
        block[0] = 7;
        block = (char *)realloc(block, 600 * MIB);
        CHECK(block != NULL && block[0] == 7, "turn %d: 200 to 600 MiB", turn);
        free(block);
        malloc_trim(0);
        size_t now = process_size().mapped;
        CHECK(now < mapped + 8 * MIB, "turn %d: %zu MiB are lost", turn, (now - mapped) / MIB);
    }
    char *block = NULL;
    size_t size = MIB;
    for (; size <= 690 * MIB; size += MIB) {
        char *grown = (char *)realloc(block, size);
        if (grown == NULL) break;
        block = grown;
    }
    CHECK(size > 600 * MIB, "grown in steps to %zu MiB", size / MIB);
    free(block);
    lift_limit();
}

CASE(C41_a_smaller_size_is_never_refused) {
    enum { MOST = 400000 };
    static void *blocks[MOST];
    limit_address_space(160 * MIB);
    int count = 0;
    while (count < MOST && (blocks[count] = malloc(2000)) != NULL) count++;
    for (int i = 0; i < 50; i++) {
        void *smaller = realloc(blocks[i], 500);
        CHECK(smaller != NULL, "block %d of %d", i, count);
        blocks[i] = smaller;
    }
    for (int i = 0; i < count; i++) free(blocks[i]);
    lift_limit();
}

static int ends_with_abort(int what) {
    pid_t child = fork();
    CHECK(child >= 0, "fork");
    if (child == 0) {
        char *volatile block = (char *)malloc(40 * MIB);
        free(block);
        swing(40 * MIB);
        if (what == 0) free(block);
        if (what == 1) block = (char *)realloc(block, 50 * MIB);
        if (what == 2) _exit((int)malloc_usable_size(block) & 1);
        if (what == 3) free(block + 4096);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child, "waitpid");
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

OURS(C68_kept_blocks_are_nobody_s) {
    for (int what = 0; what < 4; what++) CHECK(ends_with_abort(what), "misuse %d", what);
}

enum { THREADS = 16, EACH = 400, BLOCK = 28000 };
static void *blocks[THREADS * EACH];
static pthread_barrier_t made, over;

static void *make(void *argument) {
    size_t first = (size_t)argument * EACH;
    for (size_t i = 0; i < EACH; i++) {
        blocks[first + i] = malloc(BLOCK);
        memset(blocks[first + i], 1, BLOCK);
    }
    pthread_barrier_wait(&made);
    pthread_barrier_wait(&over);
    return NULL;
}

/* The threads are there and idle: trim gives back what was freed for them. */
CASE(C40_trim_reaches_idle_threads) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&made, NULL, THREADS + 1);
    pthread_barrier_init(&over, NULL, THREADS + 1);
    size_t before = process_size().resident;
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, make, (void *)i) == 0, "thread");
    pthread_barrier_wait(&made);
    size_t full = process_size().resident;
    CHECK(full > before + 150 * MIB, "%zu MiB", full / MIB);
    for (size_t i = 0; i < THREADS * EACH; i++) free(blocks[i * 1009 % (THREADS * EACH)]);
    malloc_trim(0);
    size_t after = process_size().resident;
    CHECK(after < before + 16 * MIB, "%zu MiB of %zu", (after - before) / MIB, full / MIB);
    pthread_barrier_wait(&over);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

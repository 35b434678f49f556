/* Threads: their first and last calls, frees across them, and a footprint that stays bounded. */
#include <pthread.h>
#include <stdatomic.h>

#include "entries.h"

static void start(pthread_t *thread, void *(*run)(void *), void *argument) {
    CHECK(pthread_create(thread, NULL, run, argument) == 0, "pthread_create");
}

static void run_and_join(void *(*run)(void *), void *argument) {
    pthread_t thread;
    start(&thread, run, argument);
    pthread_join(thread, NULL);
}

/* Leaves half of what it allocates to the caller. */
static void *short_life(void *argument) {
    void **left = (void **)argument;
    for (int i = 0; i < 20; i++) {
        void *block = malloc(16 + (size_t)i * 100);
        memset(block, i, 16);
        if (i % 2) free(block);
        else left[i / 2] = block;
    }
    return NULL;
}

CASE(C31_ten_thousand_short_threads) {
    void *left[10];
    size_t at_start = 0;
    for (int turn = 0; turn < 10000; turn++) {
        run_and_join(short_life, left);
        for (int i = 0; i < 10; i++) free(left[i]);
        if (turn == 500) at_start = process_size().resident;
    }
    size_t at_end = process_size().resident;
    CHECK(at_end <= at_start + 2 * MIB, "%zu KiB to %zu KiB", at_start / KIB, at_end / KIB);
}

/* Nobody frees for them: what a thread leaves behind is used by the next. */
static void *leaves_garbage_in_caches(void *argument) {
    (void)argument;
    void *blocks[300];
    for (int i = 0; i < 300; i++) blocks[i] = memset(malloc(1000 + (size_t)i * 20), 1, 1000);
    for (int i = 0; i < 300; i++) free(blocks[i]);
    return NULL;
}

CASE(C31_memory_of_dead_threads_is_reused) {
    run_and_join(leaves_garbage_in_caches, NULL);
    size_t first = process_size().resident;
    for (int turn = 0; turn < 500; turn++) run_and_join(leaves_garbage_in_caches, NULL);
    size_t last = process_size().resident;
    CHECK(last <= first + 8 * MIB, "%zu KiB to %zu KiB", first / KIB, last / KIB);
}

static void *free_all(void *argument) {
    for (void **each = (void **)argument; *each != NULL; each++) free(*each);
    return NULL;
}

/* A thread whose first call is a free of another's block, and which never allocates. */
CASE(C03_first_call_is_a_remote_free) {
    static void *blocks[2001];
    size_t at_start = 0;
    for (int turn = 0; turn < 300; turn++) {
        for (int i = 0; i < 2000; i++) blocks[i] = memset(malloc(16 + (size_t)i % 3000), 1, 16);
        run_and_join(free_all, blocks);
        if (turn == 30) at_start = process_size().resident;
    }
    size_t at_end = process_size().resident;
    CHECK(at_end <= at_start + 8 * MIB, "%zu KiB to %zu KiB", at_start / KIB, at_end / KIB);
}

static pthread_key_t key;

static void free_in_destructor(void *block) {
    CHECK(*(char *)block == 'k', "contents");
    void *other = malloc(500);
    memset(other, 1, 500);
    free(other);
    free(block);
}

static void *set_key(void *argument) {
    (void)argument;
    char *block = (char *)malloc(777);
    *block = 'k';
    pthread_setspecific(key, block);
    return NULL;
}

CASE(C13_last_act_is_a_free_in_a_destructor) {
    CHECK(pthread_key_create(&key, free_in_destructor) == 0, "key");
    size_t at_start = 0;
    for (int turn = 0; turn < 3000; turn++) {
        run_and_join(set_key, NULL);
        if (turn == 300) at_start = process_size().resident;
    }
    size_t at_end = process_size().resident;
    CHECK(at_end <= at_start + 2 * MIB, "%zu KiB to %zu KiB", at_start / KIB, at_end / KIB);
}

static pthread_key_t rounds_key;

static void allocate_in_every_round(void *value) {
    size_t round = *(size_t *)value;
    free(value);
    if (round == 0) return;
    size_t *next = (size_t *)malloc(sizeof *next);
    *next = round - 1;
    pthread_setspecific(rounds_key, next);
}

static void *many_destructor_rounds(void *argument) {
    (void)argument;
    size_t *first = (size_t *)malloc(sizeof *first);
    *first = 3;
    pthread_setspecific(rounds_key, first);
    return NULL;
}

CASE(C13_destructors_that_set_their_key_again) {
    CHECK(pthread_key_create(&rounds_key, allocate_in_every_round) == 0, "key");
    for (int turn = 0; turn < 500; turn++) run_and_join(many_destructor_rounds, NULL);
}

static pthread_barrier_t barrier;

static void *first_allocation_together(void *argument) {
    pthread_barrier_wait(&barrier);
    char *block = (char *)malloc(1000);
    CHECK(block != NULL, "malloc");
    memset(block, (int)(size_t)argument, 1000);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 1000; i++) CHECK(block[i] == (char)(size_t)argument, "byte %d", i);
    free(block);
    return NULL;
}

CASE(C04_sixty_four_threads_start_together) {
    pthread_t threads[64];
    for (int turn = 0; turn < 10; turn++) {
        pthread_barrier_init(&barrier, NULL, 64);
        for (size_t i = 0; i < 64; i++) start(&threads[i], first_allocation_together, (void *)i);
        for (int i = 0; i < 64; i++) pthread_join(threads[i], NULL);
        pthread_barrier_destroy(&barrier);
    }
}

enum { RING = 1024, PASSED = 400000 };
static _Atomic(void *) ring[RING];

static void *consume(void *argument) {
    (void)argument;
    for (unsigned i = 0; i < PASSED; i++) {
        void *block;
        while ((block = atomic_exchange(&ring[i % RING], NULL)) == NULL) sched_yield();
        CHECK(*(unsigned *)block == i, "block %u holds %u", i, *(unsigned *)block);
        free(block);
    }
    return NULL;
}

/* One thread only allocates, one only frees: memory must come back to the first. */
CASE(C32_producer_and_consumer) {
    pthread_t consumer;
    start(&consumer, consume, NULL);
    size_t at_start = 0;
    for (unsigned i = 0; i < PASSED; i++) {
        unsigned *block = (unsigned *)malloc(16 + i % 1000);
        *block = i;
        while (atomic_load(&ring[i % RING]) != NULL) sched_yield();
        atomic_store(&ring[i % RING], block);
        if (i == PASSED / 10) at_start = process_size().resident;
    }
    pthread_join(consumer, NULL);
    size_t at_end = process_size().resident;
    CHECK(at_end <= at_start + 8 * MIB, "%zu KiB to %zu KiB", at_start / KIB, at_end / KIB);
}

static void *exit_explicitly(void *argument) {
    free(argument);
    void *block = malloc(300);
    free(block);
    pthread_exit(NULL);
}

static void *wait_to_be_cancelled(void *argument) {
    free(argument);
    for (;;) {
        void *block = malloc(300);
        pthread_testcancel(); /* leaks the block at most: the program's own doing */
        free(block);
    }
    return NULL;
}

CASE(C31_pthread_exit_and_cancellation) {
    for (int turn = 0; turn < 300; turn++) {
        run_and_join(exit_explicitly, malloc(100));
        pthread_t thread;
        start(&thread, wait_to_be_cancelled, malloc(100));
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
}

static void *realloc_here(void *argument) {
    void **slot = (void **)argument;
    size_t size = malloc_usable_size(*slot);
    *slot = realloc(*slot, size * 2 + 1);
    return NULL;
}

/* Each thread takes over the block of one that has ended, and moves it into its own heap. */
CASE(C31_realloc_of_a_dead_threads_block) {
    void *block = malloc(10);
    fill(block, 10, 1);
    for (int turn = 0; turn < 20; turn++) {
        run_and_join(realloc_here, &block);
        CHECK(intact(block, 10, 1) == 10, "turn %d", turn);
    }
    free(block);
}

static pthread_key_t late_key;

static void allocate_first_here(void *value) {
    (void)value;
    void *block = malloc(300);
    memset(block, 1, 300);
    free(block);
}

static void *only_set_the_key(void *argument) {
    pthread_setspecific(late_key, argument);
    return NULL;
}

/* Such a thread's heap is not seen in the first round of destructors. Each would be one heap. */
OURS(C31_first_call_in_a_key_destructor) {
    free(malloc(1)); /* the library's own key comes first */
    CHECK(pthread_key_create(&late_key, allocate_first_here) == 0, "pthread_key_create");
    for (int turn = 0; turn < 2000; turn++) run_and_join(only_set_the_key, &late_key);
    CHECK(mallinfo2().ordblks < 20, "%zu heaps", mallinfo2().ordblks);
}

enum { LAST_ACTS = 100000, AT_ONCE = 8, ROUNDS = 4 };
struct last_act {
    void *block; /* made by another thread */
    int round;   /* of destructors in which it is freed */
    int sets;
    int calls_before;
};
static pthread_key_t last_key;

static void free_as_last_act(void *value) {
    struct last_act *act = (struct last_act *)value;
    if (++act->sets < act->round) pthread_setspecific(last_key, act);
    else free(act->block);
}

static void *only_set_the_last_key(void *argument) {
    struct last_act *act = (struct last_act *)argument;
    /* The others had no heap before, some of them not until the last round, of which no destructor
     * that is set then is told. */
    if (act->calls_before) {
        void *volatile kept = malloc(64); /* the compiler would leave the pair out */
        free(kept);
    }
    pthread_setspecific(last_key, act);
    return NULL;
}

/* 10^5 threads that free a block of another's in a destructor, some in the last round of all, when
 * their heap is gone, and do nothing after that which could bring it home. */
CASE(a_hundred_thousand_last_acts) {
    CHECK(pthread_key_create(&last_key, free_as_last_act) == 0, "pthread_key_create");
    size_t at_start = 0;
    for (int turn = 0; turn < LAST_ACTS / AT_ONCE; turn++) {
        pthread_t threads[AT_ONCE];
        struct last_act acts[AT_ONCE];
        for (int i = 0; i < AT_ONCE; i++) {
            acts[i].block = memset(malloc(16 + (size_t)(turn * 37 + i * 501) % 4000), 1, 16);
            acts[i].round = 1 + (turn + i) % ROUNDS;
            acts[i].sets = 0;
            acts[i].calls_before = turn % 2;
            start(&threads[i], only_set_the_last_key, &acts[i]);
        }
        for (int i = 0; i < AT_ONCE; i++) pthread_join(threads[i], NULL);
        if (turn == 500) at_start = process_size().resident;
    }
    size_t at_end = process_size().resident;
    CHECK(at_end <= at_start + 2 * MIB, "%zu KiB to %zu KiB", at_start / KIB, at_end / KIB);
    pthread_key_delete(last_key);
}

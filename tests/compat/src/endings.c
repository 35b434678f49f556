/* The last calls of a thread and of the process: destructors in every round, in every order. */
#include <pthread.h>

#include "entries.h"

enum { THREADS = 150 };
static pthread_key_t key;
static pthread_key_t another_key;

/* What is resident for good: without runs that are only waiting to be given back. */
static size_t trimmed_size(void) {
    malloc_trim(0);
    return process_size().resident;
}

static void work(unsigned seed) {
    const size_t sizes[] = {24, 600, 5000, 90000, 2 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *block = (unsigned char *)malloc(sizes[i]);
        CHECK(block != NULL, "%zu bytes in a destructor", sizes[i]);
        stamp(block, sizes[i], (unsigned char)seed);
        block = (unsigned char *)realloc(block, sizes[i] * 2);
        CHECK(block != NULL && stamped(block, sizes[i], (unsigned char)seed), "realloc");
        free(block);
        unsigned char *zero = (unsigned char *)calloc(1, sizes[i]);
        CHECK(zero != NULL && zeroes(zero, sizes[i]) == sizes[i], "calloc");
        free(zero);
    }
}

struct late {
    int round;
    void *from_main;
};

/* Sets its key again until the last round that libc grants: a malloc's own destructor has run. */
static void in_every_round(void *value) {
    struct late *late = (struct late *)value;
    work((unsigned)late->round);
    if (++late->round < 4) {
        pthread_setspecific(key, late);
        return;
    }
    CHECK(intact(late->from_main, 3000, 9) == 3000, "main's block");
    free(late->from_main);
    free(late);
}

static void in_another_key(void *value) {
    work(77);
    free(value);
}

static void *die(void *argument) {
    struct late *late = (struct late *)malloc(sizeof *late);
    late->round = 0;
    late->from_main = argument;
    pthread_setspecific(key, late);
    pthread_setspecific(another_key, malloc(100));
    return NULL;
}

/* Also a thread whose first call of all is in a late round. */
static void *never_call(void *argument) {
    pthread_setspecific(key, argument);
    return NULL;
}

CASE(C13_every_round_of_key_destructors) {
    size_t settled = 0;
    CHECK(pthread_key_create(&key, in_every_round) == 0, "key");
    CHECK(pthread_key_create(&another_key, in_another_key) == 0, "key");
    for (int turn = 0; turn < THREADS; turn++) {
        pthread_t threads[2];
        void *block = malloc(3000);
        struct late *late = (struct late *)malloc(sizeof *late);
        fill(block, 3000, 9);
        late->round = 2;
        late->from_main = malloc(3000);
        fill(late->from_main, 3000, 9);
        CHECK(pthread_create(&threads[0], NULL, die, block) == 0, "thread");
        CHECK(pthread_create(&threads[1], NULL, never_call, late) == 0, "thread");
        for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
        if (turn == 50) settled = trimmed_size();
    }
    size_t last = trimmed_size();
    CHECK(last <= settled + 4 * MIB, "%zu KiB, then %zu KiB", settled / KIB, last / KIB);
}

static void say(const char *word) {
    if (write(1, word, strlen(word)) < 0) _exit(3);
}

static void *kept;

static void at_exit(void) {
    work(1);
    CHECK(intact(kept, 500, 4) == 500, "contents");
    kept = realloc(kept, 50000);
    say("atexit ");
}
static void on_exit_too(int status, void *argument) {
    (void)status;
    work(2);
    CHECK(intact(kept, 500, 4) == 500, "contents");
    free(argument);
    say("on_exit ");
}
static void __attribute__((destructor)) in_destructor(void) {
    if (kept == NULL) return;
    work(3);
    free(kept);
    say("destructor ");
}

CASE(C13_exit_handlers_and_destructors) {
    kept = malloc(500);
    fill(kept, 500, 4);
    CHECK(on_exit(on_exit_too, malloc(100)) == 0, "on_exit");
    CHECK(atexit(at_exit) == 0, "atexit");
}

static void at_quick(void) {
    work(4);
    say("quick ");
}
CASE(C13_quick_exit) {
    CHECK(at_quick_exit(at_quick) == 0, "at_quick_exit");
    free(malloc(10));
    quick_exit(0);
}

static void clean_up(void *block) {
    CHECK(intact(block, 2000, 5) == 2000, "contents");
    work(5);
    free(block);
}
static pthread_barrier_t ready;

static void *wait_for_the_end(void *argument) {
    void *block = malloc(2000);
    fill(block, 2000, 5);
    pthread_cleanup_push(clean_up, block);
    pthread_setspecific(key, argument);
    pthread_barrier_wait(&ready);
    for (;;) pause();
    pthread_cleanup_pop(0);
    return NULL;
}

/* Cancelled while it sleeps: clean-up handlers and destructors allocate and free. */
CASE(C31_cancelled_threads_leave_nothing) {
    size_t settled = 0;
    CHECK(pthread_key_create(&key, free) == 0, "key");
    pthread_barrier_init(&ready, NULL, 2);
    for (int turn = 0; turn < THREADS; turn++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, wait_for_the_end, malloc(100000)) == 0, "thread");
        pthread_barrier_wait(&ready);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
        if (turn == 50) settled = trimmed_size();
    }
    size_t last = trimmed_size();
    CHECK(last <= settled + 4 * MIB, "%zu KiB, then %zu KiB", settled / KIB, last / KIB);
}

static void *live_briefly(void *argument) {
    void *block = malloc(100 + (size_t)argument % 1000);
    pthread_setspecific(key, block); /* freed by the destructor: the last act */
    return malloc(64);
}

CASE(C31_a_hundred_thousand_threads) {
    enum { COUNT = 100000, AT_ONCE = 10 };
    size_t settled = 0;
    pthread_attr_t small_stack;
    pthread_attr_init(&small_stack);
    pthread_attr_setstacksize(&small_stack, 64 * KIB);
    CHECK(pthread_key_create(&key, free) == 0, "key");
    for (size_t turn = 0; turn < COUNT / AT_ONCE; turn++) {
        pthread_t threads[AT_ONCE];
        for (int i = 0; i < AT_ONCE; i++)
            CHECK(pthread_create(&threads[i], &small_stack, live_briefly, (void *)turn) == 0,
                  "thread");
        for (int i = 0; i < AT_ONCE; i++) {
            void *left = NULL;
            pthread_join(threads[i], &left);
            free(left);
        }
        if (turn == 500) settled = trimmed_size();
    }
    size_t last = trimmed_size();
    CHECK(last <= settled + 2 * MIB, "%zu KiB, then %zu KiB", settled / KIB, last / KIB);
}

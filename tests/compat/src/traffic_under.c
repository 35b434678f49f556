/* Ordinary traffic from two threads, contents verified: what runs while something stands between
 * the program and malloc. Calls the functions that interposers.c stands in front of. */
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "memory.h"

int interposed_calls(void) __attribute__((weak));
long wrapper_count(int which) __attribute__((weak));

static void *left_to_main[100];

static void *exercise(void *argument) {
    uint64_t state = 77 + (uint64_t)(size_t)argument;
    enum { COUNT = 500 };
    unsigned char *blocks[COUNT] = {NULL};
    size_t sizes[COUNT] = {0};
    for (int step = 0; step < 40000; step++) {
        size_t index = next_random(&state) % COUNT;
        CHECK(intact(blocks[index], sizes[index], (unsigned)index) == sizes[index], "changed");
        size_t size = 1 + next_random(&state) % (step % 200 == 0 ? 400000 : 900);
        if (step % 3 == 0) blocks[index] = (unsigned char *)realloc(blocks[index], size);
        else {
            free(blocks[index]);
            blocks[index] = (unsigned char *)(step % 2 ? calloc(1, size) : malloc(size));
        }
        CHECK(blocks[index] != NULL, "%zu bytes", size);
        fill(blocks[index], size, (unsigned)index);
        sizes[index] = size;
    }
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(intact(blocks[i], sizes[i], (unsigned)i) == sizes[i], "block %zu", i);
        free(blocks[i]);
    }
    for (int i = 0; argument != NULL && i < 100; i++) left_to_main[i] = malloc(200);
    return NULL;
}


static void both_threads(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, exercise, (void *)1) == 0, "thread");
    exercise(NULL);
    pthread_join(thread, NULL);
    for (int i = 0; i < 100; i++) free(left_to_main[i]);
}

static void nothing(void) {}

CASE(traffic) { both_threads(); }

CASE(traffic_through_interposers) {
    CHECK(interposed_calls != NULL, "no interposers");
    int before = interposed_calls();
    CHECK(getenv("PATH") != NULL, "getenv");
    int file = open("/dev/null", O_RDONLY);
    CHECK(file >= 0 && close(file) == 0, "open");
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && munmap(page, 4096) == 0, "mmap");
    pthread_once_t once = PTHREAD_ONCE_INIT;
    CHECK(pthread_once(&once, nothing) == 0, "pthread_once");
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0, "clock_gettime");
    CHECK(interposed_calls() >= before + 6, "%d calls", interposed_calls() - before);
    both_threads();
}

CASE(traffic_through_a_wrapper) {
    CHECK(wrapper_count != NULL, "no wrapper");
    both_threads();
    for (int which = 0; which < 4; which++)
        CHECK(wrapper_count(which) > 1000, "%ld calls of kind %d", wrapper_count(which), which);
}

/* The wrapper stands behind: nobody calls it. */
CASE(traffic_before_a_wrapper) {
    CHECK(wrapper_count != NULL, "no wrapper");
    both_threads();
    CHECK(wrapper_count(0) == 0 && wrapper_count(3) == 0, "it was called");
}

static void exit_late(void) { both_threads(); }

CASE(traffic_at_exit) { CHECK(atexit(exit_late) == 0, "atexit"); }

/* A signal handler that allocates and frees while the main thread is inside malloc or free.
 *
 * No standard allows it, and crash handlers of real programs do it. glibc deadlocks or corrupts its
 * heap here, so these cases are liballoc's own. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "entries.h"

static atomic_int handled;
static atomic_int stop;

/* Pairs, one block at a time, verified: what README promises. A handler that holds several blocks
 * at once may find the magazine that it interrupted at work; the fast path leaves no mark.
 * Plain comparison rather than CHECK: no stdio inside a handler. */
static void allocate_in_handler(int signal) {
    (void)signal;
    int kept = errno;
    enum { COUNT = 12 };
    static const size_t sizes[COUNT] = {16, 100, 24, 1000, 64, 5000, 32, 40, 70000, 200, 48, 300};
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned char *block = (unsigned char *)malloc(sizes[i]);
        if (block == NULL) abort();
        fill(block, sizes[i], i);
        if (intact(block, sizes[i], i) != sizes[i]) abort();
        free(block);
    }
    errno = kept;
    atomic_fetch_add(&handled, 1);
}

static void handle(int signal, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(signal, &action, NULL) == 0, "sigaction");
}

/* Random traffic that is mostly slow paths: growing, shrinking, many classes, verified contents. */
static void churn_until_stopped(void) {
    enum { COUNT = 2000 };
    static unsigned char *blocks[COUNT];
    static size_t sizes[COUNT];
    uint64_t state = 4711;
    while (!atomic_load(&stop)) {
        for (int step = 0; step < 1000; step++) {
            size_t index = next_random(&state) % COUNT;
            unsigned seed = (unsigned)index;
            CHECK(intact(blocks[index], sizes[index], seed) == sizes[index], "block %zu", index);
            size_t size = 1 + next_random(&state) % (step % 50 == 0 ? 100000 : 900);
            if (step % 3 == 0) {
                blocks[index] = (unsigned char *)realloc(blocks[index], size);
            } else {
                free(blocks[index]);
                blocks[index] = (unsigned char *)malloc(size);
            }
            sizes[index] = size;
            fill(blocks[index], size, seed);
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(intact(blocks[i], sizes[i], (unsigned)i) == sizes[i], "block %zu", i);
        free(blocks[i]);
        blocks[i] = NULL;
        sizes[i] = 0;
    }
}

struct storm {
    pthread_t target;
    int signals;
};

/* Sends the next signal once the last was handled: no time is involved. */
static void *send_storm(void *argument) {
    const struct storm *storm = (const struct storm *)argument;
    for (int sent = 1; sent <= storm->signals; sent++) {
        pthread_kill(storm->target, SIGUSR1);
        while (atomic_load(&handled) < sent) sched_yield();
    }
    atomic_store(&stop, 1);
    return NULL;
}

OURS(C30_storm_from_another_thread) {
    handle(SIGUSR1, allocate_in_handler);
    struct storm storm = {pthread_self(), 5000};
    pthread_t sender;
    CHECK(pthread_create(&sender, NULL, send_storm, &storm) == 0, "thread");
    churn_until_stopped();
    pthread_join(sender, NULL);
}

static void allocate_and_stop(int signal) {
    allocate_in_handler(signal);
    if (atomic_load(&handled) >= 1000) atomic_store(&stop, 1);
}

OURS(C30_interval_timer) {
    handle(SIGALRM, allocate_and_stop);
    struct itimerval interval = {{0, 300}, {0, 300}};
    CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0, "setitimer");
    churn_until_stopped();
    memset(&interval, 0, sizeof interval);
    setitimer(ITIMER_REAL, &interval, NULL);
}

/* The first signals arrive while the thread has no heap yet. */
static void *start_under_fire(void *argument) {
    atomic_int *ready = (atomic_int *)argument;
    atomic_store(ready, 1);
    for (int turn = 0; turn < 50; turn++) {
        void *block = malloc(100 + (size_t)turn * 50);
        memset(block, turn, 100);
        free(block);
    }
    atomic_store(ready, 2);
    while (atomic_load(ready) == 2) sched_yield();
    return NULL;
}

OURS(C30_threads_start_under_fire) {
    handle(SIGUSR1, allocate_in_handler);
    for (int turn = 0; turn < 200; turn++) {
        atomic_int ready = 0;
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, start_under_fire, &ready) == 0, "thread");
        for (int sent = 0; sent < 10; sent++) { /* a bounded number: the thread must get on */
            int before = atomic_load(&handled);
            pthread_kill(thread, SIGUSR1);
            while (atomic_load(&handled) == before) sched_yield();
        }
        while (atomic_load(&ready) != 2) sched_yield();
        atomic_store(&ready, 3);
        pthread_join(thread, NULL);
    }
}

/* Forks inside whatever call the signal interrupted; the child returns from the handler into that
 * call, goes on for a while and ends. */
static atomic_int forked;
static volatile sig_atomic_t in_child;

static void fork_and_return(int signal) {
    (void)signal;
    int kept = errno;
    pid_t child = fork();
    if (child == 0) in_child = 1;
    errno = kept;
    atomic_fetch_add(&forked, 1);
}

/* The child's half: calls of all kinds, with the heap that the parent's other threads left. */
static void child_goes_on(void) {
    uint64_t state = 99;
    for (int step = 0; step < 300; step++) {
        size_t size = 1 + next_random(&state) % 300000;
        unsigned char *block = (unsigned char *)malloc(size);
        if (block == NULL) _exit(3);
        fill(block, size, 7);
        if (intact(block, size, 7) != size) _exit(4);
        free(block);
    }
    _exit(0);
}

static void *slow_calls(void *argument) {
    uint64_t state = (uint64_t)(uintptr_t)argument;
    enum { COUNT = 64 };
    void *blocks[COUNT] = {0};
    while (!atomic_load(&stop)) {
        if (in_child) child_goes_on();
        size_t index = next_random(&state) % COUNT;
        free(blocks[index]);
        blocks[index] = malloc(20000 + next_random(&state) % 300000);
    }
    for (size_t i = 0; i < COUNT; i++) free(blocks[i]);
    return NULL;
}

OURS(C30_handler_forks_and_child_returns) {
    handle(SIGUSR1, fork_and_return);
    enum { THREADS = 3, FORKS = 60 };
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, slow_calls, (void *)(i + 1)) == 0, "thread");
    }
    for (int sent = 0; sent < FORKS; sent++) {
        pthread_kill(threads[sent % THREADS], SIGUSR1);
        while (atomic_load(&forked) <= sent) sched_yield();
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < FORKS; i++) {
        int status;
        CHECK(wait(&status) > 0, "child %d", i);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: status %#x", i, status);
    }
}

/* fork: from one thread, from many, from a handler; the child is a full citizen. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "entries.h"

static void wait_for(pid_t child) {
    int status;
    CHECK(child > 0, "fork failed");
    CHECK(waitpid(child, &status, 0) == child, "waitpid");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %x", status);
}

/* A bit of everything, verified. */
static void exercise(unsigned seed) {
    enum { COUNT = 200 };
    void *blocks[COUNT];
    size_t sizes[COUNT];
    uint64_t state = seed * 2654435761u + 1;
    for (unsigned i = 0; i < COUNT; i++) {
        sizes[i] = 1 + next_random(&state) % (i % 40 == 0 ? 300000 : 2000);
        blocks[i] = malloc(sizes[i]);
        CHECK(blocks[i] != NULL, "%zu bytes", sizes[i]);
        fill(blocks[i], sizes[i], i);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        CHECK(intact(blocks[i], sizes[i], i) == sizes[i], "block %u", i);
        free(blocks[i]);
    }
}

enum { SHARED = 3000 };
static void *shared_blocks[SHARED];
static size_t shared_sizes[SHARED];

static void allocate_shared(void) {
    uint64_t state = 99;
    for (unsigned i = 0; i < SHARED; i++) {
        shared_sizes[i] = 1 + next_random(&state) % (i % 100 == 0 ? 200000 : 3000);
        shared_blocks[i] = malloc(shared_sizes[i]);
        fill(shared_blocks[i], shared_sizes[i], i);
    }
}

static void free_shared(void) {
    for (unsigned i = 0; i < SHARED; i++) {
        CHECK(intact(shared_blocks[i], shared_sizes[i], i) == shared_sizes[i], "block %u", i);
        if (i % 7 == 0) shared_blocks[i] = realloc(shared_blocks[i], shared_sizes[i] * 2);
        free(shared_blocks[i]);
    }
}

CASE(C23_child_frees_what_the_parent_allocated) {
    allocate_shared();
    for (int turn = 0; turn < 20; turn++) {
        pid_t child = fork();
        if (child == 0) {
            free_shared();
            exercise((unsigned)turn);
            _exit(0);
        }
        exercise((unsigned)turn);
        wait_for(child);
    }
    free_shared();
}

CASE(C23_grandchildren) {
    pid_t child = fork();
    if (child == 0) {
        for (int depth = 0; depth < 10; depth++) {
            exercise((unsigned)depth);
            pid_t next = fork();
            if (next > 0) {
                exercise((unsigned)depth + 100);
                wait_for(next);
                _exit(0);
            }
        }
        _exit(0);
    }
    wait_for(child);
}

CASE(C23_huge_blocks_in_the_child) {
    unsigned char *block = (unsigned char *)malloc(48 * MIB);
    stamp(block, 48 * MIB, 7);
    pid_t child = fork();
    if (child == 0) {
        CHECK(stamped(block, 48 * MIB, 7), "contents");
        block = (unsigned char *)realloc(block, 96 * MIB);
        CHECK(stamped(block, 48 * MIB, 7), "contents after realloc");
        free(block);
        void *other = malloc(40 * MIB);
        CHECK(other != NULL, "40 MiB");
        free(other);
        _exit(0);
    }
    wait_for(child);
    CHECK(stamped(block, 48 * MIB, 7), "the parent's contents");
    free(block);
}

static atomic_int stop;

static void *allocate_until_stopped(void *argument) {
    unsigned seed = (unsigned)(size_t)argument;
    while (!atomic_load(&stop)) exercise(seed++);
    return NULL;
}

static void *exercise_once(void *argument) {
    exercise((unsigned)(size_t)argument);
    return NULL;
}

static void fork_under_load(int forks, void (*in_child)(unsigned turn)) {
    pthread_t threads[4];
    atomic_store(&stop, 0);
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate_until_stopped, (void *)i) == 0, "thread");
    for (int turn = 0; turn < forks; turn++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(60); /* a child that hangs is a failure, not a hang of the test */
            in_child((unsigned)turn);
            _exit(0);
        }
        wait_for(child);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static void child_allocates(unsigned turn) {
    exercise(turn);
    if (turn % 10 == 0) free_shared();
}

CASE(C23_threads_allocate_while_forking) {
    allocate_shared();
    fork_under_load(300, child_allocates);
    free_shared();
}

static void child_has_threads(unsigned turn) {
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, exercise_once, (void *)(turn + i)) == 0, "thread");
    exercise(turn);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

CASE(C27_child_of_many_threads_has_threads) { fork_under_load(60, child_has_threads); }

/* exit() rather than _exit(): atexit, destructors, stdio and whatever the library does at exit. */
static void child_exits(unsigned turn) {
    exercise(turn);
    exit(0);
}

CASE(C23_child_of_many_threads_exits) { fork_under_load(60, child_exits); }

/* Several threads fork at the same time. */
static void *fork_in_a_thread(void *argument) {
    for (int turn = 0; turn < 30; turn++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            exercise((unsigned)(size_t)argument);
            _exit(0);
        }
        exercise((unsigned)turn);
        wait_for(child);
    }
    return NULL;
}

CASE(C23_threads_fork_together) {
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, fork_in_a_thread, (void *)i) == 0, "thread");
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static void allocating_fork_handler(void) { exercise(5); }

CASE(C25_fork_handlers_that_allocate) {
    CHECK(pthread_atfork(allocating_fork_handler, allocating_fork_handler,
                         allocating_fork_handler) == 0, "pthread_atfork");
    fork_under_load(50, exercise);
}

static atomic_int handled;

static void fork_in_the_handler(int signal) {
    (void)signal;
    int kept = errno;
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        exercise(3);
        _exit(0);
    }
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (status != 0) {
        static const char text[] = "a child forked in a handler failed\n";
        if (write(2, text, sizeof text - 1) > 0) _exit(1);
    }
    errno = kept;
    atomic_fetch_add(&handled, 1);
}

static void *signal_the_main_thread(void *argument) {
    for (int sent = 1; sent <= 100; sent++) {
        pthread_kill(*(pthread_t *)argument, SIGUSR1);
        while (atomic_load(&handled) < sent) sched_yield();
    }
    atomic_store(&stop, 1);
    return NULL;
}

/* The interrupted malloc or free stays half done in the child for ever: glibc may hang there. */
OURS(C30_fork_in_a_signal_handler) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = fork_in_the_handler;
    sigaction(SIGUSR1, &action, NULL);
    pthread_t main_thread = pthread_self();
    pthread_t sender;
    atomic_store(&stop, 0);
    CHECK(pthread_create(&sender, NULL, signal_the_main_thread, &main_thread) == 0, "thread");
    allocate_until_stopped(NULL);
    pthread_join(sender, NULL);
    CHECK(atomic_load(&handled) == 100, "%d", atomic_load(&handled));
}

/* vfork: the child runs in this very memory, with another pid, and allocates before it execs. */
CASE(C26_vfork_child_that_allocates) {
    for (volatile int turn = 0; turn < 50; turn++) {
        void *volatile block = NULL;
        pid_t child = vfork();
        if (child == 0) {
            block = malloc(100 + (size_t)turn * 1000);
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        wait_for(child);
        CHECK(block != NULL, "malloc in the child");
        free(block);
        exercise((unsigned)turn);
    }
}

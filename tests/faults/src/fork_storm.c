/* Many forks from several threads while others allocate; what the children do, and their end.
 *
 *   fork_storm CASE SEED ALLOCATORS FORKERS FORKS
 *
 * C23_storm      a child allocates, frees the parent's blocks, has threads, execs, exits, forks
 * C25_atfork     the same, with fork handlers that allocate, registered before and after the first
 *                malloc of the program's threads
 * C23_killed     children are killed by SIGKILL in the middle of their work, while they write
 *                into a pipe that all share; the parent reads it and goes on
 * C24_first_calls threads make their very first call while others fork; the child calls too
 *
 * Prints the number of forks. A child that hangs hangs the program: the caller's watchdog tells. */
#include <signal.h>
#include <sys/wait.h>

#include "worker.h"

enum { FORKERS_MAX = 8, SHARED = 600, CHILD_STEPS = 60 };

static uint64_t seed;
static int allocators, forkers, forks_wanted;
static atomic_int forks_started, forks_done;
static pthread_t allocating[WORKERS_MAX], forking[FORKERS_MAX];

/* The parent's blocks: of several threads, constant while it forks. */
static unsigned char *shared_blocks[SHARED];
static size_t shared_sizes[SHARED];

static void start(void) {
    CHECK(case_argc == 4, "usage: fork_storm CASE SEED ALLOCATORS FORKERS FORKS");
    seed = strtoull(case_argv[0], NULL, 10) * 0x9e3779b97f4a7c15u | 1;
    allocators = atoi(case_argv[1]);
    forkers = atoi(case_argv[2]);
    forks_wanted = atoi(case_argv[3]);
    CHECK(allocators >= 0 && allocators <= WORKERS_MAX, "ALLOCATORS");
    CHECK(forkers >= 1 && forkers <= FORKERS_MAX && forks_wanted > 0, "FORKERS, FORKS");
}

static void *take_shared(void *argument) {
    unsigned which = (unsigned)(size_t)argument;
    uint64_t state = seed + which;
    for (unsigned i = which; i < SHARED; i += 2) {
        size_t size = 1 + work_size(&state) % (i % 50 == 0 ? 3 * MIB : 5000);
        shared_sizes[i] = size;
        shared_blocks[i] = (unsigned char *)malloc(size);
        CHECK(shared_blocks[i] != NULL, "%zu bytes", size);
        work_mark(shared_blocks[i], size, i);
    }
    return NULL;
}

static void make_shared_blocks(void) {
    pthread_t other;
    CHECK(pthread_create(&other, NULL, take_shared, (void *)1) == 0, "thread");
    take_shared(NULL);
    pthread_join(other, NULL);
}

static void free_shared_blocks(void) {
    for (unsigned i = 0; i < SHARED; i++) {
        work_verify(shared_blocks[i], shared_sizes[i], i);
        free(shared_blocks[i]);
    }
}

static void *allocate_until_stopped(void *argument) {
    int number = (int)(size_t)argument;
    struct work *work = &works[number];
    work->state = (seed + (uint64_t)number * 7919) | 1;
    while (!atomic_load(&work_stop)) work_step(work);
    work_end(work);
    return NULL;
}

static void work_in_child(uint64_t state, int steps) {
    static struct work work; /* of the only thread there */
    memset(&work, 0, sizeof work);
    work.state = state | 1;
    for (int i = 0; i < steps; i++) work_step(&work);
    work_end(&work);
}

static void *work_in_a_thread(void *argument) {
    uint64_t state = (uint64_t)(size_t)argument;
    for (int i = 0; i < CHILD_STEPS; i++) {
        size_t size = 1 + work_size(&state) % (100 * KIB);
        unsigned char *block = (unsigned char *)malloc(size);
        CHECK(block != NULL, "%zu bytes", size);
        work_mark(block, size, (unsigned)i);
        work_verify(block, size, (unsigned)i);
        free(block);
    }
    return NULL;
}

static void wait_for(pid_t child, int turn) {
    int status;
    CHECK(child > 0, "fork");
    while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR, "waitpid");
    CHECK(status == 0, "turn %d: the child ended with %x", turn, status);
}

static void __attribute__((noreturn)) be_a_child(int turn) {
    static char *const command[] = {(char *)"true", NULL};
    static char *const environment[] = {NULL};
    pthread_t threads[2];
    if (turn % 8 != 0) work_in_child(seed + (uint64_t)turn, CHILD_STEPS);
    switch (turn % 8) {
    case 0:
        execve("/bin/true", command, environment);
        _exit(5);
    case 1:
        free_shared_blocks();
        work_in_child(seed, CHILD_STEPS);
        break;
    case 2:
        for (size_t i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], NULL, work_in_a_thread, (void *)(i + 1)) == 0,
                  "thread");
        for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
        break;
    case 3:
        exit(0); /* with atexit, destructors and stdio */
    case 4: {
        pid_t next = fork();
        if (next == 0) {
            free_shared_blocks();
            _exit(0);
        }
        wait_for(next, turn);
    }
    }
    _exit(0);
}

static void *fork_children(void *argument) {
    uint64_t state = (seed ^ ((uint64_t)(size_t)argument + 1) * 104729) | 1;
    for (int turn; (turn = atomic_fetch_add(&forks_started, 1)) < forks_wanted;) {
        pid_t child = fork();
        if (child == 0) be_a_child(turn);
        void *block = malloc(1 + work_size(&state) % (64 * KIB));
        wait_for(child, turn);
        free(block);
        atomic_fetch_add(&forks_done, 1);
    }
    return NULL;
}

static void start_allocators(void) {
    for (size_t i = 0; i < (size_t)allocators; i++)
        CHECK(pthread_create(&allocating[i], NULL, allocate_until_stopped, (void *)i) == 0,
              "thread");
}

static void join_allocators(void) {
    atomic_store(&work_stop, 1);
    for (int i = 0; i < allocators; i++) pthread_join(allocating[i], NULL);
    free_gifts();
}

static void run_forkers(void *(*forker)(void *)) {
    for (size_t i = 1; i < (size_t)forkers; i++)
        CHECK(pthread_create(&forking[i], NULL, forker, (void *)i) == 0, "thread");
    forker(NULL);
    for (int i = 1; i < forkers; i++) pthread_join(forking[i], NULL);
}

static void print_forks(void) {
    char text[40];
    int length = snprintf(text, sizeof text, "forks %d\n", atomic_load(&forks_done));
    CHECK(write(1, text, (size_t)length) == length, "write");
}

static void fork_and_allocate(void) {
    make_shared_blocks();
    size_t in_use = mallinfo2().uordblks;
    start_allocators();
    run_forkers(fork_children);
    join_allocators();
    malloc_trim(0);
    size_t now = mallinfo2().uordblks;
    /* libc keeps stacks and what belongs to them. */
    CHECK(now < in_use + 64 * KIB, "%zu bytes in use, %zu before", now, in_use);
    free_shared_blocks();
    print_forks();
}

CASE(C23_storm) {
    start();
    fork_and_allocate();
}

/* Each set of handlers keeps a block over the fork, in both processes. */
static _Thread_local unsigned char *kept[2];

static void before_fork(int which) {
    size_t size = which == 0 ? 700 : 70000;
    kept[which] = (unsigned char *)malloc(size);
    CHECK(kept[which] != NULL, "in a fork handler");
    work_mark(kept[which], size, 3);
    free(malloc(40000));
}

static void after_fork(int which) {
    work_verify(kept[which], which == 0 ? 700 : 70000, 3);
    free(kept[which]);
    for (size_t size = 16; size < MIB; size *= 3) free(malloc(size));
}

static void before_0(void) { before_fork(0); }
static void before_1(void) { before_fork(1); }
static void after_0(void) { after_fork(0); }
static void after_1(void) { after_fork(1); }

/* Registered before main, so before whatever the library may register with its first call. */
static void __attribute__((constructor)) register_early(void) {
    if (getenv("FORK_HANDLERS") != NULL) pthread_atfork(before_0, after_0, after_0);
}

CASE(C25_atfork) {
    start();
    CHECK(getenv("FORK_HANDLERS") != NULL, "FORK_HANDLERS must be set");
    free(malloc(100));
    CHECK(pthread_atfork(before_1, after_1, after_1) == 0, "pthread_atfork");
    fork_and_allocate();
}

/* The killed child's records: one write each, so whole or not at all. */
struct record {
    uint64_t turn, forker, number, sum;
};

static int records[2];
/* One more than the turn of the last record read, of each forker's children. */
static atomic_int heard[FORKERS_MAX];

static void __attribute__((noreturn)) write_until_killed(int turn, size_t forker) {
    uint64_t state = seed + (uint64_t)turn;
    close(records[0]);
    for (uint64_t number = 0;; number++) {
        size_t size = 1 + work_size(&state) % (200 * KIB);
        unsigned char *block = (unsigned char *)malloc(size);
        if (block == NULL) _exit(6);
        work_mark(block, size, 1);
        work_verify(block, size, 1);
        free(block);
        struct record record = {(uint64_t)turn, forker, number, (uint64_t)turn ^ forker ^ number};
        if (write(records[1], &record, sizeof record) != sizeof record) _exit(7);
    }
}

static void *read_records(void *argument) {
    struct record record;
    uint64_t seen = 0;
    ssize_t got;
    while ((got = read(records[0], &record, sizeof record)) == sizeof record) {
        CHECK(record.sum == (record.turn ^ record.forker ^ record.number), "a torn record");
        CHECK(record.forker < FORKERS_MAX, "a record of nobody");
        atomic_store(&heard[record.forker], (int)record.turn + 1);
        seen++;
    }
    CHECK(got == 0 && seen > 0, "%zd, %llu records", got, (unsigned long long)seen);
    return argument;
}

/* Every second child is killed at any moment, be it before its first call; the others once they
 * have been heard of, so that there is something to read also where children start slowly. */
static void wait_before_kill(pid_t child, int turn, size_t forker, uint64_t *state) {
    if (turn % 2 == 1) {
        while (atomic_load(&heard[forker]) != turn + 1) {
            CHECK(waitpid(child, NULL, WNOHANG) == 0, "turn %d: the child ended by itself", turn);
            sched_yield();
        }
    }
    for (volatile uint64_t wait = next_random(state) % 300000; wait > 0; wait--) continue;
}

static void *kill_children(void *argument) {
    size_t forker = (size_t)argument;
    uint64_t state = (seed ^ (forker + 1) * 104729) | 1;
    for (int turn; (turn = atomic_fetch_add(&forks_started, 1)) < forks_wanted;) {
        int status;
        pid_t child = fork();
        if (child == 0) write_until_killed(turn, forker);
        CHECK(child > 0, "fork");
        wait_before_kill(child, turn, forker, &state);
        kill(child, SIGKILL);
        while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR, "waitpid");
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
        atomic_fetch_add(&forks_done, 1);
    }
    return NULL;
}

CASE(C23_killed) {
    start();
    CHECK(pipe(records) == 0, "pipe");
    pthread_t reader;
    CHECK(pthread_create(&reader, NULL, read_records, NULL) == 0, "thread");
    start_allocators();
    run_forkers(kill_children);
    join_allocators();
    close(records[1]);
    pthread_join(reader, NULL);
    print_forks();
}

/* Threads and forkers meet at a barrier; then their first calls and the forks race. */
static pthread_barrier_t barrier;

static void *call_first(void *argument) {
    pthread_barrier_wait(&barrier);
    work_in_a_thread((void *)((size_t)argument + 1));
    return NULL;
}

static void *fork_at_once(void *argument) {
    pthread_barrier_wait(&barrier);
    pid_t child = fork();
    if (child == 0) {
        work_in_a_thread((void *)1);
        _exit(0);
    }
    wait_for(child, (int)(size_t)argument);
    atomic_fetch_add(&forks_done, 1);
    return NULL;
}

/* In a child of its own, so that heaps are new each time. */
static void race_once(size_t turn) {
    pthread_barrier_init(&barrier, NULL, (unsigned)(allocators + forkers));
    for (size_t i = 0; i < (size_t)allocators; i++)
        CHECK(pthread_create(&allocating[i], NULL, call_first, (void *)(turn + i)) == 0, "thread");
    for (size_t i = 1; i < (size_t)forkers; i++)
        CHECK(pthread_create(&forking[i], NULL, fork_at_once, (void *)turn) == 0, "thread");
    fork_at_once((void *)turn);
    for (int i = 0; i < allocators; i++) pthread_join(allocating[i], NULL);
    for (int i = 1; i < forkers; i++) pthread_join(forking[i], NULL);
    pthread_barrier_destroy(&barrier);
}

CASE(C24_first_calls) {
    start();
    for (int turn = 0; turn < forks_wanted; turn += forkers) {
        pid_t child = fork();
        if (child == 0) {
            race_once((size_t)turn);
            _exit(0);
        }
        wait_for(child, turn);
        atomic_fetch_add(&forks_done, forkers);
    }
    print_forks();
}

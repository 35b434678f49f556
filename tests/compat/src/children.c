/* Children of every kind: exec, posix_spawn, vfork's relatives, raw clone; and what fork costs. */
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "entries.h"

extern char **environ;
static atomic_int stop;
static void *inherited[500];

static void wait_for(pid_t child) {
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child, "fork or waitpid");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %x", status);
}

static void exercise(unsigned seed) {
    void *blocks[100];
    for (unsigned i = 0; i < 100; i++) {
        size_t size = 1 + (seed * 31 + i * 97) % (i % 20 == 0 ? 200000 : 2000);
        blocks[i] = malloc(size);
        CHECK(blocks[i] != NULL, "%zu bytes", size);
        memset(blocks[i], (int)i, size);
    }
    for (unsigned i = 0; i < 100; i++) {
        CHECK(*(unsigned char *)blocks[i] == i, "block %u", i);
        free(blocks[i]);
    }
}

static void make_inherited(void) {
    for (unsigned i = 0; i < 500; i++) {
        inherited[i] = malloc(100 + i);
        fill(inherited[i], 100 + i, i);
    }
}

static void free_inherited(void) {
    for (unsigned i = 0; i < 500; i++) {
        CHECK(intact(inherited[i], 100 + i, i) == 100 + i, "inherited %u", i);
        free(inherited[i]);
    }
}

static void *until_stopped(void *argument) {
    unsigned seed = (unsigned)(size_t)argument;
    while (!atomic_load(&stop)) exercise(seed++);
    return NULL;
}

/* Blocks so large that each call takes the locks that all threads share. */
static void *take_shared_locks(void *argument) {
    uint64_t state = 5 + (uint64_t)(size_t)argument;
    void *blocks[8] = {NULL};
    while (!atomic_load(&stop)) {
        size_t index = next_random(&state) % 8;
        free(blocks[index]);
        size_t size = 40 * KIB + next_random(&state) % (3 * MIB);
        blocks[index] = malloc(index == 0 ? 33 * MIB : size);
    }
    for (int i = 0; i < 8; i++) free(blocks[i]);
    return NULL;
}

static void exec_true(void) {
    char *const arguments[] = {(char *)"true", NULL};
    execve("/bin/true", arguments, environ);
    _exit(127);
}

/* Threads allocate, two threads fork; the children free what they inherited, then exec or exit. */
static void *forks(void *argument) {
    for (unsigned turn = 0; turn < 60; turn++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(30);
            exercise(turn);
            free_inherited();
            if (turn % 2 == (size_t)argument) exec_true();
            _exit(0);
        }
        wait_for(child);
    }
    return NULL;
}

CASE(C23_children_exec_or_exit) {
    pthread_t threads[4], other;
    make_inherited();
    for (size_t i = 0; i < 4; i++) {
        void *(*load)(void *) = i < 3 ? take_shared_locks : until_stopped;
        CHECK(pthread_create(&threads[i], NULL, load, (void *)i) == 0, "thread");
    }
    CHECK(pthread_create(&other, NULL, forks, (void *)1) == 0, "thread");
    forks(NULL);
    pthread_join(other, NULL);
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

/* For the case that forks from one thread: two would share what the handlers keep. */
static int handlers_on;
static int handlers_run;
static void *kept_by_handlers[4]; /* the same handlers are registered twice */
static int kept_count;

static void early_prepare(void) {
    if (!handlers_on) return;
    kept_by_handlers[kept_count++] = malloc(300);
    handlers_run++;
}
static void early_parent(void) {
    if (!handlers_on) return;
    free(kept_by_handlers[--kept_count]);
    handlers_run++;
}
static void early_child(void) {
    if (!handlers_on) return;
    alarm(30); /* a child that hangs is a failure, not a hang of the test */
    void *first = calloc(1, 500);
    free(kept_by_handlers[--kept_count]);
    free(first);
    free(malloc(100000));
    handlers_run++;
}

/* Registered before anybody has called malloc, so before whatever a malloc registers. */
static void register_early(int argc, char **argv, char **environment) {
    (void)argc, (void)argv, (void)environment;
    pthread_atfork(early_prepare, early_parent, early_child);
}
__attribute__((section(".preinit_array"), used)) static void (*const early)(int, char **, char **) =
    register_early;

CASE(C25_handlers_from_before_the_first_malloc) {
    pthread_t threads[3];
    handlers_on = 1;
    make_inherited();
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, take_shared_locks, (void *)i) == 0, "thread");
    CHECK(pthread_atfork(early_prepare, early_parent, early_child) == 0, "pthread_atfork");
    for (unsigned turn = 0; turn < 60; turn++) {
        int before = handlers_run;
        pid_t child = fork();
        CHECK(handlers_run == before + 4, "%d handlers ran", handlers_run - before);
        if (child == 0) {
            alarm(30);
            exercise(turn);
            free_inherited();
            _exit(0);
        }
        wait_for(child);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

static char clone_stack[256 * 1024] __attribute__((aligned(16)));
static void *from_clone[200];

static int allocate_in_clone(void *argument) {
    for (unsigned i = 0; i < 200; i++) {
        from_clone[i] = malloc(50 + i * 10);
        if (from_clone[i] == NULL) return 1;
        memset(from_clone[i], (int)i, 50 + i * 10);
    }
    return argument != NULL ? 0 : 1;
}

/* The child shares this memory and this thread's own storage, with another pid. */
CASE(C26_clone_vm_child_that_allocates) {
    for (unsigned turn = 0; turn < 30; turn++) {
        exercise(turn);
        pid_t child = clone(allocate_in_clone, clone_stack + sizeof clone_stack,
                            CLONE_VM | CLONE_VFORK | SIGCHLD, &turn);
        wait_for(child);
        for (unsigned i = 0; i < 200; i++) {
            CHECK(*(unsigned char *)from_clone[i] == i, "block %u", i);
            free(from_clone[i]);
        }
        exercise(turn + 1000);
    }
}

CASE(C26_posix_spawn_under_load) {
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, until_stopped, (void *)i) == 0, "thread");
    for (unsigned turn = 0; turn < 60; turn++) {
        char *const arguments[] = {(char *)"true", NULL};
        pid_t child;
        CHECK(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) == 0, "spawn");
        exercise(turn);
        wait_for(child);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

/* fork by system call: no handler of anybody runs. */
OURS(C26_raw_fork_under_load) {
    pthread_t threads[3];
    make_inherited();
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, until_stopped, (void *)i) == 0, "thread");
    for (unsigned turn = 0; turn < 100; turn++) {
        pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0) {
            alarm(30);
            exercise(turn);
            free_inherited();
            _exit(0);
        }
        wait_for(child);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

static size_t in_use(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* The child's figures are those of its own memory: what it inherited, then what it does. */
CASE(C27_statistics_of_the_child) {
    static void *blocks[4000];
    for (int i = 0; i < 4000; i++) blocks[i] = malloc(1000);
    size_t before = in_use();
    pid_t child = fork();
    if (child == 0) {
        size_t inherited_bytes = in_use();
        CHECK(inherited_bytes + 256 * KIB >= before && inherited_bytes <= before + 256 * KIB,
              "%zu of the parent's %zu", inherited_bytes, before);
        void *more = malloc(50 * MIB);
        CHECK(in_use() >= inherited_bytes + 50 * MIB, "%zu", in_use());
        free(more);
        for (int i = 0; i < 4000; i++) free(blocks[i]);
        CHECK(in_use() + 3 * MIB <= before, "%zu after freeing all", in_use());
        _exit(0);
    }
    wait_for(child);
    CHECK(in_use() + 256 * KIB >= before && in_use() <= before + 256 * KIB, "the parent's own");
    for (int i = 0; i < 4000; i++) free(blocks[i]);
}

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

static pthread_barrier_t gate;

static void *sleep_with_a_heap(void *argument) {
    void *block = malloc(100);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    free(block);
    return argument;
}

/* Prints what the children cost in page faults; the test compares it with another malloc's. */
CASE(C28_faults_of_children_of_1000_threads) {
    enum { THREADS = 1000, CHILDREN = 10 };
    static pthread_t threads[THREADS];
    pthread_attr_t small_stack;
    pthread_attr_init(&small_stack);
    pthread_attr_setstacksize(&small_stack, 64 * KIB);
    pthread_barrier_init(&gate, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], &small_stack, sleep_with_a_heap, NULL) == 0, "thread");
    pthread_barrier_wait(&gate);
    int pipe_ends[2];
    CHECK(pipe(pipe_ends) == 0, "pipe");
    long total = 0;
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        if (child == 0) {
            exercise(7);
            long cost = faults();
            if (write(pipe_ends[1], &cost, sizeof cost) < 0) _exit(1);
            _exit(0);
        }
        wait_for(child);
        long cost = 0;
        CHECK(read(pipe_ends[0], &cost, sizeof cost) == sizeof cost, "read");
        total += cost;
    }
    printf("%ld\n", total / CHILDREN);
    pthread_barrier_wait(&gate);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* Prints the faults of parent and children of a fork and exec loop over a heap of 64 MiB. */
CASE(C29_faults_of_a_fork_and_exec_loop) {
    enum { COUNT = 64 * 1024 };
    static void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++) blocks[i] = memset(malloc(1000), 1, 1000);
    long before = faults();
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (child == 0) exec_true();
        wait_for(child);
        for (int n = 0; n < 100; n++) memset(blocks[(n * 601 + i * 37) % COUNT], 2, 1000);
    }
    struct rusage children;
    getrusage(RUSAGE_CHILDREN, &children);
    printf("%ld\n", faults() - before + children.ru_minflt);
}

/* Copies of liballoc opened late, whose very first call is a race: between threads, or with fork.
 *
 * Arguments: paths of copies of the library, each a file of its own and so a heap of its own. The
 * threads exist before the copy is opened: what libc allocates for them is not the first call. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "memory.h"

enum { THREADS = 64 };

struct copy {
    void *(*allocate)(size_t);
    void (*release)(void *);
};

static struct copy copy;
static pthread_barrier_t start, end;
/* The copy that may be called: threads spin for it, since a barrier wakes them one by one. */
static atomic_int opened;
static unsigned char *blocks[THREADS];

static void open_copy(const char *path) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(handle != NULL, "%s", dlerror());
    *(void **)&copy.allocate = dlsym(handle, "alloc_malloc");
    *(void **)&copy.release = dlsym(handle, "alloc_free");
    CHECK(copy.allocate != NULL && copy.release != NULL, "no liballoc in %s", path);
}

static void wait_for_copy(int number) {
    pthread_barrier_wait(&start);
    for (unsigned spins = 1; atomic_load(&opened) <= number; spins++)
        if (spins % 4096 == 0) sched_yield();
}

static void *call_together(void *argument) {
    size_t number = (size_t)argument;
    for (int i = 0; i < case_argc; i++) {
        wait_for_copy(i);
        unsigned char *block = (unsigned char *)copy.allocate(100 + number);
        CHECK(block != NULL, "thread %zu", number);
        fill(block, 100 + number, (unsigned)number);
        blocks[number] = block;
        pthread_barrier_wait(&end);
        CHECK(intact(block, 100 + number, (unsigned)number) == 100 + number, "shared");
        copy.release(blocks[(number + 1) % THREADS]);
        pthread_barrier_wait(&end);
    }
    return NULL;
}

static void start_threads(pthread_t *threads, void *(*run)(void *)) {
    pthread_barrier_init(&start, NULL, THREADS + 1);
    pthread_barrier_init(&end, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0, "thread %zu", i);
}

/* One reservation of address space each: a second initialisation would make a second one. */
CASE(C04_first_call_of_64_threads) {
    CHECK(case_argc > 1, "the paths are missing");
    open_copy(case_argv[case_argc - 1]);
    size_t before = process_size().mapped;
    copy.release(copy.allocate(100));
    size_t alone = process_size().mapped - before;
    CHECK(alone > 0, "the first call reserves nothing");
    case_argc--;
    pthread_t threads[THREADS];
    start_threads(threads, call_together);
    for (int i = 0; i < case_argc; i++) {
        open_copy(case_argv[i]);
        before = process_size().mapped;
        pthread_barrier_wait(&start);
        atomic_store(&opened, i + 1);
        pthread_barrier_wait(&end);
        size_t together = process_size().mapped - before;
        CHECK(together < alone + alone / 2, "copy %d: %zu MiB instead of %zu", i, together / MIB,
              alone / MIB);
        pthread_barrier_wait(&end);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void *call_once(void *argument) {
    size_t number = (size_t)argument;
    for (int i = 0; i < case_argc; i++) {
        wait_for_copy(i);
        blocks[number] = (unsigned char *)copy.allocate(64);
        pthread_barrier_wait(&end);
    }
    return NULL;
}

static void use_in_the_child(void) {
    static void *mine[500];
    alarm(20);
    for (size_t i = 0; i < 500; i++) {
        size_t size = 1 + i * 40;
        mine[i] = copy.allocate(size);
        if (mine[i] == NULL) _exit(2);
        fill(mine[i], size, (unsigned)i);
    }
    for (size_t i = 0; i < 500; i++) {
        if (intact(mine[i], 1 + i * 40, (unsigned)i) != 1 + i * 40) _exit(3);
        copy.release(mine[i]);
    }
    _exit(0);
}

/* The child is made while other threads are inside the first call that the copy ever saw. */
CASE(C24_fork_during_the_first_call) {
    enum { FORKS = 3 };
    CHECK(case_argc > 0, "the paths are missing");
    pthread_t threads[THREADS];
    start_threads(threads, call_once);
    for (int i = 0; i < case_argc; i++) {
        pid_t children[FORKS];
        open_copy(case_argv[i]);
        pthread_barrier_wait(&start);
        atomic_store(&opened, i + 1);
        for (int n = 0; n < FORKS; n++) {
            children[n] = fork();
            CHECK(children[n] >= 0, "fork");
            if (children[n] == 0) use_in_the_child();
        }
        pthread_barrier_wait(&end);
        for (int n = 0; n < FORKS; n++) {
            int status = -1;
            waitpid(children[n], &status, 0);
            CHECK(status == 0, "copy %d, child %d: status %x", i, n, status);
        }
        copy.release(copy.allocate(10));
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

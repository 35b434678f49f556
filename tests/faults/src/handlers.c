/* Signals at random moments of threads that allocate, with handlers that programs really have.
 *
 *   handlers CASE SEED THREADS COUNT
 *
 * crash_report  the handler allocates, prints and takes a backtrace, and ends the process: COUNT
 *               processes, each with one signal to one of its threads
 * pairs         the handler takes a block and frees it; COUNT signals
 * forks         the handler forks a child that execs, or allocates and exits; COUNT signals
 *
 * Signals come from another process: `pairs` and `forks` send the next one when the last was
 * handled, after a random number of the threads' steps and of turns of an empty loop. Prints how
 * many signals came, and how many found the thread inside the malloc under test. No standard allows
 * such handlers. */
#include <execinfo.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "worker.h"

/* Shared with the process that sends. */
static struct shared {
    sem_t ready, next, over; /* a thread works; a signal was handled; all were */
    atomic_int handled, inside;
    atomic_ulong steps; /* of all threads */
    pid_t threads[WORKERS_MAX];
} *shared;

static uint64_t seed;
static int thread_count, count;
/* Between two signals at most. The steps are counted by the threads: where all share one CPU, time
 * spent by the sender alone would let no thread get on. The turns end within a step. */
static uint64_t pause_steps;
enum { PAUSE_TURNS = 4000 };

static void start(void) {
    CHECK(case_argc == 3, "usage: handlers CASE SEED THREADS COUNT");
    seed = strtoull(case_argv[0], NULL, 10) * 0x9e3779b97f4a7c15u | 1;
    thread_count = atoi(case_argv[1]);
    count = atoi(case_argv[2]);
    CHECK(thread_count >= 1 && thread_count <= WORKERS_MAX && count > 0, "THREADS, COUNT");
    find_code();
    shared = (struct shared *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED, "mmap");
    sem_init(&shared->ready, 1, 0);
    sem_init(&shared->next, 1, 0);
    sem_init(&shared->over, 1, 0);
}

static void handle(void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
}

static void note_place(void *context) {
#ifdef __x86_64__
    uintptr_t place = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    uintptr_t place = (uintptr_t)((ucontext_t *)context)->uc_mcontext.pc;
#else
    uintptr_t place = code_start;
    (void)context;
#endif
    if (place >= code_start && place < code_end) atomic_fetch_add(&shared->inside, 1);
}

static void wait_on(sem_t *semaphore) {
    while (sem_wait(semaphore) != 0) continue;
}

static void say(const char *text) {
    if (write(2, text, strlen(text)) < 0) _exit(4);
}

static void *work_until_stopped(void *argument) {
    int number = (int)(size_t)argument;
    struct work *work = &works[number];
    work->state = (seed + (uint64_t)number * 7919) | 1;
    shared->threads[number] = thread_id();
    sem_post(&shared->ready);
    while (!atomic_load(&work_stop)) {
        work_step(work);
        atomic_fetch_add(&shared->steps, 1);
    }
    work_end(work);
    return NULL;
}

static void let_them_work(uint64_t *state, int (*at_work)(void)) {
    unsigned long end = atomic_load(&shared->steps) + next_random(state) % pause_steps;
    while (atomic_load(&shared->steps) < end && at_work()) sched_yield();
    for (volatile uint64_t wait = next_random(state) % PAUSE_TURNS; wait > 0; wait--) continue;
}

static pid_t target;

static int parent_is_there(void) { return getppid() == target; }

static int child_is_there(void) {
    siginfo_t ended;
    ended.si_pid = 0;
    return waitid(P_PID, (id_t)target, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           ended.si_pid == 0;
}

/* Another process: one signal after the other, to any of the threads. */
static void send_signals(int signals) {
    uint64_t state = seed ^ 0x5bf03635;
    target = getppid();
    for (int i = 0; i < thread_count; i++) wait_on(&shared->ready);
    for (int sent = 1; sent <= signals; sent++) {
        let_them_work(&state, parent_is_there);
        pid_t thread = shared->threads[next_random(&state) % (uint64_t)thread_count];
        if (syscall(SYS_tgkill, target, thread, SIGUSR1) != 0) _exit(0);
        wait_on(&shared->next);
    }
    sem_post(&shared->over);
    _exit(0);
}

static void *wait_for_the_end(void *argument) {
    wait_on(&shared->over);
    atomic_store(&work_stop, 1);
    return argument;
}

static void run_under_signals(void (*handler)(int, siginfo_t *, void *)) {
    handle(handler);
    pid_t sender = fork();
    if (sender == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        send_signals(count);
    }
    CHECK(sender > 0, "fork");
    pthread_t threads[WORKERS_MAX], watcher;
    for (int i = 1; i < thread_count; i++)
        CHECK(pthread_create(&threads[i], NULL, work_until_stopped, (void *)(size_t)i) == 0,
              "thread");
    CHECK(pthread_create(&watcher, NULL, wait_for_the_end, NULL) == 0, "thread");
    work_until_stopped(NULL);
    for (int i = 1; i < thread_count; i++) pthread_join(threads[i], NULL);
    pthread_join(watcher, NULL);
    free_gifts();
    int status;
    CHECK(waitpid(sender, &status, 0) == sender && status == 0, "the sender: %x", status);
}

static void print_tally(void) {
    char text[80];
    int length = snprintf(text, sizeof text, "signals %d inside %d\n",
                          atomic_load(&shared->handled), atomic_load(&shared->inside));
    CHECK(write(1, text, (size_t)length) == length, "write");
}

/* (c) */
static void pair(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    static _Thread_local uint64_t state = 99;
    int kept = errno;
    note_place(context);
    /* In a slow call handlers share 1 MiB. */
    size_t size = 1 + work_size(&state) % (300 * KIB);
    unsigned char *block = (unsigned char *)malloc(size);
    if (block == NULL) {
        say("a handler's malloc is refused\n");
        abort();
    }
    work_mark(block, size, 7);
    work_verify(block, size, 7);
    free(block);
    errno = kept;
    atomic_fetch_add(&shared->handled, 1);
    sem_post(&shared->next);
}

CASE(pairs) {
    start();
    pause_steps = 8;
    size_t in_use = mallinfo2().uordblks;
    run_under_signals(pair);
    malloc_trim(0);
    /* A pair may lose a batch or a block, README says so: one block in 250,000 signals. */
    size_t lost = 64 * KIB + (size_t)(1 + count / 10000) * 320 * KIB;
    size_t now = mallinfo2().uordblks;
    CHECK(thread_count > 1 || now < in_use + lost, "%zu bytes in use, %zu before", now, in_use);
    print_tally();
}

/* (b) */
static void __attribute__((noreturn)) in_child(int turn) {
    static char *const command[] = {(char *)"true", NULL};
    static char *const environment[] = {NULL};
    if (turn % 2 == 0) {
        execve("/bin/true", command, environment);
        _exit(5);
    }
    void *blocks[24];
    uint64_t state = (uint64_t)turn + 1;
    for (int i = 0; i < 24; i++) {
        size_t size = work_size(&state) % (100 * KIB) + 1;
        if (size > 8 * KIB) size %= 8 * KIB; /* what an interrupted slow call leaves is 1 MiB */
        blocks[i] = malloc(size + 1);
        if (blocks[i] == NULL) _exit(6);
        work_mark((unsigned char *)blocks[i], size + 1, (unsigned)i);
    }
    for (int i = 0; i < 24; i++) free(blocks[i]);
    _exit(0);
}

static void fork_in_handler(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    int kept = errno, status = -1;
    note_place(context);
    int turn = atomic_load(&shared->handled);
    pid_t child = fork();
    if (child == 0) in_child(turn);
    if (child < 0) say("fork is refused\n");
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (status != 0) {
        say(turn % 2 ? "a child that allocates failed\n" : "a child that execs failed\n");
        _exit(1);
    }
    errno = kept;
    atomic_fetch_add(&shared->handled, 1);
    sem_post(&shared->next);
}

CASE(forks) {
    start();
    pause_steps = 1000;
    run_under_signals(fork_in_handler);
    print_tally();
}

/* (a) */
static void report_crash(int signal, siginfo_t *info, void *context) {
    (void)info;
    note_place(context);
    void *frames[40];
    int depth = backtrace(frames, 40);
    char **names = backtrace_symbols(frames, depth);
    char *report = (char *)malloc(20000);
    if (names == NULL || report == NULL) _exit(7);
    int length = snprintf(report, 20000, "signal %d\n", signal);
    for (int i = 0; i < depth && length < 19000; i++)
        length += snprintf(report + length, 20000 - (size_t)length, "  %.200s\n", names[i]);
    FILE *out = fopen("/dev/null", "w");
    if (out == NULL || fprintf(out, "%s", report) < length || fclose(out) != 0) _exit(8);
    free(names);
    free(report);
    atomic_fetch_add(&shared->handled, 1);
    _exit(0);
}

static void crash_once(uint64_t moment) {
    pthread_t thread;
    seed = moment;
    for (int i = 1; i < thread_count; i++)
        CHECK(pthread_create(&thread, NULL, work_until_stopped, (void *)(size_t)i) == 0, "thread");
    work_until_stopped(NULL);
}

CASE(crash_report) {
    start();
    pause_steps = 1000;
    handle(report_crash);
    uint64_t state = seed;
    for (int turn = 0; turn < count; turn++) {
        uint64_t moment = next_random(&state) | 1;
        pid_t child = fork();
        CHECK(child >= 0, "fork");
        if (child == 0) crash_once(moment);
        for (int i = 0; i < thread_count; i++) wait_on(&shared->ready);
        target = child;
        let_them_work(&state, child_is_there);
        pid_t thread = shared->threads[next_random(&state) % (uint64_t)thread_count];
        syscall(SYS_tgkill, child, thread, SIGUSR1);
        int status;
        CHECK(waitpid(child, &status, 0) == child, "waitpid");
        CHECK(status == 0, "turn %d: status %x", turn, status);
    }
    print_tally();
}

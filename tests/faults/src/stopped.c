/* fork at every single instruction of the allocator's slow calls.
 *
 *   stopped CASE STRIDE        every STRIDE-th instruction
 *
 * A thread runs each operation below once per instruction of it, with the processor's trap flag
 * set; at the chosen instruction
 *   by_another_thread   it stops, the main thread forks, and the child allocates;
 *   by_the_thread       its handler forks; the child returns from the handler, finishes the
 *                       operation and allocates;
 *   while_another_waits it stops, a second thread makes a slow call and, if it waits for a lock of
 *                       the first, is interrupted by a handler that forks; the child returns;
 *   two_slow_calls      it stops, a second thread makes a slow call under the trap flag, and its
 *                       handler forks at the chosen instruction of that; the child returns.
 * Every child must come to its end; an alarm says that one hangs. x86_64 only. */
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "worker.h"

enum { STEPS_MAX = 60000, HANG_SECONDS = 100, TRAP_FLAG = 0x100 };

#ifdef __x86_64__
static sem_t stopped, go;
static volatile int in_child;

/* Of each thread that runs under the trap flag; `fired` is asked for by others. */
static _Thread_local volatile int step, chosen;
static _Thread_local void (*at_chosen)(void);
static volatile int fired;

static void on_step(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    if (++step < chosen) return;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    at_chosen();
}

#define SET_TRAP_FLAG __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc")
#define CLEAR_TRAP_FLAG __asm__ volatile("pushfq; andq $-257, (%%rsp); popfq" ::: "memory", "cc")

/* Operations: prepared first, then run under the trap flag. */
enum { FUEL = 60, OTHERS = 30 };
static _Thread_local void *fuel[FUEL], *others[OTHERS];

static void take_fuel(size_t size, int number) {
    for (int i = 0; i < number; i++) fuel[i] = malloc(size);
}
static void burn_fuel(void) {
    for (int i = 0; i < FUEL; i++) {
        free(fuel[i]);
        fuel[i] = NULL;
    }
}
static void prepare_nothing(void) {}
static void prepare_refill(void) { malloc_trim(0); }
static void run_refill(void) { fuel[0] = malloc(48); }
static void prepare_flush(void) { take_fuel(20000, 12); }
static void run_flush(void) {
    for (int i = 0; i < 12; i++) {
        free(fuel[i]);
        fuel[i] = NULL;
    }
}
static void run_medium(void) {
    fuel[0] = malloc(300000);
    fuel[1] = malloc(300000);
    free(fuel[0]);
    free(fuel[1]);
    fuel[0] = fuel[1] = NULL;
}
static void run_huge(void) {
    fuel[0] = malloc(40 * MIB);
    fuel[0] = realloc(fuel[0], 90 * MIB);
    free(fuel[0]);
    fuel[0] = NULL;
}
static void *take_others(void *argument) {
    for (int i = 0; i < OTHERS; i++) ((void **)argument)[i] = malloc(600);
    return argument;
}
static void prepare_remote(void) {
    pthread_t owner;
    pthread_create(&owner, NULL, take_others, others);
    pthread_join(owner, NULL);
}
static void run_remote(void) {
    for (int i = 0; i < OTHERS; i++) {
        free(others[i]);
        others[i] = NULL;
    }
}
static void run_trim(void) { malloc_trim(0); }

static const struct operation {
    const char *name;
    void (*prepare)(void), (*run)(void);
} operations[] = {
    {"refill", prepare_refill, run_refill}, {"flush", prepare_flush, run_flush},
    {"medium", prepare_refill, run_medium}, {"huge", prepare_nothing, run_huge},
    {"remote", prepare_remote, run_remote}, {"trim", prepare_flush, run_trim},
};

/* What a child does to show that it can allocate. */
static void exercise(void) {
    static const size_t sizes[] = {16, 48, 600, 20000, 70000, 300000, 3 * MIB, 40 * MIB};
    enum { SIZES = sizeof sizes / sizeof sizes[0], ROUNDS = 2 };
    unsigned char *blocks[SIZES * ROUNDS];
    for (int i = 0; i < SIZES * ROUNDS; i++) {
        size_t size = sizes[i % SIZES];
        blocks[i] = (unsigned char *)malloc(size);
        CHECK(blocks[i] != NULL, "%zu bytes in the child", size);
        work_mark(blocks[i], size, (unsigned)i);
    }
    for (int i = 0; i < SIZES * ROUNDS; i++) {
        work_verify(blocks[i], sizes[i % SIZES], (unsigned)i);
        free(blocks[i]);
    }
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    CHECK(sigaction(signal, &action, NULL) == 0, "sigaction");
}

static void check_child(pid_t child, const char *name, int place) {
    int status;
    CHECK(child > 0, "fork");
    while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR, "waitpid");
    CHECK(!(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM),
          "%s, instruction %d: the child hangs", name, place);
    CHECK(status == 0, "%s, instruction %d: the child ended with %x", name, place, status);
}

/* The operation for ever larger numbers of instructions, until it ends before the chosen one. */
static int begin(void) {
    CHECK(case_argc == 1 && atoi(case_argv[0]) > 0, "usage: stopped CASE STRIDE");
    handle(SIGTRAP, on_step);
    sem_init(&stopped, 0, 0);
    sem_init(&go, 0, 0);
    return atoi(case_argv[0]);
}

static pid_t forked;

static void fork_here(void) {
    fired = 1;
    forked = fork();
    in_child = forked == 0;
    if (in_child) alarm(HANG_SECONDS);
}

OURS(by_the_thread) {
    int stride = begin(), forks = 0;
    at_chosen = fork_here;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        const struct operation *each = &operations[i];
        for (chosen = 1, fired = 1; fired && chosen < STEPS_MAX; chosen += stride) {
            each->prepare();
            step = fired = 0;
            SET_TRAP_FLAG;
            each->run();
            CLEAR_TRAP_FLAG;
            if (in_child) {
                exercise();
                burn_fuel();
                _exit(0);
            }
            burn_fuel();
            if (!fired) break;
            check_child(forked, each->name, chosen);
            forks++;
        }
        CHECK(chosen > 100, "%s: %d instructions", each->name, chosen);
    }
    CHECK(forks * stride > 2000, "%d forks", forks);
}

static void stop_here(void) {
    fired = 1;
    sem_post(&stopped);
    while (sem_wait(&go) != 0) continue;
}

static const struct operation *current;

/* Runs the current operation, stopped at an instruction. */
static void *run_stopped(void *argument) {
    current->prepare();
    chosen = (int)(size_t)argument;
    at_chosen = stop_here;
    step = fired = 0;
    SET_TRAP_FLAG;
    current->run();
    CLEAR_TRAP_FLAG;
    int past = step < chosen;
    burn_fuel();
    if (past) sem_post(&stopped);
    return argument;
}

/* Whether the thread stopped at the chosen instruction; else it has finished. */
static int stop_a_thread(pthread_t *thread, int place) {
    fired = 0;
    CHECK(pthread_create(thread, NULL, run_stopped, (void *)(size_t)place) == 0, "thread");
    while (sem_wait(&stopped) != 0) continue;
    if (fired) return 1;
    pthread_join(*thread, NULL);
    return 0;
}

static void let_it_go(pthread_t thread) {
    sem_post(&go);
    pthread_join(thread, NULL);
}

OURS(by_another_thread) {
    int stride = begin(), forks = 0;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        current = &operations[i];
        int place = 1;
        for (; place < STEPS_MAX; place += stride) {
            pthread_t thread;
            if (!stop_a_thread(&thread, place)) break;
            pid_t child = fork();
            if (child == 0) {
                alarm(HANG_SECONDS);
                exercise();
                _exit(0);
            }
            check_child(child, current->name, place);
            let_it_go(thread);
            forks++;
        }
        CHECK(place > 100, "%s: %d instructions", current->name, place);
    }
    CHECK(forks * stride > 2000, "%d forks", forks);
}

/* The second thread: makes a slow call for each order; under the trap flag with a place. */
static sem_t wanted, prepared, finished;
static atomic_int waiter_calls, waiter_done;
static volatile int waiter_place;
static volatile pid_t waiter_id;

static void note_fork(void) {
    fork_here();
    if (!in_child) sem_post(&stopped);
}

static void fork_and_return(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    (void)context;
    note_fork();
}

static void *make_slow_calls(void *argument) {
    waiter_id = thread_id();
    for (;;) {
        while (sem_wait(&wanted) != 0) continue;
        current->prepare();
        sem_post(&prepared);
        while (sem_wait(&wanted) != 0) continue;
        step = 0;
        chosen = waiter_place;
        at_chosen = note_fork;
        atomic_store(&waiter_calls, 1);
        if (waiter_place != 0) SET_TRAP_FLAG;
        current->run();
        CLEAR_TRAP_FLAG;
        if (in_child) {
            exercise();
            _exit(0);
        }
        atomic_store(&waiter_done, 1);
        burn_fuel();
        sem_post(&finished);
    }
    return argument;
}

/* Whether a thread sleeps on a futex. The waiter does nothing else that sleeps in its call. */
static int sleeps_on_a_futex(pid_t thread) {
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/%d/syscall", thread);
    int file = open(path, O_RDONLY);
    CHECK(file >= 0, "%s", path);
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    return got > 0 && text[0] != 'r' && atoi(text) == SYS_futex;
}

static pthread_t waiter;

static void start_waiter(void) {
    handle(SIGUSR1, fork_and_return);
    sem_init(&wanted, 0, 0);
    sem_init(&prepared, 0, 0);
    sem_init(&finished, 0, 0);
    CHECK(pthread_create(&waiter, NULL, make_slow_calls, NULL) == 0, "thread");
}

static void order_preparation(void) {
    sem_post(&wanted);
    while (sem_wait(&prepared) != 0) continue;
}

/* Lets the waiter call, and returns when it forked, waits for a lock, or is through. */
static void order_slow_call(int place) {
    fired = 0;
    waiter_place = place;
    atomic_store(&waiter_calls, 0);
    atomic_store(&waiter_done, 0);
    sem_post(&wanted);
    while (!atomic_load(&waiter_calls)) sched_yield();
    while (!fired && !atomic_load(&waiter_done) && !sleeps_on_a_futex(waiter_id)) sched_yield();
}

static void finish_slow_call(pthread_t thread) {
    let_it_go(thread);
    while (sem_wait(&finished) != 0) continue;
}

OURS(while_another_waits) {
    int stride = begin(), waits = 0;
    start_waiter();
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        current = &operations[i];
        for (int place = 1; place < STEPS_MAX; place += stride) {
            pthread_t thread;
            order_preparation();
            int is_stopped = stop_a_thread(&thread, place);
            order_slow_call(0);
            if (!is_stopped) {
                while (sem_wait(&finished) != 0) continue;
                break;
            }
            if (!atomic_load(&waiter_done)) {
                waits++;
                pthread_kill(waiter, SIGUSR1);
                while (sem_wait(&stopped) != 0) continue;
                check_child(forked, current->name, place);
            }
            finish_slow_call(thread);
        }
    }
    CHECK(waits > 0, "nobody ever waited");
}

/* 1: the waiter forked at its place; 0: its call was over before; -1: the first thread's was. */
static int fork_within_slow_call(int place, int inner) {
    pthread_t thread;
    order_preparation();
    if (!stop_a_thread(&thread, place)) {
        order_slow_call(0);
        while (sem_wait(&finished) != 0) continue;
        return -1;
    }
    order_slow_call(inner);
    finish_slow_call(thread);
    if (!fired) return 0;
    while (sem_wait(&stopped) != 0) continue;
    check_child(forked, current->name, place);
    return 1;
}

OURS(two_slow_calls) {
    int stride = begin(), forks = 0;
    start_waiter();
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        current = &operations[i];
        int more = 1;
        for (int place = 1; more >= 0 && place < STEPS_MAX; place += stride) {
            more = 1;
            for (int inner = 1; more > 0; inner += stride) {
                more = fork_within_slow_call(place, inner);
                forks += more > 0;
            }
        }
    }
    CHECK(forks > 10, "%d forks", forks);
}
#else
/* The trap flag is this processor's: elsewhere there is nothing to step with. */
OURS(by_the_thread) { exit(77); }
OURS(by_another_thread) { exit(77); }
OURS(while_another_waits) { exit(77); }
OURS(two_slow_calls) { exit(77); }
#endif

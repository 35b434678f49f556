/* A signal handler's pair of malloc and free at every single instruction of malloc and of free.
 *
 * The processor's trap flag interrupts the call under test before each of its instructions in turn.
 * At the chosen one the handler takes a block of the same class and frees it; at every second one
 * also one of another class, so that slow calls for other magazines happen meanwhile. Afterwards no
 * block may be given out twice. x86_64 only. */
#include <signal.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "memory.h"

enum { SIZE = 48, BLOCKS_MAX = 64, AFTERWARDS = 600, STEPS = 40, PAIRS = 100 };
enum { TRAP_FLAG = 0x100 };

static volatile int step, chosen, fired, halved;

#ifdef __x86_64__
static void on_step(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    if (++step < chosen) return;
    *flags &= ~(greg_t)TRAP_FLAG;
    fired = 1;
    free(malloc(SIZE));
    if (halved) {
        for (int i = 0; i < PAIRS; i++) free(malloc(3 * MIB));
    } else if (chosen % 2) {
        free(malloc(SIZE * 9));
    }
}

static void *call_stepped(uintptr_t function, void *argument) {
    void *result;
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; call *%1;"
                     "pushfq; andq $-257, (%%rsp); popfq"
                     : "=a"(result)
                     : "r"(function), "D"(argument)
                     : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
    return result;
}

static int by_address(const void *a, const void *b) {
    uintptr_t left = *(const uintptr_t *)a, right = *(const uintptr_t *)b;
    return left < right ? -1 : left > right;
}

/* In a child: 0 fine, 1 a block was given out twice, 2 the call was over before the step. */
static int run_one(int blocks, int at, int allocating) {
    static void *held[BLOCKS_MAX + AFTERWARDS + 1];
    int count = 0;
    free(malloc(SIZE * 9));
    while (count < blocks) held[count++] = malloc(SIZE);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_step;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, NULL);
    chosen = at;
    if (allocating) {
        held[count++] = call_stepped((uintptr_t)malloc, (void *)(uintptr_t)SIZE);
    } else {
        call_stepped((uintptr_t)free, held[--count]);
    }
    if (!fired) return 2;
    for (int i = 0; i < AFTERWARDS; i++) held[count++] = malloc(SIZE);
    qsort(held, (size_t)count, sizeof held[0], by_address);
    for (int i = 1; i < count; i++)
        if (held[i] == held[i - 1]) return 1;
    for (int i = 0; i < count; i++) free(held[i]);
    return 0;
}

/* The same where what is live has halved before, and each large pair is a slow call: whatever that
 * makes of magazines, it must leave alone the one that the interrupted call is at work on. */
static void halve(void) {
    enum { LARGE = 40 };
    static void *large[LARGE];
    for (int i = 0; i < LARGE; i++) large[i] = malloc(MIB);
    for (int i = 0; i < LARGE - 2; i++) free(large[i]);
}

static void step_through(int allocating) {
    int interrupted = 0;
    for (int blocks = 1; blocks < BLOCKS_MAX; blocks += halved ? 9 : 1) {
        for (int at = 1; at < STEPS; at++) {
            pid_t child = fork();
            if (child == 0) {
                if (halved) halve();
                _exit(run_one(blocks, at, allocating));
            }
            int status;
            CHECK(waitpid(child, &status, 0) == child, "waitpid");
            CHECK(WIFEXITED(status), "signal %d: %d blocks, step %d", WTERMSIG(status), blocks, at);
            CHECK(WEXITSTATUS(status) != 1, "given out twice: %d blocks, step %d", blocks, at);
            interrupted += WEXITSTATUS(status) == 0;
        }
    }
    CHECK(interrupted > (halved ? 50 : 300), "only %d calls were interrupted", interrupted);
}

OURS(C30_a_pair_at_every_instruction_of_malloc) { step_through(1); }
OURS(C30_a_pair_at_every_instruction_of_free) { step_through(0); }

OURS(C30_large_pairs_when_memory_halved) {
    halved = 1;
    step_through(0);
    step_through(1);
}
#else
/* The trap flag is this processor's: elsewhere there is nothing to step with. */
OURS(C30_a_pair_at_every_instruction_of_malloc) { exit(77); }
OURS(C30_a_pair_at_every_instruction_of_free) { exit(77); }
OURS(C30_large_pairs_when_memory_halved) { exit(77); }
#endif

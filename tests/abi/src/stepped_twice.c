/* Two signals, one within a free and one within the next call: at every pair of the first 60
 * instructions of either.
 *
 * Each handler makes and frees a medium block, the first of a size whose magazine is empty: a slow
 * call that empties the others while a free is at work on one of them. The second one's is of the
 * size that the interrupted call asks for. No block may be given out twice. x86_64 only. */
#include <signal.h>
#include <ucontext.h>

#include "memory.h"

enum { TRAP_FLAG = 0x100, FREE_STEPS = 60, CALL_STEPS = 60 };
enum { SIZE = 300 << 10, OTHER_SIZE = 400 << 10, HELD_SIZE = 1 << 20 };

#ifdef __x86_64__
static volatile int steps_left, fired;
static volatile size_t handler_size;

static void on_step(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    if (--steps_left > 0) return;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    fired = 1;
    unsigned char *block = malloc(handler_size);
    CHECK(block != NULL, "%zu bytes", handler_size);
    *(volatile unsigned char *)block = 1;
    free(block);
}

#define SET_TRAP_FLAG __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc")
#define CLEAR_TRAP_FLAG __asm__ volatile("pushfq; andq $-257, (%%rsp); popfq" ::: "memory", "cc")

static void *by_malloc(void) { return malloc(SIZE); }
static void *by_calloc(void) { return calloc(1, SIZE); }
static void *by_aligned_alloc(void) { return aligned_alloc(64, SIZE / 64 * 64); }

/* `call` is interrupted at every instruction, after a free that was interrupted at `at`. False when
 * the free was over before. */
static int interrupt_both(int at, void *(*call)(void)) {
    for (int then = 1;; then++) {
        malloc_trim(0);
        /* The magazine of the first size is empty and open, that of the second was never filled,
         * and that of the third holds so much that the next slow call empties all of them. */
        void *freed = malloc(SIZE);
        free(malloc(HELD_SIZE));
        handler_size = OTHER_SIZE;
        steps_left = at;
        fired = 0;
        SET_TRAP_FLAG;
        free(freed);
        CLEAR_TRAP_FLAG;
        if (!fired) return 0;
        handler_size = SIZE;
        steps_left = then;
        fired = 0;
        SET_TRAP_FLAG;
        unsigned char *first = call();
        CLEAR_TRAP_FLAG;
        unsigned char *held[] = {first, malloc(SIZE), malloc(SIZE), malloc(OTHER_SIZE)};
        size_t sizes[] = {SIZE, SIZE, SIZE, OTHER_SIZE};
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < i; j++)
                CHECK(held[i] + sizes[i] <= held[j] || held[j] + sizes[j] <= held[i],
                      "blocks %d and %d overlap: free at step %d, then step %d", i, j, at, then);
        for (int i = 0; i < 4; i++) free(held[i]);
        if (!fired || then == CALL_STEPS) return 1;
    }
}

static void step_both(void *(*call)(void)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_step;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGTRAP, &action, NULL);
    int at = 1;
    while (at < FREE_STEPS && interrupt_both(at, call)) at++;
    CHECK(at > 5, "only %d steps of a free were interrupted", at - 1);
}

OURS(C30_two_signals_free_then_malloc) { step_both(by_malloc); }
OURS(C30_two_signals_free_then_calloc) { step_both(by_calloc); }
OURS(C30_two_signals_free_then_aligned_alloc) { step_both(by_aligned_alloc); }
#else
/* The trap flag is this processor's: elsewhere there is nothing to step with. */
OURS(C30_two_signals_free_then_malloc) { exit(77); }
OURS(C30_two_signals_free_then_calloc) { exit(77); }
OURS(C30_two_signals_free_then_aligned_alloc) { exit(77); }
#endif

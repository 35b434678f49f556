/* Seccomp filters, rule by rule: a system call refused, refused above a size, deadly, or trapped.
 *
 * A trapped call raises SIGSYS, whose handler counts it and either makes it all the same (from the
 * one instruction that the filter lets through) or answers with an error. Nothing allocates. */
#ifndef FILTER_H
#define FILTER_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define UNUSED_HERE __attribute__((unused))

struct filter {
    struct sock_filter code[400];
    unsigned count;
};

static UNUSED_HERE void filter_emit(struct filter *filter, unsigned code, uint32_t k, unsigned yes,
                                    unsigned no) {
    struct sock_filter instruction = {(uint16_t)code, (uint8_t)yes, (uint8_t)no, k};
    filter->code[filter->count++] = instruction;
}

static UNUSED_HERE void filter_load(struct filter *filter, size_t offset) {
    filter_emit(filter, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* What becomes of one system call, whatever its arguments. */
static UNUSED_HERE void filter_call(struct filter *filter, long number, uint32_t action) {
    filter_load(filter, offsetof(struct seccomp_data, nr));
    filter_emit(filter, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1);
    filter_emit(filter, BPF_RET | BPF_K, action, 0, 0);
}

/* The same, when the argument of that index is above a limit. */
static UNUSED_HERE void filter_above(struct filter *filter, long number, unsigned argument,
                                     uint64_t limit, uint32_t action) {
    size_t low = offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t);
    uint32_t high_limit = (uint32_t)(limit >> 32), low_limit = (uint32_t)limit;
    filter_load(filter, offsetof(struct seccomp_data, nr));
    filter_emit(filter, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 6);
    filter_load(filter, low + 4);
    filter_emit(filter, BPF_JMP | BPF_JGT | BPF_K, high_limit, 3, 0);
    filter_emit(filter, BPF_JMP | BPF_JEQ | BPF_K, high_limit, 0, 3);
    filter_load(filter, low);
    filter_emit(filter, BPF_JMP | BPF_JGT | BPF_K, low_limit, 0, 1);
    filter_emit(filter, BPF_RET | BPF_K, action, 0, 0);
}

/* Puts the filter on every thread; what no rule names gets `otherwise`. 0, or -1 with errno. */
static UNUSED_HERE int filter_install(struct filter *filter, uint32_t otherwise) {
    filter_emit(filter, BPF_RET | BPF_K, otherwise, 0, 0);
    struct sock_fprog program = {(unsigned short)filter->count, filter->code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

#if defined(__x86_64__)
#define FILTER_CAN_TRAP 1

/* trap_pass(number, six arguments): the only instruction whose calls are not trapped again. */
long trap_pass(long number, long a, long b, long c, long d, long e, long f);
extern const char trap_passed[];
__asm__(".pushsection .text\n"
        ".globl trap_pass, trap_passed\n"
        "trap_pass:\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %rdi\n"
        "    mov %rdx, %rsi\n"
        "    mov %rcx, %rdx\n"
        "    mov %r8, %r10\n"
        "    mov %r9, %r8\n"
        "    mov 8(%rsp), %r9\n"
        "    syscall\n"
        "trap_passed:\n"
        "    ret\n"
        ".popsection\n");

struct trap {
    long number;
    long answer;     /* 0: made all the same; else what the caller sees, -errno */
    unsigned calls;  /* not atomic: cases count in one thread */
    size_t bytes;    /* sum of the second argument: a length in all calls that are counted */
};

static UNUSED_HERE struct trap traps[16];
static UNUSED_HERE unsigned trap_count;

static UNUSED_HERE void trap_handler(int signal, siginfo_t *info, void *context) {
    (void)signal;
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    for (unsigned i = 0; i < trap_count; i++) {
        struct trap *trap = &traps[i];
        if (trap->number != info->si_syscall) continue;
        trap->calls++;
        trap->bytes += (size_t)r[REG_RSI];
        r[REG_RAX] = trap->answer != 0 ? trap->answer
                                       : trap_pass(trap->number, r[REG_RDI], r[REG_RSI], r[REG_RDX],
                                                   r[REG_R10], r[REG_R8], r[REG_R9]);
        return;
    }
    _exit(4);
}

static UNUSED_HERE struct trap *trap_add(long number, long answer) {
    traps[trap_count] = (struct trap){number, answer, 0, 0};
    return &traps[trap_count++];
}

/* Puts all traps that were added into force. 0, or -1 with errno. */
static UNUSED_HERE int trap_install(void) {
    struct filter filter = {.count = 0};
    uintptr_t passed = (uintptr_t)trap_passed;
    size_t pointer = offsetof(struct seccomp_data, instruction_pointer);
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
    action.sa_sigaction = trap_handler;
    if (sigaction(SIGSYS, &action, NULL) != 0) return -1;
    filter_load(&filter, pointer);
    filter_emit(&filter, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)passed, 0, 3);
    filter_load(&filter, pointer + 4);
    filter_emit(&filter, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(passed >> 32), 0, 1);
    filter_emit(&filter, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    for (unsigned i = 0; i < trap_count; i++)
        filter_call(&filter, traps[i].number, SECCOMP_RET_TRAP);
    return filter_install(&filter, SECCOMP_RET_ALLOW);
}
#endif

#endif

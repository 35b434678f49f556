/* What the library needs of the system once it is up: memory calls and futex, no descriptor. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "worker.h"

enum { THREADS = 3, STEPS = 4000 };

static void *work_some(void *argument) {
    struct work *work = &works[(size_t)argument];
    work->state = 4711 + (uint64_t)(size_t)argument;
    for (int i = 0; i < STEPS; i++) work_step(work);
    work_end(work);
    return NULL;
}

static void work_together(void) {
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work_some, (void *)i) == 0, "thread");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    free_gifts();
    malloc_trim(0);
}

/* Kills the process for any other system call made by the code of the malloc under test. */
static void forbid_all_but(const int *allowed, unsigned count) {
    enum { PLACE = offsetof(struct seccomp_data, instruction_pointer) };
    unsigned high = (unsigned)(code_start >> 32);
    if (code_end >> 32 != high) SKIP("the library lies across a multiple of 4 GiB");
    /* Elsewhere: allowed. The last statement but one allows, the last kills; jumps are relative. */
    enum { FIRST = 6 };
    unsigned allow = FIRST + count;
    struct sock_filter filter[32] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, PLACE + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, (unsigned char)(allow - 2)),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, PLACE),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (unsigned)code_start, 0, (unsigned char)(allow - 4)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (unsigned)code_end, (unsigned char)(allow - 5), 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    for (unsigned i = 0; i < count; i++) {
        unsigned char to_allow = (unsigned char)(count - i - 1);
        unsigned char otherwise = i + 1 == count ? 1 : 0;
        filter[FIRST + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                         (unsigned)allowed[i], to_allow, otherwise);
    }
    filter[allow] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[allow + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {(unsigned short)(allow + 2), filter};
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) SKIP("no_new_privs is refused");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) SKIP("no seccomp");
}

/* C49. Advice, moves, rseq, membarrier, getrandom, prctl, files: none of them once it is up. */
OURS(only_memory_calls_and_futex) {
    static const int allowed[] = {SYS_mmap,    SYS_munmap, SYS_mprotect,
                                  SYS_madvise, SYS_mremap, SYS_futex};
    find_code();
    free(malloc(100));
    forbid_all_but(allowed, sizeof allowed / sizeof *allowed);
    work_together();
    _exit(0);
}

/* The filter bites: without mprotect the heap cannot grow. Ends by SIGSYS. */
OURS(without_mprotect_it_is_killed) {
    static const int allowed[] = {SYS_mmap, SYS_futex};
    find_code();
    free(malloc(100));
    forbid_all_but(allowed, sizeof allowed / sizeof *allowed);
    work_together();
    _exit(0);
}

/* C50. Everything is closed, the standard streams too; no descriptor of ours appears. */
CASE(no_descriptor_is_kept) {
    for (int descriptor = 0; descriptor < 1024; descriptor++) close(descriptor);
    work_together();
    for (int wanted = 0; wanted < 8; wanted++) {
        int descriptor = open("/dev/null", O_RDWR);
        if (descriptor != wanted) _exit(1);
    }
    for (int descriptor = 0; descriptor < 8; descriptor++) close(descriptor);
    work_together();
}

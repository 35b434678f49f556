/* The heap under what a kernel, a limit or a sandbox does to it. The test runs most cases inside
 * some confinement; alone they hold too. */
#include <limits.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "churn.h"
#include "filter.h"

/* Small, medium, large and huge blocks, in one thread and in several. */
CASE(churns) {
    churn(1, 20000, 4 * MIB);
    churn_threads(4, 5000, MIB);
    void *huge = malloc(40 * MIB);
    CHECK(huge != NULL, "40 MiB");
    stamp(huge, 40 * MIB, 5);
    huge = realloc(huge, 60 * MIB);
    CHECK(huge != NULL && *(char *)huge == 5 && ((char *)huge)[40 * MIB - 1] == 5, "60 MiB");
    free(huge);
    malloc_trim(0);
    churn(2, 5000, 256 * KIB);
}

/* The same without huge blocks: some limits leave no room for them. */
CASE(churns_small) {
    churn(1, 20000, MIB);
    churn_threads(4, 5000, 64 * KIB);
    malloc_trim(0);
    churn(2, 5000, 256 * KIB);
}

/* A program that starts 64 threads at once, as on a machine with many CPUs. */
CASE(churns_in_64_threads) { churn_threads(64, 1500, 64 * KIB); }

/* Holds `argument 0` MiB in blocks of `argument 1` KiB, of which it touches the ends. */
CASE(holds) {
    enum { MOST = 1 << 17 };
    static char *blocks[MOST];
    size_t total = strtoul(case_argv[0], NULL, 10) * MIB;
    size_t size = strtoul(case_argv[1], NULL, 10) * KIB;
    size_t count = total / size;
    CHECK(case_argc == 2 && count <= MOST, "%d arguments", case_argc);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = (char *)malloc(size);
        CHECK(blocks[i] != NULL, "block %zu of %zu, %zu KiB", i, count, size / KIB);
        blocks[i][0] = blocks[i][size - 1] = (char)i;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(blocks[i][0] == (char)i && blocks[i][size - 1] == (char)i, "block %zu", i);
        free(blocks[i]);
    }
}

/* Bytes of private mappings that strict accounting charges for: all that are writable, and those it
 * charges already (flag "ac", kept when they are writable no more). In the modes 0 and 1 it charges
 * nothing of a mapping made with MAP_NORESERVE, so the flag alone would show nothing. */
static size_t charged(void) {
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file != NULL, "smaps");
    char line[512], rights[8];
    size_t kib = 0, sum = 0;
    int is_writable = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%*x-%*x %7s", rights) == 1)
            is_writable = rights[1] == 'w' && rights[3] == 'p';
        if (sscanf(line, "Size: %zu", &kib) == 1) continue;
        if (strncmp(line, "VmFlags:", 8) != 0) continue;
        if (is_writable || strstr(line, " ac") != NULL) sum += kib * KIB;
    }
    fclose(file);
    return sum;
}

/* Takes blocks of one size; what is charged with them beside the bytes of the blocks themselves. */
static size_t charged_beside(size_t size, size_t count) {
    static char *blocks[200000];
    for (size_t i = 0; i < count; i++) blocks[i] = (char *)memset(malloc(size), 1, size);
    size_t after = charged();
    for (size_t i = 0; i < count; i++) free(blocks[i]);
    CHECK(after > size * count, "%zu bytes charged for %zu", after, size * count);
    return after - size * count;
}

/* The reservation must not be charged, only what is used: memory becomes writable in steps of an
 * eighth of what is, 4 MiB at least, to the end of a huge page; the rest is metadata and what sizes
 * are rounded up by. With an argument the case must fail: as much as a reservation is writable from
 * the start. */
CASE(charges_what_it_uses) {
    if (case_argc > 0) {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *all = mmap(NULL, 64 * GIB, PROT_READ | PROT_WRITE, flags, -1, 0);
        CHECK(all != MAP_FAILED, "64 GiB");
    }
    free(malloc(1));
    size_t start = charged();
    CHECK(start <= 16 * MIB, "%zu KiB charged at the start", start / KIB);
    size_t large = charged_beside(MIB, 100);
    size_t small = charged_beside(1000, 200000);
    printf("start %zu KiB, beside large blocks %zu, small %zu\n", start / KIB, large / KIB,
           small / KIB);
    CHECK(large <= start + 100 * MIB / 8 + 4 * MIB, "%zu KiB beside 100 MiB", large / KIB);
    CHECK(small <= start + 200 * MIB / 8 + 8 * MIB, "%zu KiB beside 190 MiB", small / KIB);
}

/* All system calls but the seven are deadly once the heap is up; threads have begun before. */
static atomic_int started, sandboxed, finished;

static void *churn_when_sandboxed(void *argument) {
    atomic_fetch_add(&started, 1);
    while (!atomic_load(&sandboxed)) sched_yield();
    churn(*(uint64_t *)argument, 5000, 4 * MIB);
    /* What libc does at the end of a thread is not on the list. */
    if (atomic_fetch_add(&finished, 1) == 2) syscall(SYS_exit_group, 0);
    for (;;) sched_yield();
    return NULL;
}

static void enter_sandbox(void) {
    const long allowed[] = {SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_mremap, SYS_futex,
                            SYS_write, SYS_exit, SYS_exit_group, SYS_sched_yield};
    struct filter filter = {.count = 0};
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        filter_call(&filter, allowed[i], SECCOMP_RET_ALLOW);
    if (filter_install(&filter, SECCOMP_RET_KILL_PROCESS) != 0) SKIP("no seccomp filter here");
}

/* glibc's heap asks getrandom and reads /proc in a new arena: this is asked of liballoc alone. */
OURS(sandbox_after_init) {
    static uint64_t seeds[3] = {1, 2, 3};
    pthread_t thread;
    free(malloc(1));
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&thread, NULL, churn_when_sandboxed, &seeds[i]) == 0, "thread");
    while (atomic_load(&started) < 2) sched_yield();
    enter_sandbox();
    atomic_store(&sandboxed, 1);
    churn_when_sandboxed(&seeds[2]);
}

/* Run under a limit of address space: more than one region's worth, and huge blocks. */
OURS(sandbox_that_grows) {
    enum { BLOCKS = 12000 };
    static void *blocks[BLOCKS];
    free(malloc(1));
    enter_sandbox();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(60000);
        CHECK(blocks[i] != NULL, "block %d", i);
        stamp(blocks[i], 16, 1);
    }
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    void *huge = malloc(40 * MIB);
    CHECK(huge != NULL, "40 MiB");
    free(huge);
    malloc_trim(0);
    syscall(SYS_exit_group, 0);
}

/* The frame itself: a call that is not on the list is deadly. */
CASE(sandbox_kills) {
    enter_sandbox();
    syscall(SYS_getppid);
    syscall(SYS_exit_group, 0);
}

static unsigned open_files(void) {
    unsigned count = 0;
    for (int file = 0; file < 1024; file++) count += fcntl(file, F_GETFD) >= 0;
    return count;
}

/* No call keeps a file open, and none minds that all are closed under it. */
CASE(keeps_no_file_open) {
    unsigned before = open_files();
    churn(3, 1000, 40 * MIB);
    churn_threads(2, 1000, MIB);
    struct mallinfo2 info = mallinfo2();
    CHECK(info.arena + info.hblkhd > 0, "mallinfo2");
    malloc_trim(0);
    CHECK(open_files() == before, "%u open files, then %u", before, open_files());
    for (int file = 0; file < 1024; file++) close(file);
    churn(4, 1000, 40 * MIB);
    churn_threads(2, 1000, MIB);
}

#ifdef FILTER_CAN_TRAP
/* madvise is refused again and again: the heap asks a bounded number of times and works on. */
CASE(madvise_says_eagain) {
    enum { BLOCKS = 400 };
    static void *blocks[BLOCKS];
    struct trap *madvise_calls = trap_add(SYS_madvise, -EAGAIN);
    if (trap_install() != 0) SKIP("no seccomp filter here");
    unsigned frees = 0;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = malloc(300 * KIB);
            CHECK(blocks[i] != NULL, "block %d", i);
            stamp(blocks[i], 300 * KIB, (unsigned char)i);
        }
        for (int i = 0; i < BLOCKS; i++) {
            CHECK(stamped(blocks[i], 300 * KIB, (unsigned char)i), "block %d", i);
            free(blocks[i]);
            frees++;
        }
        malloc_trim(0);
    }
    /* One try a free would be a storm; a spin would never come here. */
    CHECK(madvise_calls->calls <= frees / 10, "%u calls for %u frees", madvise_calls->calls, frees);
    printf("%u\n", madvise_calls->calls);
}
#endif

/* The CPU changes under the thread all the time, and ids may be above the number of usable CPUs. */
CASE(moves_between_cpus) {
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0, "affinity");
    for (int turn = 0; turn < 4; turn++) {
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, &all)) continue;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            CHECK(sched_setaffinity(0, sizeof one, &one) == 0, "CPU %d", cpu);
            churn((uint64_t)(turn * CPU_SETSIZE + cpu), 1000, MIB);
            churn_threads(2, 300, 64 * KIB);
        }
    }
}

/* 100 MiB, half of it freed again, then a crash: the test looks at the core file. Prints the
 * resident bytes of what a core holds: private memory and files that were written to. */
CASE(dumps_core) {
    enum { BLOCKS = 25600 };
    static void *blocks[BLOCKS];
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_CORE, &all) != 0) SKIP("core files are not allowed");
    for (int i = 0; i < BLOCKS; i++) blocks[i] = memset(malloc(4096), i, 4096);
    for (int i = 0; i < BLOCKS; i += 2) free(blocks[i]);
    void *huge = memset(malloc(40 * MIB), 1, 40 * MIB);
    void *grown = realloc(memset(malloc(2 * MIB), 1, 2 * MIB), 5 * MIB);
    printf("%zu\n", process_size().resident);
    fflush(stdout);
    CHECK(huge != NULL && grown != NULL, "huge blocks");
    abort();
}

/* Prints the addresses, relative to the library, of the instructions that one warm call of each
 * function executes inside the library. Built and run by fast_path.py with the library preloaded.
 *
 * The child calls each function a thousand times, so that magazines hold blocks and names are
 * bound, then once between two values of `phase`. The parent single-steps it and reads `phase`
 * after each step: parent and child are the same image, so the address is the same.
 *
 * Output, one line an instruction: the name of the phase, the round, the offset in hex.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 5, WARM = 1000, SIZE = 32, LARGER = 6 };
/* From MALLOC_LARGER on a pair of phases for each of the larger sizes: malloc, free. */
enum phase {
    NONE, MALLOC, FREE, CALLOC, REALLOC, OPERATOR_DELETE, POOL_ALLOC, POOL_FREE, ARENA_ALLOC,
    MALLOC_LARGER, LAST = MALLOC_LARGER + 2 * LARGER
};
static const char *const names[LAST] = {
    "", "malloc", "free", "calloc", "realloc", "operator_delete", "alloc_pool_alloc",
    "alloc_pool_free", "alloc_arena_alloc", "malloc_1000", "free_1000", "malloc_4000", "free_4000",
    "malloc_20000", "free_20000", "malloc_100000", "free_100000", "malloc_300000", "free_300000",
    "malloc_2000000", "free_2000000"};
static const size_t larger[LARGER] = {1000, 4000, 20000, 100000, 300000, 2000000};

static volatile long phase;
static void *(*volatile call_malloc)(size_t);
static void (*volatile call_free)(void *);
static void *(*volatile call_calloc)(size_t, size_t);
static void *(*volatile call_realloc)(void *, size_t);
static void (*volatile call_delete)(void *, size_t);
static void *(*volatile call_pool_alloc)(void *);
static void (*volatile call_pool_free)(void *, void *);
static void *(*volatile call_arena_alloc)(void *, size_t);
/* NULL where the library has none. */
static void *pool, *arena;

static void one_round(int watched) {
    phase = watched ? MALLOC : NONE;
    void *block = call_malloc(SIZE);
    phase = NONE;
    void *second = call_malloc(SIZE);
    phase = watched ? FREE : NONE;
    call_free(block);
    phase = NONE;
    call_free(second);
    phase = watched ? CALLOC : NONE;
    block = call_calloc(1, SIZE);
    phase = watched ? REALLOC : NONE;
    block = call_realloc(block, SIZE - 2);
    phase = watched ? OPERATOR_DELETE : NONE;
    call_delete(block, SIZE);
    phase = NONE;
    for (int i = 0; i < LARGER; i++) {
        phase = watched ? MALLOC_LARGER + 2 * i : NONE;
        block = call_malloc(larger[i]);
        phase = watched ? MALLOC_LARGER + 2 * i + 1 : NONE;
        call_free(block);
        phase = NONE;
    }
    if (pool == NULL || arena == NULL) return;
    phase = watched ? POOL_ALLOC : NONE;
    block = call_pool_alloc(pool);
    phase = watched ? POOL_FREE : NONE;
    call_pool_free(pool, block);
    phase = watched ? ARENA_ALLOC : NONE;
    block = call_arena_alloc(arena, SIZE);
    phase = NONE;
}

static void make_pool_and_arena(void) {
    void *(*create_pool)(size_t, size_t) = dlsym(RTLD_DEFAULT, "hft_pool_create");
    void *(*create_arena)(size_t) = dlsym(RTLD_DEFAULT, "hft_arena_create");
    call_pool_alloc = dlsym(RTLD_DEFAULT, "alloc_pool_alloc");
    call_pool_free = dlsym(RTLD_DEFAULT, "alloc_pool_free");
    call_arena_alloc = dlsym(RTLD_DEFAULT, "alloc_arena_alloc");
    if (create_pool != NULL) pool = create_pool(SIZE, WARM);
    if (create_arena != NULL) arena = create_arena(2 * WARM * SIZE);
}

static void watched_program(void) {
    for (int i = 0; i < WARM; i++) one_round(0);
    raise(SIGSTOP);
    for (int i = 0; i < ROUNDS; i++) one_round(1);
    _exit(0);
}

static int fail(const char *what) {
    perror(what);
    return 1;
}

int main(void) {
    Dl_info library;
    call_malloc = dlsym(RTLD_DEFAULT, "malloc");
    call_free = dlsym(RTLD_DEFAULT, "free");
    call_calloc = dlsym(RTLD_DEFAULT, "calloc");
    call_realloc = dlsym(RTLD_DEFAULT, "realloc");
    call_delete = dlsym(RTLD_DEFAULT, "_ZdlPvm");
    if (!dladdr((void *)(uintptr_t)call_malloc, &library)) return fail("dladdr");
    make_pool_and_arena();
    if (!call_delete) call_delete = (void (*)(void *, size_t))(uintptr_t)call_free;
    uintptr_t start = (uintptr_t)library.dli_fbase;
    size_t size = strtoul(getenv("TRACE_LIBRARY_SIZE"), NULL, 10);
    printf("library %s\n", library.dli_fname);
    fflush(stdout);

    pid_t child = fork();
    if (child < 0) return fail("fork");
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(fail("ptrace"));
        watched_program();
    }
    int status;
    if (waitpid(child, &status, 0) < 0) return fail("waitpid");
    if (!WIFSTOPPED(status)) return fail("the child did not stop");
    long previous = NONE, seen[LAST] = {0};
    while (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0) {
        if (waitpid(child, &status, 0) < 0) return fail("waitpid");
        if (WIFEXITED(status)) return WEXITSTATUS(status);
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) return fail("stopped otherwise");
        long now = ptrace(PTRACE_PEEKDATA, child, (void *)(uintptr_t)&phase, NULL);
        struct user_regs_struct registers;
        if (ptrace(PTRACE_GETREGS, child, NULL, &registers)) return fail("registers");
        if (now != previous && now != NONE) seen[now]++;
        previous = now;
        unsigned long offset = (unsigned long)(registers.rip - start);
        if (now != NONE && offset < size) printf("%s %ld %lx\n", names[now], seen[now], offset);
    }
    return fail("singlestep");
}

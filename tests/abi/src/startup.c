/* The first calls of a process: in IFUNC resolvers, in constructors, and the last ones at exit. */
#include <pthread.h>

#include "entries.h"

static int answer_of_the_resolved(void) { return 42; }

/* Runs while the loader is still relocating this program. */
__attribute__((used)) static int (*resolve_answer(void))(void) {
    free(NULL);
    if (malloc_usable_size(NULL) != 0) return NULL;
    return answer_of_the_resolved;
}

int answer(void) __attribute__((ifunc("resolve_answer")));

static void *kept[40];
static size_t kept_sizes[40];
static void *early_zero;

static void __attribute__((constructor(101))) before_every_other_constructor(void) {
    free(NULL);
    if (malloc_usable_size(NULL) != 0) _exit(9);
    early_zero = realloc(NULL, 0);
    for (unsigned i = 0; i < 40; i++) {
        kept_sizes[i] = (size_t)1 << (i % 23);
        kept[i] = i % 2 ? malloc(kept_sizes[i]) : calloc(1, kept_sizes[i]);
        fill(kept[i], kept_sizes[i], i);
    }
}

CASE(C01_ifunc_resolver) { CHECK(answer() == 42, "the resolver"); }

CASE(C01_constructor_blocks_are_kept) {
    CHECK(early_zero != NULL, "realloc(NULL, 0)");
    free(early_zero);
    for (unsigned i = 0; i < 40; i++) {
        CHECK(intact(kept[i], kept_sizes[i], i) == kept_sizes[i], "block %u", i);
        if (i % 3) free(kept[i]);
        else free(realloc(kept[i], 3 * kept_sizes[i]));
    }
}

static void *early_thread_block;

static void *allocate_early(void *unused) {
    (void)unused;
    return malloc(1000);
}

static void __attribute__((constructor(102))) thread_in_a_constructor(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, allocate_early, NULL) != 0) _exit(9);
    pthread_join(thread, &early_thread_block);
}

CASE(C01_thread_before_main) {
    CHECK(early_thread_block != NULL, "malloc");
    memset(early_thread_block, 1, 1000);
    free(early_thread_block);
}

static void *for_exit;

static void free_at_exit(void) {
    void *block = malloc(5000);
    memset(block, 1, 5000);
    free(block);
    if (for_exit != NULL) {
        CHECK(intact(for_exit, 100, 1) == 100, "contents at exit");
        free(for_exit);
        for_exit = malloc(64);
        if (write(1, "atexit ", 7) != 7) _exit(9);
    }
}

static void __attribute__((destructor(101))) after_every_other_destructor(void) {
    if (for_exit == NULL) return;
    free(for_exit);
    void *block = malloc(100);
    void *large = malloc(100000);
    free(block);
    free(large);
    if (write(1, "destructor\n", 11) != 11) _exit(9);
}

/* The test reads both words on stdout. */
CASE(C13_atexit_and_destructors) {
    for_exit = malloc(100);
    fill(for_exit, 100, 1);
    CHECK(atexit(free_at_exit) == 0, "atexit");
}

static void *allocate_while_exiting(void *unused) {
    (void)unused;
    for (;;) {
        void *block = malloc(3000);
        memset(block, 1, 3000);
        free(block);
    }
    return NULL;
}

/* Threads go on allocating while exit() runs: no crash, no hang. */
CASE(C13_threads_live_through_exit) {
    pthread_t thread;
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&thread, NULL, allocate_while_exiting, NULL) == 0, "thread");
    exit(0);
}

/* stdio buffers, environment, locale: what libc itself allocates, grown and freed. */
CASE(C07_libc_allocates_for_itself) {
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof name, "VARIABLE_%d", i);
        CHECK(setenv(name, "some value that is not short", 1) == 0, "setenv");
    }
    CHECK(clearenv() == 0, "clearenv");
    FILE *files[50];
    for (int i = 0; i < 50; i++) CHECK((files[i] = fopen("/dev/null", "w")) != NULL, "fopen");
    for (int i = 0; i < 50; i++) {
        fprintf(files[i], "%1000d", i);
        fclose(files[i]);
    }
}

/* operator new of liballoc needs libstdc++ only where the program has it. */
CASE(C08_no_libstdcxx_comes_along) {
    static char maps[1 << 20];
    int file = open("/proc/self/maps", O_RDONLY);
    size_t used = 0;
    for (ssize_t got; (got = read(file, maps + used, sizeof maps - 1 - used)) > 0;)
        used += (size_t)got;
    close(file);
    CHECK(strstr(maps, "[stack]") != NULL, "maps cannot be read");
    CHECK(strstr(maps, "libstdc++") == NULL, "it is loaded");
}

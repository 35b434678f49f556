/* A server that forks its workers: 64 of them, and what all of them hold together.
 *
 *     prefork serve WORKERS
 *
 * The parent builds 16 MiB of small structures; each worker allocates and frees as requests do,
 * keeps a little, and rests. Prints the sum of their proportional set sizes, KiB. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "churn.h"

enum { WORKERS_MAX = 64, STRUCTURES = 160000 };
static void *structures[STRUCTURES];

static size_t proportional_kib(pid_t pid) {
    char path[64], line[256];
    size_t kib = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL, "%s", path);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Pss: %zu kB", &kib) == 1) break;
    fclose(file);
    return kib;
}

static void __attribute__((noreturn)) work(uint64_t seed, int ready) {
    static void *kept[200];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    churn(seed, 3000, 16 * KIB);
    for (int i = 0; i < 200; i++) kept[i] = memset(malloc(500), 1, 500);
    for (int i = 0; i < STRUCTURES; i += 100) {
        free(structures[i]);
        structures[i] = memset(malloc(100), 2, 100);
    }
    if (write(ready, kept[0], 1) != 1) _exit(1);
    for (;;) pause();
}

CASE(serve) {
    pid_t workers[WORKERS_MAX];
    int ready[2], count = case_argc == 1 ? atoi(case_argv[0]) : 0;
    CHECK(count > 0 && count <= WORKERS_MAX && pipe(ready) == 0, "workers");
    for (int i = 0; i < STRUCTURES; i++) structures[i] = memset(malloc(100), 1, 100);
    for (int i = 0; i < count; i++) {
        workers[i] = fork();
        CHECK(workers[i] >= 0, "fork");
        if (workers[i] == 0) work((uint64_t)i + 1, ready[1]);
    }
    char byte;
    for (int i = 0; i < count; i++) CHECK(read(ready[0], &byte, 1) == 1, "worker %d", i);
    size_t sum = proportional_kib(getpid());
    for (int i = 0; i < count; i++) sum += proportional_kib(workers[i]);
    for (int i = 0; i < count; i++) kill(workers[i], SIGKILL);
    for (int i = 0; i < count; i++) waitpid(workers[i], NULL, 0);
    printf("%zu\n", sum);
}

/* A little traffic, and then one of the ways a process can end: for the tests of ALLOC_CONF. */
#include <signal.h>
#include <sys/wait.h>

#include "memory.h"

static void some_traffic(void) {
    void *blocks[1000];
    for (size_t i = 0; i < 1000; i++) blocks[i] = memset(malloc(i + 1), 1, i + 1);
    for (size_t i = 0; i < 1000; i++) free(blocks[i]);
    free(malloc(40 * MIB));
}

CASE(returns) { some_traffic(); }

CASE(underscore_exit) {
    some_traffic();
    _exit(0);
}

CASE(killed) {
    some_traffic();
    raise(SIGKILL);
}

/* Three children and their parent end by exit(). */
CASE(forks) {
    some_traffic();
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            some_traffic();
            exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0, "status %d", status);
    }
}

CASE(execs) {
    some_traffic();
    execl("/proc/self/exe", "traffic", "returns", (char *)NULL);
    FAIL("exec");
}

/* A file descriptor table as a daemon leaves it. */
CASE(closes_everything) {
    for (int file = 0; file < 256; file++) close(file);
    some_traffic();
}

/* The large block is a mapping of its own under a lowered mmap_threshold. */
CASE(counts_mappings) {
    void *block = malloc(8 * MIB);
    struct mallinfo2 info = mallinfo2();
    dprintf(1, "%zu\n", info.hblks);
    free(block);
}

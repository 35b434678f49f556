/* mlockall before the first call of the library, which is opened late. */
#include <sys/mman.h>

#include "late.h"

/* The first call of all comes after the lock: nothing large can be reserved any more. */
OURS(before_the_first_call) {
    if (mlockall(MCL_FUTURE) != 0) SKIP("mlockall is refused");
    CHECK(mmap(NULL, 64 * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED,
          "the limit does not bite");
    open_late(case_argv[0]);
    void *blocks[1000];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1000; i++) {
            blocks[i] = malloc(1000);
            CHECK(blocks[i] != NULL, "round %d, block %d", round, i);
            stamp(blocks[i], 1000, 1);
        }
        for (int i = 0; i < 1000; i++) free(blocks[i]);
    }
}

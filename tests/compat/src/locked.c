/* mlockall: everything that is mapped from now on must fit under RLIMIT_MEMLOCK. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "churn.h"

static void lock_future(int more) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_MEMLOCK, &limit) == 0, "getrlimit");
    if (mlockall(MCL_FUTURE | more) != 0) SKIP("mlockall is refused");
}

/* Under a small limit, as a plain user: what was reserved before the lock serves on. */
OURS(future_under_a_small_limit) {
    free(malloc(1));
    lock_future(0);
    CHECK(mmap(NULL, 64 * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED,
          "the limit does not bite");
    churn(1, 20000, MIB);
    errno = 0;
    CHECK(malloc(64 * MIB) == NULL && errno == ENOMEM, "errno is %d", errno);
    churn(2, 5000, 256 * KIB);
}

/* Without a limit (root): what is reserved must not become resident, only what is committed. */
CASE(all_without_a_limit) {
    lock_future(MCL_CURRENT);
    size_t before = process_size().resident;
    churn(1, 5000, 64 * KIB);
    char *block = (char *)malloc(10 * MIB);
    CHECK(block != NULL, "10 MiB");
    size_t after = process_size().resident;
    CHECK(after <= before + 64 * MIB, "%zu MiB resident", after / MIB);
    free(block);
    churn(2, 20000, MIB);
}

/* Large blocks of which a program touches a byte each: address space, not memory. */
#include "../../abi/src/entries.h"

enum { BLOCKS = 1500 };

/* Log-uniform from 64 KiB to 8 MiB, 3 GiB in all: huge pages under them would make each touched
 * byte 2 MiB. */
CASE(C44_sparse_blocks_stay_sparse) {
    static char *blocks[BLOCKS];
    uint64_t state = 44;
    free(malloc(1));
    size_t before = process_size().resident, held = 0;
    for (int i = 0; i < BLOCKS; i++) {
        size_t low = (size_t)64 * KIB << next_random(&state) % 7;
        size_t size = low + next_random(&state) % low;
        blocks[i] = (char *)malloc(size);
        CHECK(blocks[i] != NULL, "%zu bytes, %zu MiB held", size, held / MIB);
        blocks[i][size / 2] = 1;
        held += size;
    }
    size_t grown = process_size().resident - before;
    CHECK(held > 2000 * MIB, "%zu MiB", held / MIB);
    CHECK(grown <= 32 * MIB, "%zu MiB resident of %zu", grown / MIB, held / MIB);
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
}

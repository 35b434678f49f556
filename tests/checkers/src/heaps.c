/* Heaps of alloc.h under Valgrind and AddressSanitizer: what they see of blocks of malloc they see
 * of these, and a destroyed heap is freed blocks. */
#include "../../abi/src/check.h"
#include "alloc.h"

static volatile char seen;

OURS(clean) {
    static char *blocks[300];
    for (int turn = 0; turn < 2; turn++) {
        alloc_heap_t *heap = alloc_heap_create(turn == 0 ? 0 : (size_t)32 << 20);
        for (int i = 0; i < 300; i++) {
            size_t size = (size_t)i * (size_t)i + 1;
            switch (i % 4) {
            case 0: blocks[i] = alloc_heap_calloc(heap, 1, size); break;
            case 1:
                blocks[i] = alloc_heap_aligned_alloc(heap, (size_t)1 << (4 + i % 13), size);
                break;
            case 2:
                blocks[i] = alloc_heap_realloc(heap, alloc_heap_malloc(heap, (size_t)i), size);
                break;
            default: blocks[i] = alloc_heap_malloc(heap, size);
            }
            CHECK(blocks[i] != NULL && alloc_heap_owns(heap, blocks[i]), "%d", i);
            CHECK(alloc_usable_size(blocks[i]) >= size, "%d", i);
            memset(blocks[i], i, alloc_usable_size(blocks[i]));
        }
        alloc_heap_stats_t now;
        CHECK(alloc_heap_stats(heap, &now, sizeof now) == 0 && now.live_blocks == 300, "stats");
        for (int i = 0; i < 300; i += 2) alloc_heap_free(heap, blocks[i]);
        CHECK(alloc_heap_destroy(heap) == 150, "destroy");
    }
}

/* A handle that is out of date: nothing is freed, and nothing reported. */
OURS(clean_stale_handle) {
    alloc_heap_t *gone = alloc_heap_create(0), *other = alloc_heap_create(0);
    void *blocks[2] = {alloc_heap_malloc(gone, 100), alloc_heap_malloc(other, 100)};
    CHECK(alloc_heap_destroy(gone) == 1, "destroy");
    for (int i = 0; i < 2; i++) alloc_heap_free(gone, blocks[i]);
    alloc_heap_stats_t now;
    CHECK(alloc_heap_stats(other, &now, sizeof now) == 0 && now.live_blocks == 1, "freed");
    for (int i = 0; i < 250; i++) alloc_heap_free(other, alloc_heap_malloc(other, 1000));
    for (int i = 0; i < 250; i++) free(malloc(1000));
    CHECK(alloc_heap_destroy(other) == 1, "destroy");
}

OURS(overflow_by_one) {
    alloc_heap_t *heap = alloc_heap_create(0);
    char *block = alloc_heap_malloc(heap, 13);
    block[13] = 1;
    alloc_heap_destroy(heap);
}

OURS(use_after_destroy) {
    alloc_heap_t *heap = alloc_heap_create(0);
    char *block = alloc_heap_malloc(heap, 13);
    block[2] = 1;
    alloc_heap_destroy(heap);
    seen = block[2];
}

OURS(use_after_free) {
    alloc_heap_t *heap = alloc_heap_create(0);
    char *block = alloc_heap_malloc(heap, 13), *other = alloc_heap_malloc(heap, 13);
    alloc_heap_free(heap, block);
    block[2] = 1;
    alloc_heap_free(heap, other);
    alloc_heap_destroy(heap);
}

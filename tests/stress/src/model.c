/* The model test: random operations from a seed, every block's contents verified.
 *
 *     model SEED OPERATIONS THREADS [canary|large]
 *
 * Each worker owns a table of blocks and does weighted random operations on it: malloc, calloc,
 * aligned entries, realloc, free, and swaps with a shared table, so that blocks are verified, grown
 * and freed by threads that did not make them. A worker is several threads one after the other:
 * each ends in the middle of things and its successor takes over. Sizes are log-uniform from 1 byte
 * to 1 MB, with `large` to 16 MB. With `canary` one byte of one block is changed half-way: the run
 * must fail.
 *
 * Exit status 0: all contents were right. 1: one line says what was not, and how to repeat it. */
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SLOTS = 2048,       /* blocks a worker holds at most */
    SHARED = 256,       /* blocks that wait to change hands */
    EDGE = 256,         /* bytes at either end of a block that are all verified */
    STRIDE = 512,       /* between them one word in so many bytes is */
    GENERATIONS = 4,    /* threads that one worker is, one after the other */
    THREADS_MAX = 64,
};
static const size_t live_bytes_max = (size_t)96 << 20;

struct block {
    unsigned char *address;
    size_t size;
    uint64_t tag; /* makes the contents of every allocation its own */
};

struct worker {
    uint64_t random;
    uint64_t tag;
    uint64_t operations;
    size_t live_bytes;
    uint64_t counts[8];
    struct block slots[SLOTS];
};

struct shared_slot {
    atomic_flag taken;
    struct block block;
};

static struct worker *workers;
static struct shared_slot shared[SHARED];
static size_t worker_live_max;
static uint64_t seed, operations, threads;
static int canary;
static unsigned doublings = 20; /* sizes end at 2^doublings bytes */
static atomic_int canary_done;

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(text, 300, format, arguments);
    va_end(arguments);
    if (used > 299) used = 299;
    used += snprintf(text + used, 200,
                     "\nrepeat with: model %" PRIu64 " %" PRIu64 " %" PRIu64 "%s\n", seed,
                     operations, threads, canary ? " canary" : doublings > 20 ? " large" : "");
    if (write(2, text, (size_t)used) < 0) _exit(3);
    _exit(1);
}

/* splitmix64: every state is as good as any other, so that workers can start at seed + index. */
static uint64_t next(struct worker *worker) {
    uint64_t z = worker->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t random_size(struct worker *worker) {
    uint64_t low = (uint64_t)1 << next(worker) % doublings;
    return low + next(worker) % low;
}

static unsigned char byte_of(uint64_t tag, size_t index) {
    uint64_t mixed = (tag + index / 8) * 0x9e3779b97f4a7c15u;
    return (unsigned char)(mixed >> (8 + index % 8 * 7));
}

/* Walks the offsets that carry the pattern in a block of `size`, as far as `limit`: both edges,
 * and eight bytes in every STRIDE between. Writes, or returns the first offset that is wrong. */
static size_t walk(const struct block *block, size_t limit, int write_it) {
    unsigned char *bytes = block->address;
    size_t size = block->size;
    for (size_t i = 0; i < limit;) {
        int edge = i < EDGE || i + EDGE >= size;
        if (!edge && i % STRIDE >= 8) {
            size_t following = (i / STRIDE + 1) * STRIDE;
            i = following + EDGE < size ? following : size - EDGE;
            continue;
        }
        unsigned char wanted = byte_of(block->tag, i);
        if (write_it) bytes[i] = wanted;
        else if (bytes[i] != wanted) return i;
        i++;
    }
    return limit;
}

static void check(const struct block *block, size_t limit, const char *when) {
    size_t offset = walk(block, limit, 0);
    if (offset != limit)
        fail("%s: byte %zu of the block of %zu at %p is %02x, not %02x", when, offset, block->size,
             (void *)block->address, block->address[offset], byte_of(block->tag, offset));
}

static void adopt(struct worker *worker, struct block *block, void *address, size_t size,
                  size_t alignment) {
    if (address == NULL) fail("no memory for %zu bytes", size);
    if ((uintptr_t)address % alignment != 0) fail("%p is not aligned to %zu", address, alignment);
    if (malloc_usable_size(address) < size)
        fail("%p holds %zu of %zu bytes", address, malloc_usable_size(address), size);
    block->address = (unsigned char *)address;
    block->size = size;
    block->tag = worker->tag += 2654435769u;
    worker->live_bytes += size;
    walk(block, size, 1);
}

static void release(struct worker *worker, struct block *block) {
    if (block->address == NULL) return;
    check(block, block->size, "before free");
    free(block->address);
    worker->live_bytes -= block->size;
    memset(block, 0, sizeof *block);
}

static void allocate_zeroed(struct worker *worker, struct block *block) {
    size_t size = random_size(worker);
    size_t parts = 1 + next(worker) % 8;
    size = (size + parts - 1) / parts * parts;
    unsigned char *address = (unsigned char *)calloc(parts, size / parts);
    if (address != NULL && (address[0] != 0 || memcmp(address, address + 1, size - 1) != 0))
        fail("calloc(%zu, %zu) is not zero", parts, size / parts);
    adopt(worker, block, address, size, 16);
}

static void allocate_aligned(struct worker *worker, struct block *block) {
    size_t alignment = (size_t)16 << next(worker) % 13;
    size_t size = random_size(worker) % (256 * 1024) + 1;
    void *address = NULL;
    switch (next(worker) % 3) {
    case 0: address = memalign(alignment, size); break;
    case 1: address = aligned_alloc(alignment, size); break;
    default:
        if (posix_memalign(&address, alignment, size) != 0) address = NULL;
    }
    adopt(worker, block, address, size, alignment);
}

static void resize(struct worker *worker, struct block *block) {
    size_t old_size = block->size;
    size_t size = random_size(worker);
    if (next(worker) % 2) size = old_size / 2 + 1 + next(worker) % (old_size + 1);
    if (block->address != NULL) check(block, old_size, "before realloc");
    unsigned char *address = (unsigned char *)realloc(block->address, size);
    if (address == NULL) fail("realloc from %zu to %zu", old_size, size);
    size_t kept = old_size < size ? old_size : size;
    block->address = address;
    check(block, kept, "after realloc");
    worker->live_bytes -= old_size;
    adopt(worker, block, address, size, 16);
}

static void swap_with_shared(struct worker *worker, struct block *block) {
    struct shared_slot *slot = &shared[next(worker) % SHARED];
    struct block ours = *block;
    while (atomic_flag_test_and_set_explicit(&slot->taken, memory_order_acquire)) continue;
    *block = slot->block;
    slot->block = ours;
    atomic_flag_clear_explicit(&slot->taken, memory_order_release);
    worker->live_bytes += block->size - ours.size;
    if (block->address != NULL) check(block, block->size, "after it changed hands");
}

static void corrupt_something(struct worker *worker) {
    for (int i = 0; i < SLOTS; i++) {
        if (worker->slots[i].address == NULL) continue;
        worker->slots[i].address[worker->slots[i].size - 1] ^= 4;
        atomic_store(&canary_done, 1);
        return;
    }
}

enum operation { MALLOC, CALLOC, ALIGNED, REALLOC, FREE, SWAP, BURST };

static enum operation choose(struct worker *worker) {
    static const uint64_t weights[] = {310, 110, 80, 150, 229, 120}; /* of 1000; BURST the rest */
    uint64_t pick = next(worker) % 1000;
    for (int each = MALLOC; each < BURST; each++) {
        if (pick < weights[each]) return (enum operation)each;
        pick -= weights[each];
    }
    return BURST;
}

static void operate(struct worker *worker) {
    struct block *block = &worker->slots[next(worker) % SLOTS];
    enum operation operation = choose(worker);
    if (worker->live_bytes > worker_live_max) operation = FREE;
    worker->counts[operation]++;
    switch (operation) {
    case MALLOC: {
        size_t size = random_size(worker);
        release(worker, block);
        adopt(worker, block, malloc(size), size, 16);
        break;
    }
    case CALLOC:
        release(worker, block);
        allocate_zeroed(worker, block);
        break;
    case ALIGNED:
        release(worker, block);
        allocate_aligned(worker, block);
        break;
    case REALLOC: resize(worker, block); break;
    case FREE: release(worker, block); break;
    case SWAP: swap_with_shared(worker, block); break;
    case BURST: /* many of one size, then none of them: flushes, empty slabs, purges */
        for (int i = 0; i < SLOTS / 8; i++) {
            size_t index = (size_t)(block - worker->slots + i) % SLOTS;
            release(worker, &worker->slots[index]);
        }
        break;
    }
}

static void *work(void *argument) {
    struct worker *worker = (struct worker *)argument;
    uint64_t share = operations / threads / GENERATIONS + 1;
    for (uint64_t i = 0; i < share; i++) {
        operate(worker);
        worker->operations++;
        if (canary && worker == workers && worker->operations == share * GENERATIONS / 2)
            corrupt_something(worker);
    }
    return NULL;
}

/* Every worker's next thread, all at once; the last of them have ended when this returns. */
static void run_generation(void) {
    pthread_t running[THREADS_MAX];
    if (threads == 1) { /* the main thread itself: no other is ever made */
        work(&workers[0]);
        return;
    }
    for (uint64_t i = 0; i < threads; i++)
        if (pthread_create(&running[i], NULL, work, &workers[i]) != 0) fail("pthread_create");
    for (uint64_t i = 0; i < threads; i++) pthread_join(running[i], NULL);
}

static void release_everything(void) {
    for (uint64_t i = 0; i < threads; i++)
        for (int slot = 0; slot < SLOTS; slot++) release(&workers[i], &workers[i].slots[slot]);
    for (int slot = 0; slot < SHARED; slot++) release(&workers[0], &shared[slot].block);
}

static uint64_t number(const char *text, uint64_t low, uint64_t high) {
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != 0 || value < low || value > high) {
        fprintf(stderr, "model: %s is not a number from %" PRIu64 " to %" PRIu64 "\n"
                        "usage: model SEED OPERATIONS THREADS [canary|large]\n", text, low, high);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv) {
    canary = argc == 5 && strcmp(argv[4], "canary") == 0;
    int large = argc == 5 && strcmp(argv[4], "large") == 0;
    if (argc < 4 || argc > 5 || (argc == 5 && !canary && !large)) {
        fputs("usage: model SEED OPERATIONS THREADS [canary|large]\n", stderr);
        return 2;
    }
    seed = number(argv[1], 0, UINT64_MAX);
    operations = number(argv[2], 1, UINT64_MAX);
    threads = number(argv[3], 1, THREADS_MAX);
    if (large) doublings = 24;
    worker_live_max = live_bytes_max / threads;
    workers = (struct worker *)calloc(threads, sizeof *workers);
    for (uint64_t i = 0; i < threads; i++) {
        workers[i].random = seed * 1000003u + i;
        workers[i].tag = i << 56;
    }
    for (int generation = 0; generation < GENERATIONS; generation++) run_generation();
    release_everything();
    uint64_t done = 0, counts[8] = {0};
    for (uint64_t i = 0; i < threads; i++) {
        done += workers[i].operations;
        for (int each = MALLOC; each <= BURST; each++) counts[each] += workers[i].counts[each];
    }
    free(workers);
    if (canary && atomic_load(&canary_done)) fail("the canary was not noticed");
    printf("seed %" PRIu64 ": %" PRIu64 " operations: malloc %" PRIu64 ", calloc %" PRIu64
           ", aligned %" PRIu64 ", realloc %" PRIu64 ", free %" PRIu64 ", swap %" PRIu64
           ", burst %" PRIu64 "\n", seed, done, counts[MALLOC], counts[CALLOC], counts[ALIGNED],
           counts[REALLOC], counts[FREE], counts[SWAP], counts[BURST]);
    return 0;
}

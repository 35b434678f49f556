/* A program that takes every path of the allocator, checks all contents, and goes on after a
 * refusal: it frees something and asks again, as a careful program does.
 *
 *   mixed CASE SEED once      one refusal at most: the second try must work, nothing may be lost
 *   mixed CASE SEED for-ever  refused from some call on: says "out of memory", exit status 3
 *
 * Prints a checksum of what it did, the same in every run of the same seed. Blocks larger than a
 * page are marked and checked at their ends and every 64 KiB. */
#include <pthread.h>
#include <stdatomic.h>

#include "entries.h"

enum { SLOTS = 160, STEPS = 2000, STEPS_TOGETHER = 500, THREADS = 3, MAILBOX = 64 };
/* Of one huge block, or one run whose purge was refused, more is resident: a page every 64 KiB. */
enum { RESIDENT_SLACK = 1536 * KIB };

struct slot {
    unsigned char *block;
    size_t size;
    unsigned seed;
};

struct worker {
    uint64_t seed, steps;
    uint64_t state; /* of the step: what was refused in one step does not change the next */
    uint64_t checksum;
    struct slot slots[SLOTS];
};

/* What is exchanged between threads says itself how it was filled. */
struct parcel {
    size_t size;
    unsigned seed;
};

static int for_ever;
static atomic_uint refusals;
static struct parcel *_Atomic mailbox[MAILBOX];

static size_t stride_of(size_t size) { return size <= 4096 ? 1 : 64 * KIB; }

static void mark(unsigned char *block, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i += stride_of(size)) block[i] = pattern(seed, i);
    if (size > 0) block[size - 1] = pattern(seed, size - 1);
}

static void verify(const unsigned char *block, size_t size, unsigned seed, const char *when) {
    for (size_t i = 0; i < size; i += stride_of(size))
        CHECK(block[i] == pattern(seed, i), "%s: byte %zu of %zu changed", when, i, size);
}

static void verify_zero(const unsigned char *block, size_t size) {
    for (size_t i = 0; i < size; i += stride_of(size))
        CHECK(block[i] == 0, "calloc: byte %zu of %zu is not zero", i, size);
}

static void out_of_memory(void) {
    static const char text[] = "mixed: out of memory\n";
    if (write(2, text, sizeof text - 1) < 0) _exit(4);
    _exit(3);
}

static void drop(struct slot *slot) {
    if (slot->block != NULL) verify(slot->block, slot->size, slot->seed, "before free");
    free(slot->block);
    slot->block = NULL;
    slot->size = 0;
}

/* What to do about a NULL: room is made once, then it must work. */
static void make_room(struct worker *worker, const char *what, size_t size, int attempt) {
    CHECK(errno == ENOMEM, "%s(%zu): errno is %d", what, size, errno);
    if (for_ever) out_of_memory();
    CHECK(attempt == 0, "%s(%zu) is refused again", what, size);
    atomic_fetch_add(&refusals, 1);
    for (int i = 0; i < SLOTS / 8; i++) drop(&worker->slots[i]);
}

static size_t random_size(uint64_t *state) {
    uint64_t kind = next_random(state) % 1000;
    uint64_t number = next_random(state);
    if (kind < 650) return 1 + number % 1000;
    if (kind < 850) return 1000 + number % (31 * KIB);
    if (kind < 960) return 32 * KIB + number % (2 * MIB);
    if (kind < 995) return 2 * MIB + number % (6 * MIB);
    return 33 * MIB + number % (8 * MIB);
}

static void *call_once(unsigned how, size_t size) {
    void *block = NULL;
    if (how == 0) return calloc(1, size);
    if (how == 1) return aligned_alloc(64 * KIB, size);
    if (how > 2) return malloc(size);
    int status = posix_memalign(&block, 4096, size);
    if (status == 0) return block;
    errno = status;
    return NULL;
}

static void take(struct worker *worker, struct slot *slot) {
    size_t size = random_size(&worker->state);
    unsigned how = (unsigned)(next_random(&worker->state) % 10);
    unsigned char *block;
    for (int attempt = 0;; attempt++) {
        errno = 0;
        block = (unsigned char *)call_once(how, size);
        if (block != NULL) break;
        make_room(worker, "malloc", size, attempt);
    }
    if (how == 0) verify_zero(block, size);
    *slot = (struct slot){block, size, (unsigned)worker->state};
    mark(block, size, slot->seed);
}

static void resize(struct worker *worker, struct slot *slot) {
    size_t size = random_size(&worker->state);
    int growing = next_random(&worker->state) % 4 != 0;
    if (growing && slot->size < 3000) size = slot->size * 3 / 2 + 1;
    if (growing && slot->size > 400 * KIB && slot->size < 20 * MIB) size = slot->size * 5 / 2;
    /* Out of the table, so that making room does not free it. */
    struct slot old = *slot;
    *slot = (struct slot){NULL, 0, 0};
    for (int attempt = 0;; attempt++) {
        errno = 0;
        slot->block = (unsigned char *)realloc(old.block, size);
        if (slot->block != NULL) break;
        verify(old.block, old.size, old.seed, "after a refused realloc");
        make_room(worker, "realloc", size, attempt);
    }
    size_t kept = old.size < size ? old.size : size;
    for (size_t i = 0; i < kept; i += stride_of(old.size))
        CHECK(slot->block[i] == pattern(old.seed, i), "realloc: byte %zu of %zu", i, old.size);
    slot->size = size;
    slot->seed = (unsigned)worker->state;
    mark(slot->block, size, slot->seed);
}

/* Puts a block into the mailbox and frees the one that lay there, somebody else's as a rule. */
static void exchange(struct worker *worker) {
    size_t size = sizeof(struct parcel) + random_size(&worker->state) % (40 * KIB);
    struct parcel *parcel;
    for (int attempt = 0;; attempt++) {
        errno = 0;
        parcel = (struct parcel *)malloc(size);
        if (parcel != NULL) break;
        make_room(worker, "malloc", size, attempt);
    }
    *parcel = (struct parcel){size - sizeof *parcel, (unsigned)worker->state};
    mark((unsigned char *)(parcel + 1), parcel->size, parcel->seed);
    size_t place = next_random(&worker->state) % MAILBOX;
    parcel = atomic_exchange(&mailbox[place], parcel);
    if (parcel == NULL) return;
    verify((unsigned char *)(parcel + 1), parcel->size, parcel->seed, "from another thread");
    free(parcel);
}

static void *work(void *argument) {
    struct worker *worker = (struct worker *)argument;
    for (uint64_t step = 1; step <= worker->steps; step++) {
        worker->state = (worker->seed + step) * 0x9e3779b97f4a7c15u | 1;
        next_random(&worker->state);
        struct slot *slot = &worker->slots[next_random(&worker->state) % SLOTS];
        uint64_t what = next_random(&worker->state) % 4;
        if (what == 0) exchange(worker);
        else if (what == 1 && slot->block != NULL) resize(worker, slot);
        else {
            drop(slot);
            take(worker, slot);
        }
        worker->checksum = worker->checksum * 31 + worker->state;
    }
    for (int i = 0; i < SLOTS; i++) drop(&worker->slots[i]);
    return NULL;
}

static void empty_mailbox(void) {
    for (int i = 0; i < MAILBOX; i++) {
        struct parcel *parcel = atomic_exchange(&mailbox[i], NULL);
        if (parcel == NULL) continue;
        verify((unsigned char *)(parcel + 1), parcel->size, parcel->seed, "at the end");
        free(parcel);
    }
}

/* A second malloc_trim, because the first may be the call that is refused. */
static struct process_size size_at_rest(void) {
    malloc_trim(0);
    malloc_trim(0);
    return process_size();
}

static void check_nothing_lost(size_t in_use, size_t resident) {
    size_t resident_now = size_at_rest().resident;
    size_t in_use_now = mallinfo2().uordblks;
    CHECK(in_use_now == in_use, "%zu bytes in use, %zu at the start", in_use_now, in_use);
    CHECK(resident_now <= resident + RESIDENT_SLACK, "%zu KiB resident, %zu at the start",
          resident_now >> 10, resident >> 10);
}

static uint64_t start(void) {
    CHECK(case_argc == 2, "usage: mixed CASE SEED once|for-ever");
    for_ever = strcmp(case_argv[1], "for-ever") == 0;
    return strtoull(case_argv[0], NULL, 10) << 32;
}

static void finish(uint64_t checksum, size_t in_use, size_t resident) {
    if (!for_ever) check_nothing_lost(in_use, resident);
    char text[80];
    int length = snprintf(text, sizeof text, "%016llx\n", (unsigned long long)checksum);
    CHECK(write(1, text, (size_t)length) == length, "write");
}

CASE(one_thread) {
    static struct worker worker;
    worker.seed = start();
    worker.steps = STEPS;
    size_t resident = process_size().resident, in_use = mallinfo2().uordblks;
    work(&worker);
    empty_mailbox();
    finish(worker.checksum, in_use, resident);
}

static void work_together(struct worker *workers) {
    pthread_t threads[THREADS];
    int started = 0;
    for (int i = 0; i < THREADS; i++) {
        int status = pthread_create(&threads[i], NULL, work, &workers[i]);
        /* libc's own memory for a thread may be what was refused. */
        if (status != 0 && for_ever) out_of_memory();
        if (status != 0) status = pthread_create(&threads[i], NULL, work, &workers[i]);
        CHECK(status == 0, "thread %d: %d", i, status);
        started++;
    }
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
}

static void *do_nothing(void *argument) { return argument; }

CASE(threads) {
    static struct worker workers[THREADS];
    uint64_t seed = start(), checksum = 0;
    /* libc keeps something of the first threads: that is no loss. */
    pthread_t first[THREADS];
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&first[i], NULL, do_nothing, NULL) != 0) {
            if (for_ever) out_of_memory();
            CHECK(pthread_create(&first[i], NULL, do_nothing, NULL) == 0, "thread");
        }
    }
    for (int i = 0; i < THREADS; i++) pthread_join(first[i], NULL);
    size_t resident = process_size().resident, in_use = mallinfo2().uordblks;
    for (int i = 0; i < THREADS; i++) {
        workers[i].seed = seed + (uint64_t)i * 1000003;
        workers[i].steps = STEPS_TOGETHER;
    }
    work_together(workers);
    empty_mailbox();
    for (int i = 0; i < THREADS; i++) checksum ^= workers[i].checksum;
    finish(checksum, in_use, resident);
}

/* Grows a block with a mapping of its own again and again. Pages may not be moved, but neither may
 * each attempt cost address space for good. */
CASE(moves) {
    enum { ROUNDS = 8 };
    uint64_t seed = start();
    free(malloc(33 * MIB));
    size_t mapped = process_size().mapped;
    /* A page with a mapping of its own becomes a block of another kind. */
    unsigned char *page = (unsigned char *)aligned_alloc(64 * MIB, 100);
    CHECK(page != NULL, "a block on 64 MiB");
    page[99] = 99;
    page = (unsigned char *)realloc(page, 100000);
    CHECK(page != NULL && page[99] == 99, "it was lost on the way");
    free(page);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char *block = NULL;
        for (size_t size = 33 * MIB; size < 210 * MIB; size = size * 5 / 2) {
            unsigned char *grown = (unsigned char *)realloc(block, size);
            CHECK(grown != NULL, "%zu bytes in round %d", size, round);
            CHECK(block == NULL || grown[4096] == round, "%zu bytes in round %d", size, round);
            block = grown;
            block[4096] = (unsigned char)round;
        }
        free(block);
    }
    malloc_trim(0); /* What is kept for the next round is no loss. */
    size_t now = process_size().mapped;
    CHECK(now < mapped + GIB / 4, "%zu MiB mapped, %zu at the start", now >> 20, mapped >> 20);
    finish(seed, mallinfo2().uordblks, process_size().resident);
}

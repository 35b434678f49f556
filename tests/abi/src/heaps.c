/* The heaps of alloc.h: created, allocated from, destroyed with everything in them. */
#include "alloc.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "memory.h"

/* The library comes by preload: without it the program still links. */
#pragma weak alloc_heap_create
#pragma weak alloc_heap_destroy
#pragma weak alloc_heap_malloc
#pragma weak alloc_heap_calloc
#pragma weak alloc_heap_aligned_alloc
#pragma weak alloc_heap_realloc
#pragma weak alloc_heap_free
#pragma weak alloc_heap_owns
#pragma weak alloc_heap_stats
#pragma weak alloc_stats_json
#pragma weak alloc_usable_size
#pragma weak alloc_free

static alloc_heap_t *create(size_t bytes_max) {
    alloc_heap_t *heap = alloc_heap_create(bytes_max);
    CHECK(heap != NULL, "alloc_heap_create(%zu)", bytes_max);
    return heap;
}

static alloc_heap_stats_t stats(alloc_heap_t *heap) {
    alloc_heap_stats_t now;
    memset(&now, 0xff, sizeof now);
    CHECK(alloc_heap_stats(heap, &now, sizeof now) == 0, "alloc_heap_stats");
    return now;
}

OURS(blocks_of_every_entry) {
    alloc_heap_t *heap = create(0);
    size_t count = 0;
    for (size_t size = 0; size <= 40 * MIB; size = size * 3 + 1) {
        void *block = alloc_heap_malloc(heap, size);
        CHECK(block != NULL && is_aligned(block, 16), "alloc_heap_malloc(%zu)", size);
        CHECK(alloc_usable_size(block) >= size, "usable size of %zu", size);
        fill(block, size, 1);
        block = alloc_heap_realloc(heap, block, size * 2 + 1);
        CHECK(intact(block, size, 1) == size, "alloc_heap_realloc from %zu", size);
        CHECK(alloc_heap_owns(heap, block), "it left its heap");
        memset(block, 0xff, size * 2 + 1);
        alloc_heap_free(heap, block);
        void *zero = alloc_heap_calloc(heap, 2, size);
        CHECK(zero != NULL && zeroes(zero, 2 * size) == 2 * size, "alloc_heap_calloc of %zu", size);
        count++;
    }
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
        void *block = alloc_heap_aligned_alloc(heap, alignment, 100);
        CHECK(block != NULL && is_aligned(block, alignment), "alignment %zu", alignment);
        fill(block, 100, 2);
        count++;
    }
    alloc_heap_free(heap, NULL);
    CHECK(alloc_heap_realloc(heap, alloc_heap_malloc(heap, 10), 0) == NULL, "realloc to 0");
    CHECK(stats(heap).live_blocks == count, "%zu live", (size_t)stats(heap).live_blocks);
    CHECK(alloc_heap_destroy(heap) == count, "destroy tells how many were live");
}

OURS(frees_of_the_malloc_family) {
    alloc_heap_t *heap = create(0), *other = create(0);
    free(alloc_heap_malloc(heap, 100));
    free(alloc_heap_malloc(heap, 100 * KIB));
    alloc_free(alloc_heap_malloc(heap, 5 * MIB));
    alloc_heap_free(other, alloc_heap_malloc(heap, 100));
    alloc_heap_free(heap, malloc(100));
    CHECK(stats(heap).live_blocks == 0 && stats(heap).frees == 4, "frees");
    for (size_t size = 10; size < 4 * MIB; size *= 7) {
        void *block = alloc_heap_malloc(heap, size);
        fill(block, size, 3);
        block = realloc(block, size * 3);
        CHECK(intact(block, size, 3) == size, "realloc from %zu", size);
        CHECK(!alloc_heap_owns(heap, block), "moved by realloc, yet of the heap");
        block = alloc_heap_realloc(other, block, size * 10);
        CHECK(intact(block, size, 3) == size && alloc_heap_owns(other, block), "moved");
        free(block);
    }
    CHECK(alloc_heap_destroy(heap) == 0 && alloc_heap_destroy(other) == 0, "all was freed");
}

OURS(bad_arguments) {
    alloc_heap_t *heap = create(0);
    alloc_heap_stats_t now;
    errno = 0;
    CHECK(alloc_heap_malloc(NULL, 10) == NULL && errno == EINVAL, "malloc, no heap");
    errno = 0;
    CHECK(alloc_heap_calloc(NULL, 1, 10) == NULL && errno == EINVAL, "calloc, no heap");
    errno = 0;
    CHECK(alloc_heap_realloc(NULL, NULL, 10) == NULL && errno == EINVAL, "realloc, no heap");
    errno = 0;
    CHECK(alloc_heap_aligned_alloc(NULL, 16, 10) == NULL && errno == EINVAL, "aligned, no heap");
    for (size_t alignment = 0; alignment < 100; alignment += 24) {
        errno = 0;
        CHECK(alloc_heap_aligned_alloc(heap, alignment, 10) == NULL && errno == EINVAL, "%zu",
              alignment);
    }
    errno = 0;
    CHECK(alloc_heap_malloc(heap, (size_t)PTRDIFF_MAX + 1) == NULL && errno == ENOMEM, "too large");
    errno = 0;
    CHECK(alloc_heap_calloc(heap, SIZE_MAX / 2, 3) == NULL && errno == ENOMEM, "overflow");
    void *block = alloc_heap_malloc(heap, 100);
    fill(block, 100, 4);
    errno = 0;
    CHECK(alloc_heap_realloc(heap, block, SIZE_MAX / 2 + 9) == NULL && errno == ENOMEM, "realloc");
    CHECK(intact(block, 100, 4) == 100, "the block is as it was");
    errno = 0;
    CHECK(alloc_heap_stats(NULL, &now, sizeof now) == -1 && errno == EINVAL, "stats, no heap");
    errno = 0;
    CHECK(alloc_heap_stats(heap, NULL, sizeof now) == -1 && errno == EINVAL, "stats, nowhere");
    errno = 0;
    CHECK(alloc_heap_stats(heap, &now, 0) == -1 && errno == EINVAL, "stats, no room");
    CHECK(alloc_heap_owns(NULL, block) == 0 && alloc_heap_owns(heap, NULL) == 0, "owns");
    CHECK(alloc_heap_owns(heap, &now) == 0 && alloc_heap_owns(heap, (void *)-1) == 0, "owns");
    CHECK(alloc_heap_destroy(NULL) == 0, "destroy NULL");
    errno = 77;
    free(alloc_heap_malloc(heap, 10));
    CHECK(errno == 77, "errno after success");
    CHECK(alloc_heap_destroy(heap) == 1, "one block was live");
}

OURS(a_limit) {
    enum { MAX = 4096 };
    static void *blocks[MAX];
    alloc_heap_t *heap = create(MIB);
    int count = 0;
    while (count < MAX && (blocks[count] = alloc_heap_malloc(heap, 1000)) != NULL) count++;
    CHECK(errno == ENOMEM && count > 900 && count <= 1024, "%d blocks of 1 KiB in 1 MiB", count);
    CHECK(stats(heap).bytes_held <= MIB && stats(heap).bytes_max == MIB, "held");
    errno = 0;
    CHECK(alloc_heap_malloc(heap, 100 * KIB) == NULL && errno == ENOMEM, "a run beyond the limit");
    for (int i = 0; i < count; i++) free(blocks[i]);
    for (int i = 0; i < count; i++) {
        blocks[i] = alloc_heap_malloc(heap, 1000);
        CHECK(blocks[i] != NULL, "block %d of %d, had before", i, count);
    }
    for (int i = 0; i < count; i++) free(blocks[i]);
    void *run = alloc_heap_malloc(heap, 900 * KIB);
    CHECK(run != NULL, "free blocks that are cached count against the limit");
    CHECK(alloc_heap_destroy(heap) == 1, "destroy");
    CHECK(malloc(100 * MIB) != NULL, "the limit was the heap's");
}

/* What was destroyed is used again: a thousand heaps of 2 MiB leave no more than a few. */
OURS(memory_returns) {
    size_t before = mallinfo2().arena;
    for (int i = 0; i < 1000; i++) {
        alloc_heap_t *heap = create(0);
        for (int j = 0; j < 200; j++) memset(alloc_heap_malloc(heap, 10000), 1, 10000);
        CHECK(alloc_heap_destroy(heap) == 200, "destroy");
    }
    size_t after = mallinfo2().arena;
    CHECK(after <= before + 8 * MIB, "%zu KiB, then %zu", before >> 10, after >> 10);
}

#ifdef __x86_64__
static volatile long steps;

static void on_step(int signal) {
    (void)signal;
    steps++;
}

/* Instructions of a destroy of a heap of `count` blocks of which every n-th is freed again. */
static long steps_of_destroy(int count, int nth) {
    alloc_heap_t *heap = create(0);
    static void *blocks[20000];
    for (int i = 0; i < count; i++) blocks[i] = alloc_heap_malloc(heap, 64);
    for (int i = 0; i < count; i++)
        if (i % nth != 0) free(blocks[i]);
    size_t result;
    steps = 0;
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; call *%1;"
                     "pushfq; andq $-257, (%%rsp); popfq"
                     : "=a"(result)
                     : "r"(alloc_heap_destroy), "D"(heap)
                     : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
    CHECK(result == (size_t)((count + nth - 1) / nth), "destroy: %zu", result);
    return steps;
}

#endif

/* The time of a destroy grows with the slabs and not with the blocks. */
OURS(destroy_by_slabs) {
#ifdef __x86_64__
    signal(SIGTRAP, on_step);
    steps_of_destroy(1000, 1);
    long few = steps_of_destroy(10000, 8), all = steps_of_destroy(10000, 1);
    long twice = steps_of_destroy(20000, 1);
    CHECK(all <= few * 5 / 4 + 4000, "an eighth live: %ld instructions, all: %ld", few, all);
    CHECK(twice <= all * 5 / 2 + 4000, "twice as many slabs: %ld after %ld", twice, all);
    CHECK(all < 3 * 10000, "%ld instructions for 10,000 blocks", all);
#else
    SKIP("counts instructions by the trap flag of x86_64");
#endif
}

struct shared {
    alloc_heap_t *heap;
    void *slots[64];
};

static void *hammer(void *argument) {
    struct shared *shared = argument;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    for (int i = 0; i < 20000; i++) {
        size_t size = (size_t)rand_r(&seed) % (i % 100 == 0 ? 200000 : 3000) + 16;
        size_t *block = alloc_heap_malloc(shared->heap, size);
        CHECK(block != NULL, "no memory");
        block[0] = size;
        memset(block + 1, (int)size, size - sizeof *block);
        int at = rand_r(&seed) % 64;
        size_t *old = __atomic_exchange_n(&shared->slots[at], block, __ATOMIC_ACQ_REL);
        if (old == NULL) continue;
        unsigned char *bytes = (unsigned char *)(old + 1);
        for (size_t k = 0; k < old[0] - sizeof *old; k += 97)
            CHECK(bytes[k] == (unsigned char)old[0], "byte %zu of %zu", k, old[0]);
        if (i % 3 == 0) alloc_heap_free(shared->heap, old);
        else free(old);
    }
    return NULL;
}

OURS(threads_in_one_heap) {
    struct shared shared = {create(0), {NULL}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, &shared) == 0, "thread");
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    size_t live = 0;
    for (int i = 0; i < 64; i++) live += shared.slots[i] != NULL;
    CHECK(stats(shared.heap).live_blocks == live, "live");
    CHECK(alloc_heap_destroy(shared.heap) == live, "destroy");
}

enum { RACES = 64 };

struct racer {
    void *blocks[4 * RACES];
    atomic_int freed;
};

static void *free_all(void *argument) {
    struct racer *racer = argument;
    for (int i = 0; i < 4 * RACES; i++) {
        free(racer->blocks[i]);
        atomic_store(&racer->freed, i + 1);
    }
    return NULL;
}

/* In a child, for a free that comes after the destroy is reported as a double free and aborts. What
 * a free does that began before and goes on when the memory has a new owner: the scenarios
 * destroy-heap and destroy-thread of the model. */
static void race_once(int round) {
    alloc_heap_t *heap = create(0);
    struct racer racer = {{NULL}, 0};
    for (int i = 0; i < 4 * RACES; i++) racer.blocks[i] = alloc_heap_malloc(heap, 1000);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_all, &racer) == 0, "thread");
    while (atomic_load(&racer.freed) < 4 * round) {}
    alloc_heap_destroy(heap);
    /* A free that begins when the memory has a new owner is that owner's free: not asked here. */
    pthread_join(thread, NULL);
    static void *mine[4096];
    for (int i = 0; i < 4096; i++) fill(mine[i] = malloc(1000), 1000, (unsigned)i);
    for (int i = 0; i < 4096; i++) CHECK(intact(mine[i], 1000, (unsigned)i) == 1000, "given twice");
    _exit(0);
}

OURS(a_free_that_races_with_destroy) {
    for (int round = 0; round <= RACES; round++) {
        pid_t child = fork();
        if (child == 0) {
            close(2);
            race_once(round);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child, "waitpid");
        int reported = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
        CHECK(reported || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "status %x", status);
        CHECK(round < RACES || !reported, "all were freed, then one was reported");
    }
}

static void *use_for_ever(void *argument) {
    alloc_heap_t *heap = argument;
    for (;;) {
        void *block = alloc_heap_malloc(heap, 1000);
        if (block != NULL) alloc_heap_free(heap, block);
    }
    return NULL;
}

/* A child made while another thread uses the heap goes on, with it or without. */
OURS(fork_while_in_use) {
    alloc_heap_t *quiet = create(0), *busy = create(0);
    void *kept = alloc_heap_malloc(quiet, 5000), *held = alloc_heap_malloc(busy, 5000);
    fill(kept, 5000, 5);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, use_for_ever, busy) == 0, "thread");
    for (int round = 0; round < 50; round++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            CHECK(intact(kept, 5000, 5) == 5000, "contents");
            for (int i = 0; i < 1000; i++) {
                fill(alloc_heap_malloc(quiet, 500), 500, 6);
                void *block = alloc_heap_malloc(busy, 500);
                if (block != NULL) fill(block, 500, 7);
            }
            free(held);
            CHECK(stats(quiet).live_blocks == 1001, "live");
            CHECK(alloc_heap_destroy(quiet) == 1001, "destroy");
            alloc_heap_destroy(busy);
            free(malloc(100));
            _exit(0);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child, "waitpid");
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: %x", status);
    }
    _exit(0);
}

/* What was live in destroyed heaps is in the process's statistics. */
OURS(dropped_blocks_are_told) {
    alloc_heap_t *kept = create(0), *dropped = create(0);
    for (int i = 0; i < 321; i++) alloc_heap_malloc(dropped, 100);
    CHECK(alloc_heap_destroy(dropped) == 321, "destroy");
    char text[4096];
    CHECK(alloc_stats_json(text, sizeof text) > 0, "alloc_stats_json");
    CHECK(strstr(text, "\"explicit_heaps\":1,") != NULL, "%s", text);
    CHECK(strstr(text, "\"explicit_heaps_destroyed\":1,") != NULL, "%s", text);
    CHECK(strstr(text, "\"explicit_heap_blocks_dropped\":321,") != NULL, "%s", text);
    alloc_heap_destroy(kept);
}

/* A handle that is out of date frees nothing, also when its block's memory has a new owner. */
OURS(a_handle_outlives_its_heap) {
    for (int round = 0; round < 400; round++) {
        alloc_heap_t *first = create(0);
        void *block = alloc_heap_malloc(first, 1000);
        CHECK(alloc_heap_destroy(first) == 1, "destroy");
        alloc_heap_t *second = create(0);
        CHECK(second != first, "a handle was given out again");
        void *fresh = alloc_heap_malloc(second, 1000);
        alloc_heap_free(first, block);
        CHECK(stats(second).live_blocks == 1, "the new owner's block was freed");
        CHECK(alloc_heap_malloc(second, 1000) != fresh, "and given out twice");
        errno = 0;
        alloc_heap_stats_t now;
        CHECK(alloc_heap_malloc(first, 10) == NULL && errno == ENOMEM, "malloc from no heap");
        CHECK(alloc_heap_stats(first, &now, sizeof now) == -1, "stats of no heap");
        CHECK(!alloc_heap_owns(first, block), "owned by no heap");
        char *huge = round == 0 ? malloc(100 * MIB) : NULL;
        alloc_heap_free(first, huge);
        if (huge != NULL) huge[0] = 1;
        free(huge);
        CHECK(alloc_heap_destroy(second) == 2, "destroy");
    }
}

/* What a fork lost to the child does not come back as a new heap. */
OURS(fork_loses_a_heap_for_good) {
    enum { HEAPS = 4 };
    static alloc_heap_t *busy[HEAPS];
    pthread_t thread;
    for (int i = 0; i < HEAPS; i++) {
        busy[i] = create(0);
        CHECK(pthread_create(&thread, NULL, use_for_ever, busy[i]) == 0, "thread");
    }
    for (int round = 0; round < 30; round++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            for (int i = 0; i < HEAPS; i++) alloc_heap_destroy(busy[i]);
            for (int i = 0; i < 40; i++) {
                alloc_heap_t *heap = create(0);
                CHECK(alloc_heap_malloc(heap, 100) != NULL, "new heap %d gives nothing", i);
                if (i % 2) alloc_heap_destroy(heap);
            }
            _exit(0);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child, "waitpid");
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: %x", status);
    }
    _exit(0);
}

static void *trim_for_ever(void *unused) {
    (void)unused;
    for (;;) malloc_trim(0);
    return NULL;
}

/* The same for heaps that wait to be used again while a trim of another thread holds one. */
OURS(fork_loses_a_waiting_heap_for_good) {
    enum { HEAPS = 200 };
    static alloc_heap_t *heaps[HEAPS];
    for (int i = 0; i < HEAPS; i++) heaps[i] = create(0);
    for (int i = 0; i < HEAPS; i++) alloc_heap_destroy(heaps[i]);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, trim_for_ever, NULL) == 0, "thread");
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            for (int i = 0; i < HEAPS; i++)
                CHECK(alloc_heap_malloc(create(0), 100) != NULL, "new heap %d gives nothing", i);
            _exit(0);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child, "waitpid");
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: %x", status);
    }
    _exit(0);
}

static void *allocate_some(void *unused) {
    (void)unused;
    size_t sum = 0;
    for (int i = 0; i < 3000; i++) sum += malloc(1000) != NULL;
    return (void *)sum;
}

/* As many heaps as there may be: one more is refused, costs nothing, and threads find theirs. */
OURS(as_many_heaps_as_there_may_be) {
    enum { MAX = 32768 };
    static alloc_heap_t *heaps[MAX];
    for (int i = 0; i < MAX; i++) heaps[i] = create(0);
    char text[4096];
    size_t before = alloc_stats_json(text, sizeof text) > 0 ? mallinfo2().arena : 0;
    const char *metadata = strstr(text, "\"bytes_metadata\":");
    long held = metadata != NULL ? atol(metadata + 17) : -1;
    for (int i = 0; i < 100000; i++) {
        errno = 0;
        CHECK(alloc_heap_create(0) == NULL && errno == ENOMEM, "one more");
    }
    CHECK(alloc_stats_json(text, sizeof text) > 0 && mallinfo2().arena == before, "arena");
    long later = atol(strstr(text, "\"bytes_metadata\":") + 17);
    CHECK(later <= held + 4096, "refused ones cost memory: %ld, then %ld", held, later);
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        void *sum;
        CHECK(pthread_create(&thread, NULL, allocate_some, NULL) == 0, "thread");
        pthread_join(thread, &sum);
        CHECK((size_t)sum == 3000, "a thread got %zu blocks", (size_t)sum);
    }
    CHECK(alloc_heap_destroy(heaps[7]) == 0, "destroy");
    CHECK(alloc_heap_malloc(create(0), 100) != NULL, "one was destroyed: another can be had");
    CHECK(alloc_heap_create(0) == NULL, "and no more");
}

OURS(trim_by_another) {
    alloc_heap_t *heap = create(0);
    static void *blocks[2000];
    for (int i = 0; i < 2000; i++) fill(blocks[i] = alloc_heap_malloc(heap, 2000), 2000, 1);
    for (int i = 0; i < 2000; i++)
        if (i % 7 != 0) free(blocks[i]);
    malloc_trim(0);
    for (int i = 0; i < 2000; i += 7) CHECK(intact(blocks[i], 2000, 1) == 2000, "contents");
    for (int i = 0; i < 2000; i += 7) free(blocks[i]);
    malloc_trim(0);
    CHECK(stats(heap).live_blocks == 0 && stats(heap).bytes_in_use == 0, "counts");
    CHECK(stats(heap).bytes_held <= 2 * MIB, "held %zu", (size_t)stats(heap).bytes_held);
    alloc_heap_destroy(heap);
}

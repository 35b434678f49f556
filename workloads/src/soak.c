/* The soak program: threads in changing phases, cycle after cycle, every block's contents verified.
 *
 *     soak SEED SECONDS [--every CYCLES] [--cycles MIN] [--leak BYTES]
 *         [--corrupt CYCLE]
 *
 * A cycle is every phase once: hand-over between threads, thread churn, forks while others
 * allocate, bursts, growth by realloc, huge blocks, short-lived beside long-lived blocks, and a
 * phase that leaves survivors scattered. What is live after a phase is the same number of bytes in
 * every cycle, though its blocks move: memory that grows from cycle to cycle is the malloc's.
 * After each phase (with --every, of every so many cycles) one JSON line on stdout: cycle, phase,
 * seconds since the start, resident bytes, mappings, forks so far and, where the malloc has
 * alloc_stats_json, its figures.
 *
 * It ends after SECONDS, but not before --cycles. --leak loses a block in every cycle, --corrupt
 * changes a byte of a survivor: both are there to see the watcher turn red. Exit status 0: all
 * contents were right. 1: one line says what was not. 2: usage. */
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    WORKERS = 4,
    EDGE = 48,             /* bytes at either end of a block that are all verified */
    STRIDE = 4096,         /* between them one byte in so many is: every page is touched */
    QUEUE = 512,           /* blocks on their way between threads */
    REQUESTS = 20000,      /* blocks a producer hands over in a phase */
    CHURN_THREADS = 24,    /* threads that a worker of the churn starts, one after the other */
    CHURN_BLOCKS = 400,
    FORKS = 24,            /* forks of each of the two forking threads in a phase */
    CHILD_BLOCKS = 100,
    BURST_BLOCKS = 12000,
    VECTORS = 16,
    LONG_LIVED = 2048,     /* of each worker */
    SURVIVORS = 4096,
    SCATTERED = 60000,     /* blocks of a worker of which every 50th lets a survivor be replaced */
};
static const size_t mib = (size_t)1 << 20;

struct block {
    unsigned char *address;
    size_t size;
    uint64_t tag; /* makes the contents of every allocation its own */
};

struct worker {
    uint64_t random;
    struct block long_lived[LONG_LIVED];
};

/* The malloc under test may have it. */
extern int alloc_stats_json(char *buffer, size_t size) __attribute__((weak));

static uint64_t seed, cycle, cycles_min, leak_bytes, corrupt_cycle, every = 1;
static struct worker workers[WORKERS];
static struct block survivors[SURVIVORS];
static size_t survivor_next;
static pthread_mutex_t survivors_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_ulong forks_done, tags;
static atomic_int forkers_left;
static struct timespec started;
static struct block inherited[64]; /* a forked child frees its copies */

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(text, 300, format, arguments);
    va_end(arguments);
    if (used > 299) used = 299;
    used += snprintf(text + used, 100, " (seed %" PRIu64 ", cycle %" PRIu64 ")\n", seed, cycle);
    if (write(2, text, (size_t)used) < 0) _exit(3);
    _exit(1);
}

/* splitmix64 */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Log-uniform from 1 byte to 2^doublings. */
static size_t random_size(uint64_t *state, unsigned doublings) {
    uint64_t low = (uint64_t)1 << next(state) % doublings;
    return low + next(state) % low;
}

static unsigned char byte_of(uint64_t tag, size_t index) {
    return (unsigned char)((tag + index) * 0x9e3779b97f4a7c15u >> 56);
}

/* The offset after `offset` that carries the pattern in a block of `size`. */
static size_t following(size_t offset, size_t size) {
    if (offset + 1 < EDGE || offset + 1 + EDGE >= size) return offset + 1;
    size_t stride = (offset / STRIDE + 1) * STRIDE;
    return stride + EDGE < size ? stride : size - EDGE;
}

static void fill(const struct block *block) {
    for (size_t i = 0; i < block->size; i = following(i, block->size))
        block->address[i] = byte_of(block->tag, i);
}

static void verify(const struct block *block, size_t limit, const char *when) {
    for (size_t i = 0; i < limit; i = following(i, block->size))
        if (block->address[i] != byte_of(block->tag, i))
            fail("wrong contents %s: byte %zu of %zu is %02x, not %02x", when, i, block->size,
                 block->address[i], byte_of(block->tag, i));
}

static struct block adopt(void *address, size_t size) {
    struct block block = {(unsigned char *)address, size, 0};
    if (address == NULL) fail("no memory for %zu bytes", size);
    if ((uintptr_t)address % 16 != 0) fail("%p is not aligned", address);
    block.tag = atomic_fetch_add_explicit(&tags, 1, memory_order_relaxed) * 0x9e3779b9u;
    fill(&block);
    return block;
}

static struct block take(uint64_t *state, size_t size) {
    void *address = NULL;
    switch (next(state) % 8) {
    case 0: {
        unsigned char *zeroed = (unsigned char *)calloc(1, size);
        for (size_t i = 0; zeroed != NULL && i < size; i = following(i, size))
            if (zeroed[i] != 0) fail("calloc of %zu: byte %zu is not zero", size, i);
        return adopt(zeroed, size);
    }
    case 1:
        if (posix_memalign(&address, (size_t)16 << next(state) % 5, size) != 0) address = NULL;
        return adopt(address, size);
    default: return adopt(malloc(size), size);
    }
}

static void give_back(struct block *block, const char *when) {
    if (block->address == NULL) return;
    verify(block, block->size, when);
    free(block->address);
    block->address = NULL;
}

static void resize(struct block *block, size_t size) {
    verify(block, block->size, "before realloc");
    unsigned char *address = (unsigned char *)realloc(block->address, size);
    if (address == NULL) fail("realloc from %zu to %zu", block->size, size);
    block->address = address;
    verify(block, block->size < size ? block->size : size, "after realloc");
    *block = adopt(address, size);
}

/* Replaces the oldest survivor by a block of the same size, so that the sum stays. */
static void leave_survivor(uint64_t *state) {
    pthread_mutex_lock(&survivors_lock);
    size_t index = survivor_next++ % SURVIVORS;
    struct block old = survivors[index];
    survivors[index] = take(state, old.size);
    pthread_mutex_unlock(&survivors_lock);
    give_back(&old, "as a survivor");
}

/* Runs `work` in `count` threads at once; the argument is the thread's number. */
static void run_threads(void *(*work)(void *), size_t count) {
    pthread_t threads[WORKERS * 2];
    for (size_t i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i) != 0) fail("no thread");
    for (size_t i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static uint64_t state_of(unsigned phase, size_t number) {
    uint64_t state = seed ^ cycle << 20 ^ (uint64_t)phase << 12 ^ number;
    next(&state);
    return state;
}

/* Hand-over: producers fill a queue, consumers verify, answer with a grown block, and free. */
static struct block queue[QUEUE];
static size_t queue_head, queue_tail, producers_left;
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue_moved = PTHREAD_COND_INITIALIZER;

static void produce(uint64_t *state) {
    for (int i = 0; i < REQUESTS; i++) {
        struct block block = take(state, random_size(state, i % 64 == 0 ? 18 : 11));
        pthread_mutex_lock(&queue_lock);
        while (queue_head - queue_tail == QUEUE) pthread_cond_wait(&queue_moved, &queue_lock);
        queue[queue_head++ % QUEUE] = block;
        pthread_cond_broadcast(&queue_moved);
        pthread_mutex_unlock(&queue_lock);
        if (i % 500 == 0) leave_survivor(state);
    }
    pthread_mutex_lock(&queue_lock);
    producers_left--;
    pthread_cond_broadcast(&queue_moved);
    pthread_mutex_unlock(&queue_lock);
}

static int dequeue(struct block *block) {
    pthread_mutex_lock(&queue_lock);
    while (queue_head == queue_tail && producers_left > 0)
        pthread_cond_wait(&queue_moved, &queue_lock);
    int got = queue_head != queue_tail;
    if (got) *block = queue[queue_tail++ % QUEUE];
    pthread_cond_broadcast(&queue_moved);
    pthread_mutex_unlock(&queue_lock);
    return got;
}

static void *hand_over(void *argument) {
    size_t number = (size_t)argument;
    uint64_t state = state_of(0, number);
    struct block block;
    if (number % 2 == 0) produce(&state);
    else
        while (dequeue(&block)) {
            if (next(&state) % 4 == 0) resize(&block, block.size + random_size(&state, 12));
            give_back(&block, "after hand-over");
        }
    return NULL;
}

static void phase_hand_over(void) {
    producers_left = WORKERS / 2;
    run_threads(hand_over, WORKERS);
}

/* Thread churn: threads that end in the middle of things, half their blocks freed by others. */
struct legacy {
    uint64_t state;
    struct block blocks[CHURN_BLOCKS];
};

static void *live_briefly(void *argument) {
    struct legacy *legacy = (struct legacy *)argument;
    for (int i = 0; i < CHURN_BLOCKS; i++) {
        give_back(&legacy->blocks[i], "of a thread that ended");
        legacy->blocks[i] = take(&legacy->state, random_size(&legacy->state, 12));
    }
    for (int i = 0; i < CHURN_BLOCKS; i += 2) give_back(&legacy->blocks[i], "before thread end");
    leave_survivor(&legacy->state);
    return NULL;
}

static void *churn(void *argument) {
    static struct legacy legacies[WORKERS];
    struct legacy *legacy = &legacies[(size_t)argument];
    pthread_t thread;
    legacy->state = state_of(1, (size_t)argument);
    for (int i = 0; i < CHURN_THREADS; i++) {
        if (pthread_create(&thread, NULL, live_briefly, legacy) != 0) fail("no thread");
        pthread_join(thread, NULL);
    }
    for (int i = 0; i < CHURN_BLOCKS; i++) give_back(&legacy->blocks[i], "of the last thread");
    return NULL;
}

static void phase_churn(void) { run_threads(churn, WORKERS); }

/* Forks while others allocate; a child allocates, frees the parent's blocks, execs or exits. */
static void __attribute__((noreturn)) be_a_child(uint64_t state) {
    static struct block blocks[CHILD_BLOCKS];
    static char *const command[] = {(char *)"true", NULL};
    for (int i = 0; i < CHILD_BLOCKS; i++) blocks[i] = take(&state, random_size(&state, 15));
    for (size_t i = 0; i < sizeof inherited / sizeof inherited[0]; i++)
        give_back(&inherited[i], "in a child");
    for (int i = 0; i < CHILD_BLOCKS; i++) give_back(&blocks[i], "of a child");
    if (next(&state) % 2 == 0) execv("/bin/true", command);
    _exit(0);
}

static void fork_children(uint64_t *state) {
    for (int i = 0; i < FORKS; i++) {
        uint64_t childs = next(state);
        pid_t child = fork();
        if (child < 0) fail("no process");
        if (child == 0) be_a_child(childs);
        int status;
        if (waitpid(child, &status, 0) != child || status != 0)
            fail("a forked child ended with status %x", (unsigned)status);
        atomic_fetch_add(&forks_done, 1);
    }
    atomic_fetch_sub(&forkers_left, 1);
}

static void *fork_or_allocate(void *argument) {
    size_t number = (size_t)argument;
    uint64_t state = state_of(2, number);
    if (number < 2) fork_children(&state);
    struct block blocks[64] = {{NULL, 0, 0}};
    while (atomic_load(&forkers_left) > 0) {
        struct block *block = &blocks[next(&state) % 64];
        give_back(block, "beside forks");
        *block = take(&state, random_size(&state, 14));
    }
    for (int i = 0; i < 64; i++) give_back(&blocks[i], "after forks");
    return NULL;
}

static void phase_forks(void) {
    uint64_t state = state_of(2, 99);
    size_t count = sizeof inherited / sizeof inherited[0];
    for (size_t i = 0; i < count; i++) inherited[i] = take(&state, random_size(&state, 16));
    atomic_store(&forkers_left, 2);
    run_threads(fork_or_allocate, WORKERS);
    for (size_t i = 0; i < count; i++) give_back(&inherited[i], "after the children");
}

/* Bursts: many of one size, then none of them; freed in a shuffled order. */
static void *burst(void *argument) {
    uint64_t state = state_of(3, (size_t)argument);
    struct block *blocks = (struct block *)malloc(BURST_BLOCKS * sizeof *blocks);
    if (blocks == NULL) fail("no memory for a table");
    for (int turn = 0; turn < 3; turn++) {
        size_t size = 16 + next(&state) % 1500;
        for (int i = 0; i < BURST_BLOCKS; i++) blocks[i] = take(&state, size);
        for (int i = BURST_BLOCKS; i-- > 0;) {
            int other = (int)(next(&state) % (uint64_t)(i + 1));
            struct block freed = blocks[other];
            blocks[other] = blocks[i];
            give_back(&freed, "after a burst");
        }
        leave_survivor(&state);
    }
    free(blocks);
    return NULL;
}

static void phase_bursts(void) { run_threads(burst, WORKERS); }

/* Growth: vectors that grow by half their size, side by side. */
static void *grow(void *argument) {
    uint64_t state = state_of(4, (size_t)argument);
    struct block vectors[VECTORS];
    for (int i = 0; i < VECTORS; i++) vectors[i] = take(&state, 16 + next(&state) % 64);
    for (int left = VECTORS; left > 0;) {
        struct block *vector = &vectors[next(&state) % VECTORS];
        if (vector->address == NULL) continue;
        resize(vector, vector->size + vector->size / 2 + next(&state) % 16);
        if (vector->size < mib) continue;
        resize(vector, vector->size / 3);
        give_back(vector, "after growth");
        left--;
    }
    return NULL;
}

static void phase_growth(void) { run_threads(grow, WORKERS); }

/* Huge blocks: of their own mapping, moved by realloc. */
static void *be_huge(void *argument) {
    uint64_t state = state_of(5, (size_t)argument);
    struct block small = take(&state, 2 * mib + next(&state) % (8 * mib));
    struct block huge = adopt(malloc(33 * mib), 33 * mib);
    resize(&huge, 40 * mib + next(&state) % mib);
    resize(&small, 5 * mib);
    resize(&huge, 34 * mib);
    give_back(&small, "large");
    give_back(&huge, "huge");
    return NULL;
}

static void phase_huge(void) { run_threads(be_huge, 2); }

/* Long-lived blocks that exchange sizes now and then, among many that live shortly. */
static void *mix(void *argument) {
    struct worker *worker = &workers[(size_t)argument];
    uint64_t state = state_of(6, (size_t)argument);
    for (int i = 0; i < LONG_LIVED / 8; i++) {
        struct block *one = &worker->long_lived[next(&state) % LONG_LIVED];
        struct block *two = &worker->long_lived[next(&state) % LONG_LIVED];
        for (int brief = 0; brief < 100; brief++) {
            struct block block = take(&state, random_size(&state, 13));
            give_back(&block, "short-lived");
        }
        if (one == two) continue;
        size_t sizes[2] = {one->size, two->size};
        give_back(one, "long-lived");
        give_back(two, "long-lived");
        *one = take(&state, sizes[1]);
        *two = take(&state, sizes[0]);
    }
    return NULL;
}

static void phase_long_lived(void) { run_threads(mix, WORKERS); }

/* A change of phase: what was needed is freed, but for survivors in between. */
static void *scatter(void *argument) {
    uint64_t state = state_of(7, (size_t)argument);
    struct block *blocks = (struct block *)calloc(SCATTERED / 4, sizeof *blocks);
    if (blocks == NULL) fail("no memory for a table");
    for (int i = 0; i < SCATTERED; i++) {
        struct block *block = &blocks[i % (SCATTERED / 4)];
        give_back(block, "scattered");
        *block = take(&state, random_size(&state, 10));
        if (i % 50 == 0) leave_survivor(&state);
    }
    for (int i = 0; i < SCATTERED / 4; i++) give_back(&blocks[i], "at the phase's end");
    free(blocks);
    return NULL;
}

static void phase_survivors(void) { run_threads(scatter, WORKERS); }

static const struct phase {
    const char *name;
    void (*run)(void);
} phases[] = {
    {"hand-over", phase_hand_over}, {"thread-churn", phase_churn}, {"forks", phase_forks},
    {"bursts", phase_bursts},       {"growth", phase_growth},      {"huge", phase_huge},
    {"long-lived", phase_long_lived}, {"survivors", phase_survivors},
};

/* Seconds since the start. */
static double elapsed(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - started.tv_sec) + (double)(now.tv_nsec - started.tv_nsec) / 1e9;
}

/* Reads a file of /proc without the malloc; returns its lines, `*first` has its beginning. */
static size_t read_lines(const char *path, char *first, size_t first_size) {
    static char buffer[65536];
    size_t lines = 0, filled = 0;
    ssize_t got;
    int file = open(path, O_RDONLY);
    if (file < 0) fail("%s cannot be read", path);
    while ((got = read(file, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < got; i++) {
            if (filled + 1 < first_size) first[filled++] = buffer[i];
            lines += buffer[i] == '\n';
        }
    close(file);
    first[filled] = 0;
    return lines;
}

/* Written at once: a reader never meets half a line, nor a child what the parent buffered. */
static void report(const char *phase) {
    static char line[8192], stats[6000], first[100];
    size_t mappings = read_lines("/proc/self/maps", first, sizeof first);
    read_lines("/proc/self/statm", first, sizeof first);
    char *resident = strchr(first, ' ');
    size_t rss = strtoull(resident, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
    int wanted = alloc_stats_json != NULL ? alloc_stats_json(stats, sizeof stats) : 0;
    if (wanted <= 0 || (size_t)wanted >= sizeof stats) strcpy(stats, "null");
    int used = snprintf(line, sizeof line,
                        "{\"cycle\": %" PRIu64 ", \"phase\": \"%s\", \"seconds\": %.3f, "
                        "\"rss\": %zu, \"mappings\": %zu, \"forks\": %lu, \"stats\": %s}\n",
                        cycle, phase, elapsed(), rss, mappings, atomic_load(&forks_done), stats);
    if (write(1, line, (size_t)used) != used) fail("stdout cannot be written");
}

static void start(void) {
    clock_gettime(CLOCK_MONOTONIC, &started);
    uint64_t state = seed;
    for (int i = 0; i < SURVIVORS; i++) survivors[i] = take(&state, random_size(&state, 12));
    for (int number = 0; number < WORKERS; number++)
        for (int i = 0; i < LONG_LIVED; i++)
            workers[number].long_lived[i] = take(&state, random_size(&state, 15));
}

static void end(void) {
    for (int i = 0; i < SURVIVORS; i++) give_back(&survivors[i], "at the end");
    for (int number = 0; number < WORKERS; number++)
        for (int i = 0; i < LONG_LIVED; i++)
            give_back(&workers[number].long_lived[i], "at the end");
}

static void seed_fault(void) {
    if (leak_bytes > 0) {
        uint64_t state = cycle;
        struct block lost = take(&state, leak_bytes);
        for (size_t i = 0; i < lost.size; i += STRIDE) lost.address[i] |= 1;
    }
    if (corrupt_cycle == cycle) survivors[SURVIVORS / 2].address[0] ^= 4;
}

static void __attribute__((noreturn)) refuse(const char *text, const char *why) {
    fprintf(stderr, "soak: %s %s\n"
                    "usage: soak SEED SECONDS [--every CYCLES] [--cycles MIN] [--leak BYTES] "
                    "[--corrupt CYCLE]\n",
            text == NULL ? "nothing" : text, why);
    exit(2);
}

static uint64_t number(const char *text, uint64_t low) {
    char *rest;
    uint64_t value = text == NULL ? 0 : strtoull(text, &rest, 10);
    if (text == NULL || *text < '0' || *text > '9' || *rest != 0 || value < low)
        refuse(text, low == 0 ? "is not a number" : "is not a number from 1 on");
    return value;
}

int main(int argc, char **argv) {
    seed = number(argc > 1 ? argv[1] : NULL, 0);
    double seconds = (double)number(argc > 2 ? argv[2] : NULL, 1);
    for (int i = 3; i < argc; i += 2) {
        if (strcmp(argv[i], "--leak") == 0) leak_bytes = number(argv[i + 1], 1);
        else if (strcmp(argv[i], "--every") == 0) every = number(argv[i + 1], 1);
        else if (strcmp(argv[i], "--cycles") == 0) cycles_min = number(argv[i + 1], 1);
        else if (strcmp(argv[i], "--corrupt") == 0) corrupt_cycle = number(argv[i + 1], 1);
        else refuse(argv[i], "is not an option");
    }
    start();
    report("start");
    while (elapsed() < seconds || cycle < cycles_min) {
        cycle++;
        for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
            phases[i].run();
            if (cycle % every == 0) report(phases[i].name);
        }
        seed_fault();
    }
    end();
    report("end");
    return 0;
}

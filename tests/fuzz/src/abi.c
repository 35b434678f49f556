/* Runs a byte string as a script of calls over the whole C ABI, and verifies every block.
 *
 *     abi script FILE
 *
 * A step is five bytes: thread, call, slot, and two that make a size. The threads take turns, one
 * step at a time, so that a file always runs the same way; a thread may end and have a successor.
 * Any allocating entry fills a slot, any freeing entry empties it, from any thread. Every byte
 * string is a script: what is left over of a step is not run.
 *
 * Exit status 0: all contents were right. 1: one line says what was not, and in which step. 2: the
 * file cannot be read. */
#include "calls.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>

enum { SLOTS = 64, THREADS = 4, STEP = 5, BURST = 12, FILE_MAX = 1 << 20 };
static const size_t live_bytes_max = (size_t)192 << 20;

struct block {
    unsigned char *address;
    size_t size;
    size_t alignment;
    unsigned seed;
};

struct worker {
    pthread_t thread;
    sem_t turn;
    int alive;
};

static struct block blocks[SLOTS];
static size_t live_bytes;
static unsigned seeds;
static struct worker workers[THREADS];
static sem_t done;
static unsigned char script[FILE_MAX];
static const unsigned char *now; /* the step that is run; NULL: the thread is to end */
static size_t step_number;

#define EXPECT(condition, format, ...)                                                             \
    CHECK(condition, "step %zu: " format, step_number, __VA_ARGS__)

/* Near a power of two up to 64 MiB, between two of them, or small. */
static size_t size_of(unsigned char a, unsigned char b) {
    size_t power = (size_t)1 << a % 27;
    switch (a / 27 % 4) {
    case 0: return power + b > 128 ? power + b - 128 : 0;
    case 1: return power + (power * b >> 8);
    case 2: return b;
    default: return (size_t)b * 16;
    }
}

/* The next offset that carries the pattern: both edges whole, between them one in `stride`. */
static size_t following(size_t size, size_t offset) {
    enum { EDGE = 256 };
    if (offset < EDGE || offset + EDGE >= size) return offset;
    size_t stride = size <= MIB ? 256 : 32 * KIB;
    offset = (offset + stride - 1) & ~(stride - 1);
    return offset + EDGE < size ? offset : size - EDGE;
}

static void paint(const struct block *block) {
    for (size_t i = following(block->size, 0); i < block->size; i = following(block->size, i + 1))
        block->address[i] = pattern(block->seed, i);
}

static void verify(const struct block *block, const unsigned char *bytes, size_t limit,
                   const char *when) {
    for (size_t i = following(block->size, 0); i < limit; i = following(block->size, i + 1))
        EXPECT(bytes[i] == pattern(block->seed, i), "%s: byte %zu of %zu is %02x, not %02x", when,
               i, block->size, bytes[i], pattern(block->seed, i));
}

static void adopt(struct block *block, void *address, size_t size, size_t alignment,
                  const char *from) {
    EXPECT(address != NULL, "%s of %zu: no memory", from, size);
    EXPECT(is_aligned(address, alignment), "%s of %zu: %p is not on a multiple of %zu", from, size,
           address, alignment);
    EXPECT(malloc_usable_size(address) >= size, "%s of %zu: %zu usable", from, size,
           malloc_usable_size(address));
    *block = (struct block){(unsigned char *)address, size, alignment, seeds++};
    live_bytes += size;
    paint(block);
}

static void release(struct block *block, unsigned char choice) {
    if (block->address == NULL) return;
    const struct release *with = &releases[choice % RELEASE_COUNT];
    if (with->needs == NULL) with = &releases[0];
    verify(block, block->address, block->size, "before free");
    errno = 77;
    with->give_back(block->address, block->size, block->alignment);
    EXPECT(errno == 77, "%s changed errno to %d", with->name, errno);
    live_bytes -= block->size;
    memset(block, 0, sizeof *block);
}

static void allocate(struct block *block, unsigned char choice, size_t size, unsigned char b) {
    release(block, b);
    if (live_bytes + size > live_bytes_max) return;
    size_t alignment = (size_t)16 << b % 17;
    if (choice % (ENTRY_COUNT + ALIGNED_COUNT) < ENTRY_COUNT) {
        const struct entry *from = &entries[choice % (ENTRY_COUNT + ALIGNED_COUNT)];
        if (from->needs == NULL) from = &entries[0];
        void *address = from->allocate(size);
        if (address != NULL && strstr(from->name, "calloc") != NULL) {
            size_t zero = size <= MIB ? size : MIB;
            EXPECT(zeroes(address, zero) == zero, "%s of %zu is not zero", from->name, size);
        }
        adopt(block, address, size, is_page_entry(from) ? 4096 : 16, from->name);
        return;
    }
    const struct aligned_entry *from =
        &aligned_entries[choice % (ENTRY_COUNT + ALIGNED_COUNT) - ENTRY_COUNT];
    if (from->needs == NULL) from = &aligned_entries[0];
    if (size > 2 * MIB) size %= 2 * MIB;
    if (!from->aligned) alignment = 16;
    adopt(block, from->allocate(alignment, size), size, alignment, from->name);
}

static void resize(struct block *block, unsigned char choice, size_t size) {
    struct block old = *block;
    if (live_bytes + size > live_bytes_max) return release(block, choice);
    if (old.address != NULL) verify(&old, old.address, old.size, "before realloc");
    if (size == 0 && old.address != NULL) return release(block, choice);
    const struct resizer *with = &resizers[choice % RESIZER_COUNT];
    if (with->needs == NULL) with = &resizers[0];
    unsigned char *address = (unsigned char *)with->resize(old.address, size);
    EXPECT(address != NULL, "%s from %zu to %zu: no memory", with->name, old.size, size);
    verify(&old, address, old.size < size ? old.size : size, with->name);
    live_bytes -= old.size;
    adopt(block, address, size, 16, with->name);
}

/* All usable bytes belong to the program. */
static void use_all(struct block *block) {
    if (block->address == NULL) return;
    verify(block, block->address, block->size, "before use of all");
    size_t usable = malloc_usable_size(block->address);
    live_bytes += usable - block->size;
    block->size = usable;
    paint(block);
}

/* What cannot be had is refused, and what there is stays. */
static void ask_too_much(struct block *block, size_t size) {
    size_t huge = SIZE_MAX - size;
    errno = 0;
    EXPECT(malloc(huge) == NULL && errno == ENOMEM, "malloc(%zu): errno %d", huge, errno);
    errno = 0;
    EXPECT(calloc(huge, 3) == NULL && errno == ENOMEM, "calloc(%zu, 3): errno %d", huge, errno);
    errno = 0;
    EXPECT(realloc(block->address, huge) == NULL && errno == ENOMEM, "realloc: errno %d", errno);
    if (block->address != NULL) verify(block, block->address, block->size, "after refused realloc");
}

static void release_all(unsigned char choice) {
    for (unsigned i = 0; i < SLOTS; i++) release(&blocks[i], choice);
}

/* A child sees all that there is, and can go on with it. */
static void in_a_child(unsigned char choice) {
    pid_t child = fork();
    EXPECT(child >= 0, "fork: errno %d", errno);
    if (child == 0) {
        release_all(choice);
        allocate(&blocks[0], choice, 1000, choice);
        _exit(0);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child && status == 0, "the child's status is %x", status);
}

static void odd_call(unsigned slot, unsigned char choice, size_t size, unsigned char b) {
    switch (choice % 8) {
    case 0: malloc_trim(size); break;
    case 1:
    case 2:
        for (unsigned i = 0; i < BURST; i++) release(&blocks[(slot + i) % SLOTS], b);
        break;
    case 3:
    case 4:
        for (unsigned i = 0; i < BURST; i++) allocate(&blocks[(slot + i) % SLOTS], 0, size, b);
        break;
    case 5: ask_too_much(&blocks[slot], size); break;
    case 6: (void)mallinfo2(); break;
    default: in_a_child(b);
    }
}

static void run_step(void) {
    unsigned slot = now[2] % SLOTS;
    unsigned char choice = now[1] / 8;
    size_t size = size_of(now[3], now[4]);
    switch (now[1] % 8) {
    case 0:
    case 1:
    case 2: allocate(&blocks[slot], (unsigned char)(choice + now[1] % 8 * 32), size, now[4]); break;
    case 3: resize(&blocks[slot], choice, size); break;
    case 4:
    case 5: release(&blocks[slot], choice); break;
    case 6: use_all(&blocks[slot]); break;
    default: odd_call(slot, choice, size, now[4]);
    }
}

static void *work(void *argument) {
    struct worker *worker = (struct worker *)argument;
    for (;;) {
        while (sem_wait(&worker->turn) != 0) continue;
        if (now == NULL) return NULL;
        run_step();
        sem_post(&done);
    }
}

static void end(struct worker *worker) {
    if (!worker->alive) return;
    now = NULL;
    sem_post(&worker->turn);
    CHECK(pthread_join(worker->thread, NULL) == 0, "pthread_join");
    worker->alive = 0;
}

static void pass_turn(const unsigned char *step) {
    struct worker *worker = &workers[step[0] % THREADS];
    /* One step in 32 comes after the thread's end, by its successor. */
    if (step[0] / THREADS % 32 == 31) end(worker);
    now = step;
    if (worker == &workers[0]) return run_step(); /* The main thread. */
    if (!worker->alive) {
        sem_init(&worker->turn, 0, 0);
        CHECK(pthread_create(&worker->thread, NULL, work, worker) == 0, "pthread_create");
        worker->alive = 1;
    }
    sem_post(&worker->turn);
    while (sem_wait(&done) != 0) continue;
}

static size_t read_script(const char *path) {
    int file = open(path, O_RDONLY);
    if (file < 0) return SIZE_MAX;
    size_t length = 0;
    for (ssize_t got = 1; got > 0 && length < sizeof script; length += (size_t)got) {
        got = read(file, script + length, sizeof script - length);
        if (got < 0) return SIZE_MAX;
    }
    close(file);
    return length;
}

CASE(script) {
    size_t length = case_argc == 1 ? read_script(case_argv[0]) : SIZE_MAX;
    if (length == SIZE_MAX) {
        fputs("abi: usage: abi script FILE, and the file must be readable\n", stderr);
        exit(2);
    }
    sem_init(&done, 0, 0);
    for (; (step_number + 1) * STEP <= length; step_number++)
        pass_turn(script + step_number * STEP);
    for (unsigned i = 0; i < THREADS; i++) end(&workers[i]);
    release_all(0);
}

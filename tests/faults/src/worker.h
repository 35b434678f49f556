/* Threads at work for tests that interrupt, stop or fork them: small, medium and huge blocks,
 * verified, exchanged between threads. No stdio and nothing of libc but malloc while they work. */
#ifndef WORKER_H
#define WORKER_H

#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "entries.h"

enum { WORKERS_MAX = 8, BLOCKS = 300, EXCHANGE = 32 };

struct work {
    uint64_t state;
    struct {
        unsigned char *block;
        size_t size;
    } held[BLOCKS];
};

struct gift {
    struct gift *self; /* what a block handed to another thread must still say */
    size_t size;
};

static struct gift *_Atomic gifts[EXCHANGE];
static UNUSED_FUNCTION atomic_int work_stop;
static UNUSED_FUNCTION struct work works[WORKERS_MAX];

static UNUSED_FUNCTION size_t work_size(uint64_t *state) {
    uint64_t kind = next_random(state) % 1000, number = next_random(state);
    if (kind < 800) return 1 + number % 1200;
    if (kind < 930) return 1 + number % (32 * KIB);
    if (kind < 990) return 32 * KIB + number % (300 * KIB);
    if (kind < 998) return 2 * MIB + number % (3 * MIB);
    return 33 * MIB;
}

static UNUSED_FUNCTION void work_mark(unsigned char *block, size_t size, unsigned seed) {
    size_t ends = size < 64 ? size : 64;
    fill(block, ends, seed);
    block[size - 1] = pattern(seed, size - 1);
}

static UNUSED_FUNCTION void work_verify(const unsigned char *block, size_t size, unsigned seed) {
    size_t ends = size < 64 ? size : 64;
    size_t good = intact(block, ends, seed);
    CHECK(good == ends && block[size - 1] == pattern(seed, size - 1), "byte %zu of %zu changed",
          good, size);
}

static UNUSED_FUNCTION void work_give(struct work *work) {
    size_t size = sizeof(struct gift) + work_size(&work->state) % (60 * KIB);
    struct gift *gift = (struct gift *)malloc(size);
    CHECK(gift != NULL, "%zu bytes", size);
    *gift = (struct gift){gift, size};
    gift = atomic_exchange(&gifts[next_random(&work->state) % EXCHANGE], gift);
    if (gift == NULL) return;
    CHECK(gift->self == gift && gift->size >= sizeof *gift, "a block of another thread changed");
    free(gift);
}

static UNUSED_FUNCTION void work_step(struct work *work) {
    unsigned index = (unsigned)(next_random(&work->state) % BLOCKS);
    unsigned char *block = work->held[index].block;
    size_t size = work_size(&work->state);
    uint64_t what = next_random(&work->state) % 5;
    if (what == 0) {
        work_give(work);
        return;
    }
    if (block != NULL) work_verify(block, work->held[index].size, index);
    if (what == 1 && block != NULL) {
        block = (unsigned char *)realloc(block, size);
    } else {
        free(block);
        /* Where a handler's child finds it half done it is no block any more. */
        work->held[index].block = NULL;
        block = (unsigned char *)malloc(size);
    }
    CHECK(block != NULL, "%zu bytes", size);
    work_mark(block, size, index);
    work->held[index].block = block;
    work->held[index].size = size;
}

static UNUSED_FUNCTION void work_end(struct work *work) {
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (work->held[i].block != NULL) work_verify(work->held[i].block, work->held[i].size, i);
        free(work->held[i].block);
        work->held[i].block = NULL;
    }
}

static UNUSED_FUNCTION void free_gifts(void) {
    for (int i = 0; i < EXCHANGE; i++) free(atomic_exchange(&gifts[i], NULL));
}

/* Where the code of the malloc under test lies. */
static uintptr_t code_start, code_end;

static UNUSED_FUNCTION int note_object(struct dl_phdr_info *info, size_t size, void *wanted) {
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type != PT_LOAD || (uintptr_t)wanted - start >= segment->p_memsz) continue;
        code_start = start;
        code_end = start + segment->p_memsz;
        return 1;
    }
    return 0;
}

static UNUSED_FUNCTION void find_code(void) {
    dl_iterate_phdr(note_object, dlsym(RTLD_DEFAULT, "malloc"));
    CHECK(code_end > code_start, "malloc lies nowhere");
}

static UNUSED_FUNCTION pid_t thread_id(void) { return (pid_t)syscall(SYS_gettid); }

#endif

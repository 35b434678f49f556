/* What the snippets of table.toml may use. A generated program includes this and holds one CASE a
 * row; it is compiled as C++, so that the forms of operator delete are at hand. */
#ifndef MISUSE_H
#define MISUSE_H

#include <pthread.h>

#include <initializer_list>
#include <new>
#include <thread>

#include "entries.h"

enum { SLICE = 16 * 1024 };

/* The size of most rows: a class of its own, which nothing else in these programs uses. */
static const size_t SMALL = 192;

static UNUSED_FUNCTION char *take(size_t size) {
    char *block = (char *)malloc(size);
    CHECK(block != NULL, "%zu bytes", size);
    memset(block, 0x11, size);
    return block;
}

/* Says which pointer the report must name, before the misuse happens. Writes, never allocates. */
static UNUSED_FUNCTION char *target(void *pointer) {
    char text[32];
    int length = snprintf(text, sizeof text, "0x%zx\n", (size_t)pointer);
    CHECK(write(1, text, (size_t)length) == length, "write");
    return (char *)pointer;
}

/* Frees enough blocks of one class that every magazine has flushed what it held before. The blocks
 * are taken by reserve_class first: allocating now would hand the misused one out again. */
enum { RESERVE = 20000 };
static void *reserve[RESERVE];
static size_t reserved;

static UNUSED_FUNCTION void reserve_class(size_t size) {
    reserved = size < 4096 ? RESERVE : size < 65536 ? 1000 : 60;
    for (size_t i = 0; i < reserved; i++) reserve[i] = take(size);
}

static UNUSED_FUNCTION void flush_class(void) {
    for (size_t i = 0; i < reserved; i++) free(reserve[i]);
    reserved = 0;
    malloc_trim(0);
}

/* The heap's own data is whole: 10^5 blocks of all small sizes, and some large, hold what they are
 * given, and are zero where they must be. */
static UNUSED_FUNCTION void aftermath(void) {
    enum { COUNT = 100000 };
    static unsigned char *blocks[COUNT];
    uint64_t state = 77;
    size_t sizes = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        size_t size = 1 + next_random(&state) % (i % 1000 == 0 ? 100000 : 700);
        sizes += size;
        if (i % 3 == 0) {
            blocks[i] = (unsigned char *)calloc(1, size + 4);
            CHECK(zeroes(blocks[i], size + 4) == size + 4, "calloc(%zu) is not zero", size);
        } else {
            blocks[i] = (unsigned char *)malloc(size + 4);
        }
        CHECK(blocks[i] != NULL, "%zu bytes", size);
        memcpy(blocks[i], &i, 4);
        fill(blocks[i] + 4, size, i);
    }
    state = 77;
    for (unsigned i = 0; i < COUNT; i++) {
        size_t size = 1 + next_random(&state) % (i % 1000 == 0 ? 100000 : 700);
        CHECK(memcmp(blocks[i], &i, 4) == 0, "block %u has another owner", i);
        CHECK(intact(blocks[i] + 4, size, i) == size, "block %u", i);
        free(blocks[i]);
    }
    CHECK(write(1, "whole\n", 6) == 6, "write");
}

#endif

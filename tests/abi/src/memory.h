/* Patterns written into blocks and read back, and the process's own size without any malloc. */
#ifndef MEMORY_H
#define MEMORY_H

#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define UNUSED_FUNCTION __attribute__((unused))

static UNUSED_FUNCTION int is_aligned(const void *pointer, size_t alignment) {
    return ((uintptr_t)pointer & (alignment - 1)) == 0;
}

static UNUSED_FUNCTION unsigned char pattern(unsigned seed, size_t index) {
    return (unsigned char)(seed * 131u + index * 7u + (index >> 8));
}

static UNUSED_FUNCTION void fill(void *block, size_t size, unsigned seed) {
    unsigned char *bytes = (unsigned char *)block;
    for (size_t i = 0; i < size; i++) bytes[i] = pattern(seed, i);
}

/* The index of the first byte that is not as fill() left it; size when all are. */
static UNUSED_FUNCTION size_t intact(const void *block, size_t size, unsigned seed) {
    const unsigned char *bytes = (const unsigned char *)block;
    size_t i = 0;
    while (i < size && bytes[i] == pattern(seed, i)) i++;
    return i;
}

/* First and last byte of every page: enough to see two blocks overlap, cheap for large ones. */
static UNUSED_FUNCTION void stamp(void *block, size_t size, unsigned char value) {
    volatile unsigned char *bytes = (volatile unsigned char *)block;
    for (size_t i = 0; i < size; i += 4096) bytes[i] = value;
    if (size > 0) bytes[size - 1] = value;
}

static UNUSED_FUNCTION int stamped(const void *block, size_t size, unsigned char value) {
    const volatile unsigned char *bytes = (const volatile unsigned char *)block;
    for (size_t i = 0; i < size; i += 4096)
        if (bytes[i] != value) return 0;
    return size == 0 || bytes[size - 1] == value;
}

/* The index of the first byte that is not zero; size when all are. */
static UNUSED_FUNCTION size_t zeroes(const void *block, size_t size) {
    const unsigned char *bytes = (const unsigned char *)block;
    size_t i = 0;
    while (i < size && bytes[i] == 0) i++;
    return i;
}

struct process_size {
    size_t mapped;   /* bytes of address space */
    size_t resident; /* bytes in memory */
};

static UNUSED_FUNCTION struct process_size process_size(void) {
    char text[128];
    int file = open("/proc/self/statm", O_RDONLY);
    CHECK(file >= 0, "/proc/self/statm cannot be opened");
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    CHECK(got > 0, "/proc/self/statm cannot be read");
    text[got] = 0;
    char *end;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct process_size size;
    size.mapped = strtoul(text, &end, 10) * page;
    size.resident = strtoul(end, NULL, 10) * page;
    return size;
}

/* xorshift: the same numbers on every machine. */
static UNUSED_FUNCTION uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif

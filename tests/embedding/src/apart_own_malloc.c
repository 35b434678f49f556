/* A program that brings its own malloc, before every library in link order: alloc_free must give
 * its blocks to it, not to the next malloc after liballoc-apart. */
#include "alloc.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

static char area[1 << 24] __attribute__((aligned(16)));
static size_t used;
static int frees;

static int is_ours(const void *block) {
    return (const char *)block >= area && (const char *)block < area + sizeof area;
}

void *malloc(size_t size) {
    size_t whole = (size + 31) & ~(size_t)15;
    if (whole < size || whole > sizeof area - used) return NULL;
    char *block = area + used + 16;
    used += whole;
    memcpy(block - 16, &size, sizeof size);
    return block;
}

void free(void *block) {
    if (block == NULL) return;
    if (!is_ours(block)) _exit(10);
    frees++;
}

size_t malloc_usable_size(void *block) {
    size_t size;
    if (!is_ours(block)) _exit(11);
    memcpy(&size, (char *)block - 16, sizeof size);
    return size;
}

void *calloc(size_t count, size_t size) {
    return malloc(count * size); /* Zero: it is given out once. */
}

void *realloc(void *old, size_t size) {
    void *block = malloc(size);
    if (block == NULL || old == NULL) return block;
    size_t kept = malloc_usable_size(old);
    memcpy(block, old, kept < size ? kept : size);
    free(old);
    return block;
}

int main(void) {
    char *block = malloc(100);
    int before = frees;
    if (alloc_usable_size(block) != 100) return 1;
    block = alloc_realloc(block, 1000);
    if (!is_ours(block) || frees != before + 1) return 2;
    alloc_free(block);
    if (frees != before + 2) return 3;
    char *other = alloc_malloc(100);
    if (other == NULL || is_ours(other)) return 4;
    alloc_free(other);
    return frees == before + 2 ? 0 : 5;
}

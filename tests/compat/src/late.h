/* liballoc opened late, by dlopen into a program on libc's own malloc: nothing has called it before
 * open_late(). After this header malloc and its family are liballoc's. Not with a preload. */
#ifndef LATE_H
#define LATE_H

#include <dlfcn.h>

#include "memory.h"

static void *(*late_malloc)(size_t);
static void *(*late_calloc)(size_t, size_t);
static void *(*late_realloc)(void *, size_t);
static void *(*late_aligned_alloc)(size_t, size_t);
static void (*late_free)(void *);

static void late_symbol(void *library, const char *name, void *slot) {
    void *found = dlsym(library, name);
    CHECK(found != NULL, "%s", name);
    memcpy(slot, &found, sizeof found);
}

static void open_late(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL, "%s", dlerror());
    late_symbol(library, "alloc_malloc", &late_malloc);
    late_symbol(library, "alloc_calloc", &late_calloc);
    late_symbol(library, "alloc_realloc", &late_realloc);
    late_symbol(library, "alloc_aligned_alloc", &late_aligned_alloc);
    late_symbol(library, "alloc_free", &late_free);
}

#define malloc(size) late_malloc(size)
#define calloc(count, size) late_calloc(count, size)
#define realloc(block, size) late_realloc(block, size)
#define aligned_alloc(alignment, size) late_aligned_alloc(alignment, size)
#define free(block) late_free(block)

#endif

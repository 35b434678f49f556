/* Compiled with -O2 -D_FORTIFY_SOURCE=3 and builtins: a program that grows into the usable size the
 * way systemd does, and checked string functions on blocks of every kind. */
#include <malloc.h>

#include "memory.h"

/* Tells the compiler that the block is larger now. */
__attribute__((noinline, alloc_size(2))) static void *expanded(void *block, size_t size) {
    __asm__("" : "+r"(block));
    (void)size;
    return block;
}

CASE(C35_fortified_program_uses_the_usable_size) {
    for (size_t size = 1; size <= 3 * MIB; size += size / 5 + 1) {
        void *block = malloc(size);
        CHECK(block != NULL, "%zu bytes", size);
        size_t usable = malloc_usable_size(block);
        block = expanded(block, usable);
        memset(block, 0x42, usable);
        void *grown = realloc(block, usable + 100);
        CHECK(grown != NULL, "%zu bytes", usable + 100);
        grown = expanded(grown, malloc_usable_size(grown));
        for (size_t i = 0; i < usable; i++) CHECK(((char *)grown)[i] == 0x42, "byte %zu", i);
        memset(grown, 0x43, malloc_usable_size(grown));
        free(grown);
    }
}

CASE(C35_fortified_strings) {
    char source[300];
    memset(source, 'x', sizeof source - 1);
    source[sizeof source - 1] = 0;
    for (size_t size = sizeof source; size < 5000; size += 37) {
        char *block = (char *)calloc(1, size);
        CHECK(block != NULL, "%zu", size);
        strcpy(block, source);
        CHECK(snprintf(block, size, "%s!", source) == (int)sizeof source, "snprintf");
        char *copy = strdup(block);
        CHECK(copy != NULL && strcmp(copy, block) == 0, "strdup");
        free(copy);
        free(block);
    }
}

/* A preloaded object whose destructor allocates, before or after that of liballoc. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *kept;

static void __attribute__((constructor)) first(void) { kept = memset(malloc(5000), 7, 5000); }

static void __attribute__((destructor)) last(void) {
    char *block = (char *)calloc(1, 100000);
    if (block == NULL || block[99999] != 0) _exit(5);
    if (((char *)kept)[4999] != 7) _exit(6);
    kept = realloc(kept, 300000);
    free(kept);
    free(block);
    if (write(1, "late\n", 5) != 5) _exit(7);
}

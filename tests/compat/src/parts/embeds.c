/* A plugin with a copy of liballoc of its own inside, hidden from everybody else. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

void *embedded_malloc(size_t size) { return malloc(size); }
void embedded_free(void *block) { free(block); }
void *embedded_address(void) { return (void *)malloc; }

/* The calling thread gets a heap of this copy, and with it whatever is called when it ends. */
void embedded_use(void) {
    void *blocks[200];
    for (size_t i = 0; i < 200; i++) blocks[i] = memset(malloc(16 + i * 300), 1, 16);
    for (size_t i = 0; i < 200; i++) free(blocks[i]);
}

/* A plugin: a shared object that allocates, frees, and keeps memory over its own unloading. */
#include <stdlib.h>
#include <string.h>

static char *kept;

void *plugin_malloc(size_t size) {
    return malloc(size);
}

void plugin_free(void *block) {
    free(block);
}

/* Where this object's own calls of malloc go. */
void *plugin_provider(void) {
    return (void *)malloc;
}

static void __attribute__((constructor)) on_load(void) {
    /* Not strdup: under RTLD_DEEPBIND that is libc's call of malloc, which is not this object's. */
    kept = malloc(100);
    strcpy(kept, "kept while loaded");
}

static void __attribute__((destructor)) on_unload(void) {
    free(kept);
}

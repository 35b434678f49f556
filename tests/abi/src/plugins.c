/* dlopen: of plugins that allocate, of liballoc itself, and of objects with a heap of their own.
 *
 * Arguments: the path of what is opened. */
#include "entries.h"

struct plugin {
    void *handle;
    void *(*allocate)(size_t);
    void (*release)(void *);
    void *(*provider)(void);
};

static struct plugin open_plugin(int flags) {
    struct plugin plugin;
    CHECK(case_argc > 0, "the path of the plugin is missing");
    plugin.handle = dlopen(case_argv[0], flags);
    CHECK(plugin.handle != NULL, "%s", dlerror());
    *(void **)&plugin.allocate = dlsym(plugin.handle, "plugin_malloc");
    *(void **)&plugin.release = dlsym(plugin.handle, "plugin_free");
    *(void **)&plugin.provider = dlsym(plugin.handle, "plugin_provider");
    CHECK(plugin.allocate && plugin.release && plugin.provider, "not a plugin");
    return plugin;
}

CASE(C16_plugin_shares_the_heap) {
    for (int turn = 0; turn < 100; turn++) {
        struct plugin plugin = open_plugin(RTLD_NOW | RTLD_LOCAL);
        CHECK(plugin.provider() == dlsym(RTLD_DEFAULT, "malloc"), "two mallocs");
        void *theirs = plugin.allocate(1000);
        fill(theirs, 1000, 1);
        plugin.release(malloc(1000));
        CHECK(dlclose(plugin.handle) == 0, "dlclose");
        CHECK(intact(theirs, 1000, 1) == 1000, "a block that outlives its plugin");
        free(realloc(theirs, 100000));
    }
}

/* A program that opens liballoc itself, late: both mallocs live side by side. */
OURS(C16_liballoc_by_dlopen) {
    void *(*allocate)(size_t);
    void (*release)(void *);
    for (int turn = 0; turn < 20; turn++) {
        void *handle = dlopen(case_argv[0], RTLD_NOW | RTLD_LOCAL);
        CHECK(handle != NULL, "%s", dlerror());
        *(void **)&allocate = dlsym(handle, "malloc");
        *(void **)&release = dlsym(handle, "free");
        CHECK(allocate != NULL && release != NULL, "no malloc in it");
        CHECK((void *)allocate != dlsym(RTLD_DEFAULT, "malloc"), "it was there already");
        void *blocks[200];
        for (unsigned i = 0; i < 200; i++) {
            blocks[i] = allocate(16 + i * 500);
            CHECK(blocks[i] != NULL, "malloc by dlopen");
            fill(blocks[i], 16 + i * 500, i);
            free(malloc(16 + i * 500));
        }
        CHECK(dlclose(handle) == 0, "dlclose");
        for (unsigned i = 0; i < 200; i++) { /* NODELETE: it must still be there */
            CHECK(intact(blocks[i], 16 + i * 500, i) == 16 + i * 500, "block %u", i);
            release(blocks[i]);
        }
    }
}

/* RTLD_DEEPBIND binds the plugin to libc's own malloc, so its blocks are foreign to liballoc. */
static struct plugin open_foreign(void) {
    struct plugin plugin = open_plugin(RTLD_NOW | RTLD_DEEPBIND);
    CHECK(plugin.provider() != dlsym(RTLD_DEFAULT, "malloc"), "it shares our malloc");
    return plugin;
}

OURS(C17_foreign_free_is_forwarded) {
    struct plugin plugin = open_foreign();
    for (size_t size = 24; size <= 1000; size += 16) {
        void *block = plugin.allocate(size);
        memset(block, 1, size);
        free(block);
        /* libc's own heap gives the block just freed to the next request of its size. */
        CHECK(plugin.allocate(size) == block, "%zu bytes were not freed where they belong", size);
    }
    plugin.release(plugin.allocate(100));
    free(plugin.allocate(300000));
    free(plugin.allocate(40 * MIB));
}

OURS(C17_foreign_realloc_is_forwarded) {
    struct plugin plugin = open_foreign();
    void *block = plugin.allocate(100);
    fill(block, 100, 5);
    size_t usable = malloc_usable_size(block);
    CHECK(usable >= 100 && usable <= 128, "usable size %zu", usable);
    block = realloc(block, 5000);
    CHECK(block != NULL && intact(block, 100, 5) == 100, "contents");
    free(block);
    CHECK(realloc(plugin.allocate(100), 0) == NULL, "realloc(p, 0)");
}

/* Under ALLOC_CONF=foreign:ignore. */
OURS(C17_foreign_free_is_ignored) {
    struct plugin plugin = open_foreign();
    for (int turn = 0; turn < 100; turn++) {
        void *block = plugin.allocate(100);
        fill(block, 100, 2);
        free(block);
        CHECK(plugin.allocate(100) != block, "it was freed");
        CHECK(intact(block, 100, 2) == 100, "it was written to");
    }
}

/* Under ALLOC_CONF=foreign:abort: must not return. The pointer goes to stdout first. */
OURS(C17_foreign_free_aborts) {
    struct plugin plugin = open_foreign();
    void *block = plugin.allocate(100);
    dprintf(1, "%p\n", block);
    free(block);
}
OURS(C17_foreign_realloc_aborts) {
    struct plugin plugin = open_foreign();
    void *block = plugin.allocate(100);
    dprintf(1, "%p\n", block);
    CHECK(realloc(block, 200) == NULL, "it came back");
}
OURS(C17_foreign_usable_size_aborts) {
    struct plugin plugin = open_foreign();
    void *block = plugin.allocate(100);
    dprintf(1, "%p\n", block);
    CHECK(malloc_usable_size(block) == 0, "it came back");
}

/* Shared objects that carry a copy of liballoc, or leave little room for one.
 *
 * Arguments: the paths of what is opened. */
#include <pthread.h>

#include "memory.h"

static void (*embedded_use)(void);
static pthread_barrier_t gate;

static void *open_embedding(const char *path) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(handle != NULL, "%s", dlerror());
    *(void **)&embedded_use = dlsym(handle, "embedded_use");
    CHECK(embedded_use != NULL, "embedded_use");
    return handle;
}

/* Two copies, each with its own blocks, in several threads. */
static void *use_both(void *argument) {
    for (int turn = 0; turn < 200; turn++) {
        void *block = malloc(1000);
        fill(block, 1000, (unsigned)turn);
        embedded_use();
        CHECK(intact(block, 1000, (unsigned)turn) == 1000, "turn %d", turn);
        free(block);
    }
    return argument;
}

CASE(C16_plugin_with_its_own_copy) {
    void *(*allocate)(size_t);
    void (*release)(void *);
    void *(*address)(void);
    void *handle = open_embedding(case_argv[0]);
    *(void **)&allocate = dlsym(handle, "embedded_malloc");
    *(void **)&release = dlsym(handle, "embedded_free");
    *(void **)&address = dlsym(handle, "embedded_address");
    CHECK(address() != dlsym(RTLD_DEFAULT, "malloc"), "it shares this malloc");
    for (int turn = 0; turn < 20; turn++) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], NULL, use_both, NULL) == 0, "thread");
        void *theirs = allocate(5000), *ours = malloc(5000);
        fill(theirs, 5000, 1);
        fill(ours, 5000, 2);
        for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
        CHECK(intact(theirs, 5000, 1) == 5000 && intact(ours, 5000, 2) == 5000, "overlap");
        release(theirs);
        free(ours);
    }
}

static void *outlive_the_plugin(void *argument) {
    embedded_use();
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate); /* the plugin is gone */
    free(malloc(100));
    return argument;
}

CASE(C12_threads_outlive_the_plugin) {
    for (int turn = 0; turn < 5; turn++) {
        pthread_t threads[8];
        void *handle = open_embedding(case_argv[0]);
        pthread_barrier_init(&gate, NULL, 9);
        for (int i = 0; i < 8; i++)
            CHECK(pthread_create(&threads[i], NULL, outlive_the_plugin, NULL) == 0, "thread");
        embedded_use();
        pthread_barrier_wait(&gate);
        CHECK(dlclose(handle) == 0, "dlclose");
        pthread_barrier_wait(&gate);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    }
}

/* Fillers until the loader refuses one, then the library: it needs a word. */
CASE(C10_little_static_tls_left) {
    int fillers = 0;
    for (int i = 1; i < case_argc; i++) {
        if (dlopen(case_argv[i], RTLD_NOW | RTLD_LOCAL) != NULL) {
            fillers++;
            continue;
        }
        const char *why = dlerror();
        CHECK(strstr(why, "static TLS") != NULL, "%s", why);
    }
    CHECK(fillers < case_argc - 1, "the surplus is not used up by %d fillers", fillers);
    void *handle = dlopen(case_argv[0], RTLD_NOW | RTLD_LOCAL);
    CHECK(handle != NULL, "after %d fillers: %s", fillers, dlerror());
    void *(*allocate)(size_t);
    *(void **)&allocate = dlsym(handle, "alloc_malloc");
    CHECK(allocate != NULL && allocate(1000) != NULL, "it does not work");
}

/* Bound to its own dependencies first: ours has none, and finds libc all the same. */
CASE(C18_opened_with_deepbind) {
    void *(*allocate)(size_t);
    void (*release)(void *);
    void *handle = dlopen(case_argv[0], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    CHECK(handle != NULL, "%s", dlerror());
    *(void **)&allocate = dlsym(handle, "malloc");
    *(void **)&release = dlsym(handle, "free");
    CHECK(allocate != NULL && (void *)allocate != dlsym(RTLD_DEFAULT, "malloc"), "malloc");
    for (size_t size = 1; size < 3 * MIB; size = size * 3 + 1) {
        void *block = allocate(size);
        fill(block, size, 4);
        CHECK(intact(block, size, 4) == size, "%zu", size);
        release(block);
    }
}

/* A shared object that stands in front of libc functions which a malloc may need, and allocates in
 * each of them: a malloc that calls one while it holds a lock, or before it is set up, hangs. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int calls;

int interposed_calls(void) { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }

/* The first is calloc, as in the dlerror of older systems. */
static void allocate(void) {
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    unsigned char *zero = (unsigned char *)calloc(3, 40);
    unsigned char *large = (unsigned char *)malloc(70000);
    if (zero == NULL || large == NULL) abort();
    for (int i = 0; i < 120; i++)
        if (zero[i] != 0) abort();
    memset(zero, 1, 120);
    memset(large, 2, 70000);
    zero = (unsigned char *)realloc(zero, 1000);
    if (zero == NULL || zero[119] != 1 || large[69999] != 2) abort();
    free(large);
    free(zero);
}

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

char *getenv(const char *name) {
    allocate();
    return ((char *(*)(const char *))next("getenv"))(name);
}

static int open_any(const char *name, const char *path, int flags, mode_t mode) {
    allocate();
    return ((int (*)(const char *, int, mode_t))next(name))(path, flags, mode);
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                                  \
        va_end(rest);                                                                              \
        return open_any(#name, path, flags, mode);                                                 \
    }
OPEN(open)
OPEN(open64)

void *mmap(void *at, size_t length, int protection, int flags, int file, off_t offset) {
    allocate();
    return ((void *(*)(void *, size_t, int, int, int, off_t))next("mmap"))(
        at, length, protection, flags, file, offset);
}

int munmap(void *at, size_t length) {
    allocate();
    return ((int (*)(void *, size_t))next("munmap"))(at, length);
}

int madvise(void *at, size_t length, int advice) {
    allocate();
    return ((int (*)(void *, size_t, int))next("madvise"))(at, length, advice);
}

int pthread_once(pthread_once_t *control, void (*run)(void)) {
    allocate();
    return ((int (*)(pthread_once_t *, void (*)(void)))next("pthread_once"))(control, run);
}

int pthread_key_create(pthread_key_t *key, void (*destroy)(void *)) {
    allocate();
    return ((int (*)(pthread_key_t *, void (*)(void *)))next("pthread_key_create"))(key, destroy);
}

int pthread_setspecific(pthread_key_t key, const void *value) {
    allocate();
    return ((int (*)(pthread_key_t, const void *))next("pthread_setspecific"))(key, value);
}

unsigned long getauxval(unsigned long type) {
    allocate();
    return ((unsigned long (*)(unsigned long))next("getauxval"))(type);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    allocate();
    return ((int (*)(clockid_t, struct timespec *))next("clock_gettime"))(clock, now);
}

int sched_yield(void) {
    allocate();
    return ((int (*)(void))next("sched_yield"))();
}

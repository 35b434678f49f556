/* Threads of any libc: blocks handed round, short threads, fork after them, late destructors. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, SLOTS = 500, ROUNDS = 30000, SHORT = 300 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char *slots[SLOTS];
static pthread_key_t key;
static int wrong;

static size_t size_of(unsigned i) { return i % 97 == 0 ? i % 400000 + 1 : i * 31 % 3000 + 1; }

static unsigned char *make(unsigned i) {
    size_t size = size_of(i);
    unsigned char *block = i % 5 ? malloc(size + 4) : aligned_alloc(64, (size + 67) / 64 * 64);
    if (!block) return NULL;
    memcpy(block, &i, 4);
    memset(block + 4, (int)i, size);
    return block;
}

static int broken(const unsigned char *block) {
    unsigned i;
    memcpy(&i, block, 4);
    return block[4] != (unsigned char)i || block[3 + size_of(i)] != (unsigned char)i;
}

static void *work(void *argument) {
    unsigned seed = (unsigned)(size_t)argument;
    int bad = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        seed = seed * 1103515245u + 12345u;
        unsigned char *block = make(seed >> 8);
        pthread_mutex_lock(&lock);
        unsigned char *old = slots[(seed >> 16) % SLOTS];
        slots[(seed >> 16) % SLOTS] = block;
        pthread_mutex_unlock(&lock);
        if (old) {
            bad += broken(old);
            free(old);
        }
        bad += block == NULL;
    }
    pthread_mutex_lock(&lock);
    wrong += bad;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Runs after the thread's function: frees a block and leaves another for the next round. */
static void destroy(void *block) {
    int again = *(unsigned char *)block < 2;
    unsigned char *next = again ? make(*(unsigned char *)block + 1u) : NULL;
    free(block);
    if (next) pthread_setspecific(key, next);
}

static void *brief(void *argument) {
    (void)argument;
    pthread_setspecific(key, make(0));
    return strdup("from a thread that ended");
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_key_create(&key, destroy);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(i * 7919 + 1))) return 3;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    int children = 0;
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) {
            for (unsigned n = 0; n < 5000; n++) free(make(n));
            _exit(7);
        }
        int status;
        waitpid(child, &status, 0);
        children += WIFEXITED(status) && WEXITSTATUS(status) == 7;
    }
    size_t length = 0;
    for (int i = 0; i < SHORT; i++) {
        pthread_t thread;
        void *text;
        if (pthread_create(&thread, NULL, brief, NULL)) return 3;
        pthread_join(thread, &text);
        length += strlen(text);
        free(text);
    }
    int left = 0;
    for (int i = 0; i < SLOTS; i++) {
        left += slots[i] != NULL;
        wrong += slots[i] && broken(slots[i]);
        free(slots[i]);
    }
    volatile size_t huge = (size_t)-1 / 2 - 4096;
    errno = 0;
    void *refused = malloc(huge);
    printf("wrong %d children %d length %zu left %d refused %d %s\n", wrong, children, length,
           left, refused == NULL, strerror(errno));
    return wrong != 0;
}

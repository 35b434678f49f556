/* One error of a program on its heap a case, for Valgrind and AddressSanitizer to report; and
 * traffic without any error, in which they must find nothing. */
#include "../../abi/src/check.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

#define BLOCKS 300

static volatile char seen;

/* Every entry point, every kind of block, each written to its last byte. */
static void *traffic(void *kept) {
    char **blocks = kept != NULL ? kept : malloc(BLOCKS * sizeof *blocks);
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = (size_t)i * (size_t)i * 3 + 1;
        switch (i % 5) {
        case 0: blocks[i] = calloc(1, size); break;
        case 1: blocks[i] = aligned_alloc(64, size); break;
        case 2: blocks[i] = memalign((size_t)1 << (4 + i % 13), size); break;
        case 3: blocks[i] = realloc(malloc(size / 2 + 1), size); break;
        default: blocks[i] = malloc(size);
        }
        CHECK(blocks[i] != NULL && malloc_usable_size(blocks[i]) >= size, "%d", i);
        memset(blocks[i], i, malloc_usable_size(blocks[i]));
    }
    if (kept != NULL) return NULL; /* another thread frees them */
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    free(blocks);
    return NULL;
}

OURS(clean) {
    char *shared[BLOCKS];
    pthread_t threads[3];
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 3; i++) {
            void *kept = i == 0 ? shared : NULL;
            CHECK(pthread_create(&threads[i], NULL, traffic, kept) == 0, "thread");
        }
        for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
        for (int i = 0; i < BLOCKS; i++) free(shared[i]);
    }
    char *huge = malloc((size_t)40 << 20);
    CHECK(huge != NULL, "huge");
    huge[((size_t)40 << 20) - 1] = 1;
    huge = realloc(huge, (size_t)50 << 20);
    CHECK(huge != NULL && huge[((size_t)40 << 20) - 1] == 1, "huge, resized");
    free(huge);
    pid_t child = fork();
    if (child == 0) {
        traffic(NULL);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "child: %d", status);
}

OURS(overflow_by_one) {
    char *block = malloc(13);
    block[13] = 1;
    free(block);
}

/* A size that is a class's own. */
OURS(overflow_of_a_whole_class) {
    char *block = malloc(64);
    seen = block[64];
    free(block);
}

OURS(overflow_of_calloc) {
    char *block = calloc(10, 10000);
    seen = block[100000];
    free(block);
}

OURS(overflow_of_aligned) {
    char *block = aligned_alloc(4096, 100);
    block[100] = 1;
    free(block);
}

OURS(overflow_of_large) {
    char *block = malloc((size_t)5 << 20);
    block[(size_t)5 << 20] = 1;
    free(block);
}

OURS(overflow_of_huge) {
    char *block = malloc((size_t)50 << 20);
    block[(size_t)50 << 20] = 1;
    free(block);
}

/* In place at level 0. */
OURS(overflow_after_shrinking) {
    char *block = realloc(malloc(30), 25);
    block[25] = 1;
    free(block);
}

OURS(underflow) {
    char *block = malloc(13);
    block[-1] = 1;
    free(block);
}

OURS(use_after_free) {
    char *block = malloc(13);
    free(block);
    for (int i = 0; i < 100; i++) free(malloc(13));
    block[2] = 1;
}

OURS(use_after_realloc) {
    char *block = malloc(100);
    char *other = realloc(block, 120);
    block[2] = 1;
    free(other);
}

OURS(double_free) {
    char *block = malloc(13);
    free(block);
    free(block);
}

OURS(interior_free) {
    char *block = malloc(64);
    free(block + 16);
    free(block);
}

/* Valgrind alone sees these two. */
OURS(uninitialised) {
    char *block = malloc(13);
    if (block[3] == 7) seen = 1;
    free(block);
}

OURS(leak) {
    char *volatile block = malloc(1234);
    block[0] = 1;
    block = NULL;
}

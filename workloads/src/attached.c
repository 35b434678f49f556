// Spins until a debugger says go, with its threads at rest and blocks of theirs alive; then works
// on and checks.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 3, BLOCKS = 5000 };

char *volatile from_debugger;
volatile int waiting = 1;
const char sample[] = "a string of the debugger's";
static pthread_barrier_t barrier;
static char *blocks[THREADS][BLOCKS];

static void fill(int number) {
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = (size_t)(i * 37 + number) % 3000 + 1;
        free(blocks[number][i]);
        blocks[number][i] = malloc(size);
        memset(blocks[number][i], number + i, size);
    }
}

static void *work(void *argument) {
    int number = (int)(size_t)argument;
    fill(number);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    fill(number);
    pthread_barrier_wait(&barrier);
    return NULL;
}

// Where the debugger's calls return to; it stops there and puts the registers back.
__attribute__((noinline)) void returned(void) { __asm__ volatile("nop"); }

int main(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    pthread_barrier_wait(&barrier);
    puts("ready");
    fflush(stdout);
    while (waiting) {
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    int wrong = 0;
    for (int number = 0; number < THREADS; number++)
        for (int i = 0; i < BLOCKS; i++) {
            wrong += blocks[number][i][0] != (char)(number + i);
            free(blocks[number][i]);
        }
    printf("debugger left: %s; wrong %d\n", from_debugger, wrong);
    free(from_debugger);
    return wrong != 0;
}

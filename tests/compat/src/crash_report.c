/* A crash handler that interrupts malloc or free at a random moment, allocates for its report like
 * any program, keeps all of it, and never returns. glibc may deadlock or abort here. */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "memory.h"

enum { CHILDREN = 150, REPORTED = 42 };

static void report_and_die(int signal) {
    char *lines[300];
    for (size_t i = 0; i < 300; i++) {
        size_t size = 30 + i * i % 5000;
        lines[i] = (char *)malloc(size);
        if (lines[i] == NULL) _exit(2);
        fill(lines[i], size, (unsigned)i);
    }
    char *text = strdup("stack of the thread");
    text = (char *)realloc(text, 100000);
    if (text == NULL || strcmp(text, "stack of the thread") != 0) _exit(3);
    for (size_t i = 0; i < 300; i++) {
        if (intact(lines[i], 30 + i * i % 5000, (unsigned)i) != 30 + i * i % 5000) _exit(4);
        if (i % 3 == 0) free(lines[i]);
    }
    free(text);
    _exit(signal == SIGALRM ? REPORTED : 5);
}

static void *churn(void *argument) {
    uint64_t state = 1 + (uint64_t)(size_t)argument;
    static __thread void *blocks[300];
    for (;;) {
        size_t index = next_random(&state) % 300;
        free(blocks[index]);
        size_t size = 1 + next_random(&state) % (index % 30 == 0 ? 200000 : 1500);
        blocks[index] = malloc(size);
    }
    return NULL;
}

/* The moment is the timer's; the seed only spreads it. */
static void die_at_a_random_moment(uint64_t seed) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = report_and_die;
    sigaction(SIGALRM, &action, NULL);
    alarm(0);
    pthread_t other;
    pthread_create(&other, NULL, churn, (void *)(size_t)(seed + 1000));
    struct itimerval once = {{0, 0}, {0, (suseconds_t)(500 + next_random(&seed) % 4000)}};
    setitimer(ITIMER_REAL, &once, NULL);
    churn((void *)(size_t)seed);
}

OURS(C30_crash_report_and_no_return) {
    for (uint64_t seed = 1; seed <= CHILDREN; seed++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) die_at_a_random_moment(seed);
        CHECK(waitpid(child, &status, 0) == child, "waitpid");
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == REPORTED, "seed %lu: status %x",
              (unsigned long)seed, status);
    }
}

/* Who allocates and who frees: every shape, and a resident set that stays bounded in each.
 *
 * In each round every sender allocates its share, a barrier, every receiver frees its own. */
#include <pthread.h>

#include "memory.h"

enum { PEOPLE = 4, SHARE = 3000, ROUNDS = 120, SETTLED = 20 };

static void *mail[PEOPLE][PEOPLE][SHARE]; /* by receiver and sender */
static pthread_barrier_t step;
static size_t settled_size;

struct shape {
    unsigned senders;   /* bit i: person i allocates */
    unsigned receivers; /* bit i: person i frees */
    int ring;           /* to the next one only */
};

struct person {
    const struct shape *shape;
    unsigned number;
};

static size_t size_of(unsigned index) { return index % 50 == 0 ? 20000 : 16 + index * 7 % 1500; }

static void send_all(const struct person *me) {
    unsigned receivers = me->shape->receivers;
    for (unsigned i = 0; i < SHARE; i++) {
        unsigned to = me->shape->ring ? (me->number + 1) % PEOPLE : i % PEOPLE;
        while (!(receivers >> to & 1)) to = (to + 1) % PEOPLE;
        unsigned char *block = (unsigned char *)malloc(size_of(i));
        CHECK(block != NULL, "block %u", i);
        block[0] = (unsigned char)i;
        block[size_of(i) - 1] = (unsigned char)(i + 1);
        mail[to][me->number][i] = block;
    }
}

static void receive_all(const struct person *me) {
    for (unsigned from = 0; from < PEOPLE; from++) {
        for (unsigned i = 0; i < SHARE; i++) {
            unsigned char *block = (unsigned char *)mail[me->number][from][i];
            if (block == NULL) continue;
            CHECK(block[0] == (unsigned char)i, "block %u of %u", i, from);
            if (size_of(i) > 1) CHECK(block[size_of(i) - 1] == (unsigned char)(i + 1), "its end");
            free(block);
            mail[me->number][from][i] = NULL;
        }
    }
}

static void *live(void *argument) {
    const struct person *me = (const struct person *)argument;
    for (int round = 0; round < ROUNDS; round++) {
        if (me->shape->senders >> me->number & 1) send_all(me);
        pthread_barrier_wait(&step);
        if (me->shape->receivers >> me->number & 1) receive_all(me);
        pthread_barrier_wait(&step);
        if (round == SETTLED && me->number == 0) settled_size = process_size().resident;
    }
    return NULL;
}

static void check_shape(unsigned senders, unsigned receivers, int ring) {
    struct shape shape = {senders, receivers, ring};
    struct person people[PEOPLE];
    pthread_t threads[PEOPLE];
    pthread_barrier_init(&step, NULL, PEOPLE);
    for (unsigned i = 0; i < PEOPLE; i++) {
        people[i] = (struct person){&shape, i};
        if (i > 0) CHECK(pthread_create(&threads[i], NULL, live, &people[i]) == 0, "thread");
    }
    live(&people[0]);
    for (unsigned i = 1; i < PEOPLE; i++) pthread_join(threads[i], NULL);
    size_t last = process_size().resident;
    CHECK(last <= settled_size + settled_size / 4 + 4 * MIB, "%zu KiB after %d rounds, then %zu",
          settled_size / KIB, SETTLED, last / KIB);
}

CASE(C32_everybody_to_everybody) { check_shape(15, 15, 0); }
CASE(C32_fan_in) { check_shape(14, 1, 0); }
CASE(C32_fan_out) { check_shape(1, 14, 0); }
CASE(C32_ring) { check_shape(15, 15, 1); }
CASE(C32_one_only_frees) { check_shape(7, 8, 0); }
CASE(C32_one_only_allocates) { check_shape(8, 7, 0); }

static void *free_some(void *argument) {
    void **blocks = (void **)argument;
    for (int i = 0; i < 8000; i++) free(blocks[i]);
    return NULL;
}

/* Under decay_ms:0. Threads that free and never allocate, while the owner makes a call now and
 * then: what they freed returns to the system. */
OURS(C03_decay_runs_for_threads_that_only_free) {
    enum { COUNT = 64000 };
    static void *blocks[COUNT];
    size_t before = process_size().resident;
    for (int i = 0; i < COUNT; i++) blocks[i] = memset(malloc(1500), 1, 1500);
    size_t full = process_size().resident;
    CHECK(full > before + 80 * MIB, "only %zu MiB", (full - before) / MIB);
    for (int i = 0; i < COUNT; i += 8000) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, free_some, blocks + i) == 0, "thread");
        pthread_join(thread, NULL);
    }
    for (int i = 0; i < 2000; i++) free(memset(malloc(40000 + (size_t)i), 1, 1));
    size_t after = process_size().resident;
    CHECK(after < before + 16 * MIB, "%zu MiB, then %zu MiB", (full - before) / MIB,
          (after - before) / MIB);
}

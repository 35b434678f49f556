/* Arenas of alloc.h as the header documents them: alignment, growth, checkpoint and rewind, reset,
 * trim, statistics, errno of every bad argument. */
#include "alloc.h"

#include <errno.h>
#include <stdint.h>
#include <sys/wait.h>

#include "memory.h"

#pragma weak alloc_stats
#pragma weak alloc_stats_json
#pragma weak alloc_arena_create
#pragma weak alloc_arena_alloc
#pragma weak alloc_arena_alloc_aligned
#pragma weak alloc_arena_checkpoint
#pragma weak alloc_arena_rewind
#pragma weak alloc_arena_reset
#pragma weak alloc_arena_trim
#pragma weak alloc_arena_destroy
#pragma weak alloc_arena_stats

/* A linker leaves out a library of which only weak names are wanted. */
void *(*volatile strong_name)(size_t) = malloc;

static alloc_arena_t *make(size_t capacity, unsigned flags) {
    alloc_arena_t *arena = alloc_arena_create(capacity, flags);
    CHECK(arena != NULL, "create(%zu, %u): %d", capacity, flags, errno);
    return arena;
}

static alloc_arena_stats_t stats(const alloc_arena_t *arena) {
    alloc_arena_stats_t now;
    memset(&now, 0xff, sizeof now);
    CHECK(alloc_arena_stats(arena, &now, sizeof now) == 0, "alloc_arena_stats");
    return now;
}

/* Downwards, each object its size rounded up to 16, until exactly the capacity is used up. */
OURS(fixed_to_the_last_byte) {
    for (size_t capacity = 16; capacity <= 5 * MIB; capacity = capacity * 5 + 16) {
        alloc_arena_t *arena = make(capacity, ALLOC_FIXED);
        for (int turn = 0; turn < 2; turn++) {
            uint64_t state = 3;
            size_t used = 0;
            char *last = NULL;
            for (;;) {
                size_t size = 1 + next_random(&state) % 200;
                errno = 0;
                char *object = alloc_arena_alloc(arena, size);
                size_t rounded = (size + 15) / 16 * 16;
                if (object == NULL) {
                    CHECK(errno == ENOMEM, "errno %d", errno);
                    CHECK(used + rounded > capacity, "%zu of %zu used", used, capacity);
                    break;
                }
                CHECK(errno == 0, "errno %d after a success", errno);
                CHECK(is_aligned(object, 16), "%p", (void *)object);
                CHECK(last == NULL || object + rounded == last, "a gap");
                last = object;
                used += rounded;
                fill(object, size, (unsigned)size);
            }
            CHECK(stats(arena).bytes_in_use == used, "in use");
            CHECK(capacity - used == 0 || alloc_arena_alloc(arena, capacity - used) != NULL,
                  "the rest");
            CHECK(alloc_arena_alloc(arena, 1) == NULL && errno == ENOMEM, "one too many");
            CHECK(alloc_arena_alloc(arena, SIZE_MAX) == NULL && errno == ENOMEM, "SIZE_MAX");
            CHECK(alloc_arena_alloc(arena, SIZE_MAX / 2 + 1) == NULL && errno == ENOMEM, "half");
            alloc_arena_reset(arena);
        }
        CHECK(alloc_arena_alloc(arena, capacity) != NULL, "all at once");
        CHECK(stats(arena).chunks == 1 && stats(arena).resets == 2, "chunks");
        CHECK(alloc_arena_destroy(arena) == 1, "objects");
    }
}

OURS(size_zero) {
    alloc_arena_t *arena = make(100, 0);
    CHECK(alloc_arena_alloc(arena, 0) != NULL, "first");
    CHECK(alloc_arena_alloc(arena, 112) != NULL, "100 is rounded to 112");
    CHECK(alloc_arena_alloc(arena, 0) != NULL, "full");
    CHECK(alloc_arena_alloc_aligned(arena, 0, 64) != NULL, "aligned");
    CHECK(alloc_arena_destroy(arena) == 4, "objects");
}

OURS(every_alignment) {
    alloc_arena_t *arena = make(1000, 0);
    for (int turn = 0; turn < 3; turn++) {
        for (size_t alignment = 1; alignment <= MIB; alignment *= 2) {
            for (size_t size = 1; size <= 3000; size = size * 2 + 1) {
                char *object = alloc_arena_alloc_aligned(arena, size, alignment);
                CHECK(object != NULL && is_aligned(object, alignment), "%zu: %p", alignment,
                      (void *)object);
                fill(object, size, 5);
                char *plain = alloc_arena_alloc(arena, size);
                CHECK(plain != NULL && is_aligned(plain, 16), "after %zu", alignment);
                fill(plain, size, 6);
                CHECK(intact(object, size, 5) == size, "overlap at %zu, %zu", alignment, size);
            }
        }
        alloc_arena_reset(arena);
    }
    const size_t bad[] = {0, 3, 48, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        CHECK(alloc_arena_alloc_aligned(arena, 8, bad[i]) == NULL, "alignment %zu", bad[i]);
        CHECK(errno == EINVAL, "alignment %zu: errno %d", bad[i], errno);
    }
    errno = 0;
    CHECK(alloc_arena_alloc_aligned(arena, 8, SIZE_MAX / 2 + 1) == NULL && errno == ENOMEM, "2^63");
    errno = 0;
    CHECK(alloc_arena_alloc_aligned(arena, SIZE_MAX - 8, 4096) == NULL && errno == ENOMEM, "size");
    alloc_arena_destroy(arena);
}

OURS(packs_tighter_below_16) {
    alloc_arena_t *arena = make(1024, ALLOC_FIXED);
    for (int i = 0; i < 1024; i++)
        CHECK(alloc_arena_alloc_aligned(arena, 1, 1) != NULL, "byte %d", i);
    CHECK(alloc_arena_alloc_aligned(arena, 1, 1) == NULL, "one too many");
    alloc_arena_destroy(arena);
}

struct object {
    unsigned char *at;
    size_t size;
};

OURS(grows_by_chunks) {
    enum { COUNT = 20000 };
    static struct object objects[COUNT];
    alloc_arena_t *arena = make(4096, 0);
    uint64_t held = 0;
    for (int turn = 0; turn < 3; turn++) {
        uint64_t state = 11;
        for (int i = 0; i < COUNT; i++) {
            size_t size = 1 + next_random(&state) % (i % 500 == 0 ? 300000 : 400);
            objects[i] = (struct object){alloc_arena_alloc(arena, size), size};
            CHECK(objects[i].at != NULL && is_aligned(objects[i].at, 16), "object %d", i);
            fill(objects[i].at, size, (unsigned)i);
        }
        for (int i = 0; i < COUNT; i++)
            CHECK(intact(objects[i].at, objects[i].size, (unsigned)i) == objects[i].size, "%d", i);
        alloc_arena_stats_t now = stats(arena);
        CHECK(now.allocations == COUNT, "allocations");
        CHECK(now.bytes_held >= now.bytes_in_use && now.chunks > 3, "held");
        CHECK(now.bytes_peak >= now.bytes_in_use, "peak");
        CHECK(turn == 0 || now.bytes_held == held, "chunks are used again: %zu, then %zu",
              (size_t)held, (size_t)now.bytes_held);
        held = now.bytes_held;
        alloc_arena_reset(arena);
        CHECK(stats(arena).bytes_in_use == 0 && stats(arena).allocations == 0, "reset");
        CHECK(stats(arena).bytes_held == held && stats(arena).bytes_peak > 0, "kept");
    }
    size_t bytes = alloc_arena_trim(arena);
    CHECK(bytes >= held - 4096 - 64, "trim: %zu of %zu", bytes, (size_t)held);
    CHECK(stats(arena).chunks == 1 && stats(arena).bytes_held == 4096, "one chunk stays");
    CHECK(alloc_arena_trim(arena) == 0, "trim again");
    CHECK(alloc_arena_destroy(arena) == 0, "objects");
}

OURS(rewinds_to_a_checkpoint) {
    alloc_arena_t *arena = make(1000, 0);
    char *kept = alloc_arena_alloc(arena, 100);
    fill(kept, 100, 9);
    alloc_arena_checkpoint_t outer = alloc_arena_checkpoint(arena);
    char *first = alloc_arena_alloc(arena, 50);
    alloc_arena_checkpoint_t inner = alloc_arena_checkpoint(arena);
    for (int turn = 0; turn < 100; turn++) {
        for (int i = 0; i < 1000; i++) fill(alloc_arena_alloc(arena, 500), 500, 1);
        CHECK(alloc_arena_rewind(arena, inner) == 0, "inner");
        CHECK(stats(arena).allocations == 2, "allocations");
        CHECK(stats(arena).bytes_in_use == 112 + 64, "in use");
    }
    CHECK(stats(arena).bytes_peak >= 1000 * 512, "peak");
    CHECK(alloc_arena_rewind(arena, outer) == 0, "outer");
    CHECK(alloc_arena_alloc(arena, 50) == first, "the same place");
    CHECK(intact(kept, 100, 9) == 100, "what was before");
    errno = 0;
    CHECK(alloc_arena_rewind(arena, inner) == -1 && errno == EINVAL, "undone by the outer one");
    CHECK(stats(arena).allocations == 2, "nothing happened");
    CHECK(alloc_arena_rewind(arena, outer) == 0, "outer again");
    alloc_arena_reset(arena);
    for (int i = 0; i < 100; i++) CHECK(alloc_arena_alloc(arena, 500) != NULL, "after reset");
    errno = 0;
    CHECK(alloc_arena_rewind(arena, outer) == -1 && errno == EINVAL, "undone by reset");
    errno = 0;
    CHECK(alloc_arena_rewind(NULL, outer) == -1 && errno == EINVAL, "NULL");
    memset(&outer, 0, sizeof outer);
    errno = 0;
    CHECK(alloc_arena_rewind(arena, outer) == -1 && errno == EINVAL, "no checkpoint");
    alloc_arena_destroy(arena);
}

/* However many rewinds come after the one that undid it, and each less far back. */
OURS(undone_for_good) {
    alloc_arena_t *arena = make(1 << 16, 0);
    alloc_arena_checkpoint_t start = alloc_arena_checkpoint(arena);
    alloc_arena_alloc(arena, 48);
    alloc_arena_checkpoint_t old = alloc_arena_checkpoint(arena);
    alloc_arena_reset(arena);
    char *live = alloc_arena_alloc(arena, 96);
    fill(live, 96, 7);
    alloc_arena_checkpoint_t outer = alloc_arena_checkpoint(arena);
    for (int i = 0; i < 10000; i++) {
        alloc_arena_checkpoint_t here = alloc_arena_checkpoint(arena);
        for (int turn = 0; turn < 2; turn++) {
            alloc_arena_alloc(arena, 32);
            CHECK(alloc_arena_rewind(arena, here) == 0, "here, after %d others", i);
        }
        alloc_arena_alloc(arena, 16);
        errno = 0;
        CHECK(alloc_arena_rewind(arena, old) == -1 && errno == EINVAL, "%d rewinds later", i);
    }
    CHECK(alloc_arena_rewind(arena, outer) == 0, "a valid one, as many rewinds later");
    CHECK(alloc_arena_rewind(arena, old) == -1, "after it");
    alloc_arena_alloc(arena, 32);
    CHECK(intact(live, 96, 7) == 96, "memory of a live object");
    CHECK(alloc_arena_rewind(arena, start) == 0, "the empty arena");
    alloc_arena_destroy(arena);
}

OURS(checkpoint_of_another_arena) {
    alloc_arena_t *arena = make(1000, 0), *other = make(1000, 0);
    for (int i = 0; i < 3; i++) alloc_arena_alloc(arena, 100), alloc_arena_alloc(other, 100);
    alloc_arena_checkpoint_t of_other = alloc_arena_checkpoint(other);
    alloc_arena_alloc(arena, 100);
    errno = 0;
    CHECK(alloc_arena_rewind(arena, of_other) == -1 && errno == EINVAL, "taken");
    CHECK(stats(arena).allocations == 4, "nothing happened");
    /* One that is gone, and its place taken by the next. */
    alloc_arena_destroy(other);
    other = make(1000, 0);
    for (int i = 0; i < 5; i++) alloc_arena_alloc(other, 100);
    errno = 0;
    CHECK(alloc_arena_rewind(other, of_other) == -1 && errno == EINVAL, "of one that is gone");
    CHECK(stats(other).allocations == 5, "nothing happened");
    alloc_arena_destroy(other);
    alloc_arena_destroy(arena);
}

/* Large objects of ever other sizes among small ones: what is held stays in proportion. */
OURS(large_objects_use_memory_again) {
    alloc_arena_t *arena = make(1 << 16, 0);
    uint64_t state = 5;
    for (int frame = 0; frame < 2000; frame++) {
        for (size_t used = 0; used < 32 * MIB;) {
            size_t size = next_random(&state) % 20 == 0 ? MIB + next_random(&state) % (7 * MIB)
                                                        : 50000 + next_random(&state) % 50000;
            CHECK(alloc_arena_alloc(arena, size) != NULL, "object");
            used += size;
        }
        alloc_arena_reset(arena);
        alloc_arena_stats_t now = stats(arena);
        CHECK(now.bytes_held < 2 * now.bytes_peak + 8 * MIB, "frame %d: %zu held, at most %zu",
              frame, (size_t)now.bytes_held, (size_t)now.bytes_peak);
    }
    alloc_arena_destroy(arena);
}

/* Checkpoints in chunks that trim gave back are refused, not followed. */
OURS(checkpoint_of_a_chunk_that_is_gone) {
    alloc_arena_t *arena = make(64, 0);
    CHECK(alloc_arena_alloc(arena, 64) != NULL, "full");
    alloc_arena_checkpoint_t end = alloc_arena_checkpoint(arena);
    CHECK(alloc_arena_alloc(arena, 16) != NULL, "the second chunk");
    alloc_arena_checkpoint_t second = alloc_arena_checkpoint(arena);
    CHECK(alloc_arena_rewind(arena, end) == 0, "back");
    CHECK(alloc_arena_trim(arena) > 0, "trim");
    /* More rewinds, each less far back, than an arena remembers. */
    for (int i = 0; i < 100; i++) {
        CHECK(alloc_arena_alloc(arena, 5000) != NULL, "grow");
        alloc_arena_checkpoint_t here = alloc_arena_checkpoint(arena);
        CHECK(alloc_arena_alloc(arena, 5000) != NULL, "grow");
        CHECK(alloc_arena_rewind(arena, here) == 0, "back to here");
    }
    errno = 0;
    CHECK(alloc_arena_rewind(arena, second) == -1 && errno == EINVAL, "a chunk that is gone");
    CHECK(alloc_arena_rewind(arena, end) == 0, "the first chunk is still there");
    CHECK(stats(arena).allocations == 1, "allocations");
    alloc_arena_destroy(arena);
}

OURS(bad_arguments) {
    static const struct {
        size_t capacity;
        unsigned flags;
        int expected;
    } rows[] = {
        {0, 0, EINVAL},
        {100, 64, EINVAL},
        {100, ALLOC_ON_NODE, EINVAL},
        {100, ALLOC_DEBUG, EINVAL},
        {100, 1u << 31, EINVAL},
        {SIZE_MAX, 0, ENOMEM},
        {SIZE_MAX / 2 + 1, 0, ENOMEM},
        {(size_t)1 << 60, 0, ENOMEM},
        {(size_t)1 << 60, ALLOC_HUGE_PAGES, ENOMEM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        errno = 0;
        CHECK(alloc_arena_create(rows[i].capacity, rows[i].flags) == NULL, "row %zu", i);
        CHECK(errno == rows[i].expected, "row %zu: errno %d", i, errno);
    }
    alloc_arena_stats_t now;
    alloc_arena_t *arena = make(100, 0);
    errno = 0;
    CHECK(alloc_arena_stats(NULL, &now, sizeof now) == -1 && errno == EINVAL, "NULL arena");
    errno = 0;
    CHECK(alloc_arena_stats(arena, NULL, sizeof now) == -1 && errno == EINVAL, "NULL out");
    errno = 0;
    CHECK(alloc_arena_stats(arena, &now, 0) == -1 && errno == EINVAL, "size 0");
    CHECK(alloc_arena_destroy(NULL) == 0, "destroy of NULL");
    alloc_arena_destroy(arena);
}

/* Objects of no size leave an arena where it is: a moment after some is also one before them. */
OURS(objects_of_no_size_do_not_come_back) {
    alloc_arena_t *arena = alloc_arena_create(4096, 0);
    for (int i = 0; i < 2; i++) CHECK(alloc_arena_alloc(arena, 0) != NULL, "size 0");
    alloc_arena_checkpoint_t moment = alloc_arena_checkpoint(arena);
    alloc_arena_reset(arena);
    if (alloc_arena_rewind(arena, moment) == 0) {
        alloc_arena_stats_t now;
        CHECK(alloc_arena_stats(arena, &now, sizeof now) == 0, "stats");
        CHECK(now.allocations == 0, "%llu objects", (unsigned long long)now.allocations);
    }
    CHECK(alloc_arena_destroy(arena) == 0, "destroy");
}

OURS(all_flags) {
    const unsigned all = ALLOC_PREFAULT | ALLOC_LOCK | ALLOC_HUGE_PAGES | ALLOC_FIXED;
    for (unsigned flags = 0; flags <= all; flags++) {
        if ((flags & ~all) != 0) continue;
        alloc_arena_t *arena = alloc_arena_create(3 * MIB, flags);
        if (arena == NULL && (flags & ALLOC_LOCK) && errno == ENOMEM) SKIP("RLIMIT_MEMLOCK");
        CHECK(arena != NULL, "flags %u: %d", flags, errno);
        for (int i = 0; i < 30; i++) fill(alloc_arena_alloc(arena, 100000), 100000, 1);
        CHECK((alloc_arena_alloc(arena, 500000) == NULL) == !!(flags & ALLOC_FIXED), "%u", flags);
        alloc_arena_destroy(arena);
    }
}

OURS(destroy_gives_everything_back) {
    alloc_stats_t before, after;
    alloc_stats(&before, sizeof before);
    for (int turn = 0; turn < 100; turn++) {
        alloc_arena_t *arena = make(1000, turn % 2 ? ALLOC_HUGE_PAGES : 0);
        for (int i = 0; i < 1000; i++) alloc_arena_alloc(arena, 1000);
        CHECK(alloc_arena_destroy(arena) == 1000, "objects");
    }
    alloc_stats(&after, sizeof after);
    CHECK(after.bytes_in_use < before.bytes_in_use + MIB, "bytes stay");
    char text[4096];
    CHECK(alloc_stats_json(text, sizeof text) < (int)sizeof text, "json");
    CHECK(strstr(text, "\"arena_objects_lost\":100000,") != NULL, "%s", text);
    CHECK(strstr(text, "\"pools\":{\"arenas\":0,") != NULL, "%s", text);
}

OURS(child_has_a_copy) {
    alloc_arena_t *arena = make(1000, 0);
    char *object = alloc_arena_alloc(arena, 5000);
    fill(object, 5000, 3);
    pid_t child = fork();
    if (child == 0) {
        CHECK(intact(object, 5000, 3) == 5000, "contents");
        for (int i = 0; i < 1000; i++) fill(alloc_arena_alloc(arena, 1000), 1000, 4);
        CHECK(alloc_arena_destroy(arena) == 1001, "objects");
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "child %x", status);
    CHECK(intact(object, 5000, 3) == 5000, "contents");
    alloc_arena_destroy(arena);
}

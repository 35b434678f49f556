/* What every entry answers to every kind of question, as lines on stdout: a result, errno, and what
 * was promised. The test compares the lines with those of glibc. Addresses are not printed. */
#include "entries.h"

static const size_t sizes[] = {
    0, 1, 15, 16, 17, 1000, 4095, 4096, 4097, 100000, 3 * MIB, 33 * MIB,
    (size_t)PTRDIFF_MAX - 4096, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
    SIZE_MAX - 4096, SIZE_MAX - 16, SIZE_MAX,
};
#define SIZE_COUNT (sizeof sizes / sizeof sizes[0])

/* What a block is worth: all of it can be written, and it ends where it says. */
static const char *judge(void *block, size_t size, size_t alignment) {
    if (block == NULL) return "NULL";
    if (!is_aligned(block, alignment)) return "misaligned";
    size_t usable = malloc_usable_size(block);
    if (usable < size) return "too small";
    stamp(block, usable, 0x5a);
    if (!stamped(block, usable, 0x5a)) return "not writable";
    if (malloc_usable_size(block) != usable) return "not stable";
    return "block";
}

static void tell(const char *what, size_t first, size_t second, void *block, const char *verdict) {
    printf("%s(%zx, %zx): %s, errno %d\n", what, first, second, verdict, errno);
    free(block);
    errno = 0;
}

CASE(C14_sizes_of_every_entry) {
    FOR_EACH_ENTRY(each) {
        if (strncmp(each->name, "alloc_", 6) == 0 || strcmp(each->name, "__posix_memalign") == 0)
            continue; /* names that glibc has not */
        for (size_t i = 0; i < SIZE_COUNT; i++) {
            errno = 0;
            void *block = each->allocate(sizes[i]);
            tell(each->name, sizes[i], 0, block, judge(block, sizes[i], 16));
        }
    }
}

CASE(C33_alignments_and_sizes) {
    for (size_t shift = 0; shift <= 63; shift++) {
        size_t alignment = (size_t)1 << shift;
        for (size_t i = 0; i < SIZE_COUNT; i++) {
            if (shift > 30 && sizes[i] < MIB) continue; /* the system's answer, not malloc's */
            if (shift > 30 && shift < 46) continue;
            if (shift % 5 != 0 && sizes[i] >= MIB && sizes[i] < GIB) continue; /* time */
            errno = 0;
            void *block = memalign(alignment, sizes[i]);
            tell("memalign", alignment, sizes[i], block, judge(block, sizes[i], alignment));
            block = aligned_alloc(alignment, sizes[i]);
            tell("aligned_alloc", alignment, sizes[i], block, judge(block, sizes[i], alignment));
            block = NULL;
            int status = posix_memalign(&block, alignment, sizes[i]);
            errno = 0; /* the standard leaves it open, and glibc sets it */
            printf("status %d ", status);
            tell("posix_memalign", alignment, sizes[i], block, judge(block, sizes[i], alignment));
        }
    }
}

CASE(C33_crooked_alignments) {
    const size_t crooked[] = {0, 3, 5, 6, 7, 12, 15, 17, 24, 100, 4095, 4097, 3 * MIB,
                              SIZE_MAX / 2 + 2, SIZE_MAX - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof crooked / sizeof crooked[0]; i++) {
        void *block = (void *)0x10;
        int status = posix_memalign(&block, crooked[i], 100);
        errno = 0;
        printf("status %d, %s ", status, block == (void *)0x10 ? "untouched" : "written");
        tell("posix_memalign", crooked[i], 100, NULL, "");
        block = memalign(crooked[i], 100);
        tell("memalign", crooked[i], 100, block, judge(block, 100, 16));
    }
}

CASE(C34_zero_and_null) {
    errno = 0;
    void *first = malloc(0), *second = malloc(0);
    printf("malloc(0): %s, %s\n", judge(first, 0, 16), first != second ? "two" : "one");
    void *result = realloc(first, 0);
    tell("realloc of malloc(0)", 0, 0, NULL, result == NULL ? "NULL" : "block");
    result = realloc(second, 100);
    tell("realloc of malloc(0)", 100, 0, result, judge(result, 100, 16));
    for (size_t i = 1; i < 12; i++) {
        result = realloc(malloc(sizes[i]), 0);
        tell("realloc to 0", sizes[i], 0, NULL, result == NULL ? "NULL" : "block");
        result = reallocarray(malloc(sizes[i]), 0, 7);
        tell("reallocarray to 0", sizes[i], 0, NULL, result == NULL ? "NULL" : "block");
    }
    result = realloc(NULL, 0);
    tell("realloc(NULL)", 0, 0, result, judge(result, 0, 16));
    result = calloc(0, 0);
    tell("calloc", 0, 0, result, judge(result, 0, 16));
    result = calloc(SIZE_MAX, 0);
    tell("calloc", SIZE_MAX, 0, result, judge(result, 0, 16));
    printf("usable size of NULL: %zu\n", malloc_usable_size(NULL));
    free(NULL);
    tell("free(NULL)", 0, 0, NULL, "");
}

CASE(C34_products) {
    const size_t factors[] = {0, 1, 2, 7, (size_t)1 << 31, (size_t)1 << 32, ((size_t)1 << 32) + 1,
                              (size_t)1 << 62, (size_t)1 << 63, SIZE_MAX / 2, SIZE_MAX - 1,
                              SIZE_MAX};
    enum { COUNT = sizeof factors / sizeof factors[0] };
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < COUNT; j++) {
            __uint128_t product = (__uint128_t)factors[i] * factors[j];
            if (product > MIB && product < (__uint128_t)1 << 47) continue; /* the system's answer */
            errno = 0;
            void *block = calloc(factors[i], factors[j]);
            tell("calloc", factors[i], factors[j], block, judge(block, (size_t)product, 16));
            block = reallocarray(NULL, factors[i], factors[j]);
            tell("reallocarray", factors[i], factors[j], block, judge(block, (size_t)product, 16));
            char *kept = (char *)malloc(50);
            fill(kept, 50, 6);
            block = reallocarray(kept, factors[i], factors[j]);
            if (block == NULL && product != 0) {
                printf("kept %zu ", intact(kept, 50, 6));
                free(kept);
            }
            tell("reallocarray of 50", factors[i], factors[j], block, judge(block, 0, 16));
        }
    }
}

CASE(C34_refused_growth) {
    for (size_t from = 1; from < 12; from++) {
        for (size_t to = 12; to < SIZE_COUNT; to++) {
            unsigned char *block = (unsigned char *)malloc(sizes[from]);
            size_t marked = sizes[from] < MIB ? sizes[from] : MIB;
            fill(block, marked, 3);
            errno = 0;
            void *grown = realloc(block, sizes[to]);
            printf("kept %d ", intact(block, marked, 3) == marked);
            tell("realloc", sizes[from], sizes[to], block, grown == NULL ? "NULL" : "block");
        }
    }
}

/* Each parameter with values that are fine, at the edge, and absurd; and parameters nobody has. */
CASE(C40_answers_of_mallopt) {
    const int parameters[] = {M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX,
                              M_CHECK_ACTION, M_PERTURB, M_ARENA_TEST, M_ARENA_MAX,
                              0, 2, 3, 4, -9, -10, 1000, -1000, INT32_MAX, INT32_MIN};
    const int values[] = {0, 1, 2, 16, 64, 80, 160, 161, 176, 1000, 128 * 1024, 16 << 20, 32 << 20,
                          (32 << 20) + 1, 64 << 20, INT32_MAX, -1, -160, INT32_MIN};
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
        if (parameters[i] == M_ARENA_TEST || parameters[i] == M_ARENA_MAX) continue;
        for (size_t j = 0; j < sizeof values / sizeof values[0]; j++) {
            errno = 0;
            int answer = mallopt(parameters[i], values[j]);
            printf("mallopt(%d, %d) = %d, errno %d\n", parameters[i], values[j], answer, errno);
            if (parameters[i] == M_PERTURB) mallopt(M_PERTURB, 0);
        }
    }
    printf("arenas %d %d\n", mallopt(M_ARENA_TEST, 4), mallopt(M_ARENA_MAX, 8));
    free(malloc(1000));
}

CASE(C40_answers_of_malloc_info) {
    FILE *sink = fopen("/dev/null", "w");
    const int options[] = {1, 2, -1, 1 << 20};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        errno = 0;
        printf("malloc_info(%d) = %d\n", options[i], malloc_info(options[i], sink));
    }
    printf("malloc_info(0) = %d\n", malloc_info(0, sink));
    fclose(sink);
    /* A stream that takes nothing is between the program and the stream. */
    const char *const deaf[][2] = {{"/dev/null", "r"}, {"/dev/full", "w"}};
    for (size_t i = 0; i < sizeof deaf / sizeof deaf[0]; i++) {
        FILE *stream = fopen(deaf[i][0], deaf[i][1]);
        setvbuf(stream, NULL, _IONBF, 0);
        int answer = malloc_info(0, stream);
        printf("malloc_info(0) on %s = %d, error %d\n", deaf[i][0], answer, ferror(stream) != 0);
        fclose(stream);
    }
}

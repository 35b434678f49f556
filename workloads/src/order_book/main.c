/* The order book as a program: requests from a seed, what they led to, and how long each took.
 *
 *     order_book [--orders N] [--seed N] [--check N] [--trades | --json]
 *
 * --orders N  requests: limit and market orders, and cancels (1000000)
 * --seed N    of the generator (1)
 * --check N   look at the whole book after every N requests (and time the cold cache that leaves)
 * --trades    only what depends on the requests alone: counts, and a digest of every answer
 * --json      everything, with the distribution of latencies, as one JSON object
 *
 * What memory orders come from is decided when this is compiled: see memory.h. Exit status: 0 fine;
 * 1 no memory, or a check that failed; 2 usage. */
#include "gateway.h"
#include "generator.h"
#include "samples.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ORDERS_MAX = 100000000, TIMER_PAIRS = 100000 };

struct options {
    uint64_t orders;
    uint64_t seed;
    uint64_t check;
    bool trades;
    bool json;
};

static const char usage[] =
    "usage: order_book [--orders N] [--seed N] [--check N] [--trades | --json]\n";

static _Noreturn void refuse(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("order_book: ", stderr);
    vfprintf(stderr, format, values);
    va_end(values);
    fprintf(stderr, "\n%s", usage);
    exit(2);
}

static _Noreturn void fail(const char *what, uint64_t request) {
    fprintf(stderr, "order_book: after request %" PRIu64 ": %s\n", request, what);
    exit(1);
}

static uint64_t number(const char *flag, const char *text, uint64_t low, uint64_t high) {
    uint64_t value = 0;
    bool good = text[0] != '\0';
    for (const char *digit = text; good && *digit; digit++) {
        uint64_t more = (uint64_t)(*digit - '0');
        good = *digit >= '0' && *digit <= '9' && value <= (UINT64_MAX - more) / 10;
        if (good) value = value * 10 + more;
    }
    if (good && value >= low && value <= high) return value;
    refuse("%s: \"%s\" is not a whole number from %" PRIu64 " to %" PRIu64, flag, text, low, high);
}

static struct options parse(int count, char **words) {
    struct options options = {.orders = 1000000, .seed = 1};
    for (int i = 1; i < count; i++) {
        const char *flag = words[i];
        if (strcmp(flag, "--trades") == 0) {
            options.trades = true;
        } else if (strcmp(flag, "--json") == 0) {
            options.json = true;
        } else if (strcmp(flag, "--orders") && strcmp(flag, "--seed") && strcmp(flag, "--check")) {
            refuse("unknown option \"%s\"", flag);
        } else if (++i == count) {
            refuse("%s needs a value", flag);
        } else if (strcmp(flag, "--orders") == 0) {
            options.orders = number(flag, words[i], 1, ORDERS_MAX);
        } else if (strcmp(flag, "--seed") == 0) {
            options.seed = number(flag, words[i], 0, UINT64_MAX);
        } else {
            options.check = number(flag, words[i], 1, ORDERS_MAX);
        }
    }
    if (options.trades && options.json) refuse("--trades and --json exclude each other");
    return options;
}

#if defined TIME_ALLOCATIONS
struct samples call_samples[CALLS];
static const char *const call_names[CALLS] = {
    "order_alloc", "order_free", "scratch_alloc", "scratch_reset",
};
#endif

struct run {
    struct options options;
    const uint8_t *messages;
    struct memory memory;
    struct book book;
    struct gateway gateway;
    struct samples requests; /* each from its bytes to its answer, scratch memory reset */
    struct samples empty;    /* the timer's own cost */
    uint64_t elapsed_ns;
};

static void open_samples(struct run *run) {
    bool good = samples_open(&run->empty, TIMER_PAIRS);
#if defined TIME_ALLOCATIONS
    /* A request allocates one order at most, and itself, its answer and its fills: 8 of these on
     * average are far more than there are. */
    for (int call = 0; call < CALLS; call++) {
        good = good && samples_open(&call_samples[call], 8 * run->options.orders);
    }
#else
    good = good && samples_open(&run->requests, run->options.orders);
#endif
    if (!good) fail("no memory for the latencies", 0);
    samples_measure_timer(&run->empty);
    samples_sort(&run->empty);
}

static void execute(struct run *run) {
    uint64_t orders = run->options.orders, check = run->options.check;
    uint64_t begin = clock_nanoseconds();
    for (uint64_t i = 0; i < orders; i++) {
        const uint8_t *message = run->messages + i * MESSAGE_BYTES;
#if defined TIME_ALLOCATIONS
        if (!gateway_handle(&run->gateway, message)) fail("no memory", i + 1);
#else
        uint64_t first = clock_ticks();
        bool answered = gateway_handle(&run->gateway, message);
        samples_add(&run->requests, clock_ticks() - first);
        if (!answered) fail("no memory", i + 1);
#endif
        if (check && (i + 1) % check == 0) {
            const char *problem = book_check(&run->book);
            if (problem) fail(problem, i + 1);
        }
    }
    run->elapsed_ns = clock_nanoseconds() - begin;
}

static const char *malloc_from(void) {
    Dl_info info;
    void *function = dlsym(RTLD_DEFAULT, "malloc");
    return function && dladdr(function, &info) && info.dli_fname ? info.dli_fname : "";
}

static const char *const status_names[] = {
    [RESTING] = "resting",     [FILLED] = "filled",   [EXHAUSTED] = "exhausted",
    [CANCELLED] = "cancelled", [UNKNOWN] = "unknown", [REFUSED] = "refused",
};

static void print_counts(const struct run *run) {
    const struct counts *counts = &run->book.counts;
    printf("orders: %" PRIu64 " seed: %" PRIu64 "\n", run->options.orders, run->options.seed);
    for (int status = RESTING; status <= REFUSED; status++) {
        printf("%s: %" PRIu64 "\n", status_names[status], counts->statuses[status]);
    }
    printf("trades: %" PRIu64 "\nquantity: %" PRIu64 "\nlive: %zu\ndigest: %016" PRIx64 "\n",
           counts->trades, counts->quantity, run->book.live, run->gateway.digest);
}

static void print_text(struct run *run) {
    print_counts(run);
    printf("memory: %s, malloc from %s\n", MEMORY_NAME, malloc_from());
    double ns = 1e9 / (double)clock_rate();
    uint32_t cost = samples_at(&run->empty, 0.5);
#if defined TIME_ALLOCATIONS
    struct samples *all = call_samples;
    const char *const *names = call_names;
    int count = CALLS;
#else
    struct samples *all = &run->requests;
    static const char *const names[] = {"request"};
    int count = 1;
#endif
    printf("%-14s %9s %9s %9s %9s   (ns above the timer's own %.1f)\n", "", "p50", "p99", "p99.9",
           "max", cost * ns);
    for (int i = 0; i < count; i++) {
        samples_sort(&all[i]);
        printf("%-14s", names[i]);
        for (int rank = 0; rank < 4; rank++) {
            static const double parts[] = {0.5, 0.99, 0.999, 1.0};
            uint32_t ticks = samples_at(&all[i], parts[rank]);
            printf(" %9.1f", ticks > cost ? (ticks - cost) * ns : 0);
        }
        printf("\n");
    }
}

/* As a JSON string: file names may have anything in them. */
static void print_string(const char *text) {
    putchar('"');
    for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++) {
        if (*byte == '"' || *byte == '\\') printf("\\%c", *byte);
        else if (*byte < 0x20) printf("\\u%04x", *byte);
        else putchar(*byte);
    }
    putchar('"');
}

static void print_json(struct run *run) {
    const struct counts *counts = &run->book.counts;
    uint64_t rate = clock_rate();
    double ns = 1e9 / (double)rate;
    uint32_t cost = samples_at(&run->empty, 0.5);
    printf("{\"orders\":%" PRIu64 ",\"seed\":%" PRIu64 ",\"memory\":\"%s\",\"malloc_from\":",
           run->options.orders, run->options.seed, MEMORY_NAME);
    print_string(malloc_from());
    printf(",\"digest\":\"%016" PRIx64 "\",\"trades\":%" PRIu64 ",\"quantity\":%" PRIu64
           ",\"live\":%zu,\"statuses\":{",
           run->gateway.digest, counts->trades, counts->quantity, run->book.live);
    for (int status = RESTING; status <= REFUSED; status++) {
        printf("%s\"%s\":%" PRIu64, status > RESTING ? "," : "", status_names[status],
               counts->statuses[status]);
    }
    printf("},\"elapsed_ns\":%" PRIu64 ",\"timer\":{\"source\":\"%s\",\"hz\":%" PRIu64
           ",\"step_ticks\":%" PRIu32 ",\"subtracted_ticks\":%" PRIu32 ",\"empty\":",
           run->elapsed_ns, CLOCK_SOURCE, rate, samples_step(&run->empty), cost);
    samples_print(&run->empty, 0, ns);
    printf("},\"latencies\":{");
#if defined TIME_ALLOCATIONS
    for (int call = 0; call < CALLS; call++) {
        samples_sort(&call_samples[call]);
        printf("%s\"%s\":", call ? "," : "", call_names[call]);
        samples_print(&call_samples[call], cost, ns);
    }
#else
    samples_sort(&run->requests);
    printf("\"request\":");
    samples_print(&run->requests, cost, ns);
#endif
    printf("}}\n");
}

int main(int count, char **words) {
    static struct run run;
    run.options = parse(count, words);
    size_t bytes = run.options.orders * MESSAGE_BYTES;
    void *messages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (messages == MAP_FAILED) fail("no memory for the requests", 0);
    generate(run.options.seed, run.options.orders, messages);
    run.messages = messages;
    open_samples(&run);
    if (!memory_open(&run.memory, LIVE_MAX)) fail("no memory for orders", 0);
    if (!book_open(&run.book, &run.memory, run.options.orders + 1, LIVE_MAX)) {
        fail("no memory for the table of ids", 0);
    }
    gateway_open(&run.gateway, &run.book, &run.memory);
    execute(&run);
    if (run.options.trades) print_counts(&run);
    else if (run.options.json) print_json(&run);
    else print_text(&run);
    if (fflush(stdout) != 0) fail("stdout cannot be written to", run.options.orders);
    book_close(&run.book);
    memory_close(&run.memory);
    return 0;
}

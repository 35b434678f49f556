/* How fast the timer of clock.h ticks. */
#include "clock.h"

#include <string.h>

struct moment {
    uint64_t ns;
    uint64_t ticks;
};

/* Both clocks at one moment: the closest of some readings, for the scheduler may come between. */
static struct moment both(void) {
    struct moment closest = {0, 0};
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 64; i++) {
        uint64_t before = clock_nanoseconds();
        uint64_t ticks = clock_ticks();
        uint64_t width = clock_nanoseconds() - before;
        if (width >= least) continue;
        least = width;
        closest = (struct moment){before + width / 2, ticks};
    }
    return closest;
}

uint64_t clock_rate(void) {
    if (strcmp(CLOCK_SOURCE, "monotonic") == 0) return 1000000000u;
    struct moment first = both();
    while (clock_nanoseconds() - first.ns < 20000000u) {
    }
    struct moment last = both();
    return (uint64_t)((double)(last.ticks - first.ticks) * 1e9 / (double)(last.ns - first.ns));
}

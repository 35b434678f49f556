/* The order book driven by lines, for tests that say what must come of them.
 *
 *     buy ID PRICE QUANTITY       sell ID PRICE QUANTITY
 *     buy ID market QUANTITY      sell ID market QUANTITY      cancel ID
 *
 * Each is answered by a line: the status, what is left, and a word maker@price*quantity for each
 * fill. The whole book is checked after each; an argument is the number of orders it may hold. */
#include "book.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    [RESTING] = "resting", [FILLED] = "filled",   [EXHAUSTED] = "exhausted",
    [CANCELLED] = "cancelled", [UNKNOWN] = "unknown", [REFUSED] = "refused",
    [NO_MEMORY] = "no memory",
};

static struct memory memory;
static struct book book;

static struct request parse(const char *line) {
    struct request request = {0};
    char word[16] = "", price[16] = "";
    sscanf(line, "%15s %" SCNu64 " %15s %" SCNu32, word, &request.id, price, &request.quantity);
    request.side = strcmp(word, "sell") == 0 ? SELL : BUY;
    request.kind = strcmp(price, "market") == 0 ? MARKET : LIMIT;
    if (request.kind == LIMIT) request.price = (uint32_t)strtoul(price, NULL, 10);
    if (strcmp(word, "cancel") == 0) request.kind = CANCEL;
    if (strcmp(word, "nonsense") == 0) request.kind = 9;
    return request;
}

int main(int count, char **words) {
    size_t live_max = count > 1 ? strtoul(words[1], NULL, 10) : 100;
    if (!memory_open(&memory, live_max) || !book_open(&book, &memory, 1000, live_max)) return 1;
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        struct request request = parse(line);
        struct fill *fills;
        size_t fill_count;
        uint32_t left;
        enum status status = book_handle(&book, &request, &fills, &fill_count, &left);
        printf("%s %" PRIu32, names[status], left);
        for (struct fill *fill = fills; fill; fill = fill->next, fill_count--) {
            printf(" %" PRIu64 "@%" PRIu32 "*%" PRIu32, fill->maker, fill->price, fill->quantity);
        }
        const char *problem = book_check(&book);
        if (problem || fill_count != 0) {
            printf(" WRONG: %s\n", problem ? problem : "not as many fills as it says");
            return 1;
        }
        printf("\n");
        scratch_reset(&memory);
    }
    book_close(&book);
    memory_close(&memory);
    return 0;
}

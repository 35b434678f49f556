/* Requests from a seed: quiet stretches and bursts round a price that walks. */
#ifndef ORDER_BOOK_GENERATOR_H
#define ORDER_BOOK_GENERATOR_H

#include <stddef.h>
#include <stdint.h>

/* The most orders that the generated requests can leave in the book at once. */
enum { LIVE_MAX = 32768 };

/* Writes `count` messages. Their ids are 1 to at most `count`. The same on every machine. */
void generate(uint64_t seed, size_t count, uint8_t *messages);

#endif

// A program that replaces the global operators itself: its own are used, and malloc beneath them.
#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "memory.h"

static size_t news, deletes;

void *operator new(size_t size) {
    news++;
    // A header in front, as such programs have: a delete that bypasses ours would free the middle.
    char *block = (char *)malloc(size + 16);
    if (block == nullptr) throw std::bad_alloc();
    memcpy(block, "my own heap", 12);
    return block + 16;
}

void operator delete(void *block) noexcept {
    if (block == nullptr) return;
    deletes++;
    char *start = (char *)block - 16;
    CHECK(strcmp(start, "my own heap") == 0, "foreign block in operator delete");
    start[0] = 0;
    free(start);
}

void operator delete(void *block, size_t) noexcept { operator delete(block); }

CASE(C38_containers_use_the_replacement) {
    for (int turn = 0; turn < 200; turn++) {
        std::vector<std::string> texts;
        for (int i = 0; i < 100; i++) texts.push_back(std::string((size_t)i * 9, 'x'));
        auto shared = std::make_shared<std::vector<int>>(1000, 3);
        int *array = new int[50];
        delete[] array;
        CHECK(texts.size() == 100 && shared->at(999) == 3, "turn %d", turn);
    }
    CHECK(news > 200 * 100 && news == deletes, "%zu news, %zu deletes", news, deletes);
}

CASE(C38_the_inherited_forms_reach_it) {
    size_t before = news;
    ::operator delete[](::operator new[](100));
    ::operator delete(::operator new(100, std::nothrow), std::nothrow);
    ::operator delete[](::operator new[](100, std::nothrow));
    CHECK(news == before + 3, "%zu", news - before);
    CHECK(news == deletes, "%zu news, %zu deletes", news, deletes);
}

// stable_sort takes its buffer from the nothrow form and gives it back to plain operator delete.
CASE(C38_stable_sort_mixes_the_forms) {
    std::vector<int> numbers(100000);
    for (size_t i = 0; i < numbers.size(); i++) numbers[i] = (int)(i * 7919 % 100003);
    std::stable_sort(numbers.begin(), numbers.end());
    CHECK(std::is_sorted(numbers.begin(), numbers.end()), "the order");
}

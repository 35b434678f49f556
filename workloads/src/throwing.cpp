// Exceptions through deep frames, from threads, kept, rethrown and nested; bad_alloc too.
#include <cstdio>
#include <exception>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef WRONG
static int wrong = std::string("no number");
#endif

struct Guard {
    std::unique_ptr<std::string> text;
    static thread_local int alive;
    explicit Guard(int n) : text(new std::string(n % 50, 'g')) { ++alive; }
    ~Guard() { --alive; }
};
thread_local int Guard::alive = 0;

static int descend(int depth, int seed) {
    Guard guard(depth + seed);
    if (depth == 0)
        throw std::runtime_error("bottom " + std::to_string(seed) + std::string(seed % 300, '.'));
    try {
        return descend(depth - 1, seed) + 1;
    } catch (const std::logic_error &) {
        return 0;
    } catch (...) {
        if (depth % 9 == 0)
            std::throw_with_nested(std::invalid_argument("depth " + std::to_string(depth)));
        throw;
    }
}

static size_t unwind(const std::exception &error) {
    size_t length = std::string(error.what()).size();
    try {
        std::rethrow_if_nested(error);
    } catch (const std::exception &inner) {
        length += unwind(inner);
    }
    return length;
}

static size_t work(int seed) {
    size_t sum = 0;
    std::vector<std::exception_ptr> kept;
    for (int i = 0; i < 400; i++) {
        try {
            descend(i % 40, seed + i);
        } catch (const std::exception &error) {
            sum += unwind(error);
            kept.push_back(std::current_exception());
        }
    }
    return sum + kept.size() + Guard::alive;
}

int main() {
    std::vector<std::future<size_t>> results;
    for (int i = 0; i < 4; i++) results.push_back(std::async(std::launch::async, work, i * 100));
    for (auto &result : results) std::printf("%zu\n", result.get());
    auto failing = std::async(std::launch::async, [] { return descend(20, 7); });
    try {
        failing.get();
    } catch (const std::exception &error) {
        std::printf("from a thread: %s, %zu\n", error.what(), unwind(error));
    }
    try {
        volatile size_t size = ~size_t(0) / 2 - 4096;
        std::printf("%p\n", static_cast<void *>(new char[size]));
    } catch (const std::bad_alloc &error) {
        std::printf("refused: %s\n", error.what());
    }
    return 0;
}

// STL containers filled by threads, exceptions thrown across frames, over-aligned and nothrow new.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct alignas(64) Line {
    char bytes[64];
};

static std::mutex lock;
static std::map<std::string, std::shared_ptr<std::vector<int>>> shared;

static int deep(int depth) {
    std::string local(static_cast<size_t>(depth) * 10, 'x');
    if (depth == 0) throw std::runtime_error("bottom " + std::to_string(local.size()));
    return deep(depth - 1) + static_cast<int>(local.size());
}

static void work(int number) {
    std::unordered_map<int, std::string> table;
    for (int i = 0; i < 20000; i++) table[i * 7 + number] = std::to_string(i);
    auto list = std::make_shared<std::vector<int>>();
    for (auto &entry : table) list->push_back(static_cast<int>(entry.second.size()));
    std::sort(list->begin(), list->end());
    for (int i = 0; i < 200; i++) {
        try {
            deep(20);
        } catch (const std::runtime_error &error) {
            list->push_back(static_cast<int>(std::string(error.what()).size()));
        }
    }
    std::lock_guard<std::mutex> guard(lock);
    shared["thread " + std::to_string(number)] = list;
}

int main() {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) threads.emplace_back(work, i);
    for (auto &thread : threads) thread.join();
    for (auto &entry : shared)
        std::printf("%s %d\n", entry.first.c_str(),
                    std::accumulate(entry.second->begin(), entry.second->end(), 0));
    shared.clear();
    std::vector<std::unique_ptr<Line>> lines;
    bool aligned = true;
    for (int i = 0; i < 1000; i++) {
        lines.push_back(std::make_unique<Line>());
        aligned = aligned && reinterpret_cast<uintptr_t>(lines.back().get()) % 64 == 0;
    }
    std::printf("aligned %d\n", aligned);
    volatile size_t huge = std::numeric_limits<ptrdiff_t>::max();
    try {
        delete[] new char[huge];
        std::puts("huge block granted");
    } catch (const std::bad_alloc &) {
        std::puts("bad_alloc");
    }
    std::printf("nothrow %d\n", new (std::nothrow) char[huge] == nullptr);
}

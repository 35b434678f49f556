// Objects of static, thread and dynamic lifetime whose constructors and destructors allocate.
#include <exception>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "memory.h"

namespace {

struct keeps_memory {
    std::vector<std::string> texts;
    explicit keeps_memory(int count) {
        for (int i = 0; i < count; i++) texts.push_back(std::string((size_t)i, 'a'));
    }
    bool whole() const {
        for (size_t i = 0; i < texts.size(); i++)
            if (texts[i] != std::string(i, 'a')) return false;
        return true;
    }
    ~keeps_memory() {
        if (!whole()) _exit(9);
        std::string last(3000, 'b'); // allocates while being destroyed
        texts.push_back(last);
    }
};

keeps_memory before_main(300);
thread_local keeps_memory per_thread(100);
thread_local std::map<int, std::unique_ptr<std::string>> per_thread_map;

void use_thread_locals(int seed) {
    if (!per_thread.whole()) _exit(9);
    for (int i = 0; i < 200; i++)
        per_thread_map[i * seed] = std::make_unique<std::string>((size_t)i, 'c');
}

} // namespace

CASE(C13_static_objects) { CHECK(before_main.whole(), "built before main"); }

CASE(C13_thread_local_destructors) {
    size_t at_start = 0;
    for (int turn = 1; turn <= 500; turn++) {
        std::thread(use_thread_locals, turn).join();
        if (turn == 50) at_start = process_size().resident;
    }
    size_t at_end = process_size().resident;
    CHECK(at_end <= at_start + 2 * MIB, "%zu KiB to %zu KiB", at_start / KIB, at_end / KIB);
    use_thread_locals(3); // those of the main thread are destroyed by exit()
}

CASE(exceptions_allocate) {
    size_t total = 0;
    for (int turn = 0; turn < 3000; turn++) {
        try {
            throw std::runtime_error(std::string((size_t)(turn % 200), 'e'));
        } catch (const std::exception &error) {
            total += strlen(error.what());
        }
    }
    CHECK(total == 15 * (199 * 200 / 2), "%zu", total);
}

CASE(exceptions_in_threads) {
    std::vector<std::thread> threads;
    std::vector<std::exception_ptr> caught(8);
    for (size_t i = 0; i < caught.size(); i++)
        threads.emplace_back([i, &caught] {
            try {
                throw std::out_of_range("thread " + std::to_string(i));
            } catch (...) {
                caught[i] = std::current_exception(); // freed by another thread than its own
            }
        });
    for (auto &each : threads) each.join();
    for (auto &each : caught) {
        try {
            std::rethrow_exception(each);
        } catch (const std::out_of_range &error) {
            CHECK(std::string(error.what()).find("thread ") == 0, "%s", error.what());
        }
    }
}

CASE(containers_and_streams) {
    std::map<std::string, std::vector<int>> table;
    std::ostringstream stream;
    for (int i = 0; i < 20000; i++) table[std::to_string(i % 3000)].push_back(i);
    for (const auto &[name, numbers] : table) stream << name << ':' << numbers.size() << ' ';
    CHECK(table.size() == 3000 && stream.str().size() > 10000, "%zu", table.size());
}

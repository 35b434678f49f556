// operator new when memory is short: bad_alloc, nullptr, and the new-handler.
#include <sys/resource.h>

#include <new>
#include <stdexcept>

#include "entries.h"

namespace {

const size_t impossible = (size_t)1 << 62;
const std::align_val_t wide{64};

struct form {
    const char *name;
    void *(*allocate)(size_t);
    bool throws;
};

const form forms[] = {
    {"new", [](size_t n) { return ::operator new(n); }, true},
    {"new[]", [](size_t n) { return ::operator new[](n); }, true},
    {"new aligned", [](size_t n) { return ::operator new(n, wide); }, true},
    {"new[] aligned", [](size_t n) { return ::operator new[](n, wide); }, true},
    {"new nothrow", [](size_t n) { return ::operator new(n, std::nothrow); }, false},
    {"new[] nothrow", [](size_t n) { return ::operator new[](n, std::nothrow); }, false},
    {"new aligned nothrow", [](size_t n) { return ::operator new(n, wide, std::nothrow); }, false},
    {"new[] aligned nothrow", [](size_t n) { return ::operator new[](n, wide, std::nothrow); },
     false},
};

int handler_calls;

void limit_address_space(size_t above) {
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = process_size().mapped + above;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
}

void lift_limit() {
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
}

} // namespace

CASE(C37_failure_throws_bad_alloc) {
    for (const form &each : forms) {
        bool thrown = false;
        void *block = (void *)0x5a5a;
        try {
            block = each.allocate(impossible);
        } catch (const std::bad_alloc &) {
            thrown = true;
        }
        CHECK(thrown == each.throws, "%s", each.name);
        if (!each.throws) CHECK(block == nullptr, "%s gave %p", each.name, block);
    }
}

// libstdc++ 12 rounds the size of its aligned forms up past zero, and succeeds.
OURS(C37_sizes_that_wrap) {
    for (const form &each : forms) {
        for (size_t size : {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 64, (size_t)PTRDIFF_MAX + 1}) {
            bool refused = false;
            try {
                refused = each.allocate(size) == nullptr;
            } catch (const std::bad_alloc &) {
                refused = true;
            }
            CHECK(refused, "%s(%zu) succeeded", each.name, size);
        }
    }
}

CASE(C37_handler_is_called_until_it_gives_up) {
    for (const form &each : forms) {
        handler_calls = 0;
        std::set_new_handler([] {
            if (++handler_calls == 3) std::set_new_handler(nullptr);
        });
        bool thrown = false;
        try {
            CHECK(each.allocate(impossible) == nullptr, "%s", each.name);
        } catch (const std::bad_alloc &) {
            thrown = true;
        }
        CHECK(thrown == each.throws, "%s", each.name);
        CHECK(handler_calls == 3, "%s: %d calls", each.name, handler_calls);
    }
}

CASE(C37_handler_is_not_called_on_success) {
    handler_calls = 0;
    std::set_new_handler([] { handler_calls++; });
    for (const form &each : forms) {
        void *block = each.allocate(100000);
        CHECK(block != nullptr, "%s", each.name);
        free(block);
    }
    CHECK(handler_calls == 0, "%d calls", handler_calls);
}

namespace {
void *hostage;
void free_the_hostage() {
    handler_calls++;
    CHECK(hostage != nullptr, "called again although memory is there");
    free(hostage);
    hostage = nullptr;
}
} // namespace

CASE(C37_handler_may_free_memory) {
    for (const form &each : forms) {
        handler_calls = 0;
        malloc_trim(0); // A kept block of the last turn would serve without a handler.
        hostage = malloc(400 * MIB);
        CHECK(hostage != nullptr, "hostage");
        limit_address_space(200 * MIB);
        std::set_new_handler(free_the_hostage);
        char *block = (char *)each.allocate(300 * MIB);
        CHECK(block != nullptr, "%s: the retry failed", each.name);
        CHECK(handler_calls == 1, "%s: %d calls", each.name, handler_calls);
        block[0] = block[300 * MIB - 1] = 1;
        free(block);
        lift_limit();
    }
}

CASE(C37_handler_may_throw_its_own) {
    for (const form &each : forms) {
        if (!each.throws) continue;
        std::set_new_handler([] { throw std::runtime_error("mine"); });
        bool mine = false;
        try {
            each.allocate(impossible);
        } catch (const std::runtime_error &) {
            mine = true;
        }
        CHECK(mine, "%s", each.name);
    }
}

// [new.delete.single]: the nothrow forms return nullptr when the handler throws bad_alloc.
CASE(C37_nothrow_swallows_what_the_handler_throws) {
    for (const form &each : forms) {
        if (each.throws) continue;
        std::set_new_handler([] { throw std::bad_alloc(); });
        CHECK(each.allocate(impossible) == nullptr, "%s", each.name);
    }
}

CASE(C37_a_constructor_that_throws_frees) {
    struct unlucky {
        char bytes[100000];
        unlucky() { throw 7; }
    };
    size_t before = process_size().resident;
    for (int turn = 0; turn < 5000; turn++) {
        try {
            delete new unlucky;
        } catch (int) {
        }
    }
    CHECK(process_size().resident < before + 16 * MIB, "operator delete was not called");
}

CASE(C37_zero_bytes_are_unique) {
    for (const form &each : forms) {
        void *first = each.allocate(0);
        void *second = each.allocate(0);
        CHECK(first != nullptr && second != nullptr && first != second, "%s", each.name);
        free(first);
        free(second);
    }
}

namespace {
struct own {
    static int news, deletes;
    long payload[10];
    static void *operator new(size_t size) {
        news++;
        return malloc(size);
    }
    static void operator delete(void *block) {
        deletes++;
        free(block);
    }
};
int own::news, own::deletes;
} // namespace

CASE(C37_class_with_its_own_operators) {
    for (int turn = 0; turn < 1000; turn++) delete new own;
    CHECK(own::news == 1000 && own::deletes == 1000, "%d, %d", own::news, own::deletes);
}

CASE(C37_alignment_of_over_aligned_types) {
    struct alignas(128) line {
        char bytes[200];
    };
    struct alignas(4096) page {
        char bytes[100];
    };
    for (int turn = 0; turn < 100; turn++) {
        line *lines = new line[5];
        page *one = new page;
        CHECK(is_aligned(lines, 128) && is_aligned(one, 4096), "turn %d", turn);
        delete[] lines;
        delete one;
    }
}

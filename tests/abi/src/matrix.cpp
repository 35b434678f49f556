// Every entry that allocates, C and C++, with every entry that frees.
#include <new>

#include "entries.h"

namespace {

struct request {
    size_t size;
    size_t alignment;
};

struct allocation {
    const char *name;
    void *(*allocate)(request);
    void *needs;
    bool aligned; // honours request.alignment beyond 16
};

struct release {
    const char *name;
    void (*give_back)(void *, request);
    void *needs;
};

std::align_val_t alignment_of(request wanted) { return std::align_val_t(wanted.alignment); }

#define NEW(what, call)                                                                            \
    { what, [](request r) -> void * { (void)r; return call; }, (void *)malloc, false }
#define ALIGNED_NEW(what, call)                                                                    \
    { what, [](request r) -> void * { return call; }, (void *)malloc, true }

void *with_posix_memalign(request r) {
    void *block = nullptr;
    return posix_memalign(&block, r.alignment, r.size) == 0 ? block : nullptr;
}

const allocation cxx_allocations[] = {
    NEW("new", ::operator new(r.size)),
    NEW("new[]", ::operator new[](r.size)),
    NEW("new nothrow", ::operator new(r.size, std::nothrow)),
    NEW("new[] nothrow", ::operator new[](r.size, std::nothrow)),
    ALIGNED_NEW("new aligned", ::operator new(r.size, alignment_of(r))),
    ALIGNED_NEW("new[] aligned", ::operator new[](r.size, alignment_of(r))),
    ALIGNED_NEW("new aligned nothrow", ::operator new(r.size, alignment_of(r), std::nothrow)),
    ALIGNED_NEW("new[] aligned nothrow", ::operator new[](r.size, alignment_of(r), std::nothrow)),
    ALIGNED_NEW("memalign", memalign(r.alignment, r.size)),
    ALIGNED_NEW("aligned_alloc", aligned_alloc(r.alignment, r.size)),
    ALIGNED_NEW("posix_memalign", with_posix_memalign(r)),
    NEW("realloc of a smaller one", realloc(malloc(1), r.size ? r.size : 1)),
    NEW("realloc of a larger one", realloc(malloc(r.size * 3 + 100), r.size ? r.size : 1)),
};

#define FREE(what, call, needs)                                                                    \
    { what, [](void *p, request r) { (void)r; call; }, (void *)needs }

const release releases[] = {
    FREE("free", free(p), free),
    FREE("realloc to nothing", (void)!realloc(p, 0), free),
    FREE("cfree", cfree(p), cfree),
    FREE("__libc_free", __libc_free(p), __libc_free),
    FREE("free_sized", free_sized(p, r.size), free_sized),
    FREE("free_aligned_sized", free_aligned_sized(p, r.alignment, r.size), free_aligned_sized),
    FREE("alloc_free", alloc_free(p), alloc_free),
    FREE("delete", ::operator delete(p), free),
    FREE("delete[]", ::operator delete[](p), free),
    FREE("delete sized", ::operator delete(p, r.size), free),
    FREE("delete[] sized", ::operator delete[](p, r.size), free),
    FREE("delete nothrow", ::operator delete(p, std::nothrow), free),
    FREE("delete[] nothrow", ::operator delete[](p, std::nothrow), free),
    FREE("delete aligned", ::operator delete(p, alignment_of(r)), free),
    FREE("delete[] aligned", ::operator delete[](p, alignment_of(r)), free),
    FREE("delete sized aligned", ::operator delete(p, r.size, alignment_of(r)), free),
    FREE("delete[] sized aligned", ::operator delete[](p, r.size, alignment_of(r)), free),
    FREE("delete aligned nothrow", ::operator delete(p, alignment_of(r), std::nothrow), free),
    FREE("delete[] aligned nothrow", ::operator delete[](p, alignment_of(r), std::nothrow), free),
};

const size_t sizes[] = {0, 1, 16, 17, 100, 1000, 1025, 5000, 33000, 70000, 3 * MIB, 40 * MIB};

// Several blocks live at once, each with its pattern, so that a free into the wrong place shows.
template <typename Allocate> void check_cell(const char *from, const release &to, request wanted,
                                             Allocate allocate) {
    enum { COUNT = 3 };
    void *blocks[COUNT];
    size_t shown = wanted.size < 4096 ? wanted.size : 4096;
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = allocate();
        CHECK(blocks[i] != nullptr && is_aligned(blocks[i], 16), "%s of %zu", from, wanted.size);
        fill(blocks[i], shown, i);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        CHECK(intact(blocks[i], shown, i) == shown, "%s, %s, %zu", from, to.name, wanted.size);
        to.give_back(blocks[i], wanted);
    }
}

} // namespace

CASE(C06_c_entries_with_every_free) {
    FOR_EACH_ENTRY(each) {
        for (const release &to : releases) {
            if (to.needs == nullptr) continue;
            for (size_t size : sizes)
                check_cell(each->name, to, request{size, 16}, [&] { return each->allocate(size); });
        }
    }
}

CASE(C06_cxx_entries_with_every_free) {
    for (const allocation &from : cxx_allocations) {
        for (const release &to : releases) {
            if (to.needs == nullptr) continue;
            for (size_t size : sizes) {
                request wanted{size, 16};
                check_cell(from.name, to, wanted, [&] { return from.allocate(wanted); });
            }
        }
    }
}

CASE(C06_large_alignments_with_every_free) {
    for (const allocation &from : cxx_allocations) {
        if (!from.aligned) continue;
        for (const release &to : releases) {
            if (to.needs == nullptr) continue;
            for (size_t alignment = 32; alignment <= 2 * MIB; alignment *= 16) {
                request wanted{1000, alignment};
                void *block = from.allocate(wanted);
                CHECK(is_aligned(block, alignment), "%s to %zu: %p", from.name, alignment, block);
                to.give_back(block, wanted);
                check_cell(from.name, to, wanted, [&] { return from.allocate(wanted); });
            }
        }
    }
}

CASE(C06_every_free_takes_null) {
    for (const release &to : releases)
        if (to.needs != nullptr && strcmp(to.name, "realloc to nothing") != 0)
            to.give_back(nullptr, request{0, 16});
}

OURS(C05_every_free_exists) {
    for (const release &to : releases) CHECK(to.needs != nullptr, "%s is missing", to.name);
}

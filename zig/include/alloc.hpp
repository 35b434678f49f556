/* alloc.hpp: alloc.h for C++17 and newer, header only. Link liballoc.
 *
 *   liballoc::allocator<T>                  the general heap for containers
 *   liballoc::heap, arena, pool,            own what they are called after; move-only
 *   shared_pool, typed_pool<T>
 *   liballoc::heap_resource,                std::pmr::memory_resource, owning or borrowing
 *   arena_resource, pool_resource
 *
 * Failure throws std::bad_alloc where there is no memory (a limit or capacity that is reached is no
 * memory), std::bad_array_new_length where a size overflows, and std::system_error with errno where
 * create refuses its arguments or the system refuses to lock. `make` of each owner throws nothing:
 * what it gives is false as a bool, with errno set. Without exceptions the process aborts.
 *
 * Threads: as alloc.h says. allocator, heap, heap_resource and shared_pool: any; the others one at
 * a time. An owner that was moved from may only be destroyed or assigned to. */
#ifndef LIBALLOC_ALLOC_HPP
#define LIBALLOC_ALLOC_HPP

#include "alloc.h"

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <memory_resource>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

namespace liballoc {

namespace detail {

/* What alloc_malloc promises. */
inline constexpr std::size_t natural_alignment = 16;

[[noreturn]] inline void throw_no_memory() {
#ifdef __cpp_exceptions
    throw std::bad_alloc();
#else
    std::abort();
#endif
}

[[noreturn]] inline void throw_overflow() {
#ifdef __cpp_exceptions
    throw std::bad_array_new_length();
#else
    std::abort();
#endif
}

[[noreturn]] inline void throw_refused(const char *what) {
#ifdef __cpp_exceptions
    if (errno == ENOMEM) throw std::bad_alloc();
    throw std::system_error(errno, std::generic_category(), what);
#else
    static_cast<void>(what);
    std::abort();
#endif
}

inline void *or_throw(void *pointer) {
    if (pointer == nullptr) throw_no_memory();
    return pointer;
}

/* Two resources of one kind that may be different objects. */
template <class Resource>
const Resource *as(const std::pmr::memory_resource &other) noexcept {
#ifdef __cpp_rtti
    return dynamic_cast<const Resource *>(&other);
#else
    static_cast<void>(other);
    return nullptr; /* Equal to itself alone: containers then copy where they could move. */
#endif
}

/* A handle of alloc.h that is destroyed with its owner. */
template <class Handle, std::size_t (*destroy)(Handle *)>
class owner {
public:
    owner(owner &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    owner &operator=(owner &&other) noexcept {
        if (this != &other) {
            destroy(handle_);
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    ~owner() { destroy(handle_); }

    Handle *get() const noexcept { return handle_; }
    explicit operator bool() const noexcept { return handle_ != nullptr; }
    /* The caller destroys it from now on. */
    [[nodiscard]] Handle *release() noexcept { return std::exchange(handle_, nullptr); }

protected:
    struct adopted {}; /* A bare handle and a size of 0 would look alike. */
    owner(adopted, Handle *handle) noexcept : handle_(handle) {}
    owner(Handle *handle, const char *what) : handle_(handle) {
        if (handle == nullptr) throw_refused(what);
    }

private:
    Handle *handle_;
};

} // namespace detail

/* ---- The general heap ---- */

template <class T>
class allocator {
public:
    using value_type = T;
    using is_always_equal = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;

    constexpr allocator() noexcept = default;
    template <class U>
    constexpr allocator(const allocator<U> &) noexcept {}

    [[nodiscard]] T *allocate(std::size_t count) {
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) detail::throw_overflow();
        const std::size_t bytes = count * sizeof(T);
        void *const block = alignof(T) > detail::natural_alignment
                                ? alloc_aligned_alloc(alignof(T), bytes)
                                : alloc_malloc(bytes);
        return static_cast<T *>(detail::or_throw(block));
    }
    void deallocate(T *pointer, std::size_t) noexcept { alloc_free(pointer); }
};

template <class T, class U>
constexpr bool operator==(const allocator<T> &, const allocator<U> &) noexcept {
    return true;
}
template <class T, class U>
constexpr bool operator!=(const allocator<T> &, const allocator<U> &) noexcept {
    return false;
}

/* ---- Owners ---- */

/* Blocks that are freed one by one, or all with the heap. */
class heap : public detail::owner<alloc_heap_t, alloc_heap_destroy> {
public:
    /* 0: no limit. */
    explicit heap(std::size_t bytes_max = 0)
        : owner(alloc_heap_create(bytes_max), "alloc_heap_create") {}
    [[nodiscard]] static heap make(std::size_t bytes_max = 0) noexcept {
        return adopt(alloc_heap_create(bytes_max));
    }
    /* Owns `handle` from now on; may be NULL. */
    [[nodiscard]] static heap adopt(alloc_heap_t *handle) noexcept {
        return heap(adopted(), handle);
    }

    [[nodiscard]] void *allocate(std::size_t size,
                                 std::size_t alignment = detail::natural_alignment) {
        return detail::or_throw(alignment > detail::natural_alignment
                                    ? alloc_heap_aligned_alloc(get(), alignment, size)
                                    : alloc_heap_malloc(get(), size));
    }
    void deallocate(void *pointer) noexcept { alloc_heap_free(get(), pointer); }
    bool owns(const void *pointer) const noexcept { return alloc_heap_owns(get(), pointer) != 0; }
    alloc_heap_stats_t stats() const noexcept {
        alloc_heap_stats_t now{};
        alloc_heap_stats(get(), &now, sizeof now);
        return now;
    }

private:
    heap(adopted tag, alloc_heap_t *handle) noexcept : owner(tag, handle) {}
};

/* Many objects, freed together. Their destructors are not called. */
class arena : public detail::owner<alloc_arena_t, alloc_arena_destroy> {
public:
    /* Flags: ALLOC_PREFAULT, ALLOC_LOCK, ALLOC_HUGE_PAGES, ALLOC_FIXED. */
    explicit arena(std::size_t capacity, unsigned flags = 0)
        : owner(alloc_arena_create(capacity, flags), "alloc_arena_create") {}
    [[nodiscard]] static arena make(std::size_t capacity, unsigned flags = 0) noexcept {
        return adopt(alloc_arena_create(capacity, flags));
    }
    [[nodiscard]] static arena adopt(alloc_arena_t *handle) noexcept {
        return arena(adopted(), handle);
    }

    [[nodiscard]] void *allocate(std::size_t size,
                                 std::size_t alignment = detail::natural_alignment) {
        return detail::or_throw(alloc_arena_alloc_aligned(get(), size, alignment));
    }
    /* A T in the arena; one that needs no destructor. */
    template <class T, class... Arguments>
    T *create(Arguments &&...arguments) {
        static_assert(std::is_trivially_destructible_v<T>, "an arena calls no destructors");
        return ::new (allocate(sizeof(T), alignof(T))) T(std::forward<Arguments>(arguments)...);
    }
    alloc_arena_checkpoint_t checkpoint() const noexcept { return alloc_arena_checkpoint(get()); }
    /* False: it was rewound past the checkpoint since. */
    bool rewind(const alloc_arena_checkpoint_t &checkpoint) noexcept {
        return alloc_arena_rewind(get(), checkpoint) == 0;
    }
    void reset() noexcept { alloc_arena_reset(get()); }
    std::size_t trim() noexcept { return alloc_arena_trim(get()); }
    alloc_arena_stats_t stats() const noexcept {
        alloc_arena_stats_t now{};
        alloc_arena_stats(get(), &now, sizeof now);
        return now;
    }

private:
    arena(adopted tag, alloc_arena_t *handle) noexcept : owner(tag, handle) {}
};

namespace detail {

inline alloc_pool_options_t pool_options(std::size_t object_size, std::size_t capacity,
                                         int policy) noexcept {
    alloc_pool_options_t options{};
    options.object_size = object_size;
    options.capacity = capacity;
    options.policy = policy;
    return options;
}

inline alloc_pool_stats_t stats_of(const alloc_pool_t *pool) noexcept {
    alloc_pool_stats_t now{};
    alloc_pool_stats(pool, &now, sizeof now);
    return now;
}

} // namespace detail

/* Objects of one size. */
class pool : public detail::owner<alloc_pool_t, alloc_pool_destroy> {
public:
    explicit pool(const alloc_pool_options_t &options)
        : owner(alloc_pool_create(&options, sizeof options), "alloc_pool_create"),
          options_(options) {}
    pool(std::size_t object_size, std::size_t capacity, int policy = ALLOC_POOL_FAIL)
        : pool(detail::pool_options(object_size, capacity, policy)) {}
    [[nodiscard]] static pool make(const alloc_pool_options_t &options) noexcept {
        return adopt(alloc_pool_create(&options, sizeof options), options);
    }
    /* Owns `handle`, which was made with these options; may be NULL. */
    [[nodiscard]] static pool adopt(alloc_pool_t *handle,
                                    const alloc_pool_options_t &options) noexcept {
        return pool(adopted(), handle, options);
    }

    [[nodiscard]] void *allocate() { return detail::or_throw(alloc_pool_alloc(get())); }
    /* NULL where allocate would throw. */
    [[nodiscard]] void *try_allocate() noexcept { return alloc_pool_alloc(get()); }
    void deallocate(void *object) noexcept { alloc_pool_free(get(), object); }
    /* Bytes and alignment that every object has at least. */
    std::size_t object_size() const noexcept { return options_.object_size; }
    std::size_t alignment() const noexcept {
        return options_.alignment > detail::natural_alignment ? options_.alignment
                                                              : detail::natural_alignment;
    }
    alloc_pool_stats_t stats() const noexcept { return detail::stats_of(get()); }

private:
    pool(adopted tag, alloc_pool_t *handle, const alloc_pool_options_t &options) noexcept
        : owner(tag, handle), options_(options) {}

    alloc_pool_options_t options_;
};

/* Objects of one type: made and destroyed, where `pool` gives memory. Destroy all of them before
 * the pool, which calls no destructors. */
template <class T>
class typed_pool {
public:
    explicit typed_pool(std::size_t capacity, int policy = ALLOC_POOL_FAIL, unsigned flags = 0)
        : pool_(options(capacity, policy, flags)) {}

    template <class... Arguments>
    [[nodiscard]] T *create(Arguments &&...arguments) {
        slot memory{pool_, pool_.allocate()};
        T *const object = ::new (memory.object) T(std::forward<Arguments>(arguments)...);
        memory.object = nullptr;
        return object;
    }
    void destroy(T *object) noexcept {
        if (object == nullptr) return;
        object->~T();
        pool_.deallocate(object);
    }
    alloc_pool_stats_t stats() const noexcept { return pool_.stats(); }

private:
    /* Goes back where a constructor throws. */
    struct slot {
        pool &from;
        void *object;
        ~slot() { from.deallocate(object); }
    };

    static alloc_pool_options_t options(std::size_t capacity, int policy, unsigned flags) noexcept {
        alloc_pool_options_t chosen = detail::pool_options(sizeof(T), capacity, policy);
        chosen.alignment = alignof(T);
        chosen.flags = flags;
        return chosen;
    }

    pool pool_;
};

/* Objects of one size, for any number of threads. */
class shared_pool : public detail::owner<alloc_shared_pool_t, alloc_shared_pool_destroy> {
public:
    explicit shared_pool(const alloc_pool_options_t &options)
        : owner(alloc_shared_pool_create(&options, sizeof options), "alloc_shared_pool_create") {}
    shared_pool(std::size_t object_size, std::size_t capacity)
        : shared_pool(detail::pool_options(object_size, capacity, ALLOC_POOL_FAIL)) {}
    [[nodiscard]] static shared_pool make(const alloc_pool_options_t &options) noexcept {
        return shared_pool(adopted(), alloc_shared_pool_create(&options, sizeof options));
    }

    [[nodiscard]] void *allocate() { return detail::or_throw(alloc_shared_pool_alloc(get())); }
    [[nodiscard]] void *try_allocate() noexcept { return alloc_shared_pool_alloc(get()); }
    void deallocate(void *object) noexcept { alloc_shared_pool_free(get(), object); }
    alloc_pool_stats_t stats() const noexcept {
        alloc_pool_stats_t now{};
        alloc_shared_pool_stats(get(), &now, sizeof now);
        return now;
    }

private:
    shared_pool(adopted tag, alloc_shared_pool_t *handle) noexcept : owner(tag, handle) {}
};

/* ---- std::pmr ----
 * Equal are two resources of one kind on the same heap, arena or pool: without RTTI each is equal
 * to itself alone. */

/* Blocks of a heap. One that it owns goes with it, with all blocks. */
class heap_resource : public std::pmr::memory_resource {
public:
    explicit heap_resource(std::size_t bytes_max = 0) : heap_resource(heap(bytes_max)) {}
    explicit heap_resource(heap &&owned) noexcept : owned_(std::move(owned)), heap_(owned_.get()) {}
    explicit heap_resource(heap &borrowed) noexcept
        : heap_resource(borrowed_tag(), borrowed.get()) {}
    heap_resource(const heap_resource &) = delete;
    heap_resource &operator=(const heap_resource &) = delete;

    [[nodiscard]] static heap_resource borrow(alloc_heap_t *handle) noexcept {
        return heap_resource(borrowed_tag(), handle);
    }

    alloc_heap_t *get() const noexcept { return heap_; }

protected:
    void *do_allocate(std::size_t bytes, std::size_t alignment) override {
        return detail::or_throw(alignment > detail::natural_alignment
                                    ? alloc_heap_aligned_alloc(heap_, alignment, bytes)
                                    : alloc_heap_malloc(heap_, bytes));
    }
    void do_deallocate(void *pointer, std::size_t, std::size_t) override {
        alloc_heap_free(heap_, pointer);
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        if (this == &other) return true;
        const auto *const same = detail::as<heap_resource>(other);
        return same != nullptr && same->heap_ == heap_;
    }

private:
    struct borrowed_tag {};
    heap_resource(borrowed_tag, alloc_heap_t *handle) noexcept
        : owned_(heap::adopt(nullptr)), heap_(handle) {}

    heap owned_;
    alloc_heap_t *heap_;
};

/* Blocks of an arena; deallocate does nothing. */
class arena_resource : public std::pmr::memory_resource {
public:
    explicit arena_resource(std::size_t capacity, unsigned flags = 0)
        : arena_resource(arena(capacity, flags)) {}
    explicit arena_resource(arena &&owned) noexcept
        : owned_(std::move(owned)), arena_(owned_.get()) {}
    explicit arena_resource(arena &borrowed) noexcept
        : arena_resource(borrowed_tag(), borrowed.get()) {}
    arena_resource(const arena_resource &) = delete;
    arena_resource &operator=(const arena_resource &) = delete;

    [[nodiscard]] static arena_resource borrow(alloc_arena_t *handle) noexcept {
        return arena_resource(borrowed_tag(), handle);
    }

    alloc_arena_t *get() const noexcept { return arena_; }
    /* Frees everything; the memory stays for reuse. */
    void reset() noexcept { alloc_arena_reset(arena_); }

protected:
    void *do_allocate(std::size_t bytes, std::size_t alignment) override {
        return detail::or_throw(alloc_arena_alloc_aligned(arena_, bytes, alignment));
    }
    void do_deallocate(void *, std::size_t, std::size_t) override {}
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        if (this == &other) return true;
        const auto *const same = detail::as<arena_resource>(other);
        return same != nullptr && same->arena_ == arena_;
    }

private:
    struct borrowed_tag {};
    arena_resource(borrowed_tag, alloc_arena_t *handle) noexcept
        : owned_(arena::adopt(nullptr)), arena_(handle) {}

    arena owned_;
    alloc_arena_t *arena_;
};

/* Blocks up to a pool's object size and alignment from the pool, others from upstream. */
class pool_resource : public std::pmr::memory_resource {
public:
    /* Used up, it grows. */
    pool_resource(std::size_t object_size, std::size_t capacity,
                  std::pmr::memory_resource *upstream = std::pmr::get_default_resource())
        : pool_resource(pool(object_size, capacity, ALLOC_POOL_GROW), upstream) {}
    explicit pool_resource(
        pool &&owned,
        std::pmr::memory_resource *upstream = std::pmr::get_default_resource()) noexcept
        : owned_(std::move(owned)), pool_(owned_.get()), object_size_(owned_.object_size()),
          alignment_(owned_.alignment()), upstream_(upstream) {}
    explicit pool_resource(
        pool &borrowed,
        std::pmr::memory_resource *upstream = std::pmr::get_default_resource()) noexcept
        : owned_(pool::adopt(nullptr, {})), pool_(borrowed.get()),
          object_size_(borrowed.object_size()), alignment_(borrowed.alignment()),
          upstream_(upstream) {}
    pool_resource(const pool_resource &) = delete;
    pool_resource &operator=(const pool_resource &) = delete;

    alloc_pool_t *get() const noexcept { return pool_; }
    std::pmr::memory_resource *upstream_resource() const noexcept { return upstream_; }

protected:
    void *do_allocate(std::size_t bytes, std::size_t alignment) override {
        if (!fits(bytes, alignment)) return upstream_->allocate(bytes, alignment);
        return detail::or_throw(alloc_pool_alloc(pool_));
    }
    void do_deallocate(void *pointer, std::size_t bytes, std::size_t alignment) override {
        if (!fits(bytes, alignment)) return upstream_->deallocate(pointer, bytes, alignment);
        alloc_pool_free(pool_, pointer);
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        if (this == &other) return true;
        const auto *const same = detail::as<pool_resource>(other);
        return same != nullptr && same->pool_ == pool_ && *same->upstream_ == *upstream_;
    }

private:
    bool fits(std::size_t bytes, std::size_t alignment) const noexcept {
        return bytes <= object_size_ && alignment <= alignment_;
    }

    pool owned_;
    alloc_pool_t *pool_;
    std::size_t object_size_;
    std::size_t alignment_;
    std::pmr::memory_resource *upstream_;
};

} // namespace liballoc

#endif

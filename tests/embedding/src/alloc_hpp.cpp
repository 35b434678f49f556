/* alloc.hpp: what its owners, resources and its allocator promise. Prints ok, or what is wrong. */
#include <alloc.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <map>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            std::printf("%d: %s\n", __LINE__, #condition);                                     \
            std::exit(1);                                                                      \
        }                                                                                      \
    } while (0)

#define THROWS(type, expression)                                                               \
    do {                                                                                       \
        bool thrown = false;                                                                   \
        try {                                                                                  \
            static_cast<void>(expression);                                                     \
        } catch (const type &) {                                                               \
            thrown = true;                                                                     \
        }                                                                                      \
        CHECK(thrown && "throws " #type);                                                      \
    } while (0)

namespace {

bool is_aligned(const void *pointer, std::size_t alignment) {
    return reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
}

struct alignas(256) wide {
    std::array<char, 300> bytes;
};

/* More than runs have by themselves. */
struct alignas(1 << 16) page {
    char byte;
};

/* Upstream of a pool: counts what comes to it. */
class counting : public std::pmr::memory_resource {
public:
    int live = 0;

protected:
    void *do_allocate(std::size_t bytes, std::size_t alignment) override {
        live++;
        return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    }
    void do_deallocate(void *pointer, std::size_t bytes, std::size_t alignment) override {
        live--;
        std::pmr::new_delete_resource()->deallocate(pointer, bytes, alignment);
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        return this == &other;
    }
};

void the_allocator_serves_containers() {
    using traits = std::allocator_traits<liballoc::allocator<int>>;
    static_assert(traits::is_always_equal::value);
    static_assert(traits::propagate_on_container_move_assignment::value);
    static_assert(std::is_same_v<traits::rebind_alloc<long>, liballoc::allocator<long>>);
    CHECK(liballoc::allocator<int>() == liballoc::allocator<long>());
    CHECK(!(liballoc::allocator<int>() != liballoc::allocator<long>()));

    std::vector<std::string, liballoc::allocator<std::string>> strings;
    for (int i = 0; i < 10000; i++) strings.push_back(std::to_string(i));
    CHECK(strings[9999] == "9999");
    std::map<int, int, std::less<int>, liballoc::allocator<std::pair<const int, int>>> tree;
    std::list<int, liballoc::allocator<int>> list;
    for (int i = 0; i < 1000; i++) tree[i] = i, list.push_back(i);
    CHECK(tree.size() == 1000 && list.size() == 1000);
    std::vector<wide, liballoc::allocator<wide>> aligned(7);
    CHECK(is_aligned(aligned.data(), 256));
    std::vector<std::vector<page, liballoc::allocator<page>>> pages(8);
    for (auto &each : pages) {
        each.resize(1);
        CHECK(is_aligned(each.data(), 1 << 16));
    }
    THROWS(std::bad_array_new_length, liballoc::allocator<long>().allocate(SIZE_MAX / 4));
    THROWS(std::bad_alloc, liballoc::allocator<char>().allocate(SIZE_MAX / 2));
}

template <class Owner>
void moves(Owner first, Owner second) {
    static_assert(!std::is_copy_constructible_v<Owner> && !std::is_copy_assignable_v<Owner>);
    static_assert(std::is_nothrow_move_constructible_v<Owner>);
    static_assert(std::is_nothrow_move_assignable_v<Owner>);
    auto *const handle = first.get();
    CHECK(handle != nullptr && handle != second.get());
    Owner third(std::move(first));
    CHECK(third.get() == handle && !first);
    second = std::move(third);
    CHECK(second.get() == handle && !third);
    Owner &same = second;
    second = std::move(same);
    CHECK(second.get() == handle);
    first = std::move(second); /* What was moved from takes again. */
    CHECK(first && first.get() == handle);
}

void owners_move() {
    moves(liballoc::heap(), liballoc::heap());
    moves(liballoc::arena(1000), liballoc::arena(1000));
    moves(liballoc::pool(32, 10), liballoc::pool(64, 10));
    moves(liballoc::shared_pool(32, 10), liballoc::shared_pool(64, 10));
    liballoc::heap heap;
    liballoc::heap again = liballoc::heap::adopt(heap.release());
    CHECK(!heap && again);
    CHECK(!liballoc::arena::make(0) && errno == EINVAL);
    CHECK(!liballoc::pool::make(alloc_pool_options_t{}) && errno == EINVAL);
    CHECK(!liballoc::shared_pool::make(alloc_pool_options_t{}));
    THROWS(std::system_error, liballoc::arena(0));
    THROWS(std::system_error, liballoc::pool(0, 10));
    THROWS(std::bad_alloc, liballoc::pool(std::size_t(1) << 40, std::size_t(1) << 20));
}

void heaps_give_and_refuse() {
    liballoc::heap heap(4 << 20);
    void *const block = heap.allocate(100);
    void *const aligned = heap.allocate(100, 4096);
    CHECK(heap.owns(block) && heap.owns(aligned) && !heap.owns(&heap));
    CHECK(is_aligned(block, 16) && is_aligned(aligned, 4096));
    CHECK(heap.stats().live_blocks == 2 && heap.stats().bytes_max == 4 << 20);
    THROWS(std::bad_alloc, heap.allocate(8 << 20));
    heap.deallocate(block);
    heap.deallocate(aligned);
    CHECK(heap.stats().live_blocks == 0);
}

void arenas_rewind() {
    liballoc::arena arena(4096);
    const long *const one = arena.create<long>(7);
    const auto before = arena.checkpoint();
    const auto used = arena.stats().bytes_in_use;
    CHECK(is_aligned(arena.allocate(1000, 256), 256));
    CHECK(arena.stats().bytes_in_use > used);
    CHECK(arena.rewind(before) && arena.stats().bytes_in_use == used && *one == 7);
    arena.reset();
    CHECK(arena.stats().bytes_in_use == 0);
    CHECK(!arena.rewind(before));
    liballoc::arena fixed(64, ALLOC_FIXED);
    static_cast<void>(fixed.allocate(64));
    THROWS(std::bad_alloc, fixed.allocate(1));
}

struct counted {
    static inline int live = 0;
    explicit counted(bool refuses) {
        if (refuses) throw 1;
        live++;
    }
    ~counted() { live--; }
    counted(const counted &) = delete;
    counted &operator=(const counted &) = delete;
};

void pools_give_and_refuse() {
    liballoc::pool pool(100, 2);
    CHECK(pool.object_size() == 100 && pool.alignment() == 16);
    void *const one = pool.allocate();
    void *const two = pool.try_allocate();
    CHECK(one != two && pool.try_allocate() == nullptr);
    THROWS(std::bad_alloc, pool.allocate());
    pool.deallocate(one);
    CHECK(pool.allocate() == one);

    liballoc::typed_pool<counted> typed(1);
    counted *const object = typed.create(false);
    CHECK(counted::live == 1);
    THROWS(std::bad_alloc, typed.create(false));
    typed.destroy(object);
    THROWS(int, typed.create(true)); /* The place of what was not made is free again. */
    CHECK(counted::live == 0 && typed.stats().free_objects == 1);
    typed.destroy(nullptr);
    liballoc::typed_pool<wide> wides(3);
    wide *const first = wides.create();
    CHECK(is_aligned(first, 256));
    wides.destroy(first);

    liballoc::shared_pool shared(64, 100);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++)
        threads.emplace_back([&shared] {
            for (int round = 0; round < 1000; round++) shared.deallocate(shared.allocate());
        });
    for (std::thread &thread : threads) thread.join();
    CHECK(shared.stats().free_objects == 100 && shared.stats().allocations == 3000);
}

/* Any resource: alignment, containers, equality with itself. */
void check_resource(std::pmr::memory_resource &resource) {
    for (std::size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        for (const std::size_t bytes : {std::size_t(1), std::size_t(48), std::size_t(5000)}) {
            void *const block = resource.allocate(bytes, alignment);
            CHECK(is_aligned(block, alignment));
            resource.deallocate(block, bytes, alignment);
        }
    }
    std::pmr::unordered_map<int, std::pmr::string> map(&resource);
    for (int i = 0; i < 2000; i++) map.emplace(i, "a string that does not lie in itself");
    for (int i = 0; i < 2000; i++) CHECK(map.at(i).size() == 36);
    CHECK(resource == resource);
}

void resources_serve_containers() {
    liballoc::heap_resource heap;
    liballoc::arena_resource arena(1 << 16);
    counting upstream;
    {
        liballoc::pool_resource pool(64, 10, &upstream);
        check_resource(heap);
        check_resource(arena);
        check_resource(pool);
        CHECK(upstream.live == 0 && pool.upstream_resource() == &upstream);
        void *const small = pool.allocate(64, 16);
        CHECK(upstream.live == 0);
        void *const large = pool.allocate(65, 16);
        CHECK(upstream.live == 1);
        void *const aligned = pool.allocate(8, 32);
        CHECK(upstream.live == 2);
        pool.deallocate(aligned, 8, 32);
        pool.deallocate(large, 65, 16);
        pool.deallocate(small, 64, 16);
        CHECK(upstream.live == 0);
    }
    CHECK(heap != arena);
    THROWS(std::bad_alloc, heap.allocate(SIZE_MAX / 2));
    arena.reset();
}

/* Two objects on one heap, arena or pool: equal where the type of the other can be asked for. */
void resources_are_equal() {
    liballoc::heap own;
    liballoc::heap_resource one(own), two(own), other;
    liballoc::heap_resource three = liballoc::heap_resource::borrow(own.get());
    liballoc::arena frame(1000);
    liballoc::arena_resource first(frame), second(frame);
    liballoc::pool objects(64, 10);
    counting upstream;
    liballoc::pool_resource left(objects), right(objects), apart(objects, &upstream);
#ifdef __cpp_rtti
    constexpr bool known = true;
#else
    constexpr bool known = false;
#endif
    CHECK(one == one && (one == two) == known && (one == three) == known);
    CHECK(one != other);
    CHECK((first == second) == known);
    CHECK((left == right) == known && left != apart);

    /* Moving between unequal resources copies: the strings outlive the other heap. */
    std::pmr::vector<std::pmr::string> kept(&one);
    {
        liballoc::heap_resource going;
        std::pmr::vector<std::pmr::string> made(&going);
        made.emplace_back("a string that does not lie in itself");
        kept = std::move(made);
    }
    CHECK(kept.at(0) == "a string that does not lie in itself");
    CHECK(own.owns(kept.at(0).data()));
}

} // namespace

int main() {
    the_allocator_serves_containers();
    owners_move();
    heaps_give_and_refuse();
    arenas_rewind();
    pools_give_and_refuse();
    resources_serve_containers();
    resources_are_equal();
    std::puts("ok");
}

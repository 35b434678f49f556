//! Explicit heaps: a program creates one, allocates from it on any thread, and destroys it with
//! every block in it. A heap of the ordinary kind stands behind each, whose owner is whoever holds
//! the explicit heap's lock; nothing else adopts it, steals from it or posts messages to it.
//!
//! Invariants. live blocks = allocations - frees. bytes_held = the bytes of all its slabs and of
//! the runs of its large blocks. Each of its slabs is in exactly one place: `current`, a list of
//! partial ones, the list `full` (`check`).
//!
//! Who may touch what: `lock` guards is_live, the counts, the heap's bins; the heap's own lock
//! (taken second) guards bytes_held, full, runs and what it guards in every heap.
//!
//! Destruction. A heap counts its generations, and a handle names one: what comes with the handle
//! of a heap that was destroyed finds out under the lock, for ever (48 bits).
//!
//! A free without a handle knows an address alone: one that begins when the memory has a new owner
//! is that owner's. From its first look at the map on it is safe as well. Entries carry, below the
//! class, the last five bits of the generation. The free reads the entry, the whole generation, and
//! the entry again; under the lock it acts only if the generation is the one it read and has the
//! bits of the entry. To be deceived it must be held up between the first two of these loads while
//! 32 times `explicit_waiting_min` heaps are created and destroyed and the same memory is cut for
//! the same class again.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const slabs = @import("slab");
const build_options = @import("build_options");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;
const space = region.space;
const slice = region.space.slice;
const SliceId = region.SliceId;
const heaps = @import("heap.zig");
const lookup = @import("lookup.zig");
const magazine = @import("magazine.zig");
const medium = @import("medium.zig");
const partial_slabs = @import("partial_slabs.zig");
const registry = @import("registry.zig");
const slow = @import("slow.zig");
const thread = @import("thread.zig");
const watched = @import("watched.zig");
const Block = medium.Block;
const Heap = heaps.Heap;

/// Bits of a map entry that no class uses: offsets of bins are multiples of a bin's size.
const generation_mask: u32 = @sizeOf(heaps.Bin) - 1;
const class_mask: u32 = heaps.bin_offset_mask & ~generation_mask;

/// What a program has of a heap: never 0, never of use after the heap was destroyed.
pub const Handle = packed struct(u64) { id: u16, generation: u48 };

pub const Explicit = extern struct {
    lock: os.Lock,
    is_live: bool,
    heap: *Heap,
    /// Heaps that stood here before. Stored with release under the lock; loaded with acquire by a
    /// free that has no lock yet, before it reads its block's entry again.
    generation: base.atomic.Value(u64),
    /// Destroyed ones, the longest first. Under `waiting_lock`.
    next: ?*Explicit,
    /// Bytes; 0: no limit. Constant while it lives.
    bytes_max: usize,
    bytes_held: usize,
    allocations: u64,
    frees: u64,
    bytes_in_use: u64,
    /// The first slab without a free block, and the first large block's run.
    full: SliceId,
    runs: SliceId,
    /// Under a memory checker: its blocks, see watched.zig.
    watched_first: usize,

    /// Whether this is the heap of the handle, and of use. Under the lock.
    pub fn isCurrent(explicit: *const Explicit, handle: Handle) bool {
        const generation: u48 = @truncate(explicit.generation.load(.monotonic)); // Under the lock.
        return explicit.is_live and generation == handle.generation and isWhole(explicit);
    }

    /// Whether so many bytes more are within the limit. Under the heap's lock.
    pub fn hasRoom(explicit: *const Explicit, bytes: usize) bool {
        if (explicit.bytes_max == 0) return true;
        return bytes <= explicit.bytes_max -| explicit.bytes_held;
    }

    /// A slab that has no free block left, or got one again. Under the heap's lock.
    pub fn addFull(explicit: *Explicit, id: SliceId) void {
        link(&explicit.full, id);
    }

    pub fn removeFull(explicit: *Explicit, id: SliceId) void {
        unlink(&explicit.full, id);
    }
};

/// One in the model, which then needs less to use an id again.
const waiting_min = if (base.atomic.modelled) 1 else t.explicit_waiting_min;

var waiting_lock: os.Lock = .{};
var waiting_first: ?*Explicit = null;
var waiting_last: ?*Explicit = null;
var waiting_count: u32 = 0;
/// Heaps ever made, and one whose making failed half-way. Under `waiting_lock`.
var made_count: u32 = 0;
var half_made: ?*Explicit = null;

/// Statistics of the process. monotonic.
pub var live_count: base.atomic.Value(u64) = .init(0);
pub var destroyed_count: base.atomic.Value(u64) = .init(0);
/// Blocks that were live when their heap was destroyed.
pub var dropped_blocks: base.atomic.Value(u64) = .init(0);
/// Frees that raced with the destruction of their block's heap, and did nothing.
pub var stale_frees: base.atomic.Value(u64) = .init(0);

fn count(statistic: *base.atomic.Value(u64), more: u64) void {
    _ = statistic.fetchAdd(more, .monotonic); // Orders nothing.
}

fn link(list: *SliceId, id: SliceId) void {
    slice(id).prev = 0;
    slice(id).next = list.*;
    if (list.* != 0) slice(list.*).prev = id;
    list.* = id;
}

fn unlink(list: *SliceId, id: SliceId) void {
    const prev = slice(id).prev;
    const next = slice(id).next;
    if (prev != 0) slice(prev).next = next else list.* = next;
    if (next != 0) slice(next).prev = prev;
}

/// Null when the system refuses memory, or there are `explicit_max` already.
pub noinline fn create(bytes_max: usize) ?Handle {
    const call = slow.Call.begin() orelse return null;
    defer call.end();
    const me = call.heap.id;
    const explicit = takeOrMake(me) orelse return null;
    explicit.lock.acquire(me);
    defer explicit.lock.release();
    explicit.bytes_max = bytes_max;
    explicit.allocations = 0;
    explicit.frees = 0;
    explicit.bytes_in_use = 0;
    explicit.is_live = true;
    count(&live_count, 1);
    return .{
        .id = @intCast(explicit.heap.id),
        .generation = @truncate(explicit.generation.load(.monotonic)), // Under the lock.
    };
}

/// The one that was destroyed first, when enough others wait behind it, or none can be made.
fn takeOrMake(me: u32) ?*Explicit {
    waiting_lock.acquire(me);
    defer waiting_lock.release();
    if (waiting_count >= waiting_min) if (takeWaiting()) |explicit| return explicit;
    return make(me) orelse takeWaiting();
}

fn make(me: u32) ?*Explicit {
    // Threads need ids too.
    if (made_count == t.explicit_max) return null;
    const explicit = half_made orelse blk: {
        const memory = region.arena.allocForever(@sizeOf(Explicit), me) orelse return null;
        break :blk @as(*Explicit, @ptrCast(memory));
    };
    half_made = explicit;
    explicit.heap = registry.createFor(explicit, me) orelse return null;
    half_made = null;
    made_count += 1;
    return explicit;
}

fn takeWaiting() ?*Explicit {
    while (waiting_first) |explicit| {
        waiting_first = explicit.next;
        if (waiting_first == null) waiting_last = null;
        waiting_count -= 1;
        explicit.next = null;
        // Torn while it waited, by a fork during a trim: left out for good.
        if (isWhole(explicit)) return explicit;
    }
    return null;
}

fn addWaiting(explicit: *Explicit, me: u32) void {
    waiting_lock.acquire(me);
    defer waiting_lock.release();
    if (waiting_last) |last| last.next = explicit else waiting_first = explicit;
    waiting_last = explicit;
    waiting_count += 1;
}

/// What stands behind a handle, of whatever generation; null: nothing ever did.
pub fn find(handle: Handle) ?*Explicit {
    const heap = registry.get(handle.id) orelse return null;
    return heap.cold.explicit;
}

/// The same with its lock held, in a slow call of the heap named `me`; null: it was destroyed, or
/// torn by a fork.
fn enter(handle: Handle, me: u32) ?*Explicit {
    const explicit = find(handle) orelse return null;
    explicit.lock.acquire(me);
    if (explicit.isCurrent(handle)) return explicit;
    explicit.lock.release();
    return null;
}

/// Frees every block; how many were live.
pub noinline fn destroy(handle: Handle) u64 {
    const explicit = find(handle) orelse refuseDestroy(handle);
    if (watched.isOn() and !watched.isAside() and isCurrentNow(explicit, handle)) {
        watched.freeAll(explicit);
    }
    const call = slow.Call.begin() orelse return 0;
    defer call.end();
    const me = call.heap.id;
    explicit.lock.acquire(me);
    const generation = explicit.generation.load(.monotonic); // Under the lock.
    if (!explicit.is_live or @as(u48, @truncate(generation)) != handle.generation) {
        refuseDestroy(handle);
    }
    const dropped = explicit.allocations - explicit.frees;
    const was_whole = isWhole(explicit);
    explicit.is_live = false;
    // Before the first slice can be another's.
    explicit.generation.store(generation + 1, .release);
    if (was_whole) clear(explicit);
    explicit.lock.release();
    _ = live_count.fetchSub(1, .monotonic); // A statistic.
    count(&destroyed_count, 1);
    count(&dropped_blocks, dropped);
    if (was_whole) addWaiting(explicit, me);
    region.run_allocator.purgeExcess(me);
    return dropped;
}

fn isCurrentNow(explicit: *Explicit, handle: Handle) bool {
    explicit.lock.acquire(thread.holder());
    defer explicit.lock.release();
    return explicit.isCurrent(handle);
}

fn refuseDestroy(handle: Handle) noreturn {
    @branchHint(.cold);
    os.report.misuse("alloc_heap_destroy", @as(u64, @bitCast(handle)), "no live heap");
}

/// Not torn by a fork.
fn isWhole(explicit: *const Explicit) bool {
    // Changes only in a child with one thread.
    return explicit.heap.state.load(.monotonic) != .set_aside;
}

/// All slabs and runs back. Under the explicit heap's lock.
fn clear(explicit: *Explicit) void {
    const heap = explicit.heap;
    magazine.discardAll(heap);
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    // As the generation, which has grown by one.
    heap.tag = heap.tag & ~@as(u64, generation_mask) | ((heap.tag + 1) & generation_mask);
    discardList(&explicit.full, heap);
    for (1..size_class.small_count + 1) |class| {
        if (heap.current[class] != 0) discard(heap.current[class], heap);
        heap.current[class] = 0;
        for (&heap.cold.partial[class]) |*list| discardList(list, heap);
    }
    while (explicit.runs != 0) {
        const id = explicit.runs;
        unlink(&explicit.runs, id);
        releaseRun(id, heap.id);
    }
    explicit.bytes_held = 0;
    heap.idle = 0;
    heap.small.blocks_returned = heap.small.blocks_taken;
    heap.small.bytes_returned = heap.small.bytes_taken;
    heap.large.blocks_returned = heap.large.blocks_taken;
    heap.large.bytes_returned = heap.large.bytes_taken;
}

fn discardList(list: *SliceId, heap: *Heap) void {
    while (list.* != 0) {
        const id = list.*;
        list.* = slice(id).next;
        discard(id, heap);
    }
}

fn discard(id: SliceId, heap: *Heap) void {
    const holes = slabs.holes.bytes(slice(id));
    if (holes != 0) region.run_allocator.forgetHoles(holes, heap.id);
    slabs.discard(id, heap.id);
}

fn releaseRun(id: SliceId, holder: u32) void {
    space.entry(id).store(0, .monotonic); // Nobody may hold the block any more.
    region.run_allocator.free(id, slice(id).length, false, holder);
}

/// A block of at least `size` bytes on a multiple of `alignment`, a power of two; none when the
/// heap's limit or the system refuses. Small ones are not zero.
pub noinline fn allocate(handle: Handle, size: usize, alignment: usize) Block {
    if (size > std.math.maxInt(isize) or alignment > std.math.maxInt(isize)) return .none;
    if (watched.isOn() and !watched.isAside()) {
        return .init(watched.allocateIn(handle, size, alignment), false);
    }
    const call = slow.Call.begin() orelse return .none;
    defer call.end();
    const explicit = enter(handle, call.heap.id) orelse return .none;
    defer explicit.lock.release();
    const block = allocateOnce(explicit, size, alignment);
    if (block != Block.none or explicit.bytes_max == 0) return block;
    // What is free in magazines and empty slabs counts against the limit.
    reclaim(explicit.heap);
    return allocateOnce(explicit, size, alignment);
}

fn reclaim(heap: *Heap) void {
    magazine.flushAll(heap);
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    partial_slabs.releaseEmpty(heap);
}

/// Under the explicit heap's lock.
fn allocateOnce(explicit: *Explicit, size: usize, alignment: usize) Block {
    const is_small = alignment <= t.slice_size and size <= t.small_size_max and
        size_class.alignedSize(size, alignment) <= t.small_size_max;
    if (!is_small) return allocateRun(explicit, size, alignment);
    const class = size_class.classOf(size_class.alignedSize(size, alignment));
    const block = slow.takeSmall(explicit.heap, class);
    if (block == 0) return .none;
    explicit.allocations += 1;
    explicit.bytes_in_use += size_class.sizes[class];
    return .init(block, false);
}

fn allocateRun(explicit: *Explicit, size: usize, alignment: usize) Block {
    const heap = explicit.heap;
    const slices = medium.slicesOf(size) orelse return .none;
    const bytes = @as(usize, slices) << t.slice_shift;
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    if (!explicit.hasRoom(bytes)) return .none;
    const slices_aligned = std.math.cast(u32, alignment >> t.slice_shift) orelse return .none;
    const run = if (slices_aligned <= 1)
        region.run_allocator.alloc(slices, heap.id)
    else
        region.run_allocator.allocAligned(slices, slices_aligned, heap.id);
    if (run.isNone()) return .none;
    explicit.bytes_held += bytes;
    link(&explicit.runs, run.first);
    space.entry(run.first).store(heap.entryOf(0), .monotonic); // As in slab.create.
    explicit.allocations += 1;
    explicit.bytes_in_use += bytes;
    heap.large.blocks_taken += 1;
    heap.large.bytes_taken += bytes;
    return .init(space.address(run.first), run.zero);
}

/// The heap that a map entry names, if that is an explicit one.
pub inline fn ownerOf(entry: u32) ?*Heap {
    const heap = registry.get(heaps.ownerOfEntry(entry)) orelse return null;
    return if (heap.cold.explicit != null) heap else null;
}

/// Frees a block whose map entry, when the free began, was `entry`. In a slow call of the heap
/// named `me`.
pub noinline fn free(heap: *Heap, pointer: usize, entry: u32, function: []const u8, me: u32) void {
    const explicit = heap.cold.explicit.?;
    const id = space.find(pointer).?;
    const generation = explicit.generation.load(.acquire); // See the top.
    const unchanged = space.entry(id).load(.monotonic) == entry; // After the generation: acquire.
    explicit.lock.acquire(me);
    defer explicit.lock.release();
    const now = explicit.generation.load(.monotonic); // Under the lock.
    if (now != generation or entry & generation_mask != heap.tag & generation_mask or
        !isWhole(explicit))
    {
        // Destroyed since: whatever lies there now is not what was to be freed.
        return count(&stale_frees, 1);
    }
    // Stable under the lock if the block is live: its slab or run then stays.
    if (!unchanged or space.entry(id).load(.monotonic) != entry) {
        os.report.misuse(function, pointer, "double free");
    }
    freeIn(explicit, pointer, id, entry, function);
}

/// Frees a block of this heap; false: it is not of this heap. Does nothing when the heap was
/// destroyed.
pub noinline fn freeOf(handle: Handle, pointer: usize, function: []const u8) bool {
    const call = slow.Call.begin() orelse return false;
    defer call.end();
    // Before anything else: with an old handle nothing at all is freed.
    const explicit = enter(handle, call.heap.id) orelse {
        count(&stale_frees, 1);
        return true;
    };
    defer explicit.lock.release();
    if (watched.isOn() and !watched.isAside()) return false;
    const id = space.find(pointer) orelse return false;
    const entry = space.entry(id).load(.monotonic); // Stable under the lock if it is this heap's.
    if (pointer % 16 != 0 or !isOf(explicit, entry)) return false;
    freeIn(explicit, pointer, id, entry, function);
    return true;
}

fn isOf(explicit: *const Explicit, entry: u32) bool {
    const tag: u32 = @truncate(explicit.heap.tag);
    return (entry ^ tag) & ~class_mask == 0;
}

/// Under the lock.
fn freeIn(
    explicit: *Explicit,
    pointer: usize,
    id: SliceId,
    entry: u32,
    function: []const u8,
) void {
    const heap = explicit.heap;
    const class = heaps.classOfEntry(entry);
    if (class == 0) {
        freeRun(explicit, id, pointer, function);
    } else {
        if (build_options.checks) lookup.checkBlock(function, pointer, id, entry);
        slow.putSmall(heap, pointer, entry, function);
        explicit.bytes_in_use -= size_class.sizes[class];
    }
    explicit.frees += 1;
}

fn freeRun(explicit: *Explicit, id: SliceId, pointer: usize, function: []const u8) void {
    if (space.address(id) != pointer) os.report.misuse(function, pointer, "interior pointer");
    const heap = explicit.heap;
    const bytes = @as(usize, slice(id).length) << t.slice_shift;
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    unlink(&explicit.runs, id);
    explicit.bytes_held -= bytes;
    explicit.bytes_in_use -= bytes;
    heap.large.blocks_returned += 1;
    heap.large.bytes_returned += bytes;
    releaseRun(id, heap.id);
}

/// Grows or shrinks a block above the small ones where it is, to a size above the small ones.
/// False: it is not such a block of this heap, or its neighbour or the limit is in the way.
pub noinline fn resizeInPlace(handle: Handle, pointer: usize, size: usize) bool {
    if (size <= t.small_size_max or watched.isOn()) return false;
    const slices_new = medium.slicesOf(size) orelse return false;
    const call = slow.Call.begin() orelse return false;
    defer call.end();
    const explicit = enter(handle, call.heap.id) orelse return false;
    defer explicit.lock.release();
    const heap = explicit.heap;
    const id = space.find(pointer) orelse return false;
    const entry = heap.entryOf(0);
    if (space.entry(id).load(.monotonic) != entry) return false; // Stable: the caller's block.
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    const slices = slice(id).length;
    const bytes = @as(usize, slices) << t.slice_shift;
    const bytes_new = @as(usize, slices_new) << t.slice_shift;
    if (!explicit.hasRoom(bytes_new -| bytes)) return false;
    if (!region.run_allocator.resize(id, slices, slices_new, entry, heap.id)) return false;
    explicit.bytes_held = explicit.bytes_held - bytes + bytes_new;
    explicit.bytes_in_use = explicit.bytes_in_use - bytes + bytes_new;
    heap.large.bytes_taken += bytes_new -| bytes;
    heap.large.bytes_returned += bytes -| bytes_new;
    return true;
}

/// Whether an address lies in memory of this heap: any value may be asked for.
pub fn owns(handle: Handle, pointer: usize) bool {
    const explicit = find(handle) orelse return false;
    if (watched.isOn() and !watched.isAside()) return watched.heapOf(pointer) == explicit;
    if (@as(u48, @truncate(explicit.generation.load(.acquire))) != handle.generation) return false;
    const start = space.find(pointer) orelse return false;
    var id = start;
    // Of a large block only the first slice has an entry. Another's entry ends the walk.
    while (space.indexOf(id) > 0) : (id -= 1) {
        const entry = space.entry(id).load(.monotonic); // Stable while the block lives.
        if (entry == 0) continue;
        return isOf(explicit, entry) and id + lookup.lengthOfRun(id) > start;
    }
    return false;
}

/// alloc_heap_stats_t. Grows at its end only.
pub const Statistics = extern struct {
    live_blocks: u64,
    bytes_in_use: u64,
    bytes_held: u64,
    bytes_max: u64,
    allocations: u64,
    frees: u64,
};

/// Null: the heap was destroyed, or lost by a fork.
pub noinline fn statistics(handle: Handle) ?Statistics {
    const call = slow.Call.begin() orelse return null;
    defer call.end();
    const explicit = enter(handle, call.heap.id) orelse return null;
    defer explicit.lock.release();
    explicit.heap.lock.acquire(explicit.heap.id); // A trim by another thread changes what is held.
    defer explicit.heap.lock.release();
    return .{
        .live_blocks = explicit.allocations - explicit.frees,
        .bytes_in_use = explicit.bytes_in_use,
        .bytes_held = explicit.bytes_held,
        .bytes_max = explicit.bytes_max,
        .allocations = explicit.allocations,
        .frees = explicit.frees,
    };
}

/// In a child after fork, which has one thread.
pub fn repairAfterFork(survivor: u32) void {
    if (!isLost(&waiting_lock, survivor)) return;
    // The list may be torn: what waits in it, or was being made, is not used again.
    half_made = null;
    waiting_first = null;
    waiting_last = null;
    waiting_count = 0;
    waiting_lock.reset();
}

/// The same for one heap: torn, and set aside, if it was in the hands of a thread that does not
/// exist here.
pub fn repairOneAfterFork(heap: *Heap, survivor: u32) void {
    const explicit = heap.cold.explicit.?;
    const inner = heap.lock.holderLost(survivor);
    const outer = isLost(&explicit.lock, survivor);
    if (inner) heap.lock.reset();
    if (outer) explicit.lock.reset();
    if (inner or outer) heap.state.store(.set_aside, .monotonic); // One thread.
}

/// A thread holds these locks by the id of its heap, or by its address where it has none.
fn isLost(lock: *const os.Lock, survivor: u32) bool {
    return lock.holderLost(survivor) and lock.holderLost(thread.holder());
}

/// Every slab in one place, and the sum of what is held. For tests, in a slow call.
pub fn check(handle: Handle) void {
    const call = slow.Call.begin() orelse return;
    defer call.end();
    const explicit = enter(handle, call.heap.id).?;
    defer explicit.lock.release();
    const heap = explicit.heap;
    magazine.check(heap);
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    partial_slabs.check(heap);
    var held: usize = 0;
    var id = explicit.full;
    while (id != 0) : (id = slice(id).next) {
        assert(slice(id).slab_state == .full);
        assert(slice(id).free_count == 0);
        slabs.check(id);
        held += bytesOf(id);
    }
    for (1..size_class.small_count + 1) |class| {
        if (heap.current[class] != 0) held += bytesOf(heap.current[class]);
        for (heap.cold.partial[class]) |first| {
            id = first;
            while (id != 0) : (id = slice(id).next) held += bytesOf(id);
        }
    }
    id = explicit.runs;
    while (id != 0) : (id = slice(id).next) held += @as(usize, slice(id).length) << t.slice_shift;
    assert(held == explicit.bytes_held);
}

fn bytesOf(id: SliceId) usize {
    return size_class.geometry[slice(id).class].slices << t.slice_shift;
}

comptime {
    assert(@sizeOf(Handle) == @sizeOf(usize));
    assert(t.heaps_max <= 1 << 16);
    assert(generation_mask == 31);
    for (0..size_class.count) |class| assert(class * @sizeOf(heaps.Bin) & generation_mask == 0);
}

test {
    _ = @import("explicit_test.zig");
}

//! Magazines: refilled from slabs when empty, flushed to slabs when full, grown on demand. Only
//! the owner of the heap, in its slow path (heap.busy is set).
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const slabs = @import("slab");
const t = base.tunables;
const assert = base.assert;
const assertExpensive = base.assertExpensive;
const size_class = base.size_class;
const space = region.space;
const heaps = @import("heap.zig");
const partial_slabs = @import("partial_slabs.zig");
const registry = @import("registry.zig");
const remote_free = @import("remote_free.zig");
const Heap = heaps.Heap;
const Bin = heaps.Bin;

pub inline fn count(bin: *const Bin) u32 {
    return @intCast(bin.top - bin.base);
}

/// Doubles the slots of a magazine (the first time: makes them). False when it is as large as it
/// may be, or the system refuses memory. This may move the array: only where no hit path of the
/// same class can have been interrupted, when the bin has no slots yet or is full on a free.
pub noinline fn grow(heap: *Heap, class: u32) bool {
    // Without slots every call goes slow.
    if (os.checker.isWatching()) return false;
    const bin = heap.bin(class);
    if (growInPlace(bin)) return true;
    const capacity_max = size_class.geometry[class].slots_max;
    if (bin.capacity >= capacity_max) return false;
    // Powers of two with the sentinel, so that the arena's blocks are used to the end.
    const slots_old: u32 = @as(u32, bin.room) + 1;
    const slots = if (bin.room == 0) firstSlots(capacity_max) else slots_old * 2;
    const memory = region.arena.alloc(slots * @sizeOf(usize), heap.id) orelse return false;
    const array: [*]usize = @ptrCast(memory);
    array[0] = 0;
    const old_base = bin.base;
    const old_room = bin.room;
    const filled = count(bin);
    // Empty first, then full: a handler in between finds nothing to take and no room.
    bin.top = old_base;
    base.compilerBarrier();
    bin.limit = old_base;
    base.compilerBarrier();
    @memcpy(array[1 .. 1 + filled], old_base[0..filled]);
    bin.room = @intCast(@min(slots - 1, capacity_max));
    bin.capacity = if (old_room == 0) @min(bin.room, t.magazine_slots_start - 1) else bin.room;
    bin.base = array + 1;
    base.compilerBarrier();
    bin.limit = bin.base + bin.capacity;
    base.compilerBarrier();
    bin.top = bin.base + filled;
    heap.used_bins[class / 64] |= @as(u64, 1) << @intCast(class % 64);
    if (old_room != 0) {
        const old: [*]align(64) u8 = @ptrCast(@alignCast(old_base - 1));
        region.arena.free(old, slots_old * @sizeOf(usize), heap.id);
    }
    return true;
}

/// Slots of the first array, the sentinel included.
fn firstSlots(capacity_max: u32) u32 {
    const wanted = @min(capacity_max + 1, t.magazine_slots_easy);
    return std.math.ceilPowerOfTwoAssert(u32, @max(wanted, t.magazine_slots_start));
}

/// Raises the limit within the array. Nothing moves: safe whatever was interrupted.
pub fn growInPlace(bin: *Bin) bool {
    if (bin.capacity >= bin.room) return false;
    bin.capacity = @min(bin.capacity * 2 + 1, bin.room);
    bin.limit = bin.base + bin.capacity;
    return true;
}

/// How many blocks a refill asks for: half of a grown magazine, so that frees find room.
fn wantedOf(bin: *const Bin) u32 {
    const capacity: u32 = bin.capacity;
    const most = @min(capacity, t.refill_blocks_max);
    if (capacity > 15) return @min(most, capacity / 2);
    return @max(most, 1);
}

/// Fills an empty magazine of a small class and takes one block; 0 when the system refuses.
pub fn refill(heap: *Heap, class: u32) usize {
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    const bin = heap.bin(class);
    if (!heap.inbox.isEmpty()) {
        remote_free.drain(heap, heap, t.drain_messages_max, true);
        if (bin.top != bin.base) return popOne(bin);
    }
    var single: [1]usize = undefined;
    if (bin.capacity == 0 and !grow(heap, class)) {
        // No memory for slots: serve this one block without a magazine.
        if (collect(heap, class, &single, 1) == 0) return 0;
        return single[0];
    }
    bin.refilled = true;
    bin.refills += 1;
    if (bin.refills == t.refills_per_growth) {
        bin.refills = 0;
        _ = growInPlace(bin);
    }
    // Gathered apart: a handler's free may use the magazine meanwhile.
    var gathered: [t.refill_blocks_max]usize = undefined;
    const wanted = wantedOf(bin);
    const got = collect(heap, class, &gathered, wanted);
    if (got == 0) return 0;
    // Lowest address on top: it is handed out first.
    const room: u32 = if (bin.isFull()) 0 else @intCast(bin.limit - bin.top);
    const kept = @min(got - 1, room);
    for (0..kept) |index| bin.top[index] = gathered[got - 1 - index];
    base.compilerBarrier();
    bin.top += kept;
    for (gathered[1 .. got - kept]) |block| {
        partial_slabs.put(heap, .of(class), space.placeOf(block).?, block);
    }
    partial_slabs.countReturned(heap, class, got - 1 - kept);
    return gathered[0];
}

fn popOne(bin: *Bin) usize {
    const block = (bin.top - 1)[0];
    bin.top -= 1;
    return block;
}

/// Takes up to `wanted` blocks from the heap's slabs: the current one, the fullest partial ones,
/// one stolen from an orphan, a fresh one. Under the lock.
fn collect(heap: *Heap, class: u32, slots: [*]usize, wanted: u32) u32 {
    var got: u32 = 0;
    while (got < wanted) {
        const id = heap.current[class];
        if (id == 0 or space.slice(id).free_count == 0) {
            const next = nextSlab(heap, class, got, wanted);
            if (next == 0) break;
            partial_slabs.setCurrent(heap, class, next);
            continue;
        }
        got += partial_slabs.take(heap, id, slots + got, wanted - got);
    }
    return got;
}

fn nextSlab(heap: *Heap, class: u32, got: u32, wanted: u32) region.SliceId {
    const partial = partial_slabs.takeFullest(heap, class);
    if (partial != 0) return partial;
    // A quarter is enough reason not to open a fresh slab.
    if (got * 4 >= wanted) return 0;
    const stolen = registry.steal(heap, class);
    if (stolen != 0) return stolen;
    return partial_slabs.create(heap, class);
}

/// Makes room in a full magazine: grows it when there was a refill since the last overflow, else
/// gives its oldest blocks back to their slabs.
pub noinline fn makeRoom(heap: *Heap, class: u32) void {
    const bin = heap.bin(class);
    if (!heap.inbox.isEmpty()) {
        heap.lock.acquire(heap.id);
        remote_free.drain(heap, heap, t.drain_messages_max, false);
        heap.lock.release();
    }
    const may_grow = bin.capacity == 0 or bin.refilled;
    bin.refilled = false;
    if (bin.shrinkings != heap.shrinkings and bin.isFull() and bin.capacity != 0) {
        return shrink(heap, class);
    }
    if (may_grow and grow(heap, class)) return;
    if (bin.capacity == 0) return; // No slots to be had: the caller sees that there is no room.
    const capacity: u32 = bin.capacity;
    const share = @max(capacity / t.flush_share, t.flush_blocks_min);
    flush(heap, class, @min((capacity + 1) / 2, share, t.flush_blocks_max));
}

/// Gives the oldest `blocks` of a magazine back to their slabs (at most flush_blocks_max).
pub noinline fn flush(heap: *Heap, class: u32, blocks: u32) void {
    const bin = heap.bin(class);
    const filled = count(bin);
    const leaving = @min(blocks, filled);
    assert(leaving <= t.flush_blocks_max);
    var gone: [t.flush_blocks_max]usize = undefined;
    @memcpy(gone[0..leaving], bin.base[0..leaving]);
    @memmove(bin.base[0 .. filled - leaving], bin.base[leaving..filled]);
    base.compilerBarrier();
    bin.top -= leaving;
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    const entry = heap.entryOf(class);
    putBack(heap, class, gone[0..leaving], entry);
}

/// Blocks of one class to their slabs' bits; the slice map still must say that they are this
/// heap's. Under the lock.
pub inline fn putBack(heap: *Heap, class: u32, blocks: []const usize, entry: u32) void {
    const finder: slabs.Finder = .init();
    const shape: slabs.Shape = .of(class);
    for (blocks) |block| {
        const place = finder.find(block) orelse
            os.report.misuse("free", block, "foreign pointer");
        // Own entries: a thief changes only those of orphans.
        if (place.entry != entry) os.report.misuse("free", block, "double free");
        partial_slabs.put(heap, shape, place, block);
    }
    partial_slabs.countReturned(heap, class, @intCast(blocks.len));
}

/// Called when memory is about to return to the system. When what is live has halved, the small
/// magazines are to shrink, each at its next overflow: their blocks may be all that keeps many
/// slabs. Not before: in a magazine of another class than that of the slow call a hit path may be
/// interrupted, which would then store its stale `top`.
pub fn noteShrinking(heap: *Heap) void {
    const live = region.run_allocator.liveBytes();
    if (live > heap.live_seen) heap.live_seen = live;
    if (live > heap.live_seen / 2 or heap.live_seen < t.shrink_live_min) return;
    heap.live_seen = live;
    heap.shrinkings +%= 1;
}

/// A full magazine on its way to few slots: emptied, in as many overflows as its blocks take.
noinline fn shrink(heap: *Heap, class: u32) void {
    @branchHint(.cold);
    const bin = heap.bin(class);
    flush(heap, class, t.flush_blocks_max);
    const left = count(bin);
    bin.capacity = @intCast(@max(left, @min(bin.capacity, t.magazine_slots_shrunk)));
    bin.limit = bin.base + bin.capacity;
    if (left != 0) return;
    bin.shrinkings = heap.shrinkings;
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    partial_slabs.demoteCurrent(heap, class);
}

/// Empties every magazine (medium runs excepted). For exit and trim.
pub noinline fn flushAll(heap: *Heap) void {
    for (1..size_class.small_count + 1) |class| {
        while (count(heap.bin(@intCast(class))) > 0) {
            flush(heap, @intCast(class), t.flush_blocks_max);
        }
    }
}

/// base <= top <= base + capacity <= base + room, a 0 before the first slot; the blocks of a
/// magazine are of its class, and the heap's own. The limit is behind the capacity, or at the base
/// when a medium magazine is closed. Only the owner, in a slow call.
pub fn check(heap: *Heap) void {
    for (1..size_class.count) |index| {
        const class: u32 = @intCast(index);
        const bin = heap.bin(class);
        assert((bin.base - 1)[0] == 0);
        assert(@intFromPtr(bin.top) >= @intFromPtr(bin.base));
        const filled = count(bin);
        assert(filled <= bin.capacity);
        assert(bin.capacity <= bin.room);
        const is_closed = class > size_class.small_count and bin.limit == bin.base;
        assert(is_closed or bin.limit == bin.base + bin.capacity);
        if (bin.room != 0) assert(heap.used_bins[class / 64] >> @intCast(class % 64) & 1 == 1);
        for (bin.base[0..filled]) |block| {
            assert(block % 16 == 0);
            assertExpensive(space.placeOf(block).?.entry == heap.entryOf(class));
        }
    }
}

test "sentinel bins are empty" {
    for (heaps.sentinelOf(.empty).bins) |bin| {
        try std.testing.expectEqual(@as(usize, 0), (bin.top - 1)[0]);
    }
}

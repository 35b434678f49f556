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
const assertHardened = base.assertHardened;
const size_class = base.size_class;
const space = region.space;
const heaps = @import("heap.zig");
const partial_slabs = @import("partial_slabs.zig");
const registry = @import("registry.zig");
const remote_free = @import("remote_free.zig");
const shared_pages = @import("shared_pages.zig");
const Heap = heaps.Heap;
const Bin = heaps.Bin;

pub inline fn count(bin: *const Bin) u32 {
    return @intCast(bin.top - bin.base);
}

/// Slots below the window.
inline fn lead(bin: *const Bin) u32 {
    return @as(u32, bin.steps) * t.window_step;
}

/// Slots that a magazine with such an array may use at once: what is left lets the window move.
fn capacityOf(room: u32, capacity_max: u32) u32 {
    if (room < t.window_room_min) return @min(room, capacity_max);
    return @min(room - room / t.window_share, capacity_max);
}

/// Doubles the slots of a magazine (the first time: makes them). False when it is as large as it
/// may be, or the system refuses memory. This may move the array: only where no hit path of the
/// same class can have been interrupted, when the bin has no slots yet or is full on a free.
pub noinline fn grow(heap: *Heap, class: u32) bool {
    // Without slots every call goes slow.
    if (os.checker.isWatching()) return false;
    const bin = heap.bin(class);
    const capacity_max = capacityMax(heap, class);
    if (bin.capacity >= capacity_max) return false;
    // Not another array for a few slots.
    const fits = bin.capacity < capacityOf(bin.room, capacity_max);
    if (!fits and bin.capacity + bin.capacity / 4 > capacity_max) return false;
    // What the window has left behind is room too: without it a magazine that has shrunk would get
    // ever larger arrays.
    if (bin.steps != 0) moveDown(bin, 0);
    if (growInPlace(heap, class)) return true;
    // Powers of two with the sentinel, so that the arena's blocks are used to the end.
    const slots_old: u32 = @as(u32, bin.room) + 1;
    const slots = if (bin.room == 0) firstSlots(capacity_max) else slots_old * 2;
    assertHardened(slots <= t.magazine_slots_max);
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
    const old_array = old_base - 1 - lead(bin);
    @memcpy(array[1 .. 1 + filled], old_base[0..filled]);
    bin.room = @intCast(slots - 1);
    const capacity = capacityOf(bin.room, capacity_max);
    const at_first = if (old_room == 0) t.magazine_slots_start - 1 else capacity;
    setCapacity(heap, class, @min(capacity, at_first));
    bin.steps = 0;
    bin.base = array + 1;
    base.compilerBarrier();
    bin.limit = bin.base + bin.capacity;
    base.compilerBarrier();
    bin.top = bin.base + filled;
    heap.used_bins[class / 64] |= @as(u64, 1) << @intCast(class % 64);
    if (old_room != 0) {
        const old: [*]align(64) u8 = @ptrCast(@alignCast(old_array));
        region.arena.free(old, slots_old * @sizeOf(usize), heap.id);
    }
    return true;
}

/// Slots of the first array, the sentinel included.
fn firstSlots(capacity_max: u32) u32 {
    const wanted = @min(capacity_max + 1, t.magazine_slots_easy);
    return std.math.ceilPowerOfTwoAssert(u32, @max(wanted, t.magazine_slots_start));
}

/// Slots above the number that every magazine of the class may have.
fn extensionOf(bin: *const Bin, class: u32) u32 {
    return @as(u32, bin.capacity) -| size_class.geometry[class].slots_max;
}

/// Slots that the magazine may grow to now.
fn capacityMax(heap: *const Heap, class: u32) u32 {
    const g = &size_class.geometry[class];
    const left = (t.magazines_extension_max -| heap.extension) / size_class.sizes[class];
    return @min(g.slots_max + extensionOf(&heap.bins[class], class) + left, g.slots_extended);
}

fn setCapacity(heap: *Heap, class: u32, capacity: u32) void {
    const bin = heap.bin(class);
    heap.extension -= extensionOf(bin, class) * size_class.sizes[class];
    bin.capacity = @intCast(capacity);
    heap.extension += extensionOf(bin, class) * size_class.sizes[class];
}

/// Raises the limit within the array. Nothing moves: safe whatever was interrupted.
pub fn growInPlace(heap: *Heap, class: u32) bool {
    const bin = heap.bin(class);
    const most = @min(capacityOf(bin.room, capacityMax(heap, class)), bin.room - lead(bin));
    if (bin.capacity >= most) return false;
    setCapacity(heap, class, @min(@as(u32, bin.capacity) * 2 + 1, most));
    bin.limit = bin.base + bin.capacity;
    return true;
}

/// Where the count of refills goes back, by one growth: it says whether there were some, and which
/// is the next that grows the magazine.
const refills_most = 255 - 255 % t.refills_per_growth;

/// How many blocks a refill asks for, or a flush gives back: few at first, more when it was the
/// same before (`times` since the other kind).
fn blocksOf(times: u8) u32 {
    return @as(u32, t.batch_blocks_min) << @intCast(@min(times -| 1, t.batch_doublings_max));
}

/// At most half of a grown magazine, so that frees find room.
fn wantedOf(bin: *const Bin) u32 {
    const capacity: u32 = bin.capacity;
    const most = @min(capacity, blocksOf(bin.refills));
    if (capacity > 15) return @min(most, capacity / 2);
    return @max(most, 1);
}

/// Fills an empty magazine of a small class and takes one block; 0 when the system refuses.
pub fn refill(heap: *Heap, class: u32) usize {
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    const bin = heap.bin(class);
    shared_pages.outgrow(heap, class);
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
    bin.overflows = 0;
    if (bin.refills == refills_most) bin.refills -= t.refills_per_growth;
    bin.refills += 1;
    if (bin.refills % t.refills_per_growth == 0) _ = growInPlace(heap, class);
    // Gathered apart: a handler's free may use the magazine meanwhile.
    var gathered: [t.batch_blocks_max]usize = undefined;
    const wanted = wantedOf(bin);
    const got = collect(heap, class, &gathered, wanted);
    if (got == 0) return 0;
    // Lowest address on top: it is handed out first.
    const room: u32 = if (bin.isFull()) 0 else @intCast(bin.limit - bin.top);
    const kept = @min(got - 1, room);
    for (0..kept) |index| bin.top[index] = gathered[got - 1 - index];
    base.compilerBarrier();
    bin.top += kept;
    putBack(heap, class, gathered[1 .. got - kept], heap.entryOf(class));
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
    // Blocks of a stolen slab would go with an explicit heap that is destroyed.
    const stolen = if (heap.cold.explicit == null) registry.steal(heap, class) else 0;
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
    const may_grow = bin.capacity == 0 or bin.refills != 0;
    bin.refills = 0;
    bin.overflows +|= 1;
    if (bin.shrinkings != heap.shrinkings and bin.isFull() and bin.capacity != 0) {
        return shrink(heap, class);
    }
    if (may_grow and grow(heap, class)) return;
    if (bin.capacity == 0) return; // No slots to be had: the caller sees that there is no room.
    flush(heap, class, @min((@as(u32, bin.capacity) + 1) / 2, blocksOf(bin.overflows)));
}

/// Gives the oldest `blocks` of a magazine back to their slabs (at most batch_blocks_max).
pub noinline fn flush(heap: *Heap, class: u32, blocks: u32) void {
    const bin = heap.bin(class);
    const filled = count(bin);
    const leaving = @min(blocks, filled);
    assert(leaving <= t.batch_blocks_max);
    var gone: [t.batch_blocks_max]usize = undefined;
    @memcpy(gone[0..leaving], bin.base[0..leaving]);
    if (!moveWindow(bin, leaving)) moveDown(bin, leaving);
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    const entry = heap.entryOf(class);
    putBack(heap, class, gone[0..leaving], entry);
    noteReturned(heap);
}

/// Lets the oldest blocks go by moving the window up: what stays is not moved. False when that is
/// no number of steps, or the array ends before it would.
fn moveWindow(bin: *Bin, leaving: u32) bool {
    if (bin.room < t.window_room_min or leaving % t.window_step != 0) return false;
    if (lead(bin) + leaving + bin.capacity > bin.room or leaving == 0) return false;
    // The new sentinel first: a slot of those that leave.
    (bin.base + leaving - 1)[0] = 0;
    base.compilerBarrier();
    bin.limit += leaving;
    bin.base += leaving;
    bin.steps += @intCast(leaving / t.window_step);
    return true;
}

/// The same by moving what stays to the array's beginning.
fn moveDown(bin: *Bin, leaving: u32) void {
    const stays = bin.base[leaving..count(bin)];
    const begin = bin.base - lead(bin);
    @memmove(begin[0..stays.len], stays);
    base.compilerBarrier();
    bin.top = begin + stays.len;
    base.compilerBarrier();
    bin.base = begin;
    bin.steps = 0;
    bin.limit = begin + bin.capacity;
}

/// Blocks of one class to their slabs' bits; the slice map still must say that they are this
/// heap's. Under the lock.
pub inline fn putBack(heap: *Heap, class: u32, blocks: []const usize, entry: u32) void {
    const finder: slabs.Finder = .init();
    const shape: slabs.Shape = .of(class);
    for (blocks) |block| finder.prefetch(block);
    var done: usize = 0;
    while (done < blocks.len) {
        const block = blocks[done];
        const place = finder.find(block) orelse
            os.report.misuse("free", block, "foreign pointer");
        // Own entries: a thief changes only those of orphans.
        if (place.entry != entry) os.report.misuse("free", block, "double free");
        done += partial_slabs.put(heap, shape, place, blocks[done..]);
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
    shrinkAll(heap, t.magazine_slots_shrunk);
}

/// The same when what the heap's slabs have handed out has halved: freed in random order it leaves
/// whole slabs, and so less of what `noteShrinking` looks at, only at the very end. Under the lock.
fn noteReturned(heap: *Heap) void {
    // What was taken of an orphan's slab is returned to who adopts it.
    const out: usize = @intCast(heap.small.bytes_taken -| heap.small.bytes_returned);
    if (out > heap.out_seen) heap.out_seen = out;
    if (out > heap.out_seen / 2 or heap.out_seen < t.shrink_live_min) return;
    heap.out_seen = out;
    shrinkAll(heap, t.magazine_slots_returned);
}

fn shrinkAll(heap: *Heap, slots: u8) void {
    heap.slots_shrunk = slots;
    heap.shrinkings +%= 1;
}

/// A full magazine on its way to few slots: emptied, in as many overflows as its blocks take.
noinline fn shrink(heap: *Heap, class: u32) void {
    @branchHint(.cold);
    const bin = heap.bin(class);
    flush(heap, class, t.batch_blocks_max);
    const left = count(bin);
    setCapacity(heap, class, @max(left, @min(bin.capacity, heap.slots_shrunk)));
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
            flush(heap, @intCast(class), t.batch_blocks_max);
        }
    }
}

/// Forgets what is in the magazines and gives their arrays back. For an explicit heap that is
/// destroyed.
pub noinline fn discardAll(heap: *Heap) void {
    for (1..size_class.small_count + 1) |class| {
        const bin = heap.bin(@intCast(class));
        const room: u32 = bin.room;
        const array = bin.base - 1 - lead(bin);
        bin.* = heaps.emptyBin();
        if (room == 0) continue;
        const memory: [*]align(64) u8 = @ptrCast(@alignCast(array));
        region.arena.free(memory, (room + 1) * @sizeOf(usize), heap.id);
    }
    heap.extension = 0;
    heap.used_bins = @splat(0);
}

/// base <= top <= base + capacity <= end of the array, a 0 before the first slot; the blocks of a
/// magazine are of its class, and the heap's own. The limit is behind the capacity, or at the base
/// when a medium magazine is closed. Only the owner, in a slow call.
pub fn check(heap: *Heap) void {
    var extension: u32 = 0;
    defer assert(extension == heap.extension);
    for (1..size_class.count) |index| {
        const class: u32 = @intCast(index);
        const bin = heap.bin(class);
        assert((bin.base - 1)[0] == 0);
        assert(@intFromPtr(bin.top) >= @intFromPtr(bin.base));
        const filled = count(bin);
        assert(filled <= bin.capacity);
        extension += extensionOf(bin, class) * size_class.sizes[class];
        assert(lead(bin) + bin.capacity <= bin.room);
        assert(bin.room < t.magazine_slots_max);
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

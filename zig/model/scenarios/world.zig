//! What the heap scenarios share: threads with heaps and blocks to begin with, and the account at
//! the end: where every block is, and that it is in exactly one place.
const std = @import("std");
const model = @import("model");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const slabs = @import("slab");
const heaps = @import("heap");
const t = base.tunables;
const Heap = heaps.Heap;
const space = region.space;

/// The size of all blocks here.
pub const size = 1024;
pub const class = base.size_class.classOf(size);

/// Blocks under account: freed by some thread of the scenario, or taken by one.
var known: [64]usize = undefined;
var known_count: u32 = 0;
/// Blocks in the hands of the scenario's threads at the end.
pub var held: [16]usize = @splat(0);

/// Gives a thread its heap. Nothing depends on the time of day.
pub fn enter(thread: u32) *Heap {
    region.purge.decay_ms = -1;
    model.become(thread);
    if (heaps.current().isSentinel()) take(1);
    return heaps.current();
}

/// The thread allocates so many blocks and frees them: its magazine has slots.
fn take(blocks: u32) void {
    var list: [8]usize = undefined;
    for (list[0..blocks]) |*block| block.* = allocate();
    for (list[0..blocks]) |block| release(block);
}

pub fn allocate() usize {
    const block = heaps.allocate(size);
    return if (block == 0) model.fail("no memory") else block;
}

/// As free().
pub fn release(block: usize) void {
    var entry: u32 = 0;
    switch (heaps.freeFast(block, &entry)) {
        .done => {},
        .foreign_owner => heaps.slow.freeForeignOwner(block, entry, "free"),
        .slow => if (!heaps.slow.free(block, "free")) model.fail("our own block is foreign"),
    }
}

/// A block of the current thread that the account follows.
pub fn watched() usize {
    const block = allocate();
    watch(block);
    return block;
}

pub fn watch(block: usize) void {
    known[known_count] = block;
    known_count += 1;
}

/// The next slow call of this heap's thread posts what it has collected.
pub fn postNext(heap: *Heap) void {
    heap.ticks = t.post_period - 1;
}

/// Empties the magazine of the class: the next allocation is a refill, which drains the inbox.
pub fn emptyMagazine(heap: *Heap) void {
    while (heap.bin(class).top != heap.bin(class).base) _ = allocate();
}

/// Takes every free block of the class that the heap has.
pub fn exhaust(heap: *Heap) void {
    emptyMagazine(heap);
    while (space.slice(heap.current[class]).free_count > 0) _ = allocate();
    emptyMagazine(heap);
}

/// The current thread ends.
pub fn exit() void {
    heaps.thread.exit(heaps.current());
}

/// The current thread ends, in `setup`: what runs in its place is a new one.
pub fn retire() void {
    exit();
    os.tls.store(0);
}

/// Makes a heap a thread's.
pub fn give(thread: u32, heap: *Heap) void {
    model.become(thread);
    os.tls.store(@intFromPtr(heap) -% @intFromPtr(heaps.sentinelOf(.empty)));
}

/// Names for what schedules show most.
pub fn nameHeap(heap: *Heap, comptime letter: []const u8) void {
    model.name(&heap.lock.word, letter ++ ".lock");
    model.name(&heap.state, letter ++ ".state");
    model.name(&heap.inbox.head, letter ++ ".inbox");
}

/// Every watched block is in one place, every structure whole, no orphan has mail.
pub fn account() void {
    for (known[0..known_count]) |block| {
        const places = placesOf(block);
        if (places == 1) continue;
        var buffer: [64]u8 = undefined;
        const text = std.fmt.bufPrint(&buffer, "block {x} is in {d} places", .{ block, places });
        model.fail(text catch "a block is lost or in two places");
    }
    for (1..heaps.registry.end()) |id| {
        const heap = heaps.registry.get(@intCast(id)) orelse continue;
        heaps.partial_slabs.check(heap);
        model.expect(heap.lock.word.raw == 0, "a heap is left locked");
        const forgotten = heap.state.raw == .orphan and heap.inbox.head.raw != null;
        model.expect(!forgotten, "mail lies in the inbox of an orphan, and nobody will look");
    }
    region.run_allocator.check(1);
}

fn placesOf(block: usize) u32 {
    var places: u32 = 0;
    for (held) |each| places += @intFromBool(each == block);
    for (1..heaps.registry.end()) |id| {
        const heap = heaps.registry.get(@intCast(id)) orelse continue;
        const bin = heap.bin(class);
        places += count(bin.base[0..heaps.magazine.count(bin)], block);
        places += count(heap.cold.parked[0..heap.parked_count], block);
        for (heap.outgoing) |slot| {
            if (slot.message) |message| places += count(message.blocks[0..message.count], block);
        }
        var next = heap.inbox.head.raw;
        while (next) |message| : (next = message.next) {
            places += count(message.blocks[0..message.count], block);
        }
    }
    return places + @intFromBool(isBack(block));
}

fn count(blocks: []allowzero const usize, block: usize) u32 {
    var found: u32 = 0;
    for (blocks) |each| found += @intFromBool(each == block);
    return found;
}

/// Free in its slab, or its whole slab is a free run.
fn isBack(block: usize) bool {
    const id = space.find(block) orelse return false;
    if (space.entry(id).load(.monotonic) == 0) return true;
    return slabs.isFree(slabs.headOf(id), block);
}

/// How many heaps say that they are this thread's.
pub fn heapOf(thread: u32) *Heap {
    model.become(thread);
    return heaps.current();
}

/// No two threads have the same heap, and each heap that a thread has is active.
pub fn checkOwners(threads: u32) void {
    for (0..threads) |index| {
        const mine = heapOf(@intCast(index));
        if (mine.isSentinel()) continue;
        model.expect(mine.state.raw == .active, "a thread's heap is not active");
        model.expect(heaps.registry.get(mine.id) == mine, "a thread's heap is not registered");
        for (0..index) |other| {
            model.expect(heapOf(@intCast(other)) != mine, "two threads have the same heap");
        }
    }
    checkOrphans();
}

/// The bits and the count of orphans agree with the heaps' states.
fn checkOrphans() void {
    var orphans: u32 = 0;
    for (1..heaps.registry.end()) |id| {
        const heap = heaps.registry.get(@intCast(id)) orelse continue;
        orphans += @intFromBool(heap.state.raw == .orphan);
    }
    model.expect(heaps.registry.orphanCount() == orphans, "the count of orphans is wrong");
}

/// The thread that calls.
pub fn me() u32 {
    return model.current();
}

/// The first watched block.
pub fn first() usize {
    return known[0];
}

/// What threads hold was not handed out twice.
pub fn checkDistinct() void {
    for (held, 0..) |block, index| {
        if (block == 0) continue;
        for (held[0..index]) |other| {
            model.expect(other != block, "a block was handed out twice");
        }
    }
}

pub fn exitThread() callconv(.c) void {
    exit();
}

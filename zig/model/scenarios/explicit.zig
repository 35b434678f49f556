//! Explicit heaps (heap/explicit.zig): a free of a block while its heap is destroyed and the memory
//! finds a new owner.
const model = @import("model");
const heaps = @import("heap");
const region = @import("region");
const world = @import("world.zig");
const explicit = heaps.explicit;
const Handle = explicit.Handle;
const space = region.space;

var heap: Handle = undefined;
var second: Handle = undefined;
/// The block that thread 0 frees while its heap is destroyed.
var block: usize = 0;
var entry_before: u32 = 0;
/// What the new owner got.
var fresh: usize = 0;

fn take(from: Handle) usize {
    const address = explicit.allocate(from, world.size, 16).address();
    return if (address == 0) model.fail("no memory") else address;
}

/// The new owner will find the memory of the explicit heap, and none besides.
fn setUp() callconv(.c) void {
    world.exhaust(world.enter(1));
    _ = world.enter(0);
    heap = explicit.create(0) orelse model.fail("no heap");
    block = take(heap);
    entry_before = entryOf(block);
    const behind = explicit.find(heap).?;
    model.name(&behind.lock.word, "E.lock");
    model.name(&behind.heap.lock.word, "E.heap.lock");
    model.name(&behind.generation, "E.generation");
    model.name(space.entry(space.find(block).?), "slab's entry");
}

/// As free().
fn free() callconv(.c) void {
    const entry = space.entry(space.find(block).?).load(.monotonic); // As freeFast.
    if (entry != entry_before) return; // It began when the memory was free, or had its new owner.
    heaps.slow.freeForeignOwner(block, entry, "free");
}

/// As alloc_heap_free(), at any moment whatever.
fn freeByHandle() callconv(.c) void {
    if (explicit.freeOf(heap, block, "free")) return;
    // Not this heap's: then as free() would, if it is anybody's that the caller may free.
    model.expect(entryOf(block) != entry_before, "a block of its own was refused");
}

/// A thread's heap is the new owner.
fn destroyForThread() callconv(.c) void {
    _ = explicit.destroy(heap);
    fresh = world.allocate();
}

/// The same heap is, created anew.
fn destroyForHeap() callconv(.c) void {
    _ = explicit.destroy(heap);
    const created = explicit.create(0) orelse model.fail("no heap");
    if (created.id != heap.id) model.fail("another heap: the scenario shows nothing");
    second = created;
    fresh = take(created);
}

/// The new owner's block is not handed out again.
fn check() callconv(.c) void {
    if (fresh == 0) model.fail("no new owner");
    if (fresh != block) model.fail("other memory: the scenario shows nothing");
    model.become(1);
    for (0..20) |_| {
        const is_explicit = explicit.ownerOf(entryOf(fresh)) != null;
        const other = if (is_explicit) take(second) else world.allocate();
        model.expect(other != fresh, "a block of the new owner was freed");
    }
}

fn entryOf(address: usize) u32 {
    return space.entry(space.find(address).?).load(.monotonic);
}

pub const scenarios = [_]model.Scenario{
    .{
        .name = "destroy-thread",
        .asks = "a block is freed while its heap is destroyed and a thread's heap takes its slab",
        .setup = &setUp,
        .threads = .{ &free, &destroyForThread, null },
        .check = &check,
    },
    .{
        .name = "destroy-heap",
        .asks = "a block is freed while its heap is destroyed and created again",
        .setup = &setUp,
        .threads = .{ &free, &destroyForHeap, null },
        .check = &check,
    },
    .{
        .name = "destroy-handle",
        .asks = "the same with the heap's handle, at any moment",
        .setup = &setUp,
        .threads = .{ &freeByHandle, &destroyForHeap, null },
        .check = &check,
    },
};

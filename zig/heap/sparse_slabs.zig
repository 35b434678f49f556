//! Slabs of which little is held: when their free pages go back to the system (slab/holes.zig).
//!
//! `heap.idle` is what the heap's slabs have of free memory that may be resident: for each slab its
//! free blocks less its holes, in bytes. (A hole may reach past the last block of a slab: then it
//! is a little less than nothing.) Over a part of the reserve (region/purge.zig) two things happen.
//! A slab that has become emptier gives back stretches of pages that are worth a call of their own.
//! And when the process is about to use more memory of the system, the emptiest slabs are looked
//! through for single pages, each once until it has changed: memory that lies about is used before
//! more is taken. Every function needs the heap's lock, `sweep` takes it.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const slabs = @import("slab");
const t = base.tunables;
const size_class = base.size_class;
const slice = region.space.slice;
const Slice = region.Slice;
const SliceId = region.SliceId;
const heaps = @import("heap.zig");
const partial_slabs = @import("partial_slabs.zig");
const registry = @import("registry.zig");
const Heap = heaps.Heap;

/// What a slab counts in `heap.idle`.
pub fn idleOf(id: SliceId) isize {
    const slab = slice(id);
    const free: isize = @intCast(@as(u32, slab.free_count) * size_class.sizes[slab.class]);
    return free - @as(isize, @intCast(slabs.holes.bytes(slab)));
}

/// Whether the heap keeps more than its share of the reserve.
fn isOver(heap: *const Heap) bool {
    if (heap.idle <= t.dirty_reserve_min / 2) return false;
    const idle: usize = @intCast(heap.idle);
    const reserve = region.purge.reserveOf(region.run_allocator.liveBytes() -| idle);
    return idle > reserve / 2 / @max(registry.activeCount(), 1);
}

/// Whether slabs of this class are large enough to have stretches worth a call.
pub fn isOffered(slab: *const Slice) bool {
    return size_class.geometry[slab.class].slices * t.slice_size >= 4 * t.hole_size_min;
}

/// A slab of this heap has become emptier: gives back what is worth it.
pub fn offer(heap: *Heap, id: SliceId) void {
    const slab = slice(id);
    if (slab.free_count < slab.block_count / 2 or !isOffered(slab)) return;
    if (!isOver(heap)) return;
    if (heap.offers_passed != 0) {
        heap.offers_passed -= 1;
        return;
    }
    var budget: slabs.holes.Budget = .{ .least = t.hole_size_min, .calls = t.hole_calls_max };
    _ = punch(heap, id, &budget);
    if (budget.refused) heap.offers_passed = t.offers_passed;
}

fn punch(heap: *Heap, id: SliceId, budget: *slabs.holes.Budget) usize {
    const purged = slabs.holes.punch(id, budget, heap.lock.heldBy());
    heap.idle -= @intCast(purged);
    return purged;
}

/// Memory has grown by so many bytes: gives back about as much, as far as a slow call may.
pub noinline fn sweep(heap: *Heap, growth: usize) void {
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    var budget: slabs.holes.Budget = .{
        .least = os.machine.page_size,
        .calls = t.sweep_calls_max,
    };
    var purged: usize = 0;
    for (0..t.sweep_slabs_max) |_| {
        if (!isOver(heap)) return;
        const id = partial_slabs.emptiest(heap);
        if (id == 0) return;
        purged += punch(heap, id, &budget);
        if (budget.refused or budget.calls == 0) return;
        partial_slabs.setDormant(heap, id);
        if (purged >= growth) return;
    }
}

/// Gives back every whole free page of every slab, but for slabs where the system refuses. For
/// trim.
pub noinline fn sweepAll(heap: *Heap) void {
    for (1..size_class.small_count + 1) |class| {
        if (heap.current[class] != 0) sweepOne(heap, heap.current[class]);
        for (heap.cold.partial[class]) |first| {
            var id = first;
            while (id != 0) : (id = slice(id).next) sweepOne(heap, id);
        }
    }
}

fn sweepOne(heap: *Heap, id: SliceId) void {
    var budget: slabs.holes.Budget = .{
        .least = os.machine.page_size,
        .calls = std.math.maxInt(u32),
        .forced = true,
    };
    _ = punch(heap, id, &budget);
}

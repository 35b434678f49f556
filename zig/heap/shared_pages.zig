//! A heap's first blocks: sizes between two powers of two share the slabs of the larger one, until
//! a page of them is in use. A program that allocates little, and a thread that does, would else
//! touch a page, and have a magazine, for each size.
//!
//! The heap's table says which class serves a size: its own, or the power of two above. Powers of
//! two are always their own. A block is of the class of its slab, whoever asked: nothing but the
//! table knows. Only the heap's owner, in a slow call.
const std = @import("std");
const base = @import("base");
const region = @import("region");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;
const slice = region.space.slice;
const heaps = @import("heap.zig");
const Heap = heaps.Heap;

/// Which class serves so many units of 16 bytes at first.
pub fn classOf(comptime units: usize) u8 {
    const class = size_class.by_units[units];
    const shared = std.math.ceilPowerOfTwoAssert(u32, size_class.sizes[class]);
    return size_class.by_units[shared / 16];
}

/// Units of the sizes that a class may serve besides its own: from `first` up to `end`.
const Shared = struct { first: usize, end: usize };

fn sharedBy(class: u32) ?Shared {
    const size = size_class.sizes[class];
    if (size > t.table_size_max or !std.math.isPowerOfTwo(size)) return null;
    return .{ .first = size / 2 / 16 + 1, .end = size / 16 };
}

/// Called before the magazine of a class is refilled: with a page of its blocks in use the sizes
/// that shared it have their own from now on. Under the heap's lock.
pub inline fn outgrow(heap: *Heap, class: u32) void {
    const shared = sharedBy(class) orelse return;
    if (shared.first == shared.end or heap.table[shared.first] != offsetOf(class)) return;
    const current = heap.current[class];
    if (current == 0) return;
    const slab = slice(current);
    const used = slab.block_count - slab.free_count;
    if (@as(u32, used) * size_class.sizes[class] >= t.shared_page_bytes) part(heap, shared);
}

noinline fn part(heap: *Heap, shared: Shared) void {
    for (shared.first..shared.end) |units| {
        heap.table[units] = offsetOf(size_class.by_units[units]);
    }
}

inline fn offsetOf(class: u32) u16 {
    return @intCast(class * @sizeOf(heaps.Bin));
}

/// All sizes between two powers of two are served by their own classes, or all by the one above.
pub fn check(heap: *const Heap) void {
    for (heap.table[1..], size_class.by_units[1..], 1..) |offset, own, units| {
        const above = std.math.ceilPowerOfTwoAssert(usize, units);
        const shared = offsetOf(size_class.by_units[above]);
        const is_shared = heap.table[above / 2 + 1] == shared;
        assert(offset == if (is_shared) shared else offsetOf(own));
    }
}

test "sizes share a page, then have their own classes" {
    const heap = try std.testing.allocator.create(Heap);
    defer std.testing.allocator.destroy(heap);
    heap.* = std.mem.zeroes(Heap);
    heaps.initialise(heap, undefined, 1);
    check(heap);
    for (1..heap.table.len) |units| {
        const class = heap.table[units] / @sizeOf(heaps.Bin);
        const above = std.math.ceilPowerOfTwoAssert(usize, units * 16);
        try std.testing.expectEqual(above, size_class.sizes[class]);
    }
    part(heap, sharedBy(size_class.classOf(256)).?);
    check(heap);
    for (129..257) |size| {
        const class = heap.table[size_class.unitsOf(size)] / @sizeOf(heaps.Bin);
        try std.testing.expectEqual(size_class.classOf(size), class);
    }
}

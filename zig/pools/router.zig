//! The size-class router of hft_alloc.h: sizes up to 2048 are rounded up to a power of two from 16
//! on and served by the calling thread's magazine of that class, which is its pool: refilled from
//! slabs, returned when the thread ends. What is larger goes to the heap as it is. Any thread.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const heap = @import("heap");
const backing = @import("backing.zig");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;

const shift_min = 4;
const shift_max = std.math.log2_int(usize, t.router_size_max);

/// The block size of the router's class, for sizes up to the largest.
pub inline fn sizeOf(size: usize) usize {
    assert(size <= t.router_size_max);
    // As 2^n - 1: a mask of the bits below the highest of size - 1, with the lowest four in it.
    const last = (size -| 1) | ((1 << shift_min) - 1);
    return (@as(usize, std.math.maxInt(usize)) >> @intCast(@clz(last))) + 1;
}

/// Null: go slow.
pub inline fn take(size: usize) ?usize {
    if (size > t.router_size_max) return null;
    const rounded = sizeOf(size);
    if (rounded <= t.table_size_max) return heap.allocateSmall(rounded);
    return heap.allocateMedium(rounded);
}

/// The whole of an allocation; 0: refused.
pub noinline fn allocSlow(size: usize) usize {
    // A memory checker is told the size that was asked for.
    const is_rounded = size <= t.router_size_max and !heap.watched.isOn();
    return heap.allocate(if (is_rounded) sizeOf(size) else size);
}

/// Gives the calling thread a heap, and each of its magazines for the router's classes blocks that
/// are in memory, so that no allocation up to that depth is slow.
pub fn fill() void {
    heap.slow.settle();
    if (heap.current().isSentinel() or os.checker.isWatching()) return;
    for (shift_min..shift_max + 1) |shift| fillClass(@as(usize, 1) << @intCast(shift));
}

fn fillClass(size: usize) void {
    const bin = heap.current().bin(size_class.classOf(size));
    // A magazine grows by steps, where it is refilled and overflows in turn.
    for (0..t.router_rounds_max) |_| {
        if (heap.magazine.count(bin) >= t.router_depth) return;
        var blocks: [t.router_depth + 1]usize = undefined;
        var taken: usize = 0;
        while (taken < blocks.len) : (taken += 1) {
            blocks[taken] = heap.allocate(size);
            if (blocks[taken] == 0) break;
            // Nor is their owner's first write to meet a page that is not there.
            backing.touch(blocks[taken]);
            backing.touch(blocks[taken] + size - 1);
        }
        while (taken > 0) {
            taken -= 1;
            backing.freeBlock(blocks[taken]);
        }
    }
}

test "router: powers of two from 16 to 2048" {
    for (0..t.router_size_max + 1) |size| {
        var wanted: usize = 16;
        while (wanted < size) wanted *= 2;
        try std.testing.expectEqual(wanted, sizeOf(size));
        const block = take(size) orelse allocSlow(size);
        defer backing.freeBlock(block);
        try std.testing.expectEqual(wanted, heap.lookup.usableSize(block).?);
    }
    const large = take(5000) orelse allocSlow(5000);
    defer backing.freeBlock(large);
    try std.testing.expect(heap.lookup.usableSize(large).? >= 5000);
}

test "router: a filled thread's magazines serve every class" {
    fill();
    for (shift_min..shift_max + 1) |shift| {
        const size = @as(usize, 1) << @intCast(shift);
        const bin = heap.current().bin(size_class.classOf(size));
        try std.testing.expect(heap.magazine.count(bin) >= t.router_depth);
    }
}

//! Size classes: which class serves a request, how big its blocks are, how its slabs are cut.
//! Class 0 means "none". Classes 1..small_count are cut from slabs, the next ones up to
//! 2 MiB are runs of whole slices. Pure functions over comptime tables; any thread.
const std = @import("std");
const t = @import("tunables.zig");
const assert = @import("assert.zig").assert;

// 16-byte steps up to 64 bytes, then `classes_per_doubling` classes per doubling. With n - 1 =
// 1xx...b the class index is the exponent times 4 plus the next two bits, less a constant.
const steps = t.classes_per_doubling;
const steps_shift = std.math.log2_int(u32, steps);
const linear_max = 16 * steps;
const linear_count = steps;

/// Classes 1..small_count are small.
pub const small_count = classOf(t.small_size_max);
/// Classes small_count+1..count-1 are medium.
pub const count = classOf(t.medium_size_max) + 1;

/// The class whose blocks are the smallest that hold `size` bytes (1..medium_size_max).
pub inline fn classOf(size: usize) u32 {
    const last = size -| 1;
    if (last < linear_max) return @intCast((last >> 4) + 1);
    // 63 - clz, as the one instruction that x86 has for it (never of 0 here).
    const exponent: u32 = 63 ^ @as(u32, @clz(@as(u64, last | 1)));
    // Not u5: its range would be masked into with an instruction of its own.
    const shift: u32 = exponent - steps_shift;
    const first_shift = std.math.log2_int(u32, linear_max) - steps_shift;
    const offset = (first_shift << steps_shift) + steps - linear_count - 1;
    const leading: u32 = @truncate(@as(u64, last) >> @as(u6, @truncate(shift)));
    return (shift << steps_shift) + leading - offset;
}

/// Bytes of a block of each class.
pub const sizes: [count]u32 = blk: {
    var table: [count]u32 = @splat(0);
    for (1..linear_count + 1) |class| table[class] = 16 * class;
    var class = linear_count + 1;
    var base = linear_max;
    while (base < t.medium_size_max) : (base *= 2) {
        for (1..steps + 1) |step| {
            table[class] = base + base / steps * step;
            class += 1;
        }
    }
    break :blk table;
};

/// How a class is cut into slabs; for a medium class, how long its runs are.
pub const Geometry = struct {
    /// Slices of a slab or run.
    slices: u32,
    /// Blocks of a slab; 1 for a medium class.
    blocks: u32,
    /// ceil(2^32 / size): (offset * reciprocal) >> 32 is the block index for offsets in a slab.
    reciprocal: u32,
    /// Slots the magazine may grow to.
    slots_max: u32,
    /// What one block counts against a message's byte budget.
    message_cost: u32,
};

pub const geometry: [count]Geometry = blk: {
    @setEvalBranchQuota(20_000);
    var table: [count]Geometry = undefined;
    table[0] = .{ .slices = 0, .blocks = 0, .reciprocal = 0, .slots_max = 0, .message_cost = 0 };
    for (1..count) |class| table[class] = geometryOf(class);
    break :blk table;
};

fn geometryOf(comptime class: u32) Geometry {
    const size = sizes[class];
    if (class > small_count) return .{
        .slices = size / t.slice_size + @intFromBool(size % t.slice_size != 0),
        .blocks = 1,
        .reciprocal = 0,
        .slots_max = t.medium_magazine_slots_max,
        .message_cost = size,
    };
    const slices = slabSlices(size);
    const slots = @max(t.magazine_bytes_max / size, t.magazine_slots_min);
    return .{
        .slices = slices,
        .blocks = @min(slices * t.slice_size / size, t.slab_blocks_max),
        .reciprocal = @intCast((@as(u64, 1 << 32) + size - 1) / size),
        .slots_max = @min(slots, t.magazine_slots_max),
        .message_cost = @max(size, t.message_bytes_max / t.message_blocks_max),
    };
}

/// The fewest slices that hold 8 blocks and waste at most a 32nd part at the end.
fn slabSlices(comptime size: u32) u32 {
    for (1..65) |slices| {
        const bytes = slices * t.slice_size;
        const blocks = @min(bytes / size, t.slab_blocks_max);
        if (blocks < 8) continue;
        const waste = bytes - blocks * size;
        if (waste * 32 <= bytes or bytes >= 16 * size) return slices;
    }
    unreachable;
}

/// The smallest class of at least `size` bytes whose block size is a multiple of `alignment`, a
/// power of two up to the slice size: slabs and runs begin on slices, so every block is aligned.
/// 0 when only a run of exact length can serve the request.
pub fn classOfAligned(size: usize, alignment: usize) u32 {
    assert(alignment <= t.slice_size);
    if (size > t.medium_size_max) return 0;
    var class = classOf(@max(size, 1));
    while (class < count) : (class += 1) {
        if (sizes[class] & (alignment - 1) == 0) return class;
    }
    return 0;
}

comptime {
    assert(sizes[count - 1] == t.medium_size_max);
    assert(sizes[small_count] == t.small_size_max);
    for (1..count) |class| assert(sizes[class] > sizes[class - 1]);
}

test "classOf: every size up to 2 MiB gets the smallest class that holds it" {
    for (1..t.medium_size_max + 1) |size| {
        const class = classOf(size);
        try std.testing.expect(sizes[class] >= size);
        try std.testing.expect(sizes[class - 1] < size);
    }
    try std.testing.expectEqual(@as(u32, 1), classOf(0));
}

test "internal waste is at most 20 % above 64 bytes" {
    for (65..t.medium_size_max + 1) |size| {
        const waste = sizes[classOf(size)] - size;
        try std.testing.expect(waste * 5 <= sizes[classOf(size)]);
    }
}

test "reciprocal: exact block index for every offset in a slab" {
    for (1..small_count + 1) |class| {
        const g = geometry[class];
        const size = sizes[class];
        for (0..g.slices * t.slice_size) |offset| {
            const index = (@as(u64, offset) * g.reciprocal) >> 32;
            try std.testing.expectEqual(offset / size, index);
        }
    }
}

test "slabs: at least 8 blocks, at most 1024, a 16th wasted at most" {
    for (1..small_count + 1) |class| {
        const g = geometry[class];
        try std.testing.expect(g.blocks >= 8);
        try std.testing.expect(g.blocks <= t.slab_blocks_max);
        const bytes = g.slices * t.slice_size;
        try std.testing.expect((bytes - g.blocks * sizes[class]) * 16 <= bytes);
    }
}

test "classOfAligned: a multiple of the alignment, or none" {
    var alignment: usize = 16;
    while (alignment <= t.slice_size) : (alignment *= 2) {
        for ([_]usize{ 0, 1, 100, 4096, 5000, 32_768, 40_000, 2_000_000, 2 << 20 }) |size| {
            const class = classOfAligned(size, alignment);
            try std.testing.expect(class != 0);
            try std.testing.expect(sizes[class] >= size);
            try std.testing.expect(sizes[class] % alignment == 0);
        }
    }
    try std.testing.expectEqual(@as(u32, 0), classOfAligned((2 << 20) + 1, 16));
}

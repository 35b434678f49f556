//! Size classes: which class serves a request, how big its blocks are, how its slabs are cut.
//! Class 0 means "none". Classes 1..small_count are cut from slabs, the next ones up to
//! 2 MiB are runs of whole slices. Pure functions over comptime tables; any thread.
const std = @import("std");
const t = @import("tunables.zig");
const assert = @import("assert.zig").assert;

/// Multiples of 16 bytes up to here.
const linear_max = 64;
const grid_shift = 4;
/// Sizes above table_size_max fall into sixteenths of their doubling.
const grid_count = @as(u32, std.math.log2_int(u32, t.medium_size_max / t.table_size_max)) <<
    grid_shift;

/// Whether there is a class that many sixteenths above a power of two.
fn isClass(base: u32, sixteenths: u32) bool {
    const above = base * sixteenths >> grid_shift;
    // A run is of whole slices.
    if (base >= t.small_size_max and above % t.slice_size != 0) return false;
    return sixteenths % 4 == 0 or isHeader(base + above);
}

/// Whether it is the size of one of the classes between.
fn isHeader(size: u32) bool {
    return std.mem.findScalar(u32, &t.header_sizes, size) != null;
}

/// Bytes of a block of each class.
pub const sizes: [count]u32 = blk: {
    var table: [count]u32 = undefined;
    for (all[0..count], &table) |from, *to| to.* = from;
    break :blk table;
};

/// As many as there are, then zeros.
const all: [256]u32 = blk: {
    @setEvalBranchQuota(10_000);
    var table: [256]u32 = @splat(0);
    var class = 1;
    while (class <= linear_max / 16) : (class += 1) table[class] = 16 * class;
    var base = linear_max;
    while (base < t.medium_size_max) : (base *= 2) {
        for (1..(1 << grid_shift) + 1) |sixteenths| {
            if (!isClass(base, sixteenths)) continue;
            table[class] = base + (base * sixteenths >> grid_shift);
            class += 1;
        }
    }
    break :blk table;
};

/// Classes 1..small_count are small.
pub const small_count: u32 = smallestOf(t.small_size_max);
/// Classes small_count+1..count-1 are medium.
pub const count: u32 = @as(u32, smallestOf(t.medium_size_max)) + 1;

fn smallestOf(comptime size: u32) u8 {
    @setEvalBranchQuota(10_000);
    var class = 1;
    while (all[class] < size) class += 1;
    return class;
}

/// Class by `unitsOf`, of up to table_size_max bytes.
pub const by_units: [t.table_size_max / 16 + 1]u8 = blk: {
    @setEvalBranchQuota(100_000);
    var table: [t.table_size_max / 16 + 1]u8 = undefined;
    for (&table, 0..) |*class, units| class.* = smallestOf(units * 16);
    break :blk table;
};

/// Class by `gridOf`, of more than table_size_max bytes.
pub const by_grid: [grid_count]u8 = blk: {
    @setEvalBranchQuota(100_000);
    var table: [grid_count]u8 = undefined;
    for (&table, 0..) |*class, index| {
        const base = t.table_size_max << (index >> grid_shift);
        class.* = smallestOf(base + (base >> grid_shift) * (index % (1 << grid_shift) + 1));
    }
    break :blk table;
};

/// The class whose blocks are the smallest that hold `size` bytes (up to medium_size_max).
pub inline fn classOf(size: usize) u32 {
    if (size <= t.table_size_max) return by_units[unitsOf(size)];
    return by_grid[gridOf(size)];
}

/// A size in units of 16 bytes, rounded up.
pub inline fn unitsOf(size: usize) usize {
    return (size + 15) >> 4;
}

/// The size to ask for when a block grows to `size` bytes. What grew once grows again: the classes
/// for powers of two with a header would only be further stops on the way, and lengths that have no
/// class a stop each.
pub fn forGrowth(size: usize) usize {
    if (size > t.medium_size_max) return size +| size / t.growth_share;
    if (size <= t.table_size_max or size > t.header_sizes[t.header_sizes.len - 1]) return size;
    const class = classOf(size);
    return sizes[class + @intFromBool(isHeader(sizes[class]))];
}

/// Which sixteenth of which doubling a size above table_size_max falls into. With n - 1 = 1xxxx...b
/// the exponent and the next four bits number them.
pub inline fn gridOf(size: usize) u32 {
    assert(size > t.table_size_max);
    const last = size - 1;
    // 63 - clz, as the one instruction that x86 has for it (never of 0 here).
    const exponent: u32 = 63 ^ @as(u32, @clz(@as(u64, last | 1)));
    // Not u5: its range would be masked into with an instruction of its own.
    const shift: u32 = exponent - grid_shift;
    const leading: u32 = @truncate(@as(u64, last) >> @as(u6, @truncate(shift)));
    const first = std.math.log2_int(u32, t.table_size_max) - grid_shift + 1;
    return (shift << grid_shift) + leading - (@as(u32, first) << grid_shift);
}

/// How a class is cut into slabs; for a medium class, how long its runs are.
pub const Geometry = struct {
    /// Slices of a slab or run.
    slices: u32,
    /// Blocks of a slab; 1 for a medium class.
    blocks: u32,
    /// ceil(2^32 / size): (offset * reciprocal) >> 32 is the block index for offsets in a slab.
    reciprocal: u32,
    /// Slots the magazine may grow to, and to how many out of what its heap has for such growth.
    slots_max: u32,
    slots_extended: u32,
    /// What one block counts against a message's byte budget.
    message_cost: u32,
};

pub const geometry: [count]Geometry = blk: {
    @setEvalBranchQuota(20_000);
    var table: [count]Geometry = undefined;
    table[0] = std.mem.zeroes(Geometry);
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
        .slots_extended = t.medium_magazine_slots_max,
        .message_cost = size,
    };
    const slices = slabSlices(size);
    return .{
        .slices = slices,
        .blocks = @min(slices * t.slice_size / size, t.slab_blocks_max),
        .reciprocal = @intCast((@as(u64, 1 << 32) + size - 1) / size),
        .slots_max = slotsOf(size, t.magazine_bytes_max),
        .slots_extended = slotsOf(size, t.magazine_bytes_extended),
        .message_cost = @max(size, t.message_bytes_max / t.message_blocks_max),
    };
}

/// Slots for so many bytes: of an array of 2^n as many as leave room for the window to move, where
/// it does.
fn slotsOf(comptime size: u32, comptime bytes: u32) u32 {
    const slots = @min(@max(bytes / size, t.magazine_slots_min), t.magazine_slots_max);
    if (slots <= t.window_room_min - t.window_room_min / t.window_share) return slots;
    const array = std.math.ceilPowerOfTwoAssert(u32, slots);
    return @min(slots, array - array / t.window_share);
}

/// The fewest slices that hold 8 blocks (of large ones as many as fit into slab_bytes_min) and
/// waste at most a 32nd part at the end.
fn slabSlices(comptime size: u32) u32 {
    const blocks_min = @max(1, @min(8, t.slab_bytes_min / size));
    for (1..65) |slices| {
        const bytes = slices * t.slice_size;
        const blocks = @min(bytes / size, t.slab_blocks_max);
        if (blocks < blocks_min) continue;
        const waste = bytes - blocks * size;
        if (waste * 32 <= bytes or bytes >= 16 * size) return slices;
    }
    unreachable;
}

/// The size to ask for so that a block is on a multiple of `alignment` (a power of two up to the
/// slice size): the block size of the class of a multiple of it is one too, and slabs and runs
/// begin on slices. At most medium_size_max for a `size` up to that.
pub inline fn alignedSize(size: usize, alignment: usize) usize {
    assert(alignment <= t.slice_size and size <= t.medium_size_max);
    return (@max(size, 1) + (alignment - 1)) & ~(alignment - 1);
}

comptime {
    assert(sizes[count - 1] == t.medium_size_max);
    assert(sizes[small_count] == t.small_size_max);
    for (1..count) |class| assert(sizes[class] > sizes[class - 1]);
}

test "forGrowth: four stops a doubling" {
    const mib = t.mib;
    for ([_]usize{
        1024, 1025, 1088, 1089, 1280, 2049, 4097, 4608, 4609, 100_000, 2 * mib, 3 * mib,
    }, [_]usize{
        1024, 1280, 1280, 1280, 1280, 2560, 5120, 5120, 4609, 100_000, 2 * mib, 27 * mib / 8,
    }) |size, wanted| try std.testing.expectEqual(wanted, forGrowth(size));
}

test "classOf: every size up to 2 MiB gets the smallest class that holds it" {
    for (1..t.medium_size_max + 1) |size| {
        const class = classOf(size);
        try std.testing.expect(sizes[class] >= size);
        try std.testing.expect(sizes[class - 1] < size);
    }
    try std.testing.expectEqual(@as(u32, 1), classOf(0));
}

test "internal waste is at most 20 % above 64 bytes, and little for a power of two and a header" {
    for (65..t.medium_size_max + 1) |size| {
        const class = classOf(size);
        // Runs are of whole slices.
        const least = std.mem.alignForward(usize, size, t.slice_size);
        if (class > small_count and sizes[class] <= least) continue;
        const waste = sizes[class] - size;
        try std.testing.expect(waste * 5 <= sizes[class]);
    }
    for (t.header_sizes, [_]usize{ 16, 16, 8 }) |size, part| {
        const power = std.math.floorPowerOfTwo(usize, size);
        try std.testing.expectEqual(power / part, sizes[classOf(power + 16)] - power);
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

test "slabs: at least 8 blocks or 28 KiB, at most 1024 blocks, a 32nd wasted at most" {
    for (1..small_count + 1) |class| {
        const g = geometry[class];
        const bytes = g.slices * t.slice_size;
        try std.testing.expect(g.blocks >= 8 or g.blocks * sizes[class] >= 28 * t.kib);
        try std.testing.expect(g.blocks <= t.slab_blocks_max);
        try std.testing.expect((bytes - g.blocks * sizes[class]) * 32 <= bytes);
    }
}

test "alignedSize: the smallest class that is a multiple of the alignment" {
    var alignment: usize = 16;
    while (alignment <= t.slice_size) : (alignment *= 2) {
        var class: u32 = 1;
        for (0..t.medium_size_max + 1) |size| {
            while (sizes[class] < size or sizes[class] % alignment != 0) class += 1;
            const chosen = classOf(alignedSize(size, alignment));
            if (chosen != class) try std.testing.expectEqual(class, chosen);
        }
    }
}

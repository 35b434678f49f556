//! The distribution of free-block sizes of a rung at one moment: what fragmentation is read from.
const std = @import("std");

/// Doublings from 16 bytes on; the last one is everything above.
pub const bucket_count = 17;

pub const FreeSizes = struct {
    count: usize = 0,
    bytes: usize = 0,
    largest: usize = 0,
    /// Of `bytes`, those in blocks that a request of 4 KiB fits into.
    bytes_for_4k: usize = 0,
    /// Blocks of 16-31, 32-63, ... bytes.
    buckets: [bucket_count]usize = @splat(0),

    /// Called by a rung for every free block.
    pub fn see(sizes: *FreeSizes, size: usize) void {
        sizes.count += 1;
        sizes.bytes += size;
        sizes.largest = @max(sizes.largest, size);
        if (size >= 4096) sizes.bytes_for_4k += size;
        const doubling = std.math.log2_int(usize, @max(size, 16)) - 4;
        sizes.buckets[@min(doubling, bucket_count - 1)] += 1;
    }

    /// How much of the free memory is out of reach for a request as large as all of it: 0 when it
    /// is one block, near 100 when it is crumbs.
    pub fn externalPct(sizes: *const FreeSizes) f64 {
        if (sizes.bytes == 0) return 0;
        const largest: f64 = @floatFromInt(sizes.largest);
        return 100 * (1 - largest / @as(f64, @floatFromInt(sizes.bytes)));
    }

    /// The free memory that is of no use to requests of 4 KiB.
    pub fn unusablePct(sizes: *const FreeSizes) f64 {
        if (sizes.bytes == 0) return 0;
        const unusable: f64 = @floatFromInt(sizes.bytes - sizes.bytes_for_4k);
        return 100 * unusable / @as(f64, @floatFromInt(sizes.bytes));
    }
};

test "a block is counted in its doubling" {
    var sizes: FreeSizes = .{};
    for ([_]usize{ 16, 31, 32, 1 << 20, 1 << 30 }) |size| sizes.see(size);
    try std.testing.expectEqual(2, sizes.buckets[0]);
    try std.testing.expectEqual(1, sizes.buckets[1]);
    try std.testing.expectEqual(2, sizes.buckets[bucket_count - 1]);
    try std.testing.expectEqual(1 << 30, sizes.largest);
}

test "what is too small for 4 KiB is unusable for it" {
    var sizes: FreeSizes = .{};
    try std.testing.expectEqual(0, sizes.unusablePct());
    for ([_]usize{ 4080, 4096 }) |size| sizes.see(size);
    try std.testing.expectApproxEqAbs(49.9, sizes.unusablePct(), 0.01);
}

test "external fragmentation of one block is none" {
    var sizes: FreeSizes = .{};
    try std.testing.expectEqual(0, sizes.externalPct());
    sizes.see(64);
    try std.testing.expectEqual(0, sizes.externalPct());
    sizes.see(64);
    try std.testing.expectEqual(50, sizes.externalPct());
}

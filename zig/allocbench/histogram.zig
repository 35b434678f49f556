//! Counts of values: exact below 256, above that 128 steps to a doubling, so within 0.8 %.
//! One writer; the largest value is exact.
const std = @import("std");

const exact_bits = 8;
const step_bits = 7;
const doublings = 40 - exact_bits;
const bucket_count = (1 << exact_bits) + (doublings << step_bits);

pub const Histogram = struct {
    counts: [bucket_count]u64 = @splat(0),
    total: u64 = 0,
    sum: u64 = 0,
    largest: u64 = 0,

    pub inline fn record(histogram: *Histogram, value: u64) void {
        histogram.counts[bucketOf(value)] += 1;
        histogram.total += 1;
        histogram.sum +%= value;
        histogram.largest = @max(histogram.largest, value);
    }

    pub fn add(histogram: *Histogram, other: *const Histogram) void {
        for (&histogram.counts, other.counts) |*count, more| count.* += more;
        histogram.total += other.total;
        histogram.sum +%= other.sum;
        histogram.largest = @max(histogram.largest, other.largest);
    }

    /// The value that `millionths` of all values do not exceed; null without values. Where a
    /// bucket holds several values, the largest of them.
    pub fn percentile(histogram: *const Histogram, millionths: u64) ?u64 {
        if (histogram.total == 0) return null;
        const wanted = std.math.divCeil(u128, @as(u128, histogram.total) * millionths, 1_000_000);
        const rank: u64 = @max(1, @as(u64, @intCast(wanted catch unreachable)));
        var seen: u64 = 0;
        for (histogram.counts, 0..) |count, bucket| {
            seen += count;
            if (seen >= rank) return @min(bounds(bucket).last, histogram.largest);
        }
        unreachable; // rank <= total
    }

    pub fn buckets(histogram: *const Histogram) Iterator {
        return .{ .histogram = histogram };
    }
};

pub const Bucket = struct { first: u64, last: u64, count: u64 };

/// The buckets that hold something, ascending.
pub const Iterator = struct {
    histogram: *const Histogram,
    position: usize = 0,

    pub fn next(iterator: *Iterator) ?Bucket {
        while (iterator.position < bucket_count) {
            const bucket = iterator.position;
            iterator.position += 1;
            const count = iterator.histogram.counts[bucket];
            if (count == 0) continue;
            const range = bounds(bucket);
            return .{ .first = range.first, .last = range.last, .count = count };
        }
        return null;
    }
};

inline fn bucketOf(value: u64) usize {
    if (value < 1 << exact_bits) return value;
    const doubling: u64 = 63 - @clz(value);
    if (doubling >= exact_bits + doublings) return bucket_count - 1;
    const step = (value >> @intCast(doubling - step_bits)) - (1 << step_bits);
    return (1 << exact_bits) + ((doubling - exact_bits) << step_bits) + step;
}

fn bounds(bucket: usize) struct { first: u64, last: u64 } {
    if (bucket < 1 << exact_bits) return .{ .first = bucket, .last = bucket };
    if (bucket == bucket_count - 1) return .{ .first = bucket, .last = std.math.maxInt(u64) };
    const above = bucket - (1 << exact_bits);
    const doubling: u6 = @intCast(exact_bits + (above >> step_bits));
    const step: u64 = above & ((1 << step_bits) - 1);
    const width = @as(u64, 1) << (doubling - step_bits);
    const first = (@as(u64, 1) << doubling) + step * width;
    return .{ .first = first, .last = first + width - 1 };
}

test "histogram: each value lies within its bucket's bounds" {
    for ([_]u64{ 0, 1, 255, 256, 257, 511, 512, 1000, 123_456, (1 << 40) - 1, 1 << 50 }) |value| {
        const range = bounds(bucketOf(value));
        try std.testing.expect(value >= range.first or value >= 1 << 40);
        try std.testing.expect(value <= range.last);
        if (value < 1 << 39) {
            try std.testing.expect((range.last - range.first) * 127 <= value);
        }
    }
}

test "histogram: percentiles are ranks" {
    var histogram: Histogram = .{};
    try std.testing.expectEqual(null, histogram.percentile(500_000));
    for (1..101) |value| histogram.record(value);
    try std.testing.expectEqual(50, histogram.percentile(500_000).?);
    try std.testing.expectEqual(99, histogram.percentile(990_000).?);
    try std.testing.expectEqual(100, histogram.percentile(990_001).?);
    try std.testing.expectEqual(1, histogram.percentile(0).?);
    histogram.record(1 << 30);
    try std.testing.expectEqual(1 << 30, histogram.percentile(1_000_000).?);
    var sum: Histogram = .{};
    sum.add(&histogram);
    sum.add(&histogram);
    try std.testing.expectEqual(202, sum.total);
    try std.testing.expectEqual(1 << 30, sum.largest);
}

//! A byte string read as a script of calls: what the fuzz targets of all layers run. Every byte
//! string is a script, and a part of one is one too, so that a failing script can be cut down.
//! Tests only.
const std = @import("std");

/// Four bytes: what to do, with which slot, and two that make a size.
pub const Step = struct {
    call: u8,
    slot: u8,
    size_a: u8,
    size_b: u8,

    pub const bytes = 4;

    /// A size that is of interest: near a power of two up to 2^`doublings`, between two of them,
    /// or small.
    pub fn size(step: Step, doublings: u6) usize {
        const power = @as(usize, 1) << @intCast(step.size_a % (@as(u8, doublings) + 1));
        return switch (step.size_a / (@as(u8, doublings) + 1) % 4) {
            0 => power + step.size_b -| 128,
            1 => power + (power * step.size_b >> 8),
            2 => step.size_b,
            else => @as(usize, step.size_b) * 16,
        };
    }
};

pub const Script = struct {
    rest: []const u8,

    pub fn next(script: *Script) ?Step {
        if (script.rest.len < Step.bytes) return null;
        const now = script.rest[0..Step.bytes];
        script.rest = script.rest[Step.bytes..];
        return .{ .call = now[0], .slot = now[1], .size_a = now[2], .size_b = now[3] };
    }
};

/// Scripts from a seed, in the form in which a `Smith` reads a slice: its length in 4 bytes first.
pub fn Corpus(comptime count: usize, comptime length: usize) type {
    return struct {
        storage: [count][4 + length]u8,
        inputs: [count][]const u8,

        const Self = @This();

        pub fn fill(corpus: *Self, seed: u64) void {
            var prng: std.Random.DefaultPrng = .init(seed);
            for (&corpus.storage, &corpus.inputs) |*bytes, *input| {
                std.mem.writeInt(u32, bytes[0..4], length, .little);
                prng.random().bytes(bytes[4..]);
                input.* = bytes;
            }
        }
    };
}

test "script: steps, and a rest that is none" {
    var script: Script = .{ .rest = &.{ 1, 2, 3, 4, 5, 6, 7 } };
    const step = script.next().?;
    try std.testing.expectEqual(Step{ .call = 1, .slot = 2, .size_a = 3, .size_b = 4 }, step);
    try std.testing.expectEqual(@as(?Step, null), script.next());
}

test "script: no size is beyond twice the largest power" {
    var largest: usize = 0;
    for (0..256) |a| for ([_]u8{ 0, 128, 255 }) |b| {
        const step: Step = .{ .call = 0, .slot = 0, .size_a = @intCast(a), .size_b = b };
        largest = @max(largest, step.size(20));
        try std.testing.expect(step.size(20) < 2 << 20);
    };
    try std.testing.expect(largest > 1 << 20);
}

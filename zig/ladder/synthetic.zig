//! The ladder's own traces, made from a seed: each puts one habit of programs in front of an
//! allocator. At most 400 KB live, so that a rung with little waste gets through them in the fake
//! heap of 1 MiB.
const std = @import("std");
const trace = @import("trace.zig");
const Op = trace.Op;
const Trace = trace.Trace;

const Maker = struct {
    arena: std.mem.Allocator,
    random: std.Random,
    ops: std.ArrayList(Op) = .empty,
    id_count: u32 = 0,
    /// Ids of live blocks, in no order.
    live: std.ArrayList(u32) = .empty,

    const Error = std.mem.Allocator.Error;

    fn allocate(maker: *Maker, size: usize) Error!void {
        const id = maker.id_count;
        try maker.ops.append(maker.arena, .{ .kind = .allocate, .id = id, .size = size });
        try maker.live.append(maker.arena, maker.id_count);
        maker.id_count += 1;
    }

    fn resize(maker: *Maker, id: u32, size: usize) Error!void {
        try maker.ops.append(maker.arena, .{ .kind = .resize, .id = id, .size = size });
    }

    /// Frees the live block at this place of the list; the last one takes the place.
    fn release(maker: *Maker, place: usize) Error!void {
        const id = maker.live.swapRemove(place);
        try maker.ops.append(maker.arena, .{ .kind = .release, .id = id });
    }

    fn releaseAny(maker: *Maker) Error!void {
        try maker.release(maker.random.uintLessThan(usize, maker.live.items.len));
    }

    fn releaseAll(maker: *Maker) Error!void {
        while (maker.live.items.len > 0) try maker.releaseAny();
    }

    /// As many of 16-31 bytes as of 32-63 and so on: programs ask for small blocks mostly.
    fn sizeUpTo(maker: *Maker, doublings: u6) usize {
        const power = @as(usize, 16) << maker.random.uintLessThan(u6, doublings);
        return power + maker.random.uintLessThan(usize, power);
    }
};

/// Objects of 8 to 128 bytes, 2,000 live, replaced at random.
fn small(maker: *Maker) Maker.Error!void {
    for (0..2000) |_| try maker.allocate(maker.random.intRangeAtMost(usize, 8, 128));
    for (0..8000) |_| {
        try maker.releaseAny();
        try maker.allocate(maker.random.intRangeAtMost(usize, 8, 128));
    }
}

/// 16 bytes to 8 KiB, 300 live, replaced at random.
fn mixed(maker: *Maker) Maker.Error!void {
    for (0..300) |_| try maker.allocate(maker.sizeUpTo(9));
    for (0..6000) |_| {
        try maker.releaseAny();
        try maker.allocate(maker.sizeUpTo(9));
    }
}

/// Small and larger blocks in turn, all of the larger ones freed, then some that are a little
/// larger still: without merging they fit nowhere, and between the small ones nothing can merge.
fn binary(maker: *Maker) Maker.Error!void {
    const count = 500;
    for (0..count) |_| {
        try maker.allocate(64);
        try maker.allocate(448);
    }
    for (0..count) |index| {
        // Odd ids are the larger ones.
        const wanted: u32 = @intCast(2 * index + 1);
        try maker.release(std.mem.findScalar(u32, maker.live.items, wanted).?);
    }
    for (0..count) |_| try maker.allocate(512);
}

/// 80 neighbours are freed, and 40 blocks twice their size are wanted, over and over.
fn coalesce(maker: *Maker) Maker.Error!void {
    for (0..40) |round| {
        const size = 1000 + 40 * round;
        for (0..80) |_| try maker.allocate(size);
        try maker.releaseAll();
        for (0..40) |_| try maker.allocate(2 * size);
        try maker.releaseAll();
    }
}

/// A buffer that grows by 64 bytes at a time, with small blocks that come and go in between.
fn growing(maker: *Maker) Maker.Error!void {
    try maker.allocate(512);
    for (1..1500) |step| {
        try maker.resize(0, 512 + 64 * step);
        try maker.allocate(128);
        // The first of the list is the buffer itself.
        if (maker.live.items.len > 20) try maker.release(1);
    }
}

/// Four phases: a burst of one size, most of which is freed before the next and larger one comes.
fn phases(maker: *Maker) Maker.Error!void {
    for ([_]usize{ 48, 160, 400, 1200 }) |size| {
        const count = 200_000 / size;
        const before = maker.live.items.len;
        for (0..count) |_| {
            try maker.allocate(size + maker.random.uintLessThan(usize, size / 4));
        }
        while (maker.live.items.len > before + count / 10) try maker.releaseAny();
    }
}

const makers = .{
    .{ "small", small },
    .{ "mixed", mixed },
    .{ "binary", binary },
    .{ "coalesce", coalesce },
    .{ "growing", growing },
    .{ "phases", phases },
};

pub const trace_count = makers.len;

/// The same seed gives the same traces.
pub fn make(arena: std.mem.Allocator, seed: u64) Maker.Error![trace_count]Trace {
    var traces: [trace_count]Trace = undefined;
    inline for (makers, &traces, 0..) |row, *made, index| {
        var prng: std.Random.DefaultPrng = .init(seed +% index);
        var maker: Maker = .{ .arena = arena, .random = prng.random() };
        try row[1](&maker);
        try maker.releaseAll();
        made.* = .{ .name = row[0], .id_count = maker.id_count, .ops = maker.ops.items };
    }
    return traces;
}

test "traces repeat with their seed, and end with nothing live" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const once = try make(arena.allocator(), 1);
    const again = try make(arena.allocator(), 1);
    const other = try make(arena.allocator(), 2);
    for (once, again) |left, right| {
        try std.testing.expectEqualSlices(Op, left.ops, right.ops);
        var live: usize = 0;
        for (left.ops) |op| switch (op.kind) {
            .allocate => live += 1,
            .release => live -= 1,
            .resize => {},
        };
        try std.testing.expectEqual(0, live);
    }
    try std.testing.expect(other[0].ops[0].size != once[0].ops[0].size or
        other[0].ops[1].size != once[0].ops[1].size);
}

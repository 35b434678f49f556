//! What a run does, decided before it begins: for each thread a list of calls on numbered slots,
//! 8 bytes each, so that drawing random numbers is no part of what is measured and every allocator
//! meets the same calls in the same order.
//!
//! The calls of one stream are made in its order. Streams meet in `send` and `receive`. The order
//! in which a Builder wrote them is one in which no channel ever holds more than
//! `channel_length_max` blocks: so no run of them can wait for ever.
const std = @import("std");
const Random = @import("random.zig").Random;

pub const threads_max = 64;
pub const slots_max = 1 << 24;
pub const size_max = (1 << 30) - 1;
pub const ops_max = 1 << 28;
/// Blocks on the way from one thread to another.
pub const channel_length_max = 1024;
pub const marks_max = 8;

pub const Kind = enum(u4) {
    malloc,
    free,
    realloc,
    aligned,
    calloc,
    /// A block changes hands; not a call.
    send,
    receive,
    /// Between two phases; not a call.
    mark,
    /// The thread ends and another takes its place; not a call.
    next_thread,

    pub fn isCall(kind: Kind) bool {
        return @backingInt(kind) <= @backingInt(Kind.calloc);
    }
};

pub const Op = packed struct(u64) {
    kind: Kind,
    slot: u24 = 0,
    size: u30 = 0,
    /// The alignment's logarithm, the stream at the other end, the number of the mark.
    extra: u6 = 0,
};

/// What is written into a block as soon as it is there, for blocks nobody touches cost nothing.
pub const Touch = enum {
    first,
    ends,
    all,

    pub fn describe(touch: Touch) []const u8 {
        return switch (touch) {
            .first => "first byte",
            .ends => "first and last byte",
            .all => "every byte",
        };
    }
};

pub const Stream = struct {
    ops: []const Op,
    /// The first op that is measured; those before it prepare.
    setup_length: usize,
    slot_count: usize,
    /// Whether it is made by threads that follow each other.
    has_successors: bool,
};

pub const Calls = struct {
    malloc: u64 = 0,
    free: u64 = 0,
    realloc: u64 = 0,
    aligned: u64 = 0,
    calloc: u64 = 0,

    /// Calls that give a block.
    pub fn allocating(calls: Calls) u64 {
        return calls.malloc + calls.realloc + calls.aligned + calls.calloc;
    }

    pub fn total(calls: Calls) u64 {
        return calls.allocating() + calls.free;
    }
};

/// Where the requested live bytes of a single stream are the most.
pub const Peak = struct { position: usize = 0, requested: u64 = 0 };

pub const Sequence = struct {
    streams: []const Stream,
    touch: Touch,
    /// Measured calls, and those that prepare.
    calls: Calls,
    setup_calls: Calls,
    size_smallest: u64,
    size_largest: u64,
    /// Of the first stream; with several the order, and so the peak, is the run's.
    peak: Peak,
    digest: u64,
    mark_names: []const []const u8,
    /// Requested live bytes at the marks; null: not reached, or several streams.
    requested_at: [marks_max]?u64,
};

pub const Error = error{
    /// All calls that were asked for are there.
    Finished,
    OutOfMemory,
    /// The sequence needs more slots or bigger blocks than fit.
    TooLarge,
};

/// Writes the streams of a sequence, and knows which blocks live.
pub const Builder = struct {
    random: Random,
    lanes: []Lane,
    /// Measured calls that may still come.
    left: u64 = 0,
    measuring: bool = false,
    calls: Calls = .{},
    setup_calls: Calls = .{},
    size_smallest: u64 = size_max,
    size_largest: u64 = 0,

    const Lane = struct {
        ops: std.ArrayList(Op) = .empty,
        /// Requested bytes by slot.
        sizes: std.ArrayList(u32) = .empty,
        unused: std.ArrayList(u24) = .empty,
        setup_length: usize = 0,
        has_successors: bool = false,
        requested: u64 = 0,
        peak: Peak = .{},
        requested_at: [marks_max]?u64 = @splat(null),
    };

    const gpa = std.heap.page_allocator;

    pub fn init(threads: usize) Error!Builder {
        const lanes = try gpa.alloc(Lane, threads);
        for (lanes) |*lane| lane.* = .{};
        return .{ .random = .{ .state = 0 }, .lanes = lanes };
    }

    /// What was written so far prepares; `ops` measured calls follow.
    pub fn measure(builder: *Builder, ops: u64) void {
        builder.left = ops;
        builder.measuring = true;
    }

    pub fn endSetup(builder: *Builder, index: usize) void {
        builder.lanes[index].setup_length = builder.lanes[index].ops.items.len;
    }

    /// A slot with a new block.
    pub fn malloc(builder: *Builder, index: usize, size: u64) Error!u24 {
        return builder.allocate(index, .malloc, size, 0);
    }

    pub fn calloc(builder: *Builder, index: usize, size: u64) Error!u24 {
        return builder.allocate(index, .calloc, size, 0);
    }

    pub fn aligned(builder: *Builder, index: usize, shift: u6, size: u64) Error!u24 {
        return builder.allocate(index, .aligned, size, shift);
    }

    fn allocate(builder: *Builder, index: usize, kind: Kind, size: u64, extra: u6) Error!u24 {
        if (size > size_max) return error.TooLarge;
        try builder.count(kind);
        const slot = try builder.takeSlot(index, size);
        try builder.append(index, .{
            .kind = kind,
            .slot = slot,
            .size = @intCast(size),
            .extra = extra,
        });
        builder.grew(index, size);
        return slot;
    }

    pub fn realloc(builder: *Builder, index: usize, slot: u24, size: u64) Error!void {
        if (size > size_max) return error.TooLarge;
        try builder.count(.realloc);
        try builder.append(index, .{ .kind = .realloc, .slot = slot, .size = @intCast(size) });
        const lane = &builder.lanes[index];
        lane.requested -= lane.sizes.items[slot];
        lane.sizes.items[slot] = @intCast(size);
        builder.grew(index, size);
    }

    pub fn free(builder: *Builder, index: usize, slot: u24) Error!void {
        try builder.count(.free);
        try builder.append(index, .{ .kind = .free, .slot = slot });
        _ = try builder.leaveSlot(index, slot);
    }

    /// Hands a block from one stream to another; its slot there.
    pub fn handOver(builder: *Builder, from: usize, slot: u24, to: usize) Error!u24 {
        try builder.append(from, .{ .kind = .send, .slot = slot, .extra = @intCast(to) });
        const size = try builder.leaveSlot(from, slot);
        const there = try builder.takeSlot(to, size);
        try builder.append(to, .{ .kind = .receive, .slot = there, .extra = @intCast(from) });
        builder.grew(to, size);
        return there;
    }

    pub fn mark(builder: *Builder, index: usize, number: u6) Error!void {
        try builder.append(index, .{ .kind = .mark, .extra = number });
        const lane = &builder.lanes[index];
        lane.requested_at[number] = lane.requested;
    }

    pub fn nextThread(builder: *Builder, index: usize) Error!void {
        try builder.append(index, .{ .kind = .next_thread });
        builder.lanes[index].has_successors = true;
    }

    pub fn sizeOf(builder: *const Builder, index: usize, slot: u24) u64 {
        return builder.lanes[index].sizes.items[slot];
    }

    fn count(builder: *Builder, kind: Kind) Error!void {
        var calls = &builder.setup_calls;
        if (builder.measuring) {
            if (builder.left == 0) return error.Finished;
            builder.left -= 1;
            calls = &builder.calls;
        }
        switch (kind) {
            .malloc => calls.malloc += 1,
            .free => calls.free += 1,
            .realloc => calls.realloc += 1,
            .aligned => calls.aligned += 1,
            .calloc => calls.calloc += 1,
            .send, .receive, .mark, .next_thread => unreachable,
        }
    }

    fn append(builder: *Builder, index: usize, op: Op) Error!void {
        try builder.lanes[index].ops.append(gpa, op);
    }

    fn takeSlot(builder: *Builder, index: usize, size: u64) Error!u24 {
        const lane = &builder.lanes[index];
        if (lane.unused.pop()) |slot| {
            lane.sizes.items[slot] = @intCast(size);
            return slot;
        }
        const slot = lane.sizes.items.len;
        if (slot == slots_max) return error.TooLarge;
        try lane.sizes.append(gpa, @intCast(size));
        return @intCast(slot);
    }

    fn leaveSlot(builder: *Builder, index: usize, slot: u24) Error!u64 {
        const lane = &builder.lanes[index];
        const size = lane.sizes.items[slot];
        lane.requested -= size;
        try lane.unused.append(gpa, slot);
        return size;
    }

    fn grew(builder: *Builder, index: usize, size: u64) void {
        const lane = &builder.lanes[index];
        lane.requested += size;
        if (lane.requested > lane.peak.requested) {
            lane.peak = .{ .position = lane.ops.items.len - 1, .requested = lane.requested };
        }
        builder.size_smallest = @min(builder.size_smallest, size);
        builder.size_largest = @max(builder.size_largest, size);
    }

    pub fn finish(
        builder: *Builder,
        touch: Touch,
        mark_names: []const []const u8,
    ) Error!Sequence {
        const streams = try gpa.alloc(Stream, builder.lanes.len);
        var hasher: std.hash.XxHash64 = .init(0);
        hasher.update(@tagName(touch));
        for (builder.lanes, streams) |*lane, *stream| {
            stream.* = .{
                .ops = lane.ops.items,
                .setup_length = lane.setup_length,
                .slot_count = lane.sizes.items.len,
                .has_successors = lane.has_successors,
            };
            const lengths = [_]u64{ lane.ops.items.len, lane.setup_length };
            hasher.update(std.mem.sliceAsBytes(&lengths));
            hasher.update(std.mem.sliceAsBytes(lane.ops.items));
        }
        return .{
            .streams = streams,
            .touch = touch,
            .calls = builder.calls,
            .setup_calls = builder.setup_calls,
            .size_smallest = builder.size_smallest,
            .size_largest = builder.size_largest,
            .peak = builder.lanes[0].peak,
            .digest = hasher.final(),
            .mark_names = mark_names,
            .requested_at = if (streams.len == 1) builder.lanes[0].requested_at else @splat(null),
        };
    }
};

/// Slots of live blocks, of which any can be drawn.
pub const LiveSet = struct {
    slots: std.ArrayList(u24) = .empty,

    pub fn count(live: *const LiveSet) usize {
        return live.slots.items.len;
    }

    pub fn add(live: *LiveSet, slot: u24) Error!void {
        try live.slots.append(Builder.gpa, slot);
    }

    pub fn takeRandom(live: *LiveSet, random: *Random) u24 {
        return live.slots.swapRemove(@intCast(random.below(live.slots.items.len)));
    }

    pub fn takeNewest(live: *LiveSet) u24 {
        return live.slots.pop().?;
    }

    pub fn shuffle(live: *LiveSet, random: *Random) void {
        const items = live.slots.items;
        var rest = items.len;
        while (rest > 1) : (rest -= 1) {
            std.mem.swap(u24, &items[rest - 1], &items[@intCast(random.below(rest))]);
        }
    }
};

test "sequence: what lives at each mark is known" {
    var builder: Builder = try .init(1);
    builder.measure(3);
    const a = try builder.malloc(0, 100);
    _ = try builder.malloc(0, 50);
    try builder.mark(0, 0);
    try builder.free(0, a);
    try builder.mark(0, 1);
    const sequence = try builder.finish(.first, &.{});
    try std.testing.expectEqualSlices(?u64, &.{ 150, 50, null }, sequence.requested_at[0..3]);
}

test "sequence: the builder counts calls, keeps the peak and stops" {
    var builder: Builder = try .init(2);
    builder.measure(5);
    const a = try builder.malloc(0, 100);
    const b = try builder.malloc(0, 50);
    try builder.free(0, a);
    try builder.realloc(0, b, 70);
    const there = try builder.handOver(0, b, 1);
    try builder.free(1, there);
    try std.testing.expectError(error.Finished, builder.malloc(0, 1));
    const sequence = try builder.finish(.first, &.{});
    try std.testing.expectEqual(Peak{ .position = 1, .requested = 150 }, sequence.peak);
    try std.testing.expectEqual(5, sequence.calls.total());
    try std.testing.expectEqual(3, sequence.calls.allocating());
    try std.testing.expectEqual(2, sequence.streams[0].slot_count);
    try std.testing.expectEqual(50, sequence.size_smallest);
}

comptime {
    std.debug.assert(@bitSizeOf(Op) == 64);
    std.debug.assert(threads_max <= 1 << 6);
    // The digest reads the ops as bytes.
    std.debug.assert(@import("builtin").cpu.arch.endian() == .little);
}

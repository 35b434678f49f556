//! Makes the calls of one stream. One loop for all profiles and allocators, compiled once for each
//! way of looking at them, so that nothing but the allocator differs between two measurements.
const std = @import("std");
const allocators = @import("allocators.zig");
const clock = @import("clock.zig");
const contents = @import("contents.zig");
const sequence = @import("sequence.zig");
const Channels = @import("channel.zig").Channels;
const Histogram = @import("histogram.zig").Histogram;
const Watch = @import("watch.zig").Watch;
const fail = @import("failure.zig").fail;
const Content = contents.Content;
const Op = sequence.Op;

pub const Mode = struct {
    /// The clock that each call is timed by.
    timing: ?clock.Source = null,
    check: enum { none, stamp, pattern } = .none,
};

/// One stream under way. Its thread's alone; a successor gets it by being created.
pub const Lane = struct {
    /// Two lines: what a thread writes here is on none that another reads, nor on its neighbour,
    /// which processors fetch along.
    index: usize align(128),
    stream: *const sequence.Stream,
    touch: sequence.Touch,
    allocator: allocators.Allocator,
    channels: Channels,
    watch: *Watch,
    timer_cost: u64,
    blocks: []?[*]u8,
    /// Empty unless patterns are checked.
    contents: []Content,
    allocation_times: *Histogram,
    free_times: *Histogram,
    position: usize = 0,

    /// Goes on to `stop` or to the end of a thread's life; whether it is at `stop`.
    pub fn run(lane: *Lane, comptime mode: Mode, stop: usize) bool {
        const ops = lane.stream.ops;
        var position = lane.position;
        defer lane.position = position;
        while (position < stop) {
            const op = ops[position];
            if (mode.check == .pattern) lane.position = position; // Blocks are marked with it.
            switch (op.kind) {
                .malloc => lane.allocate(mode, op, lane.call(mode, .malloc, .{op.size})),
                .calloc => lane.allocate(mode, op, lane.call(mode, .calloc, .{op.size})),
                .aligned => {
                    const alignment = @as(usize, 1) << op.extra;
                    lane.allocate(mode, op, lane.call(mode, .aligned, .{ alignment, op.size }));
                },
                .realloc => lane.resize(mode, op),
                .free => lane.release(mode, op),
                .send => lane.send(mode, op),
                .receive => lane.receive(mode, op),
                .mark => lane.watch.mark(op.extra),
                .next_thread => {
                    position += 1;
                    return false;
                },
            }
            position += 1;
        }
        lane.channels.showAll(lane.index);
        return true;
    }

    /// What is left, not measured. By the last thread alone.
    pub fn releaseAll(lane: *Lane, comptime mode: Mode) void {
        for (lane.blocks, 0..) |block, slot| {
            if (block != null) lane.release(mode, .{ .kind = .free, .slot = @intCast(slot) });
        }
    }

    const Entry = enum { malloc, calloc, aligned, realloc };

    inline fn call(
        lane: *Lane,
        comptime mode: Mode,
        comptime entry: Entry,
        arguments: anytype,
    ) ?[*]u8 {
        const function = @field(lane.allocator.calls, @tagName(entry));
        const all = .{lane.allocator.context} ++ arguments;
        const source = mode.timing orelse return @call(.auto, function, all);
        const began = clock.begin(source);
        const block = @call(.auto, function, all);
        const ended = clock.end(source);
        lane.allocation_times.record(ended -| began -| lane.timer_cost);
        return block;
    }

    inline fn allocate(lane: *Lane, comptime mode: Mode, op: Op, allocated: ?[*]u8) void {
        const block = allocated orelse lane.outOfMemory(op);
        lane.blocks[op.slot] = block;
        if (mode.check == .pattern) lane.checkNew(op, block);
        if (mode.check != .pattern) touchBlock(lane.touch, block, op.size);
        if (mode.check == .stamp) contents.stamp(block);
    }

    inline fn resize(lane: *Lane, comptime mode: Mode, op: Op) void {
        const old = lane.blocks[op.slot].?;
        if (mode.check == .pattern) lane.watch.shrank(lane.contents[op.slot].size);
        const block = lane.call(mode, .realloc, .{ old, op.size }) orelse lane.outOfMemory(op);
        lane.blocks[op.slot] = block;
        if (mode.check == .pattern) {
            lane.checkContents(op.slot, op.size);
            return lane.checkNew(op, block);
        }
        if (mode.check == .stamp and !contents.isStamped(block, old)) lane.lost(op.slot, 0);
        touchBlock(lane.touch, block, op.size);
        if (mode.check == .stamp) contents.stamp(block);
    }

    inline fn release(lane: *Lane, comptime mode: Mode, op: Op) void {
        const block = lane.blocks[op.slot].?;
        if (mode.check == .pattern) {
            lane.checkContents(op.slot, std.math.maxInt(usize));
            lane.watch.shrank(lane.contents[op.slot].size);
        }
        if (mode.check == .stamp) {
            if (!contents.isStamped(block, block)) lane.lost(op.slot, 0);
            contents.wipe(block);
        }
        lane.blocks[op.slot] = null;
        const source = mode.timing orelse return lane.allocator.free(block);
        const began = clock.begin(source);
        lane.allocator.free(block);
        const ended = clock.end(source);
        lane.free_times.record(ended -| began -| lane.timer_cost);
    }

    inline fn send(lane: *Lane, comptime mode: Mode, op: Op) void {
        const content: Content = if (mode.check == .pattern) lane.contents[op.slot] else .{};
        const block = lane.blocks[op.slot].?;
        lane.blocks[op.slot] = null;
        lane.channels.send(lane.index, op.extra, .{ .block = block, .content = content });
    }

    inline fn receive(lane: *Lane, comptime mode: Mode, op: Op) void {
        const item = lane.channels.receive(op.extra, lane.index);
        lane.blocks[op.slot] = item.block;
        if (mode.check == .pattern) lane.contents[op.slot] = item.content;
        // As a receiver does: it reads what it was sent.
        if (mode.check == .stamp and !contents.isStamped(item.block, item.block)) {
            lane.lost(op.slot, 0);
        }
    }

    fn checkNew(lane: *Lane, op: Op, block: [*]u8) void {
        const natural: usize = if (op.size >= 16) 16 else 8;
        const wanted = if (op.kind == .aligned) @as(usize, 1) << op.extra else natural;
        if (@intFromPtr(block) % wanted != 0) {
            const text = "{s}: a block of {d} bytes at 0x{x} is not aligned to {d}";
            fail(text, .{ lane.allocator.name, op.size, @intFromPtr(block), wanted });
        }
        const usable = lane.allocator.usable(block);
        if (usable < op.size) {
            const text = "{s}: a block of {d} bytes has a usable size of {d}";
            fail(text, .{ lane.allocator.name, op.size, usable });
        }
        if (op.kind == .calloc) {
            if (contents.firstNonZero(block, op.size)) |at| {
                const text = "{s}: byte {d} of a zeroed block of {d} bytes is not zero";
                fail(text, .{ lane.allocator.name, at, op.size });
            }
        }
        const seed = @as(u64, lane.index) << 40 | lane.position;
        lane.contents[op.slot] = .{ .size = op.size, .seed = seed };
        contents.fill(block, lane.contents[op.slot]);
        lane.watch.grew(lane.allocator, op.size, lane.position);
    }

    fn checkContents(lane: *Lane, slot: u24, size: usize) void {
        const at = contents.damage(lane.blocks[slot].?, lane.contents[slot], size) orelse return;
        lane.lost(slot, at);
    }

    fn lost(lane: *const Lane, slot: u24, at: usize) noreturn {
        @branchHint(.cold);
        const text = "{s}: the block at 0x{x} does not hold what was written into it: byte {d}";
        fail(text, .{ lane.allocator.name, @intFromPtr(lane.blocks[slot].?), at });
    }

    fn outOfMemory(lane: *const Lane, op: Op) noreturn {
        @branchHint(.cold);
        fail("{s}: no memory for {d} bytes", .{ lane.allocator.name, op.size });
    }
};

inline fn touchBlock(touch: sequence.Touch, block: [*]u8, size: usize) void {
    if (size == 0) return;
    switch (touch) {
        .first => block[0] = 1,
        .ends => {
            block[0] = 1;
            block[size - 1] = 1;
        },
        .all => @memset(block[0..size], 1),
    }
    std.mem.doNotOptimizeAway(block);
}

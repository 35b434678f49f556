//! Fuzz target: any script of calls to the heap through its C entries, against a model of what
//! every block contains. Part of `zig build test` with a few scripts from a fixed seed; `zig build
//! test --fuzz=1M -Dtest-filter=fuzz:` for as many as one likes.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const heap = @import("heap");
const region = @import("region");
const t = base.tunables;
const aligned = @import("aligned.zig");
const malloc = @import("malloc.zig");
const realloc = @import("realloc.zig").realloc;

const slots = 64;
/// Sizes up to 128 MiB: beyond the threshold of own mappings.
const size_doublings = 26;
/// Bytes at either end that are all verified; between them one in `stride`.
const edge = 128;
/// What a script may hold at once: the machine's memory is not what is tested.
const live_bytes_max = 512 * t.mib;

const Held = struct {
    address: ?[*]u8 = null,
    size: usize = 0,
    mark: u8 = 0,

    /// The next offset that carries the pattern; `offset` itself when it does.
    fn following(held: Held, offset: usize) usize {
        if (offset < edge or offset + edge >= held.size) return offset;
        const stride: usize = if (held.size <= t.mib) 512 else 64 * t.kib;
        return @min(std.mem.alignForward(usize, offset, stride), held.size - edge);
    }

    fn byte(held: Held, offset: usize) u8 {
        return held.mark +% @as(u8, @truncate(offset)) +% @as(u8, @truncate(offset >> 9));
    }

    fn paint(held: Held) void {
        const bytes = held.address.?;
        var offset = held.following(0);
        while (offset < held.size) : (offset = held.following(offset + 1)) {
            bytes[offset] = held.byte(offset);
        }
    }

    /// Whether the first `limit` bytes are as they were painted.
    fn expectPainted(held: Held, bytes: [*]const u8, limit: usize) !void {
        var offset = held.following(0);
        while (offset < limit) : (offset = held.following(offset + 1)) {
            if (bytes[offset] != held.byte(offset)) return error.Corrupt;
        }
    }

    fn expectZero(held: Held) !void {
        const bytes = held.address.?;
        var offset = held.following(0);
        while (offset < held.size) : (offset = held.following(offset + 1)) {
            if (bytes[offset] != 0) return error.NotZero;
        }
    }
};

const Model = struct {
    held: [slots]Held = @splat(.{}),
    live_bytes: usize = 0,
    marks: u8 = 0,

    fn run(model: *Model, step: base.script.Step) !void {
        const held = &model.held[step.slot % slots];
        const size = step.size(size_doublings);
        switch (step.call % 16) {
            0...4 => {
                try model.release(held);
                try model.adopt(held, malloc.malloc(size), size, 16);
            },
            5, 6 => {
                try model.release(held);
                const block = malloc.calloc(if (size % 2 == 0) 2 else 1, size / (2 - size % 2));
                held.* = .{ .address = @ptrCast(block), .size = size };
                if (block != null) try held.expectZero();
                try model.adopt(held, block, size, 16);
            },
            7, 8 => {
                try model.release(held);
                const alignment = @as(usize, 1) << @intCast(step.call / 16 + 6);
                try model.adopt(held, aligned.alignedAlloc(alignment, size), size, alignment);
            },
            9...11 => try model.resize(held, size),
            12...14 => try model.release(held),
            else => {
                _ = heap.slow.trim(size);
                heap.slow.check();
            },
        }
        if (model.live_bytes > live_bytes_max) try model.releaseAll();
    }

    fn adopt(model: *Model, held: *Held, block: ?*anyopaque, size: usize, alignment: usize) !void {
        held.* = .{};
        const bytes: [*]u8 = @ptrCast(block orelse return error.OutOfMemory);
        if (@intFromPtr(bytes) % alignment != 0) return error.Misaligned;
        if (malloc.usableSize(block) < size) return error.TooShort;
        model.marks +%= 37;
        held.* = .{ .address = bytes, .size = size, .mark = model.marks };
        model.live_bytes += size;
        held.paint();
    }

    fn resize(model: *Model, held: *Held, size: usize) !void {
        const old = held.*;
        if (old.address) |bytes| try old.expectPainted(bytes, old.size);
        const block = realloc(@ptrCast(old.address), size);
        model.live_bytes -= old.size;
        held.* = .{};
        if (old.address != null and size == 0) {
            if (block != null) return error.NotFreed;
            return;
        }
        const bytes: [*]const u8 = @ptrCast(block orelse return error.OutOfMemory);
        try old.expectPainted(bytes, @min(old.size, size));
        try model.adopt(held, block, size, 16);
    }

    fn release(model: *Model, held: *Held) !void {
        const bytes = held.address orelse return;
        try held.expectPainted(bytes, held.size);
        malloc.free(bytes);
        model.live_bytes -= held.size;
        held.* = .{};
    }

    fn releaseAll(model: *Model) !void {
        for (&model.held) |*held| try model.release(held);
    }
};

fn runScript(_: void, smith: *std.testing.Smith) !void {
    var buffer: [2048]u8 = undefined;
    var script: base.script.Script = .{ .rest = buffer[0..smith.slice(&buffer)] };
    // What was free before is free again after it: a block that got lost would show.
    _ = heap.slow.trim(0);
    const live_before = region.run_allocator.liveBytes();
    var model: Model = .{};
    while (script.next()) |step| try model.run(step);
    try model.releaseAll();
    _ = heap.slow.trim(0);
    heap.slow.check();
    if (region.run_allocator.liveBytes() != live_before) return error.Lost;
}

test "fuzz: heap" {
    var buffer: [4096]u8 = undefined;
    if (try os.fuzz_input.of("heap", &buffer)) |input| {
        return std.testing.fuzz({}, runScript, .{ .corpus = &.{input} });
    }
    const seed = 0x5eed_0602;
    errdefer std.debug.print("the corpus is of seed {x}\n", .{seed});
    var corpus: base.script.Corpus(12, 2048) = undefined;
    corpus.fill(seed);
    try std.testing.fuzz({}, runScript, .{ .corpus = &corpus.inputs });
}

//! Fuzz target: any script of calls to the run allocator, against a model of who holds what.
//! Part of `zig build test` with a few scripts from a fixed seed; `zig build test --fuzz=1M
//! -Dtest-filter=fuzz:` for as many as one likes.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const space = @import("address_space.zig");
const runs = @import("run_allocator.zig");

const Held = struct { first: u32 = 0, length: u32 = 0, mark: u8 = 0 };

const slots = 32;
const length_doublings = 6;
const holder = 1;

const Model = struct {
    held: [slots]Held = @splat(.{}),
    sum: u32 = 0,

    fn run(model: *Model, step: base.script.Step) !void {
        const held = &model.held[step.slot % slots];
        const length: u32 = @intCast(@max(step.size(length_doublings), 1));
        if (held.length != 0) try expectPainted(held.*);
        switch (step.call % 8) {
            0, 1 => try model.take(held, length, 1),
            2 => try model.take(held, length, @as(u32, 2) << @intCast(step.call / 8 % 8)),
            3, 4 => model.resize(held, length),
            5, 6 => model.release(held, step.call & 8 != 0),
            else => {
                runs.trim(step.size(20), holder);
                runs.check(holder);
            },
        }
    }

    fn take(model: *Model, held: *Held, length: u32, alignment: u32) !void {
        model.release(held, true);
        const taken = if (alignment == 1)
            runs.allocFor(if (length % 2 == 0) .slab else .block, length, holder)
        else
            runs.allocAligned(length, alignment, holder);
        if (taken.isNone()) return error.OutOfMemory;
        const bytes = @as(usize, alignment) << t.slice_shift;
        if (space.address(taken.first) % bytes != 0) return error.Misaligned;
        held.* = .{ .first = taken.first, .length = length, .mark = model.newMark() };
        if (taken.zero) try expectByte(held.*, 0);
        model.sum += length;
        paint(held.*);
    }

    /// Never 0, which is what a purged slice reads as.
    fn newMark(model: *const Model) u8 {
        return @truncate(model.sum | 1);
    }

    fn resize(model: *Model, held: *Held, length: u32) void {
        if (held.length == 0) return;
        if (!runs.resize(held.first, held.length, length, 0, holder)) return;
        model.sum = model.sum - held.length + length;
        held.length = length;
        paint(held.*);
    }

    fn release(model: *Model, held: *Held, purge: bool) void {
        if (held.length == 0) return;
        runs.free(held.first, held.length, false, holder);
        if (purge) runs.purgeDue(holder);
        model.sum -= held.length;
        held.* = .{};
    }
};

/// First and last byte of each slice carry the mark of the run that holds it.
fn paint(held: Held) void {
    for (held.first..held.first + held.length) |id| {
        const bytes: [*]u8 = @ptrFromInt(space.address(@intCast(id)));
        bytes[0] = held.mark;
        bytes[t.slice_size - 1] = held.mark;
    }
}

fn expectPainted(held: Held) !void {
    try expectByte(held, held.mark);
}

fn expectByte(held: Held, byte: u8) !void {
    for (held.first..held.first + held.length) |id| {
        const bytes: [*]const u8 = @ptrFromInt(space.address(@intCast(id)));
        if (bytes[0] != byte) return error.Corrupt;
        if (bytes[t.slice_size - 1] != byte) return error.Corrupt;
    }
}

fn runScript(_: void, smith: *std.testing.Smith) !void {
    var buffer: [1024]u8 = undefined;
    var script: base.script.Script = .{ .rest = buffer[0..smith.slice(&buffer)] };
    const live_before = runs.live_slices.raw;
    var model: Model = .{};
    while (script.next()) |step| {
        try model.run(step);
        if (runs.live_slices.raw != live_before + model.sum) return error.Miscounted;
    }
    for (&model.held) |*held| {
        if (held.length != 0) try expectPainted(held.*);
        model.release(held, true);
    }
    if (runs.live_slices.raw != live_before) return error.Miscounted;
    runs.check(holder);
}

test "fuzz: run allocator" {
    var buffer: [4096]u8 = undefined;
    if (try os.fuzz_input.of("run-allocator", &buffer)) |input| {
        return std.testing.fuzz({}, runScript, .{ .corpus = &.{input} });
    }
    const seed = 0x5eed_0601;
    errdefer std.debug.print("the corpus is of seed {x}\n", .{seed});
    var corpus: base.script.Corpus(6, 512) = undefined;
    corpus.fill(seed);
    try std.testing.fuzz({}, runScript, .{ .corpus = &corpus.inputs });
}

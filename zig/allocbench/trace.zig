//! Recordings in the format of malloc-lab as sequences; the ladder reads them.
const std = @import("std");
const ladder = @import("ladder");
const sequence = @import("sequence.zig");
const Builder = sequence.Builder;
const Trace = ladder.trace.Trace;
pub const Problem = ladder.trace.Problem;

pub const Error = error{ BadTrace, OutOfMemory };

pub fn load(path: []const u8, problem: *Problem) Error!Trace {
    var threaded: std.Io.Threaded = .init_single_threaded;
    // For the life of the process: what the recording refers to stays in it.
    var arena: std.heap.ArenaAllocator = .init(std.heap.page_allocator);
    return ladder.trace.load(threaded.io(), arena.allocator(), path, problem);
}

/// For each of the builder's streams the calls of a recording: all, or the first `ops`.
pub fn add(builder: *Builder, trace: Trace, ops: ?u64) sequence.Error!void {
    const slots = try std.heap.page_allocator.alloc(u24, trace.id_count);
    defer std.heap.page_allocator.free(slots);
    for (0..builder.lanes.len) |index| {
        builder.measure(ops orelse sequence.ops_max);
        addOne(builder, index, trace, slots) catch |err| {
            if (err != error.Finished) return err;
        };
    }
}

fn addOne(builder: *Builder, index: usize, trace: Trace, slots: []u24) sequence.Error!void {
    for (trace.ops) |op| switch (op.kind) {
        .allocate => slots[op.id] = try builder.malloc(index, op.size),
        .resize => try builder.realloc(index, slots[op.id], op.size),
        .release => try builder.free(index, slots[op.id]),
    };
}

test "trace: calls become ops" {
    const trace: Trace = .{ .name = "test", .id_count = 2, .ops = &.{
        .{ .kind = .allocate, .id = 0, .size = 512 },
        .{ .kind = .allocate, .id = 1, .size = 128 },
        .{ .kind = .resize, .id = 0, .size = 640 },
        .{ .kind = .release, .id = 1 },
    } };
    var builder: Builder = try .init(1);
    try add(&builder, trace, null);
    const made = try builder.finish(.first, &.{});
    try std.testing.expectEqual(4, made.calls.total());
    try std.testing.expectEqual(768, made.peak.requested);
    try std.testing.expectEqual(2, made.peak.position);
}

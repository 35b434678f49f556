//! The malloc-lab score: how well a trace is packed, and how fast it goes.
//!
//!     utilisation = most bytes live at once / most bytes held at once (metadata included)
//!     score       = 100 (0.6 utilisation + 0.4 min(1, throughput / libc's throughput))
//!
//! of each trace, then the mean over traces; a trace that the allocator does not get through counts
//! 0. Both figures come from children of their own. Throughput is operations a second of the
//! fastest of a few replays in a row, blocks written to at their first byte; a rung begins each
//! replay empty, with the memory that it had.
const std = @import("std");
const ladder = @import("ladder.zig");
const child = @import("child.zig");
const Allocator = ladder.Allocator;
const Trace = @import("trace.zig").Trace;
const Op = @import("trace.zig").Op;
const View = ladder.frame.View;

/// An allocator as it stands at the start of a measurement.
pub const Subject = struct {
    open: *const fn (ladder.source.Kind) ?Allocator,
    view: ?*const View,
    kind: ladder.source.Kind,
};

const Job = struct {
    subject: Subject,
    trace: *const Trace,
    replays: usize,
};

/// Null: did not get through.
pub const Outcome = ?f64;

/// Live bytes at their peak over held bytes at theirs.
pub fn utilisation(subject: Subject, trace: *const Trace) Outcome {
    const job: Job = .{ .subject = subject, .trace = trace, .replays = 1 };
    return child.run(Outcome, job, packedInChild) orelse null;
}

/// Operations a second.
pub fn throughput(subject: Subject, trace: *const Trace, replays: usize) Outcome {
    const job: Job = .{ .subject = subject, .trace = trace, .replays = replays };
    return child.run(Outcome, job, timedInChild) orelse null;
}

pub fn score(utilised: f64, ops_per_second: f64, libc_ops_per_second: f64) f64 {
    return 100 * (0.6 * utilised + 0.4 * @min(1, ops_per_second / libc_ops_per_second));
}

fn packedInChild(job: Job) Outcome {
    const allocator = job.subject.open(job.subject.kind) orelse return null;
    const blocks = table(?[*]u8, job.trace.id_count) orelse return null;
    const sizes = table(usize, job.trace.id_count) orelse return null;
    var live: usize = 0;
    var live_max: usize = 0;
    var held_max: usize = 0;
    for (job.trace.ops) |op| {
        live -= sizes[op.id];
        sizes[op.id] = op.size;
        live += op.size;
        if (!step(allocator, op, blocks)) return null;
        live_max = @max(live_max, live);
        held_max = @max(held_max, heldBytes(allocator, job.subject.view) orelse return null);
    }
    return ratio(live_max, held_max);
}

/// All bytes held, metadata included.
pub fn heldBytes(allocator: Allocator, view: ?*const View) ?usize {
    if (view) |known| return known.footprint(allocator.context);
    const held = allocator.held() orelse return null;
    return held.bytes + held.metadata;
}

fn timedInChild(job: Job) Outcome {
    const allocator = job.subject.open(job.subject.kind) orelse return null;
    const blocks = table(?[*]u8, job.trace.id_count) orelse return null;
    var best: ?u64 = null;
    // The first one touches the memory.
    for (0..job.replays + 1) |index| {
        const start = nanoseconds();
        for (job.trace.ops) |op| {
            if (!step(allocator, op, blocks)) return null;
        }
        const taken = nanoseconds() - start;
        if (index > 0) best = @min(best orelse taken, taken);
        for (blocks) |*block| {
            if (block.*) |left| allocator.free(left);
            block.* = null;
        }
        if (job.subject.view) |view| {
            if (!view.reset(allocator.context)) return null;
        }
    }
    return ratio(job.trace.ops.len * std.time.ns_per_s, best orelse return null);
}

inline fn step(allocator: Allocator, op: Op, blocks: []?[*]u8) bool {
    switch (op.kind) {
        .allocate => {
            const block = allocator.malloc(op.size) orelse return false;
            if (op.size > 0) block[0] = 1;
            blocks[op.id] = block;
        },
        .resize => blocks[op.id] = allocator.realloc(blocks[op.id].?, op.size) orelse return false,
        .release => {
            allocator.free(blocks[op.id].?);
            blocks[op.id] = null;
        },
    }
    return true;
}

pub fn ratio(part: usize, whole: usize) f64 {
    return @as(f64, @floatFromInt(part)) / @as(f64, @floatFromInt(@max(whole, 1)));
}

/// Zero-filled and mapped: no allocator that is measured sees it.
pub fn table(comptime T: type, count: usize) ?[]T {
    const address = ladder.source.mapPages(@max(count, 1) * @sizeOf(T)) orelse return null;
    return @as([*]T, @ptrFromInt(address))[0..count];
}

pub fn nanoseconds() u64 {
    var now: std.os.linux.timespec = undefined;
    _ = std.os.linux.clock_gettime(.MONOTONIC, &now);
    return @as(u64, @intCast(now.sec)) * std.time.ns_per_s + @as(u64, @intCast(now.nsec));
}

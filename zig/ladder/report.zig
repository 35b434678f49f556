//! The report of `allocbench --ladder`: the evidence of every rung and its malloc-lab score, as
//! text or as one JSON object. Everything is measured in child processes, so the caller should have
//! no other threads.
const std = @import("std");
const ladder = @import("ladder.zig");
const evidence_file = @import("evidence.zig");
const report_text = @import("report_text.zig");
const score = @import("score.zig");
const synthetic = @import("synthetic.zig");
const live_counts = evidence_file.live_counts;
const Evidence = evidence_file.Evidence;
const Trace = @import("trace.zig").Trace;

pub const Options = struct {
    json: bool = false,
    /// Rungs live in a heap of 1 MiB; the core, which cannot, is left out.
    fake_heap: bool = false,
    seed: u64 = 1337,
    /// The process's malloc, which throughput is compared with.
    libc: ladder.Allocator,
    /// Traces besides the ladder's own.
    traces: []const Trace = &.{},
    /// Replays in a row of which the fastest counts, and rounds of that, rungs taken in turn.
    replays: usize = 5,
    rounds: usize = 3,
};

pub const Error = error{OutOfMemory} || std.Io.Writer.Error;

/// One trace on one allocator.
pub const Cell = struct {
    /// 0 to 1; null: it did not get through.
    utilisation: ?f64,
    ops_per_second: ?f64,
    score: f64,
};

pub const RungReport = struct {
    name: []const u8,
    idea: []const u8,
    threads: bool,
    evidence: Evidence,
    /// One for each trace.
    traces: []Cell,
    score: f64,
};

pub const Report = struct {
    seed: u64,
    fake_heap: bool,
    formula: []const u8 = formula,
    bucket_from_bytes: usize = 16,
    traces: []const TraceReport,
    rungs: []const RungReport,
    /// How many times as fast the slab is as first-fit on small blocks, by `live_counts`.
    slab_speedup: [live_counts.len]?f64,
    live_counts: []const usize = &live_counts,
};

pub const TraceReport = struct {
    name: []const u8,
    ops: usize,
    libc_ops_per_second: ?f64,
};

pub const formula = "100 (0.6 utilisation + 0.4 min(1, throughput / libc's)), mean over traces";

/// Measures, then writes.
pub fn report(writer: *std.Io.Writer, options: Options) Error!void {
    var arena: std.heap.ArenaAllocator = .init(std.heap.page_allocator);
    defer arena.deinit();
    const result = try measure(arena.allocator(), options);
    if (options.json) {
        try std.json.Stringify.value(result, .{}, writer);
        try writer.writeByte('\n');
    } else {
        try report_text.write(writer, result);
    }
}

pub fn measure(arena: std.mem.Allocator, options: Options) error{OutOfMemory}!Report {
    const own = try synthetic.make(arena, options.seed);
    const traces = try std.mem.concat(arena, Trace, &.{ &own, options.traces });
    const kind: ladder.source.Kind = if (options.fake_heap) .fake else .sbrk;
    const rung_count = if (options.fake_heap) ladder.rungs.len - 1 else ladder.rungs.len;
    const rungs = try arena.alloc(RungReport, rung_count);
    const subjects = try arena.alloc(score.Subject, rung_count + 1);
    for (rungs, ladder.rungs[0..rung_count], subjects[0..rung_count]) |*row, rung, *subject| {
        subject.* = .{ .open = rung.open, .view = rung.view, .kind = kind };
        row.* = .{
            .name = rung.name,
            .idea = rung.idea,
            .threads = rung.threads,
            .evidence = evidence_file.gather(subject.*, options.seed),
            .traces = try arena.alloc(Cell, traces.len),
            .score = 0,
        };
    }
    libc = options.libc;
    subjects[rung_count] = .{ .open = openLibc, .view = null, .kind = kind };
    const libc_speeds = try arena.alloc(TraceReport, traces.len);
    for (traces, libc_speeds, 0..) |*trace, *row, index| {
        const speeds = try arena.alloc(?f64, subjects.len);
        measureSpeeds(subjects, speeds, trace, options);
        const reference = speeds[rung_count];
        row.* = .{ .name = trace.name, .ops = trace.ops.len, .libc_ops_per_second = reference };
        for (rungs, subjects[0..rung_count], speeds[0..rung_count]) |rung, subject, speed| {
            rung.traces[index] = cell(score.utilisation(subject, trace), speed, reference);
        }
    }
    for (rungs) |*rung| {
        for (rung.traces) |one| rung.score += one.score / @as(f64, @floatFromInt(traces.len));
    }
    return .{
        .seed = options.seed,
        .fake_heap = options.fake_heap,
        .traces = libc_speeds,
        .rungs = rungs,
        .slab_speedup = speedups(rungs),
    };
}

/// The allocators take turns, so that what happens on the machine meanwhile meets all of them.
fn measureSpeeds(
    subjects: []const score.Subject,
    speeds: []?f64,
    trace: *const Trace,
    options: Options,
) void {
    @memset(speeds, null);
    for (0..options.rounds) |_| {
        for (subjects, speeds) |subject, *speed| {
            const seen = score.throughput(subject, trace, options.replays) orelse continue;
            speed.* = @max(speed.* orelse seen, seen);
        }
    }
}

fn cell(utilisation: ?f64, speed: ?f64, reference: ?f64) Cell {
    var one: Cell = .{ .utilisation = utilisation, .ops_per_second = speed, .score = 0 };
    if (utilisation != null and speed != null and reference != null) {
        one.score = score.score(utilisation.?, speed.?, reference.?);
    }
    return one;
}

fn speedups(rungs: []const RungReport) [live_counts.len]?f64 {
    var times: [live_counts.len]?f64 = @splat(null);
    const slow = find(rungs, "first-fit");
    const fast = find(rungs, "slab");
    for (&times, slow.evidence.search, fast.evidence.search) |*one, slower, faster| {
        if (slower == null or faster == null) continue;
        one.* = slower.?.ns_per_pair / faster.?.ns_per_pair;
    }
    return times;
}

fn find(rungs: []const RungReport, name: []const u8) *const RungReport {
    for (rungs) |*rung| {
        if (std.mem.eql(u8, rung.name, name)) return rung;
    }
    unreachable; // Both stand in the table.
}

var libc: ladder.Allocator = undefined;

fn openLibc(_: ladder.source.Kind) ?ladder.Allocator {
    return libc;
}

test {
    _ = evidence_file;
    _ = @import("child.zig");
    _ = synthetic;
    _ = @import("report_test.zig");
}

//! One pass over a sequence, in a process of its own.
const std = @import("std");
const linux = std.os.linux;
const allocators = @import("allocators.zig");
const channel = @import("channel.zig");
const clock = @import("clock.zig");
const contents = @import("contents.zig");
const counters_file = @import("counters.zig");
const executor = @import("executor.zig");
const memory = @import("memory.zig");
const process = @import("process.zig");
const sequence = @import("sequence.zig");
const threads_file = @import("threads.zig");
const watch_file = @import("watch.zig");
const fail = @import("failure.zig").fail;
const Histogram = @import("histogram.zig").Histogram;
const Gate = threads_file.Gate;
const Lane = executor.Lane;
const Mode = executor.Mode;
const Thread = threads_file.Thread;
const join = threads_file.join;
const spawn = threads_file.spawn;
const Watch = watch_file.Watch;

pub const Kind = enum {
    /// Nothing is measured: contents are checked, and what is held at the peak is asked.
    contents,
    /// No call is timed.
    rates,
    /// Every call is timed.
    latencies,
};

pub const timed_when_brief = 200_000;

pub const Plan = struct {
    sequence: *const sequence.Sequence,
    choice: *const allocators.Choice,
    heap_kind: allocators.HeapKind,
    timer: clock.Timer,
    /// How many calls of a single stream are timed one by one.
    timed_max: usize,
    /// Whether blocks are stamped in the measured passes: with threads, and where all have room.
    stamped: bool,
};

/// Written by the pass, read by its parent once it has ended.
pub const Outcome = struct {
    elapsed_ns: u64,
    allocation_times: Histogram,
    free_times: Histogram,
    counts: counters_file.Counts,
    findings: watch_file.Findings,
    /// The most that was resident above what was before the first call.
    resident_peak: ?u64,
    minor_faults: u64,
};

/// Runs a pass; null when it failed, which it has said itself or is said here.
pub fn run(plan: *const Plan, kind: Kind) ?*const Outcome {
    const outcome = memory.shared(Outcome);
    const done = process.run(measure, .{ plan, kind, outcome }, plan.choice.name, @tagName(kind));
    return if (done) outcome else null;
}

fn measure(plan: *const Plan, kind: Kind, outcome: *Outcome) void {
    const allocator = plan.choice.open(plan.heap_kind) orelse
        fail("{s}: no memory for it", .{plan.choice.name});
    if (kind == .contents) plan.choice.ignoreTime();
    switch (kind) {
        .contents => execute(plan, allocator, outcome, .{ .check = .pattern }, kind),
        .rates => if (plan.stamped) {
            execute(plan, allocator, outcome, .{ .check = .stamp }, kind);
        } else {
            execute(plan, allocator, outcome, .{}, kind);
        },
        .latencies => switch (plan.timer.source) {
            inline else => |source| if (plan.stamped) {
                const mode: Mode = .{ .timing = source, .check = .stamp };
                execute(plan, allocator, outcome, mode, kind);
            } else {
                execute(plan, allocator, outcome, .{ .timing = source }, kind);
            },
        },
    }
}

fn execute(
    plan: *const Plan,
    allocator: allocators.Allocator,
    outcome: *Outcome,
    comptime mode: Mode,
    kind: Kind,
) void {
    const streams = plan.sequence.streams;
    const count = streams.len;
    const histograms = memory.tables(Histogram, if (mode.timing == null) 0 else 2 * count);
    var unused: Histogram = undefined; // Never written: no call is timed then.
    const lanes = memory.tables(Lane, count);
    var watch: Watch = .{ .findings = &outcome.findings, .kind = watchKind(plan, kind) };
    const channels: channel.Channels = if (count == 1) .none else .{
        .threads = count,
        .all = memory.sparse(channel.Channels.Unit, count * count),
    };
    for (lanes, streams, 0..) |*lane, *stream, index| {
        const slots = stream.slot_count;
        lane.* = .{
            .index = index,
            .stream = stream,
            .touch = plan.sequence.touch,
            .allocator = allocator,
            .channels = channels,
            .watch = &watch,
            .timer_cost = plan.timer.cost_ticks,
            .blocks = memory.tables(?[*]u8, slots),
            .contents = memory.tables(
                contents.Content,
                if (mode.check == .pattern) slots else 0,
            ),
            .allocation_times = if (mode.timing == null) &unused else &histograms[2 * index],
            .free_times = if (mode.timing == null) &unused else &histograms[2 * index + 1],
        };
    }
    const counters: counters_file.Counters = .open();
    watch.mark_names = plan.sequence.mark_names;
    watch.counters = &counters;
    watch.pauses = plan.timed_max > timed_when_brief;
    watch.baseline = memory.resident() orelse 0;
    const team: Team = .{
        .lanes = lanes,
        .counters = &counters,
        .watch = &watch,
        .length_max = if (mode.timing == null) std.math.maxInt(usize) else plan.timed_max,
    };
    outcome.elapsed_ns = if (count == 1 and !streams[0].has_successors)
        alone(mode, team)
    else
        together(mode, team);
    outcome.counts = counters.read();
    const peak = memory.residentPeak();
    outcome.resident_peak = if (peak) |bytes| bytes -| watch.baseline else null;
    outcome.minor_faults = watch.faults;
    for (lanes) |*lane| {
        if (mode.timing == null) break;
        outcome.allocation_times.add(lane.allocation_times);
        outcome.free_times.add(lane.free_times);
    }
}

fn watchKind(plan: *const Plan, kind: Kind) Watch.Kind {
    const alone_there = plan.sequence.streams.len == 1;
    return switch (kind) {
        .latencies => .nothing,
        .rates => if (alone_there and plan.sequence.mark_names.len > 0) .marks else .nothing,
        .contents => if (alone_there)
            .{ .peak_at = plan.sequence.peak.position }
        else
            .peak_around,
    };
}

const Team = struct {
    lanes: []Lane,
    counters: *const counters_file.Counters,
    watch: *Watch,
    /// Of what is measured, where nobody waits for what comes after it.
    length_max: usize,
};

/// What prepares is neither timed nor counted.
fn setUp(comptime mode: Mode, lane: *Lane) void {
    _ = lane.run(.{ .check = mode.check }, lane.stream.setup_length);
}

/// One stream, by the thread that the process has: a libc knows that there is no other.
fn alone(comptime mode: Mode, team: Team) u64 {
    const lane = &team.lanes[0];
    setUp(mode, lane);
    const faults = minorFaults();
    team.counters.start();
    const began = clock.nanoseconds();
    const stream = lane.stream;
    _ = lane.run(mode, @min(stream.ops.len, stream.setup_length +| team.length_max));
    const ended = clock.nanoseconds();
    team.counters.stop();
    team.watch.faults = minorFaults() - faults;
    lane.releaseAll(.{ .check = mode.check });
    return ended - began - team.watch.paused_ns;
}

/// The threads of a run: all prepare, begin together, and none frees what is left before the last
/// has finished.
fn Member(comptime mode: Mode) type {
    return struct {
        lane: *Lane,
        gates: *Gates,
        began: u64 = 0,
        ended: u64 = 0,

        const One = @This();

        fn main(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
            const member: *One = @ptrCast(@alignCast(argument.?));
            const lane = member.lane;
            setUp(mode, lane);
            member.gates.prepared.add();
            member.gates.begin.spin(1);
            member.began = clock.nanoseconds();
            if (lane.stream.has_successors) {
                while (lane.position < lane.stream.ops.len) join(spawn(live, lane));
            } else {
                _ = lane.run(mode, lane.stream.ops.len);
            }
            member.ended = clock.nanoseconds();
            member.gates.finished.add();
            member.gates.leave.wait(1);
            lane.releaseAll(.{ .check = mode.check });
            return null;
        }

        /// One of the threads that follow each other.
        fn live(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
            const lane: *Lane = @ptrCast(@alignCast(argument.?));
            _ = lane.run(mode, lane.stream.ops.len);
            return null;
        }
    };
}

fn together(comptime mode: Mode, team: Team) u64 {
    const count: u32 = @intCast(team.lanes.len);
    var gates: Gates = .{};
    const members = memory.tables(Member(mode), count);
    const threads = memory.tables(Thread, count);
    for (members, threads, team.lanes) |*member, *thread, *lane| {
        member.* = .{ .lane = lane, .gates = &gates };
        thread.* = spawn(Member(mode).main, member);
    }
    gates.prepared.wait(count);
    const faults = minorFaults();
    team.counters.start();
    gates.begin.add();
    gates.finished.wait(count);
    team.counters.stop();
    team.watch.faults = minorFaults() - faults;
    gates.leave.add();
    for (threads) |thread| join(thread);
    var began: u64 = std.math.maxInt(u64);
    var ended: u64 = 0;
    for (members) |member| {
        began = @min(began, member.began);
        ended = @max(ended, member.ended);
    }
    return ended - began;
}

const Gates = struct {
    prepared: Gate = .{},
    begin: Gate = .{},
    finished: Gate = .{},
    leave: Gate = .{},
};

fn minorFaults() u64 {
    var usage: linux.rusage = undefined;
    _ = linux.getrusage(linux.rusage.SELF, &usage);
    return @intCast(usage.minflt);
}

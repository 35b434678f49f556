//! The search: runs a scenario once for every way in which its threads can be interleaved at
//! atomic operations and in which loads can return older values, within limits, depth first. An
//! execution is determined by its choices; the next one begins like the last one and differs in
//! the last choice that has an alternative left.
//!
//! Threads are only switched at operations on atomics that more than one thread uses and one of
//! them writes, as the executions so far have shown; whenever one more shows, the search begins
//! again. Operations on all others commute with everything that other threads do.
const std = @import("std");
const linux = std.os.linux;
const contract = @import("contract.zig");
const print = @import("output.zig").print;
const fiber = @import("fiber.zig");
const histories = @import("histories.zig");
const plain = @import("plain.zig");
const Scenario = contract.Scenario;
const threads_max = contract.threads_max;

pub const Limits = struct {
    /// Switches from a thread that could go on.
    preemptions: u32 = 3,
    /// Loads that return an older value than the newest.
    stale: u32 = 2,
    /// Wakes without a cause and weak exchanges that fail without one.
    spurious: u32 = 1,
    /// Executions after which the search is given up.
    executions: u64 = 1 << 40,
};

pub const Phase = enum { setup, threads, check };

const Choice = struct { taken: u8, count: u8 };
const choices_max = 4096;
/// Points of one execution: more are an endless loop.
const points_max = 20_000;

pub var phase: Phase = .setup;
pub var current: u32 = 0;
pub var tracing = false;
/// Where a failing schedule is left for the parent process.
pub var schedule_out: ?*Schedule = null;

pub const Schedule = extern struct {
    failed: bool,
    /// Atomics that the search knew as shared.
    shared: u32,
    length: u32,
    choices: [choices_max]u8,
};

const ThreadState = enum { absent, ready, asleep, done };
const Thread = struct {
    state: ThreadState,
    /// It waits for others to get on: it spins.
    yields: bool,
    sleeps_on: usize,
};

var threads: [threads_max]Thread = undefined;
pub var words: [threads_max]usize align(64) = @splat(0);
var scenario: *const Scenario = undefined;
var limits: Limits = .{};
var left: Limits = .{};
var points: u32 = 0;

var choices: [choices_max]Choice = undefined;
var choice_count: u32 = 0;
var choice_depth: u32 = 0;
/// Of a schedule that is replayed.
var given: []const u8 = "";

pub const Outcome = struct { executions: u64, complete: bool, longest: u32, shared: u32 };

/// Runs all executions of a scenario. One that finds a fault ends the process with status 1.
pub fn search(which: *const Scenario, within: Limits) Outcome {
    prepare(which, within);
    var outcome: Outcome = .{ .executions = 0, .complete = false, .longest = 0, .shared = 0 };
    while (outcome.executions < within.executions) {
        runOnce();
        outcome.executions += 1;
        outcome.longest = @max(outcome.longest, points);
        if (histories.learnShared()) {
            choice_count = 0;
            outcome.executions = 0;
        } else if (!nextSchedule()) {
            outcome.complete = true;
            break;
        }
    }
    outcome.shared = histories.sharedCount();
    return outcome;
}

/// Runs one execution and prints it. Its choices stand for switches at the atomics that the search
/// knew as shared when it came there: so many are learned first, as the search did.
pub fn replay(which: *const Scenario, within: Limits, schedule: *const Schedule) void {
    prepare(which, within);
    while (histories.sharedCount() < schedule.shared) {
        runOnce();
        if (histories.learnShared()) {
            choice_count = 0;
        } else if (!nextSchedule()) broken("the schedule is of another build or scenario");
    }
    choice_count = 0;
    given = schedule.choices[0..schedule.length];
    tracing = true;
    runOnce();
}

fn prepare(which: *const Scenario, within: Limits) void {
    scenario = which;
    limits = within;
    phase = .setup;
    current = 0;
    which.setup();
}

fn runOnce() void {
    histories.begin();
    plain.begin();
    left = limits;
    points = 0;
    choice_depth = 0;
    const words_before = words;
    for (&threads, 0..) |*thread, index| {
        const present = scenario.threads[index] != null;
        thread.* = .{ .state = if (present) .ready else .absent, .yields = false, .sleeps_on = 0 };
        if (present) fiber.prepare(@intCast(index), &fiberMain);
    }
    phase = .threads;
    resumeOne(fiber.home);
    phase = .check;
    current = 0;
    scenario.check();
    plain.rollback();
    words = words_before;
}

fn nextSchedule() bool {
    // What was not reached any more does not count: an execution may be shorter than its prefix.
    choice_count = choice_depth;
    while (choice_count > 0) {
        const last = &choices[choice_count - 1];
        if (last.taken + 1 < last.count) {
            last.taken += 1;
            return true;
        }
        choice_count -= 1;
    }
    return false;
}

/// One of `count` alternatives; 0 is the one without switch, age or accident.
pub fn choose(count: u32) u32 {
    if (count == 1) return 0;
    const depth = choice_depth;
    if (depth == choices_max) broken("too many choices");
    choice_depth += 1;
    if (depth >= choice_count) {
        const taken: u8 = if (depth < given.len) given[depth] else 0;
        if (taken >= count) broken("the schedule does not fit: it is of another build or scenario");
        choices[depth] = .{ .taken = taken, .count = @intCast(count) };
        choice_count = depth + 1;
    }
    const choice = choices[depth];
    if (choice.count != count) broken("the same choices led to another execution");
    return choice.taken;
}

/// How old the value is that a load returns: 0 is the newest of `count`.
pub fn chooseStale(count: u32) u32 {
    if (phase != .threads or left.stale == 0) return 0;
    const taken = choose(count);
    if (taken != 0) left.stale -= 1;
    return taken;
}

/// Whether a weak exchange fails without cause.
pub fn failsSpuriously() bool {
    if (phase != .threads or left.spurious == 0) return false;
    const taken = choose(2);
    left.spurious -= taken;
    return taken != 0;
}

fn fiberMain() callconv(.c) noreturn {
    scenario.threads[current].?();
    threads[current].state = .done;
    progress();
    resumeOne(current);
    unreachable;
}

/// The current thread has done something that others may wait for.
fn progress() void {
    for (&threads, 0..) |*thread, index| {
        if (index != current) thread.yields = false;
    }
}

const Others = struct {
    list: [threads_max]u32 = undefined,
    count: u32 = 0,

    fn add(others: *Others, index: usize) void {
        others.list[others.count] = @intCast(index);
        others.count += 1;
    }
};

fn canRun(index: usize, patient: bool) bool {
    const thread = threads[index];
    return switch (thread.state) {
        .ready => !(patient and thread.yields),
        .asleep => left.spurious > 0 and patient,
        .absent, .done => false,
    };
}

/// Before an operation that others can see: one of them may come first.
pub fn point() void {
    if (phase != .threads) return;
    countPoint();
    progress();
    if (left.preemptions == 0) return;
    var others: Others = .{};
    for (0..threads_max) |index| {
        if (index != current and canRun(index, true)) others.add(index);
    }
    const taken = choose(1 + others.count);
    if (taken == 0) return;
    left.preemptions -= 1;
    goOn(others.list[taken - 1]);
}

fn countPoint() void {
    points += 1;
    if (points > points_max) fail("no end in sight: the threads wait for each other in loops");
}

/// The current thread can do nothing useful until another one has.
pub fn spin() void {
    if (phase != .threads) return;
    countPoint();
    threads[current].yields = true;
    for (0..threads_max) |index| {
        if (index != current and threads[index].state == .ready and !threads[index].yields) {
            return resumeOne(current);
        }
    }
    threads[current].yields = false;
}

/// Leaves the current thread, which cannot go on, for any that can.
fn resumeOne(from: u32) void {
    var others: Others = .{};
    var alive = false;
    var awake = false;
    for (threads, 0..) |thread, index| {
        if (thread.state == .ready or thread.state == .asleep) alive = true;
        if (thread.state == .ready) awake = true;
        if (index != from and canRun(index, true)) others.add(index);
    }
    if (!alive) {
        const last = current;
        current = fiber.home;
        return fiber.switchTo(last, fiber.home);
    }
    if (!awake) fail("all threads sleep for good: a deadlock, or a wake-up was lost");
    if (others.count == 0) {
        for (0..threads_max) |index| if (index != from and canRun(index, false)) others.add(index);
    }
    goOnFrom(from, others.list[choose(others.count)]);
}

fn goOn(to: u32) void {
    goOnFrom(current, to);
}

fn goOnFrom(from: u32, to: u32) void {
    if (threads[to].state == .asleep) {
        left.spurious -= 1;
        threads[to].state = .ready;
        if (tracing) print("    thread {d}: woken without cause\n", .{to});
    }
    current = to;
    fiber.switchTo(from, to);
}

pub fn futexWait(address: usize, expected: u32) void {
    if (phase != .threads) fail("a lock is held by nobody who could release it");
    point();
    if (histories.newestOf(address, 4) != expected) return;
    if (tracing) print("    thread {d}: sleeps on {x}\n", .{ current, address });
    threads[current].state = .asleep;
    threads[current].sleeps_on = address;
    resumeOne(current);
}

pub fn futexWake(address: usize, count: u32) void {
    if (phase != .threads) return;
    point();
    for (0..count) |_| {
        var sleepers: Others = .{};
        for (threads, 0..) |thread, index| {
            if (thread.state == .asleep and thread.sleeps_on == address) sleepers.add(index);
        }
        if (sleepers.count == 0) return;
        const woken = sleepers.list[choose(sleepers.count)];
        threads[woken].state = .ready;
        if (tracing) print("    thread {d}: wakes thread {d}\n", .{ current, woken });
    }
}

/// A fault of the code under test: says so, leaves the schedule, ends the process.
pub fn fail(text: []const u8) noreturn {
    print("  {s}: FAULT: {s}\n", .{ scenario.name, text });
    if (phase == .setup) print("  (while the scenario was set up)\n", .{});
    if (schedule_out) |out| {
        for (choices[0..choice_depth], 0..) |choice, index| out.choices[index] = choice.taken;
        out.length = choice_depth;
        out.failed = true;
        out.shared = histories.sharedCount();
        while (out.length > 0 and out.choices[out.length - 1] == 0) out.length -= 1;
    }
    linux.exit_group(1);
}

/// A fault of the model, or of the request.
pub fn broken(text: []const u8) noreturn {
    print("model: {s}: {s}\n", .{ scenario.name, text });
    linux.exit_group(2);
}

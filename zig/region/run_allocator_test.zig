//! Tests of the run allocator: a model of who owns which slice, random operations, refusals.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const allowance = @import("allowance.zig");
const space = @import("address_space.zig");
const limits = @import("limits.zig");
const runs = @import("run_allocator.zig");
const purge = @import("purge.zig");
const markUsed = @import("free_runs.zig").markUsed;

const Held = struct { first: u32, length: u32, mark: u8 };

/// First and last byte of each slice carry the mark of the run that holds it.
fn paint(held: Held) void {
    for (held.first..held.first + held.length) |id| {
        const bytes: [*]u8 = @ptrFromInt(space.address(@intCast(id)));
        bytes[0] = held.mark;
        bytes[t.slice_size - 1] = held.mark;
    }
}

fn expectPainted(held: Held) !void {
    for (held.first..held.first + held.length) |id| {
        const bytes: [*]u8 = @ptrFromInt(space.address(@intCast(id)));
        try std.testing.expectEqual(held.mark, bytes[0]);
        try std.testing.expectEqual(held.mark, bytes[t.slice_size - 1]);
    }
}

fn expectZero(run: runs.Run, length: u32) !void {
    if (!run.zero) return;
    const bytes: [*]u8 = @ptrFromInt(space.address(run.first));
    for (0..length) |index| {
        try std.testing.expectEqual(@as(u8, 0), bytes[index * t.slice_size]);
        try std.testing.expectEqual(@as(u8, 0), bytes[(index + 1) * t.slice_size - 1]);
    }
}

test "run allocator: random operations against a model" {
    var prng: std.Random.DefaultPrng = .init(0x5eed);
    const random = prng.random();
    var held: [200]Held = undefined;
    var count: usize = 0;
    const live_before = runs.live_slices.raw;
    var sum: u32 = 0;
    for (0..40_000) |step| {
        const length = 1 + ((random.int(u32) % 300) >> @intCast(random.int(u3)));
        if (count < held.len and random.boolean()) {
            const aligned = random.int(u8) < 30;
            const run = if (aligned) runs.allocAligned(length, 64, 1) else runs.alloc(length, 1);
            if (run.isNone()) return error.OutOfMemory;
            if (aligned) {
                const address = space.address(run.first);
                try std.testing.expectEqual(@as(usize, 0), address % (64 * t.slice_size));
            }
            try expectZero(run, length);
            held[count] = .{ .first = run.first, .length = length, .mark = random.int(u8) | 1 };
            paint(held[count]);
            count += 1;
            sum += length;
        } else if (count > 0) {
            const index = random.uintLessThan(usize, count);
            try expectPainted(held[index]);
            const old = held[index];
            if (step % 97 == 0) limits.giveBack(random.uintLessThan(usize, 8 * t.mib), 1);
            if (step % 997 == 0) _ = limits.makeRoom(1);
            if (random.int(u8) < 60 and runs.resize(old.first, old.length, length, 0, 1)) {
                sum = sum - old.length + length;
                held[index].length = length;
                paint(held[index]);
                continue;
            }
            runs.free(held[index].first, held[index].length, false, 1);
            runs.purgeDue(1);
            sum -= held[index].length;
            count -= 1;
            held[index] = held[count];
        }
        try std.testing.expectEqual(live_before + sum, runs.live_slices.raw);
        if (step % 500 == 0) runs.check(1);
    }
    for (held[0..count]) |run| {
        try expectPainted(run);
        runs.free(run.first, run.length, false, 1);
    }
    try std.testing.expectEqual(live_before, runs.live_slices.raw);
    runs.check(1);
    // All is free again: at most the reserve, the hysteresis and what swung may be resident.
    runs.trim(0, 1);
    // Where pages are larger than slices: parts of pages, and runs that are shorter than the
    // longest of those, since a trim ends at the first piece that cannot go.
    const parts: u32 = if (os.machine.page_size <= t.slice_size) 0 else 64;
    try std.testing.expect(runs.runs.dirty_slices <= parts);
    runs.check(1);
}

test "run allocator: the system refuses the n-th call, for every n" {
    for (1..40) |n| {
        const live_before = runs.live_slices.raw;
        const capacity = space.at(0).capacity;
        // A refused decommit ends the region, which this one does not need.
        defer space.at(0).capacity = capacity;
        os.fake.failCall(n);
        for (0..30) |index| {
            const length: u32 = @intCast(1 + index * 37 % 400);
            const run = runs.alloc(length, 1);
            if (run.isNone()) continue;
            try expectZero(run, length);
            paint(.{ .first = run.first, .length = length, .mark = 0xa5 });
            runs.free(run.first, length, false, 1);
            runs.purgeDue(1);
            if (index % 10 == 9) limits.giveBack(0, 1);
        }
        os.fake.failNone();
        try std.testing.expectEqual(live_before, runs.live_slices.raw);
        runs.check(1);
    }
    const run = runs.alloc(1000, 1);
    if (run.isNone()) return error.DoesNotRecover;
    runs.free(run.first, 1000, false, 1);
}

test "run allocator: freeing all in one go ends inside the reserve" {
    const slices = 64 * t.mib / t.slice_size;
    purge.forgetSwing(); // Left by the tests before.
    const purged_before = purge.purged_bytes.raw;
    const run = runs.alloc(slices, 1);
    if (run.isNone()) return error.OutOfMemory;
    runs.free(run.first, slices, false, 1);
    runs.purgeDue(1);
    try std.testing.expect(purge.purged_bytes.raw > purged_before);
    const kept = @as(usize, runs.runs.dirty_slices) << t.slice_shift;
    try std.testing.expect(kept <= 8 * t.mib);
}

test "run allocator: nothing idle is kept where the process may have little more than is live" {
    const slices = 64 * t.mib / t.slice_size;
    const idle = 4 * t.mib / t.slice_size;
    for ([_]bool{ false, true }) |is_short| {
        purge.forgetSwing();
        const live = runs.alloc(slices, 1);
        const run = runs.alloc(idle, 1);
        if (live.isNone() or run.isNone()) return error.OutOfMemory;
        defer runs.free(live.first, slices, false, 1);
        runs.trim(0, 1);
        runs.purgeDue(1); // What the frees before made due.
        const before = allowance.pretend(if (is_short) runs.liveBytes() else t.gib);
        defer _ = allowance.pretend(before);
        runs.free(run.first, idle, false, 1);
        runs.purgeDue(1);
        try std.testing.expectEqual(is_short, dirtyBytes() <= t.dirty_hysteresis);
    }
    runs.check(1);
}

test "run allocator: growth takes idle memory where the process may have little more" {
    const idle = 4 * t.mib / t.slice_size;
    const slices = 64 * t.mib / t.slice_size;
    const more = 16 * t.mib / t.slice_size;
    for ([_]bool{ false, true }) |is_short| {
        purge.forgetSwing();
        const live = runs.alloc(slices, 1);
        const run = runs.alloc(idle, 1);
        const beside = runs.alloc(1, 1); // So that the other cannot grow into what follows.
        defer runs.free(live.first, slices, false, 1);
        defer runs.free(beside.first, 1, false, 1);
        runs.trim(0, 1);
        runs.purgeDue(1);
        runs.free(run.first, idle, false, 1);
        runs.purgeDue(1);
        _ = runs.takeGrowth(1);
        try std.testing.expect(dirtyBytes() >= 2 * t.mib);
        // Room for what is idle, until it grows.
        const allowed = (runs.liveBytes() + 8 * t.mib) / 15 * 16;
        const before = allowance.pretend(if (is_short) allowed else t.gib);
        defer _ = allowance.pretend(before);
        const grown = runs.alloc(more, 1);
        defer runs.free(grown.first, more, false, 1);
        try std.testing.expectEqual(more << t.slice_shift, runs.takeGrowth(1));
        runs.purgeDue(1);
        try std.testing.expectEqual(is_short, dirtyBytes() <= t.dirty_hysteresis);
    }
    runs.check(1);
}

test "run allocator: memory that is short does not swing" {
    // Each byte that is purged comes back at once: with more it would be kept, but there is none.
    purge.forgetSwing();
    const slices = 64 * t.mib / t.slice_size;
    const swings = 8 * t.mib / t.slice_size;
    const live = runs.alloc(slices, 1);
    defer runs.free(live.first, slices, false, 1);
    runs.trim(0, 1);
    runs.purgeDue(1);
    const before = allowance.pretend((runs.liveBytes() + 4 * t.mib) / 15 * 16);
    for (0..50) |_| {
        const run = runs.alloc(swings, 1);
        runs.free(run.first, swings, false, 1);
        runs.purgeDue(1);
    }
    // Holes have a credit also where there is nothing more to be had.
    _ = allowance.pretend(runs.liveBytes());
    try std.testing.expect(!purge.mayPunch(2 * space.committedBytes()));
    _ = allowance.pretend(before);
    const reserve = purge.reserveOf(runs.liveBytes());
    try std.testing.expectEqual(reserve, purge.keptBytes(runs.liveBytes()));
}

test "run allocator: a hole that is filled again costs many that may be made" {
    const slices = 64 * t.mib / t.slice_size;
    const live = runs.alloc(slices, 1);
    defer runs.free(live.first, slices, false, 1);
    const committed = space.committedBytes();
    const before = allowance.pretend(16 * committed);
    defer _ = allowance.pretend(before);
    purge.forgetSwing();
    purge.noteFilled(committed / t.hole_regret);
    try std.testing.expect(!purge.mayPunch(committed / 2));
    // Where the process may have no more they are worth their faults.
    purge.forgetSwing();
    _ = allowance.pretend(runs.liveBytes());
    purge.noteFilled(committed / t.hole_regret);
    try std.testing.expect(purge.mayPunch(committed / 2));
}

fn dirtyBytes() usize {
    return @as(usize, runs.runs.dirty_slices) << t.slice_shift;
}

/// Three free runs of a length side by side, in these states, between two slices that are used.
/// Where the first of them begins.
fn putSideBySide(length: u32, clean: [3]bool) !u32 {
    const whole = runs.alloc(3 * length + 2, 1);
    if (whole.isNone()) return error.OutOfMemory;
    const first = whole.first + 1;
    markUsed(whole.first, 1);
    for (0..3) |index| markUsed(first + @as(u32, @intCast(index)) * length, length);
    markUsed(first + 3 * length, 1);
    for (clean, 0..) |is_clean, index| {
        runs.free(first + @as(u32, @intCast(index)) * length, length, is_clean, 1);
    }
    return first;
}

test "run allocator: what grows is put where it has room" {
    defer runs.trim(0, 1);
    purge.decay_ms = -1;
    defer purge.decay_ms = t.decay_ms_default;
    runs.trim(0, 1);
    // The middle one is used: 2,000 slices before it, 4,000 behind it.
    const unit = 2000;
    const first = try putSideBySide(2 * unit, .{ false, false, false });
    const whole = runs.alloc(6 * unit, 1);
    try std.testing.expectEqual(first, whole.first);
    markUsed(first, unit);
    markUsed(first + unit, unit);
    markUsed(first + 2 * unit, 4 * unit);
    runs.free(first, unit, false, 1);
    runs.free(first + 2 * unit, 4 * unit, false, 1);
    const fits = runs.alloc(unit, 1);
    try std.testing.expectEqual(first, fits.first);
    runs.free(first, unit, false, 1);
    const grows = runs.allocFor(.growing, unit, 1);
    try std.testing.expectEqual(first + 2 * unit, grows.first);
    try std.testing.expect(runs.resize(grows.first, unit, 4 * unit, 0, 1));
    runs.free(grows.first, 4 * unit, false, 1);
    // Not where it would only just fit.
    const most = runs.allocFor(.growing, 3 * unit, 1);
    try std.testing.expectEqual(first + 2 * unit, most.first);
    const next = runs.allocFor(.growing, unit / 2 + 1, 1);
    try std.testing.expectEqual(first + 5 * unit, next.first);
    runs.check(1);
    runs.free(most.first, 3 * unit, false, 1);
    runs.free(next.first, unit / 2 + 1, false, 1);
    runs.free(first + unit, unit, false, 1);
    runs.free(first - 1, 1, false, 1);
    runs.free(first + 6 * unit, 1, false, 1);
    runs.check(1);
}

test "run allocator: free runs side by side serve as one" {
    defer runs.trim(0, 1);
    purge.decay_ms = -1;
    defer purge.decay_ms = t.decay_ms_default;
    // Longer than any free run that other tests have left.
    const unit = 2000;
    const half = unit / 2;
    const Case = struct { clean: [3]bool, wanted: u32, skipped: u32, grown: u32 };
    const middle: [3]bool = .{ false, true, false };
    const ends: [3]bool = .{ true, false, true };
    for ([_]Case{
        .{ .clean = middle, .wanted = 2 * unit, .skipped = unit, .grown = unit },
        .{ .clean = middle, .wanted = unit + half, .skipped = unit + half, .grown = half },
        .{ .clean = middle, .wanted = 3 * unit, .skipped = 0, .grown = unit },
        .{ .clean = ends, .wanted = unit + half, .skipped = unit, .grown = half },
        .{ .clean = ends, .wanted = 2 * unit + half, .skipped = half, .grown = unit + half },
        .{ .clean = ends, .wanted = 3 * unit, .skipped = 0, .grown = 2 * unit },
    }) |case| {
        runs.trim(0, 1);
        const first = try putSideBySide(unit, case.clean);
        const frontier = space.at(0).frontier;
        const live = runs.live_slices.raw;
        _ = runs.takeGrowth(1);
        const run = runs.alloc(case.wanted, 1);
        try std.testing.expectEqual(first + case.skipped, run.first);
        try std.testing.expect(!run.zero);
        try std.testing.expectEqual(frontier, space.at(0).frontier);
        try std.testing.expectEqual(live + case.wanted, runs.live_slices.raw);
        // Only what was clean is new memory.
        try std.testing.expectEqual(@as(usize, case.grown) << t.slice_shift, runs.takeGrowth(1));
        runs.check(1);
        runs.free(run.first, case.wanted, false, 1);
        runs.check(1);
        // The slice before them grows over all three.
        try std.testing.expect(runs.resize(first - 1, 1, 2 * unit + half, 0, 1));
        try std.testing.expect(!runs.resize(first - 1, 2 * unit + half, 3 * unit + 2, 0, 1));
        runs.check(1);
        runs.free(first - 1, 2 * unit + half, false, 1);
        runs.free(first + 3 * unit, 1, false, 1);
        runs.check(1);
    }
}

test "run allocator: a run that ends where the committed metadata does" {
    // Longer than any free run, so it comes from the frontier (with what is free before it), and
    // so long that its metadata is committed exactly up to its end, a page boundary. Its neighbour
    // lies beyond.
    const step = 16_384;
    const frontier = space.at(0).frontier;
    const last = space.slice(frontier - 1);
    const is_free = last.run_state == .dirty or last.run_state == .clean;
    const first = if (is_free) frontier - 1 - last.back else frontier;
    const length = std.mem.alignForward(u32, first + 4 * step, step) - first;
    const run = runs.alloc(length, 1);
    if (run.isNone()) return error.OutOfMemory;
    try std.testing.expectEqual(first, run.first);
    try std.testing.expectEqual(@as(u32, 0), space.at(0).frontier % step);
    try std.testing.expect(!runs.resize(run.first, length, std.math.maxInt(u32) / 64, 0, 1));
    runs.free(run.first, length, false, 1);
    runs.check(1);
}

fn lengthOfTest(id: u32) u32 {
    return space.slice(id).length;
}

test "run allocator: lists are rebuilt in a child whose parent held the lock" {
    const a = runs.alloc(5, 1);
    const b = runs.alloc(7, 1);
    const c = runs.alloc(3, 1);
    space.entry(a.first).store(1, .monotonic);
    space.entry(c.first).store(1, .monotonic);
    runs.lock.acquire(2);
    // The survivor itself holds it: nothing to repair.
    runs.repairAfterFork(2, lengthOfTest, .between_calls);
    try std.testing.expect(!runs.lock.tryAcquire(3));
    runs.repairAfterFork(1, lengthOfTest, .between_calls);
    runs.check(1);
    try std.testing.expectEqual(@as(u32, 8), runs.live_slices.raw);
    // b had no entry: its thread vanished before it could use the run.
    const again = runs.alloc(7, 1);
    try std.testing.expectEqual(b.first, again.first);
    space.entry(a.first).store(0, .monotonic);
    space.entry(c.first).store(0, .monotonic);
    runs.free(a.first, 5, false, 1);
    runs.free(again.first, 7, false, 1);
    runs.free(c.first, 3, false, 1);
    runs.check(1);
}

test "run allocator: a child gets what a purge of its parent had in hand" {
    const a = runs.alloc(5, 1);
    const b = runs.alloc(7, 1);
    const c = runs.alloc(3, 1);
    const d = runs.alloc(2, 1);
    const e = runs.alloc(1, 1);
    runs.free(b.first, 7, false, 1);
    runs.free(d.first, 2, false, 1);
    const dirty = runs.runs.dirty_slices;
    for ([_]runs.Moment{ .inside_call, .between_calls }) |moment| {
        // As purgeOne leaves them while the system is at work.
        for ([_]runs.Run{ b, d }, [_]u32{ 7, 2 }) |run, length| {
            if (space.slice(run.first).run_state == .dirty) runs.runs.remove(run.first);
            purge.markPurging(run.first, length);
        }
        purge.in_hand = 2;
        runs.repairAfterFork(1, lengthOfTest, moment);
        // Inside a call, the purge may be the survivor's own.
        const expected = if (moment == .between_calls) dirty else dirty - 9;
        try std.testing.expectEqual(expected, runs.runs.dirty_slices);
    }
    try std.testing.expectEqual(@as(u32, 0), purge.in_hand);
    runs.check(1);
    runs.free(a.first, 5, false, 1);
    runs.free(c.first, 3, false, 1);
    runs.free(e.first, 1, false, 1);
    runs.check(1);
}

test "run allocator: a child inside a call of its own does without the free runs" {
    const a = runs.alloc(5, 1);
    const b = runs.alloc(7, 1);
    const c = runs.alloc(3, 1);
    runs.free(b.first, 7, false, 1);
    runs.lock.acquire(2);
    runs.repairAfterFork(1, lengthOfTest, .inside_call);
    runs.check(1);
    try std.testing.expectEqual(@as(u32, 0), runs.runs.dirty_slices);
    // What the call under way had in its hands goes back without touching its torn neighbours.
    runs.free(a.first, 5, false, 1);
    runs.check(1);
    try std.testing.expectEqual(@as(u32, 5), runs.runs.dirty_slices);
    try std.testing.expectEqual(a.first, runs.alloc(5, 1).first);
    runs.free(c.first, 3, false, 1);
    runs.check(1);
}

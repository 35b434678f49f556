//! Limits of address space, data and commit: what is reserved or committed and not in use goes back
//! when the system refuses memory, when a limit came after the reservation, and when a program has
//! freed much.
//!
//! A limit of address space that a process sets itself binds what is mapped from then on. Growth
//! within a reservation made before would know no bound: `heed` asks before each step of it. Only
//! the system's own refusals are asked about, since a sandbox may kill for prlimit.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const arena = @import("arena.zig");
const run_allocator = @import("run_allocator.zig");
const space = @import("address_space.zig");
const slice = space.slice;
const lock = &run_allocator.lock;
const runs = &run_allocator.runs;

/// Called before a region grows up to `end`, in slices: gives the rest of the first reservation
/// back if there is a limit by now. Under the run lock.
pub fn heed(number: u32, end: u64, holder: u32) void {
    const area = space.at(number);
    // Not at the first growth: the limit was asked for a moment ago.
    if (number != 0 or area.committed == 0 or end <= area.committed) return;
    _ = releaseRest(holder);
}

/// Called when the system refuses memory (a limit, as a rule): gives back what is reserved or
/// committed and not in use. Whether there was some.
pub noinline fn makeRoom(holder: u32) bool {
    run_allocator.trim(0, holder);
    lock.acquire(holder);
    defer lock.release();
    const found_idle = releaseIdle(.any);
    const found_rest = releaseRest(holder);
    return decommitAll(0) or found_idle or found_rest;
}

/// Gives back what a program that has freed much no longer counts as its own: what is purged at the
/// end of each region, if it is `least` bytes or more; and under a limit of address space further
/// regions that are wholly purged.
pub noinline fn giveBack(least: usize, holder: u32) void {
    lock.acquire(holder);
    defer lock.release();
    if (space.isLimited()) _ = releaseIdle(.purged);
    _ = decommitAll(least);
}

/// The rest of the first region, under a limit that the process set after its start.
fn releaseRest(holder: u32) bool {
    // Asked only where even a page's worth is refused: a sandbox may kill for the question.
    const least = 64 * t.kib;
    if (os.memory.reserve(least)) |probe| {
        _ = os.memory.unmap(probe, least);
        return false;
    }
    const limit = os.machine.addressSpaceLimit() orelse return false;
    if (!space.giveBackRest(limit)) return false;
    space.arena_returned += arena.giveBackRest(holder);
    return true;
}

/// Which free memory: all, or what reads as zero.
const Which = enum { any, purged };

/// Further regions that are wholly free.
fn releaseIdle(which: Which) bool {
    var found = false;
    for (1..@max(space.count(), 1)) |index| {
        const number: u32 = @intCast(index);
        if (space.isVacant(number) or !isIdle(number, which)) continue;
        removeAll(number);
        space.giveBack(number);
        found = true;
    }
    return found;
}

fn isIdle(number: u32, which: Which) bool {
    const first = number << t.region_slices_shift;
    const end = first + space.at(number).frontier;
    var id = first + 1;
    while (id < end) {
        const state = slice(id).run_state;
        if (state != .clean and (state != .dirty or which == .purged)) return false;
        id += slice(id).length;
    }
    return true;
}

fn removeAll(number: u32) void {
    const first = number << t.region_slices_shift;
    const end = first + space.at(number).frontier;
    var id = first + 1;
    while (id < end) {
        runs.remove(id);
        id += slice(id).length;
    }
}

fn decommitAll(least: usize) bool {
    var found = false;
    for (0..space.count()) |index| {
        const number: u32 = @intCast(index);
        if (space.isVacant(number) or !endsFree(number, least)) continue;
        retreat(number);
        if (space.decommitRest(number)) found = true;
    }
    return found;
}

/// Whether so many bytes at the end of what is committed are free and purged.
fn endsFree(number: u32, least: usize) bool {
    const area = space.at(number);
    const last = slice((number << t.region_slices_shift) + area.frontier - 1);
    const free: u64 = if (last.run_state == .clean) last.back + 1 else 0;
    return (area.committed - @min(area.frontier, area.committed) + free) << t.slice_shift >= least;
}

/// The purged run that ends at a region's frontier counts as never handed out again.
fn retreat(number: u32) void {
    const area = space.at(number);
    const end = (number << t.region_slices_shift) + area.frontier;
    const last = slice(end - 1);
    if (last.run_state != .clean) return;
    const first = end - 1 - last.back;
    runs.remove(first);
    slice(first).run_state = .none;
    last.run_state = .none;
    area.frontier = space.indexOf(first);
}

test "what is purged at the end of a region is committed no more, and comes back as zero" {
    const length = t.decommit_min / t.slice_size;
    const first = run_allocator.alloc(length, 1);
    const end = space.at(0).frontier;
    @memset(@as([*]u8, @ptrFromInt(space.address(first.first)))[0..t.decommit_min], 1);
    run_allocator.free(first.first, length, false, 1);
    run_allocator.trim(0, 1);
    const before = space.committedBytes();
    giveBack(t.decommit_min * 2, 1);
    try std.testing.expectEqual(before, space.committedBytes());
    giveBack(t.decommit_min, 1);
    run_allocator.check(1);
    try std.testing.expect(space.committedBytes() <= before - t.decommit_min / 2);
    try std.testing.expect(space.at(0).frontier < end);
    const again = run_allocator.alloc(length, 1);
    try std.testing.expect(again.zero);
    const bytes = @as([*]u8, @ptrFromInt(space.address(again.first)))[0..t.decommit_min];
    try std.testing.expect(std.mem.allEqual(u8, bytes, 0));
    @memset(bytes, 2);
    run_allocator.free(again.first, length, false, 1);
    run_allocator.check(1);
}

test "where it is refused the region ends, and memory comes from the next" {
    const length = t.decommit_min / t.slice_size;
    const run = run_allocator.alloc(length, 1);
    run_allocator.free(run.first, length, false, 1);
    run_allocator.trim(0, 1);
    const capacity = space.at(0).capacity;
    defer space.at(0).capacity = capacity; // It was not, and other tests want it.
    os.fake.failCall(1);
    giveBack(0, 1);
    os.fake.failNone();
    try std.testing.expect(space.at(0).capacity < capacity);
    run_allocator.check(1);
    var taken: [3]run_allocator.Run = undefined;
    defer for (taken) |again| run_allocator.free(again.first, length, false, 1);
    for (&taken) |*again| {
        again.* = run_allocator.alloc(length, 1);
        try std.testing.expect(!again.isNone());
        @memset(@as([*]u8, @ptrFromInt(space.address(again.first)))[0..t.decommit_min], 3);
        run_allocator.check(1);
    }
}

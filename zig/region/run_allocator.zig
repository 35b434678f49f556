//! Runs of slices: what slabs, medium and large blocks are made of. Best fit over free runs,
//! dirty before what lies dirty and clean side by side, before clean, before fresh address space.
//!
//! Guarantees: what `free` got back is found by the next `alloc` of any class; zero knowledge is
//! the answer to this very call; memory above the reserve returns to the system in the call that
//! freed it, in at most two system calls. Any thread; `holder` is the caller's heap id. One lock.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const assert = base.assert;
const assertHardened = base.assertHardened;
const arena = @import("arena.zig");
const space = @import("address_space.zig");
const limits = @import("limits.zig");
const purge = @import("purge.zig");
const free_runs = @import("free_runs.zig");
const FreeRuns = free_runs.FreeRuns;
const markUsed = free_runs.markUsed;
const SliceId = @import("slice.zig").SliceId;
const RunState = @import("slice.zig").RunState;
const slice = space.slice;

pub var lock: os.Lock = .{};
/// All under the lock.
pub var runs: FreeRuns = .{};
/// Slices handed out: slabs, blocks, and what magazines hold. Written under the lock, atomic for
/// `liveBytes` alone.
pub var live_slices: base.atomic.Value(u32) = .init(0);

fn countLive(change: i64) void {
    // monotonic, no read-modify-write: under the lock.
    const before: i64 = live_slices.load(.monotonic);
    live_slices.store(@intCast(before + change), .monotonic);
}

/// Bytes within them that went back to the system as holes of slabs. Under the lock, as above.
var hole_bytes: base.atomic.Value(usize) = .init(0);

/// Bytes of the runs handed out less their holes, a moment ago. No lock.
pub fn liveBytes() usize {
    const bytes = @as(usize, live_slices.load(.monotonic)) << t.slice_shift;
    return bytes -| hole_bytes.load(.monotonic);
}

/// Purges pages within a slab, of which `resident` bytes are no holes yet. Nobody touches them
/// meanwhile: the caller holds the lock of its heap. `forced`: also when enough was purged lately,
/// or nothing is to be purged. False: it may not be, or the system refused.
pub noinline fn punch(
    address: usize,
    length: usize,
    resident: usize,
    forced: bool,
    holder: u32,
) bool {
    if (!forced) {
        lock.acquire(holder);
        const may = purge.mayPunch(resident);
        lock.release();
        if (!may) return false;
    }
    const ok = os.memory.purge(@ptrFromInt(address), length);
    lock.acquire(holder);
    defer lock.release();
    purge.noteHole(if (ok) resident else null);
    if (!ok) return false;
    hole_bytes.store(hole_bytes.load(.monotonic) + resident, .monotonic);
    space.keepSmall(liveBytes());
    return true;
}

/// Holes whose slab is given back.
pub noinline fn forgetHoles(bytes: usize, holder: u32) void {
    lock.acquire(holder);
    defer lock.release();
    forgetHolesLocked(bytes);
}

/// Holes that are handed out again.
pub noinline fn fillHoles(bytes: usize, holder: u32) void {
    lock.acquire(holder);
    defer lock.release();
    forgetHolesLocked(bytes);
    purge.noteFilled(bytes);
}

/// The same under the lock, or in a child of fork, which has one thread.
pub fn forgetHolesLocked(bytes: usize) void {
    // Not below 0: in a child, a slab that was just being given back is counted out twice.
    hole_bytes.store(hole_bytes.load(.monotonic) -| bytes, .monotonic);
}

/// What is to be purged at the end of the slow call. Under the lock.
var pending: purge.Plan = .{ .slices = 0, .piece = 0 };
/// Slices that were no memory yet when they were handed out, since somebody asked. Under the lock.
var grown: u32 = 0;
/// Whether there is something pending: written under the lock, read as a hint. monotonic.
var due: base.atomic.Value(bool) = .init(false);

/// A run handed out. `zero`: its memory reads as zero. One word, as are all answers of slow calls:
/// an optional goes through memory, is written in two parts, and read as one it waits until every
/// store before it has reached the cache.
pub const Run = packed struct(u64) {
    /// 0: there is none.
    first: SliceId,
    zero: bool,
    unused: u31 = 0,

    pub const none: Run = .{ .first = 0, .zero = false };

    pub inline fn isNone(run: Run) bool {
        return run.first == 0;
    }
};

/// What a run is for. Only slabs are sure to be touched all over: huge pages under blocks of which
/// a program touches a byte each would make 10 GB of 20 MB. One that is growing is put where there
/// is most room behind it: for all others that would break up what is long.
pub const Use = enum { slab, block, growing };

/// A run of `length` slices for a block; none when the system refuses more memory.
pub fn alloc(length: u32, holder: u32) Run {
    return allocFor(.block, length, holder);
}

/// The same for either use.
pub noinline fn allocFor(use: Use, length: u32, holder: u32) Run {
    assert(length > 0);
    lock.acquire(holder);
    const run = take(length, use, holder);
    if (!run.isNone()) countLive(length);
    lock.release();
    return run;
}

/// The same, beginning on a multiple of `alignment` slices (a power of two).
pub noinline fn allocAligned(length: u32, alignment: u32, holder: u32) Run {
    lock.acquire(holder);
    defer lock.release();
    const padded = std.math.add(u32, length, alignment) catch return .none;
    const run = take(padded, .block, holder);
    if (run.isNone()) return .none;
    const bytes = @as(usize, alignment) << t.slice_shift;
    const address = space.address(run.first);
    const lead = std.mem.alignForward(usize, address, bytes) - address;
    const skip: u32 = @intCast(lead >> t.slice_shift);
    const first = run.first + skip;
    markUsed(first, length);
    const state: RunState = if (run.zero) .clean else .dirty;
    const rest = padded - skip - length;
    if (skip > 0) {
        markUsed(run.first, skip);
        _ = runs.put(run.first, skip, state, if (run.zero) skip else purge.now_ms);
    }
    if (rest > 0) {
        markUsed(first + length, rest);
        _ = runs.put(first + length, rest, state, if (run.zero) rest else purge.now_ms);
    }
    countLive(length);
    return .{ .first = first, .zero = run.zero };
}

fn take(length: u32, use: Use, holder: u32) Run {
    const longest = if (use == .growing) runs.longestDirty() else 0;
    const has_room = longest != 0 and slice(longest).length >= 2 * length;
    const dirty = if (has_room) longest else runs.find(.dirty, length);
    if (dirty != 0) {
        split(dirty, length);
        return .{ .first = dirty, .zero = false };
    }
    const stretch = runs.findStretch(length);
    if (stretch.length != 0) {
        return .{ .first = takeStretch(stretch, length), .zero = false };
    }
    const clean = runs.find(.clean, length);
    if (clean == 0) return takeFresh(length, use, holder);
    split(clean, length);
    noteClean(length);
    return .{ .first = clean, .zero = true };
}

/// The first of `length` slices out of free runs that lie side by side.
fn takeStretch(stretch: free_runs.Stretch, length: u32) SliceId {
    const taken = runs.takeStretch(stretch, length);
    markUsed(taken.first, length);
    if (taken.clean > 0) noteClean(taken.clean);
    return taken.first;
}

/// Purged memory is handed out again.
fn noteClean(length: u32) void {
    purge.noteReuse(@as(usize, length) << t.slice_shift);
    noteGrowth(length);
}

/// Memory of the system is about to be used: heaps may have some that they can do without.
fn noteGrowth(length: u32) void {
    if (liveBytes() + (@as(usize, length) << t.slice_shift) < t.sweep_live_min) return;
    grown +|= length;
    due.store(true, .monotonic);
}

/// Under the lock.
fn addPending(plan: purge.Plan) void {
    if (plan.slices == 0) return;
    pending.aged = plan.aged and (pending.aged or pending.slices == 0);
    pending.slices +|= plan.slices;
    pending.piece = @max(pending.piece, plan.piece);
    due.store(true, .monotonic);
}

/// Takes the first `length` slices of a free run out; the rest stays free.
fn split(first: SliceId, length: u32) void {
    const state = slice(first).run_state;
    const whole = slice(first).length;
    const stamp = slice(first).state.age.stamp_ms;
    runs.remove(first);
    slice(first + whole - 1).run_state = .none;
    if (whole > length) runs.insert(first + length, whole - length, state, stamp);
    markUsed(first, length);
}

/// From a region's frontier; a new region when none has room.
noinline fn takeFresh(length: u32, use: Use, holder: u32) Run {
    for (0..t.regions_max) |index| {
        const number: u32 = @intCast(index);
        if (number == space.count() or space.isVacant(number)) {
            // One that cannot hold the run would only use address space up.
            const needed = (@as(usize, length) + 2) << t.slice_shift;
            const segment = space.reserveNext(arena.isLow(holder), needed) orelse return .none;
            arena.add(segment, holder);
        }
        const run = takeFrontier(number, length, use, holder);
        if (!run.isNone()) return run;
    }
    return .none;
}

fn takeFrontier(number: u32, length: u32, use: Use, holder: u32) Run {
    const area = space.at(number);
    const id_base = number << t.region_slices_shift;
    var first = area.frontier;
    // A free run that ends at the frontier is extended rather than left behind.
    const last = slice(id_base + first - 1);
    const state = last.run_state;
    const extends = state == .dirty or state == .clean;
    if (extends) first -= 1 + last.back;
    if (extends and last.back + 1 >= length) {
        // The best-fit search does not look at every run.
        split(id_base + first, length);
        if (state == .clean) noteClean(length);
        return .{ .first = id_base + first, .zero = state == .clean };
    }
    const end = @as(u64, first) + length;
    limits.heed(number, end, holder);
    // The last slice stays unused: it ends the last run's neighbourhood.
    if (end >= area.capacity) return .none;
    if (!space.ensureCommitted(number, @intCast(end), use == .slab)) return .none;
    if (extends) {
        runs.remove(id_base + first);
        last.run_state = .none;
        if (state == .clean) noteClean(area.frontier - first);
    }
    moveFrontier(number, @intCast(end));
    markUsed(id_base + first, length);
    return .{ .first = id_base + first, .zero = state != .dirty };
}

/// Memory up to `end` is about to be used: what was decommitted again, beyond it for the first
/// time.
fn moveFrontier(number: u32, end: u32) void {
    const area = space.at(number);
    noteGrowth(end - area.frontier);
    const known = std.math.clamp(area.frontier_most, area.frontier, end);
    if (known > area.frontier) {
        purge.noteReuse(@as(usize, known - area.frontier) << t.slice_shift);
    }
    purge.noteGrowth(@as(usize, end - known) << t.slice_shift);
    area.frontier = end;
    area.frontier_most = @max(area.frontier_most, end);
}

/// Takes a run back. `clean`: its memory reads as zero. Nothing is purged yet: `purgeDue` is
/// called once at the end of a slow call, however many runs it freed.
pub noinline fn free(first: SliceId, length: u32, clean: bool, holder: u32) void {
    lock.acquire(holder);
    // In the lists twice it would be handed out twice.
    assertHardened(slice(first).run_state == .used);
    assertHardened(slice(first).length == length);
    countLive(-@as(i64, length));
    if (clean) {
        _ = runs.put(first, length, .clean, length);
    } else _ = runs.put(first, length, .dirty, purge.now_ms);
    addPending(purge.plan(&runs, liveBytes(), length));
    lock.release();
}

/// Whether frees of this slow call (or of another thread's) made a purge due.
pub inline fn isPurgeDue() bool {
    return due.load(.monotonic); // A hint: looked at again under the lock.
}

/// Bytes that memory has grown by since somebody asked; each is told once. What lies idle and is
/// too much now that it has grown is due from here on.
pub noinline fn takeGrowth(holder: u32) usize {
    lock.acquire(holder);
    defer lock.release();
    const slices = grown;
    grown = 0;
    if (slices > 0) addPending(purge.planOfGrowth(&runs, liveBytes(), slices));
    due.store(pending.slices > 0, .monotonic);
    return @as(usize, slices) << t.slice_shift;
}

/// Purges what is due: at most two system calls, two more for metadata once per 2 MiB, and two more
/// when decommit_min bytes have come together at the end of a region. With no lock held.
pub noinline fn purgeDue(holder: u32) void {
    lock.acquire(holder);
    const plan = pending;
    pending = .{ .slices = 0, .piece = 0 };
    due.store(grown > 0, .monotonic);
    lock.release();
    if (plan.slices == 0) return;
    if (purge.run(plan, holder)) limits.giveBack(t.decommit_min, holder);
}

/// Changes the length of a run in place, and with it what the slice map says of its first slice.
/// False when its neighbour is not free or too short; a shorter length always succeeds.
pub noinline fn resize(
    first: SliceId,
    length: u32,
    length_new: u32,
    entry_new: u32,
    holder: u32,
) bool {
    lock.acquire(holder);
    if (length_new < length) {
        markUsed(first, length_new);
        markUsed(first + length_new, length - length_new);
    } else if (length_new > length and !extend(first, length, length_new, holder)) {
        lock.release();
        return false;
    }
    // Under the lock: a child of fork finds both lengths, or builds the lists again by the map.
    // monotonic: the caller owns the block.
    space.entry(first).store(entry_new, .monotonic);
    lock.release();
    if (length_new < length) free(first + length_new, length - length_new, false, holder);
    return true;
}

/// Lengthens a used run into what is free behind it. Under the lock.
fn extend(first: SliceId, length: u32, length_new: u32, holder: u32) bool {
    const more = length_new - length;
    const after = first + length;
    const stretch = free_runs.stretchFrom(after, more);
    if (stretch.length != 0) {
        _ = takeStretch(stretch, more);
        slice(after).run_state = .none;
    } else if (slice(after).run_state == .dirty or slice(after).run_state == .clean) {
        return false;
    } else {
        const number = space.regionOf(first);
        const area = space.at(number);
        const end = @as(u64, space.indexOf(first)) + length_new;
        limits.heed(number, end, holder);
        if (space.indexOf(after) != area.frontier or end >= area.capacity) return false;
        if (!space.ensureCommitted(number, @intCast(end), false)) return false;
        moveFrontier(number, @intCast(end));
    }
    slice(after - 1).run_state = .none;
    markUsed(first, length_new);
    countLive(more);
    return true;
}

/// Purges what is more than is kept, however much: for a call that may free everything at once.
pub noinline fn purgeExcess(holder: u32) void {
    lock.acquire(holder);
    const keep = purge.keptBytes(liveBytes());
    lock.release();
    trim(keep, holder);
}

/// Purges dirty runs until at most `keep` bytes of them are left.
pub noinline fn trim(keep: usize, holder: u32) void {
    while (true) {
        lock.acquire(holder);
        const dirty = @as(usize, runs.dirty_slices) << t.slice_shift;
        lock.release();
        if (dirty <= keep) break;
        const slices: u32 = @intCast((dirty - keep + t.slice_size - 1) >> t.slice_shift);
        if (!purge.run(.{ .slices = slices, .piece = slices }, holder)) break;
    }
}

/// In a child after fork: when a thread that does not exist here held the lock, the lists may be
/// torn. They are built again from the slice map: what has an entry is used, all else is free
/// (it belonged to the vanished thread). `lengthOf` tells the length of the run at a slice with
/// an entry. Lists are lost, memory is not.
///
/// Inside a call of the survivor a run without an entry may also be in its hands, on the way from
/// or to its owner: then all of them count as used, and the child does without the free ones.
pub noinline fn repairAfterFork(
    survivor: u32,
    comptime lengthOf: fn (SliceId) u32,
    moment: Moment,
) void {
    if (!lock.holderLost(survivor)) {
        // A purge of the survivor's own may have one of them.
        if (moment == .between_calls) takeFromPurges();
        return;
    }
    runs = .{};
    live_slices.store(0, .monotonic); // Under the lock.
    for (0..space.count()) |index| {
        const number: u32 = @intCast(index);
        if (space.isVacant(number)) continue;
        switch (moment) {
            .between_calls => rebuild(number, lengthOf),
            .inside_call => abandonFree(number),
        }
    }
    purge.in_hand = 0;
    lock.reset();
}

/// In a child: what the purges of vanished threads had in hand is free.
fn takeFromPurges() void {
    for (0..space.count()) |index| {
        const number: u32 = @intCast(index);
        if (purge.in_hand == 0) return;
        if (space.isVacant(number)) continue;
        var id = (number << t.region_slices_shift) + 1;
        const end = (number << t.region_slices_shift) + space.at(number).frontier;
        while (id < end and purge.in_hand > 0) {
            const length = slice(id).length;
            if (slice(id).run_state == .purging) {
                _ = runs.put(id, length, .dirty, purge.now_ms);
                purge.in_hand -= 1;
            }
            id += length;
        }
    }
    purge.in_hand = 0;
}

/// When a child repairs: with no slow call of its thread under way, or in the midst of one.
pub const Moment = enum { between_calls, inside_call };

fn abandonFree(number: u32) void {
    const first = number << t.region_slices_shift;
    for (first..first + space.at(number).frontier) |id| {
        const inner = slice(@intCast(id));
        if (inner.run_state != .none) inner.run_state = .used;
    }
    slice(first | space.at(number).frontier).run_state = .none;
    // Slice 0 is never handed out.
    countLive(space.at(number).frontier - 1);
}

fn rebuild(number: u32, comptime lengthOf: fn (SliceId) u32) void {
    const area = space.at(number);
    const end = number << t.region_slices_shift | area.frontier;
    var free_first: SliceId = 0;
    var id = (number << t.region_slices_shift) + 1;
    slice(end).run_state = .none;
    while (id <= end) {
        // monotonic: one thread; nothing to order.
        const used = id < end and space.entry(id).load(.monotonic) != 0;
        if (!used and id < end) {
            slice(id).run_state = .none;
            if (free_first == 0) free_first = id;
            id += 1;
            continue;
        }
        if (free_first != 0) {
            slice(free_first - 1).run_state = .used;
            runs.insert(free_first, id - free_first, .dirty, purge.now_ms);
            free_first = 0;
        }
        if (id == end) break;
        const length = lengthOf(id);
        // Not markUsed: `back` and `length` of a slab's first slice are as its heap left them.
        for (id..id + length) |inner| slice(@intCast(inner)).run_state = .none;
        slice(id).run_state = .used;
        slice(id).length = length;
        slice(id + length - 1).run_state = .used;
        countLive(length);
        id += length;
    }
}

/// Checks the lists, and that the runs of each region follow one another without gap from slice 1
/// to its frontier, those handed out among them.
pub fn check(holder: u32) void {
    lock.acquire(holder);
    defer lock.release();
    space.check();
    runs.check();
    assert(due.load(.monotonic) == (pending.slices > 0 or grown > 0)); // Under the lock.
    var used: u32 = 0;
    for (0..space.count()) |number| {
        if (!space.isVacant(@intCast(number))) used += checkRegion(@intCast(number));
    }
    assert(live_slices.raw <= used);
}

/// The slices that are handed out.
fn checkRegion(number: u32) u32 {
    var used: u32 = 0;
    var id = (number << t.region_slices_shift) + 1;
    const end = (number << t.region_slices_shift) + space.at(number).frontier;
    while (id < end) {
        const head = slice(id);
        assert(head.run_state != .none);
        assert(head.length > 0);
        assert(slice(id + head.length - 1).run_state == head.run_state);
        if (head.run_state == .used) used += head.length;
        id += head.length;
    }
    assert(id == end);
    return used;
}

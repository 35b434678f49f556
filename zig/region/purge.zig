//! When freed memory goes back to the system, and how much in one call.
//!
//! Policy: dirty runs up to a reserve are kept: a part of what is live (a larger one where that is
//! little), at least 2 MiB, plus what lately swung (was purged and needed again within a second,
//! and that twice, so that alternating loads do not storm the kernel). Above the reserve the call
//! that frees also purges, so that a program which frees all and sleeps is small. Below it, what
//! is older than `decay_ms` goes. Near what the process may have (allowance.zig), nothing is kept.
//! No background thread. State under the run allocator's lock; the madvise is made outside it.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const assert = base.assert;
const allowance = @import("allowance.zig");
const huge_cache = @import("huge_cache.zig");
const space = @import("address_space.zig");
const run_allocator = @import("run_allocator.zig");
const FreeRuns = @import("free_runs.zig").FreeRuns;
const markUsed = @import("free_runs.zig").markUsed;
const SliceId = @import("slice.zig").SliceId;
const slice = space.slice;

/// Option `decay_ms`: age at which dirty runs are purged; negative: never. Set at start-up.
pub var decay_ms: i64 = t.decay_ms_default;
/// A clock in ms that moves with slow calls, cut to 32 bits. Under the run lock.
pub var now_ms: u32 = 0;
/// Bytes purged since start. Written after each purge, read by statistics.
pub var purged_bytes: base.atomic.Value(usize) = .init(0);
/// Until then no purge is tried: the system refused one. 0: it did not. Always odd, so never 0 by
/// chance, and up to a millisecond later than the backoff.
var refused_until_ms: u32 = 0;

var ticks: u32 = 0;
/// A swing is memory that was purged and needed again within a second or two. Bytes purged in the
/// current window and in the one before, and not reused yet; while windows with reuse follow one
/// another the most they were, and bytes reused in all. A swing that recurs counts into the reserve
/// as `swing_bytes`.
var window_start_ms: u32 = 0;
var window_bytes: usize = 0;
var earlier_bytes: usize = 0;
var amplitude_bytes: usize = 0;
var reused_bytes: usize = 0;
var reuse_seen: bool = false;
var swing_bytes: usize = 0;
/// Whether it was needed in this window: purged memory was reused, or what is dirty moved.
var swing_seen: bool = false;
var dirty_least: u32 = 0;
var dirty_most: u32 = 0;

/// What a purge may do: at most so many slices, no piece longer than `piece`, and only runs
/// older than the decay time if `aged`.
pub const Plan = struct { slices: u32, piece: u32, aged: bool = false };

const nothing: Plan = .{ .slices = 0, .piece = 0 };
const piece_max = t.purge_bytes_max >> t.slice_shift;
const hysteresis = t.dirty_hysteresis >> t.slice_shift;
/// Runs worth a system call of their own, and how many older ones are passed over to find one.
const worthwhile = 64 * t.kib >> t.slice_shift;
const probes_max = 8;
/// Slices purged (2 MiB) after which metadata is given back too, and the shortest run whose
/// metadata is: 64 slices fill one page of it. With 16 MiB and 256 slices, 2 GB of sizes of all
/// kinds left 3 MB of it behind; with half of these, a fifth more system calls bring 0.8 MB.
const metadata_period = 128;
const metadata_run_min = 64;

/// Called under the lock after a run of `freed` slices was put into the lists.
pub fn plan(runs: *const FreeRuns, live_bytes: usize, freed: u32) Plan {
    ticks +%= 1;
    if (ticks % t.clock_period == 0 or freed >= worthwhile * 4) tick();
    dirty_least = @min(dirty_least, runs.dirty_slices -| freed);
    dirty_most = @max(dirty_most, runs.dirty_slices);
    if (isRefused()) return nothing;
    const reserve: u32 = @intCast(dirtyMax(live_bytes) >> t.slice_shift);
    if (runs.dirty_slices > reserve + hysteresis and decay_ms >= 0) {
        const excess = runs.dirty_slices - reserve;
        const share = @max(freed *| 2, piece_max);
        return .{ .slices = @min(excess, share), .piece = @max(freed, piece_max) };
    }
    const oldest = runs.oldest;
    if (decay_ms < 0 or oldest == 0 or !isAged(oldest)) return nothing;
    return .{ .slices = piece_max / 2, .piece = piece_max / 2, .aged = true };
}

/// Bytes that may stay dirty with so many live, but for what swings.
pub fn reserveOf(live_bytes: usize) usize {
    return @min(shareOf(live_bytes), idleMax(live_bytes));
}

fn shareOf(live_bytes: usize) usize {
    const of_few = @min(live_bytes / t.dirty_reserve_few_share, t.dirty_reserve_few_max);
    return @max(t.dirty_reserve_min, of_few, live_bytes / t.dirty_reserve_share);
}

/// Bytes that the process may have beside so many live ones, and beside the huge blocks that are
/// kept. Any thread.
pub fn idleMax(live_bytes: usize) usize {
    const kept_bytes = huge_cache.bytes.load(.monotonic); // A moment ago is good enough.
    return std.math.lossyCast(usize, allowance.idleBeside(live_bytes +| kept_bytes));
}

/// The reserve with what swings.
fn dirtyMax(live_bytes: usize) usize {
    return @min(shareOf(live_bytes) + swing_bytes, idleMax(live_bytes));
}

/// Whether more would be kept if the process might have more. Under the lock.
fn isShort(live_bytes: usize) bool {
    return idleMax(live_bytes) < shareOf(live_bytes) + swing_bytes;
}

/// Called under the lock when memory has grown by `grown` slices, which are live by now: what lies
/// idle and must not, where the process may have little more. A free plans with it too, but none
/// may come.
pub fn planOfGrowth(runs: *const FreeRuns, live_bytes: usize, grown: u32) Plan {
    const most = idleMax(live_bytes) >> t.slice_shift;
    if (runs.dirty_slices <= most + hysteresis or decay_ms < 0 or isRefused()) return nothing;
    const excess = runs.dirty_slices - @as(u32, @intCast(most));
    return .{ .slices = excess, .piece = @max(grown, piece_max) };
}

/// Bytes that may stay dirty, with what swings; everything when memory is not to be given back.
/// Under the lock.
pub fn keptBytes(live_bytes: usize) usize {
    if (decay_ms < 0 or isRefused()) return std.math.maxInt(usize);
    return dirtyMax(live_bytes);
}

fn isRefused() bool {
    if (refused_until_ms == 0) return false;
    if (refused_until_ms -% now_ms <= t.purge_backoff_ms + 1) return true;
    refused_until_ms = 0;
    return false;
}

fn isAged(id: SliceId) bool {
    return now_ms -% slice(id).state.age.stamp_ms >= @as(u64, @intCast(decay_ms));
}

/// Reads the clock and closes the swing window when its time is over.
fn tick() void {
    now_ms = @truncate(os.host.clockMs());
    if (now_ms -% window_start_ms < t.swing_window_ms) return;
    const moved_bytes = @as(usize, dirty_most - dirty_least) << t.slice_shift;
    if (!swing_seen and moved_bytes < swing_bytes / 2) swing_bytes = 0;
    const dirty = run_allocator.runs.dirty_slices;
    dirty_least = dirty;
    dirty_most = dirty;
    window_start_ms = now_ms;
    earlier_bytes = window_bytes;
    window_bytes = 0;
    if (!reuse_seen) {
        amplitude_bytes = earlier_bytes;
        reused_bytes = 0;
    }
    reuse_seen = false;
    swing_seen = false;
}

/// For tests: as if the last purge, and the last refusal, were long ago.
pub fn forgetSwing() void {
    refused_until_ms = 0;
    hole_credit = space.committedBytes();
    window_bytes = 0;
    earlier_bytes = 0;
    amplitude_bytes = 0;
    reused_bytes = 0;
    swing_bytes = 0;
}

/// Called under the lock when purged memory is handed out again.
pub fn noteReuse(bytes: usize) void {
    const again = @min(bytes, earlier_bytes + window_bytes);
    if (again == 0) return;
    const of_earlier = @min(again, earlier_bytes);
    earlier_bytes -= of_earlier;
    window_bytes -= again - of_earlier;
    reused_bytes += again;
    reuse_seen = true;
    // Once may be chance: a program that shrinks, grows again, and then ends.
    const recurs = swing_bytes != 0 or reused_bytes >= t.swings_min * amplitude_bytes;
    if (!recurs) return;
    const sum = if (swing_bytes == 0) amplitude_bytes else swing_bytes + again;
    swing_bytes = @min(sum, space.committedBytes());
    swing_seen = true;
}

fn notePurged(bytes: usize) void {
    _ = purged_bytes.fetchAdd(bytes, .monotonic); // A statistic.
    // There is no room for a larger reserve, and it would grow with every byte that comes back.
    if (isShort(run_allocator.liveBytes())) return;
    window_bytes += bytes;
    amplitude_bytes = @max(amplitude_bytes, earlier_bytes + window_bytes);
}

/// Bytes that may still become holes. Memory that was purged in runs is told when it swings; of
/// holes nobody knows when they are filled by way of a slab that was given back meanwhile, so what
/// they can cost is bounded. Under the lock.
var hole_credit: usize = 0;
var hole_credit_ms: u32 = 0;

/// Called under the lock when a heap takes memory that was never used.
pub fn noteGrowth(bytes: usize) void {
    hole_credit += bytes;
}

/// Whether so many bytes may become holes now, which are then spent. Under the lock.
pub fn mayPunch(bytes: usize) bool {
    ticks +%= 1;
    if (ticks % t.clock_period == 0) tick();
    if (decay_ms < 0 or isRefused()) return false;
    // The first one has only what was grown by: the clock did not begin with the process.
    const since = if (hole_credit_ms == 0) 0 else now_ms -% hole_credit_ms;
    const rate: usize = if (isLast()) t.hole_rate_last else t.hole_rate;
    const earned = since * rate;
    hole_credit_ms = now_ms;
    hole_credit = @min(hole_credit + earned, space.committedBytes());
    if (hole_credit < bytes) return false;
    hole_credit -= bytes;
    return true;
}

/// Called under the lock when holes are handed out again: they should not have been made, and some
/// that would be are not.
pub fn noteFilled(bytes: usize) void {
    const regret: usize = if (isLast()) t.hole_regret_last else t.hole_regret;
    hole_credit -|= bytes * regret;
}

/// Whether the process has all it may have: faults are better than to be ended by the system.
fn isLast() bool {
    return idleMax(run_allocator.liveBytes()) == 0;
}

/// Called under the lock when so many bytes within a slab were purged; null: it was refused.
pub fn noteHole(bytes: ?usize) void {
    const purged = bytes orelse return noteRefusal();
    _ = purged_bytes.fetchAdd(purged, .monotonic); // A statistic.
}

fn noteRefusal() void {
    now_ms = @truncate(os.host.clockMs());
    refused_until_ms = (now_ms +% t.purge_backoff_ms) | 1;
}

/// Purges by plan: two pieces, or in more calls what makes up two pieces where runs are short. By
/// age it is never urgent: two calls.
/// Called without the lock. False: nothing to purge or the system refused.
pub noinline fn run(work: Plan, holder: u32) bool {
    var left = @min(work.slices, work.piece *| 2);
    var done = false;
    const calls_max: usize = if (work.aged) 2 else t.purge_calls_max;
    for (0..calls_max) |_| {
        if (left == 0) break;
        const purged = purgeOne(@min(left, work.piece), work.aged, holder) orelse break;
        left -|= purged;
        done = true;
    }
    return done;
}

/// Runs that purges have in hand, in no list, their edges `purging`. Under the lock.
pub var in_hand: u32 = 0;

pub fn markPurging(first: SliceId, length: u32) void {
    markUsed(first, length);
    slice(first).run_state = .purging;
    slice(first + length - 1).run_state = .purging;
}

/// Purges one run, or a piece of it; slices purged.
fn purgeOne(length_max: u32, aged: bool, holder: u32) ?u32 {
    const lock = &run_allocator.lock;
    const runs = &run_allocator.runs;
    lock.acquire(holder);
    // Over the reserve the longest run gives most for a call; by age the oldest is due.
    const chosen = if (aged) choose(runs) else runs.longestDirty();
    if (chosen == 0 or (aged and !isAged(chosen))) {
        lock.release();
        return null;
    }
    const whole = slice(chosen).length;
    const stamp = slice(chosen).state.age.stamp_ms;
    // A short rest would cost a call of its own.
    const piece = if (whole > length_max + length_max / 2) length_max else whole;
    runs.remove(chosen);
    slice(chosen + whole - 1).run_state = .none;
    if (whole > piece) runs.insertOldest(chosen + piece, whole - piece, stamp);
    // Pages larger than slices: only whole pages can go, and what is clean beside the run may be
    // the rest of one.
    const before = runs.takeCleanBefore(chosen, slicesPastPage(space.address(chosen)));
    const past = chosen + piece;
    const length = before + piece + runs.takeCleanFrom(past, slicesToPage(space.address(past)));
    const first = chosen - before;
    markPurging(first, length);
    in_hand += 1;
    lock.release();

    const lead = @min(slicesToPage(space.address(first)), length);
    const tail = @min(slicesPastPage(space.address(first + length)), length - lead);
    const inner = length - lead - tail;
    const address = space.address(first + lead);
    const ok = inner > 0 and
        os.memory.purge(@ptrFromInt(address), @as(usize, inner) << t.slice_shift);

    lock.acquire(holder);
    defer lock.release();
    in_hand -|= 1; // 0 in a child that was forked meanwhile, by a handler.
    now_ms = @truncate(os.host.clockMs());
    // What could not go (locked memory, part of a page) is young again: no second try at once.
    if (!ok) {
        _ = runs.put(first, length, .dirty, now_ms);
        if (inner > 0) noteRefusal();
        return null;
    }
    // As runs of their own, the parts of pages dirty: what is purged is not purged again.
    if (lead > 0) markUsed(first, lead);
    if (tail > 0) markUsed(first + lead + inner, tail);
    markUsed(first + lead, inner);
    if (lead > 0) _ = runs.put(first, lead, .dirty, now_ms);
    if (tail > 0) _ = runs.put(first + lead + inner, tail, .dirty, now_ms);
    const merged = runs.put(first + lead, inner, .clean, inner);
    notePurged(@as(usize, inner) << t.slice_shift);
    giveMetadata(merged);
    space.keepSmall(run_allocator.liveBytes());
    return inner;
}

/// Slices from an address to the next page.
fn slicesToPage(address: usize) u32 {
    const next = std.mem.alignForward(usize, address, os.machine.page_size);
    return @intCast((next - address) >> t.slice_shift);
}

/// Slices from the last page to an address. 0 where pages are no larger than slices.
fn slicesPastPage(address: usize) u32 {
    const last = std.mem.alignBackward(usize, address, os.machine.page_size);
    return @intCast((address - last) >> t.slice_shift);
}

/// The metadata of what was purged goes too, when in one run enough has come together to be worth
/// calls.
fn giveMetadata(clean: SliceId) void {
    const length = slice(clean).length;
    const due = &slice(clean).state.age.stamp_ms;
    if (due.* < metadata_period or length < metadata_run_min) return;
    due.* = 0;
    space.purgeMetadata(clean, length);
}

/// The oldest run, or one of the next few when it alone is not worth a call.
fn choose(runs: *const FreeRuns) SliceId {
    var id = runs.oldest;
    for (0..probes_max) |_| {
        if (id == 0) break;
        if (slice(id).length >= worthwhile) return id;
        id = slice(id).state.age.next;
    }
    return runs.oldest;
}

comptime {
    assert(piece_max > 0);
}

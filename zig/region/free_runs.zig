//! The free runs of all regions: lists by state and length, the dirty ones also by age, with
//! boundary tags in the slice metadata so that neighbours merge.
//!
//! Invariants (`check`): every free run is in exactly one length list, every dirty one in the age
//! list; two runs of the same state never touch; first and last slice of every run, free or used,
//! carry its state; a free run's last slice knows the way back; dirty_slices is the sum of the
//! lengths of dirty runs. Only under the run allocator's lock.
const std = @import("std");
const base = @import("base");
const assert = base.assert;
const space = @import("address_space.zig");
const Slice = @import("slice.zig").Slice;
const SliceId = @import("slice.zig").SliceId;
const RunState = @import("slice.zig").RunState;
const slice = space.slice;

/// Exact lengths up to 127 slices, then 8 bins per doubling.
const exact_max = 127;
const bin_count = exact_max + 1 + 8 * (32 - 7);
const bin_words = (bin_count + 63) / 64;
/// Runs of one inexact bin looked at for the best fit.
const probes_max = 64;

/// Dirty runs whose neighbours are looked at, and neighbours on each side.
const stretch_probes_max = 16;
const stretch_steps_max = 4;

/// Index of the lists of a state.
fn listsOf(state: RunState) usize {
    assert(state == .dirty or state == .clean);
    return @backingInt(state) - 1;
}

fn binOf(length: u32) u32 {
    if (length <= exact_max) return length;
    const exponent: u32 = 31 - @clz(length);
    const step = (length >> @intCast(exponent - 3)) & 7;
    return exact_max + 1 + (exponent - 7) * 8 + step;
}

pub const FreeRuns = struct {
    heads: [2][bin_count]SliceId = @splat(@splat(0)),
    /// Bit b of the state's words: bin b is not empty.
    occupied: [2][bin_words]u64 = @splat(@splat(0)),
    oldest: SliceId = 0,
    youngest: SliceId = 0,
    dirty_slices: u32 = 0,

    /// Puts a run into the lists, merged with equal neighbours. `stamp` as for `insert`; clean
    /// neighbours add theirs. The first slice of the run it is part of now.
    pub noinline fn put(
        runs: *FreeRuns,
        first: SliceId,
        length: u32,
        state: RunState,
        stamp: u32,
    ) SliceId {
        assert(length > 0);
        var start = first;
        var total = length;
        var sum = stamp;
        const before = slice(first - 1);
        if (before.run_state == state) {
            start = first - 1 - before.back;
            runs.remove(start);
            total += first - start;
            if (state == .clean) sum +|= slice(start).state.age.stamp_ms;
            before.run_state = .none;
        }
        const after = first + length;
        if (slice(after).run_state == state) {
            const more = slice(after).length;
            runs.remove(after);
            slice(after).run_state = .none;
            total += more;
            if (state == .clean) sum +|= slice(after).state.age.stamp_ms;
        }
        slice(first).run_state = .none;
        slice(first + length - 1).run_state = .none;
        runs.insert(start, total, state, sum);
        return start;
    }

    /// Takes up to `wanted` slices off the end of a clean run that ends before `first`; how many.
    pub fn takeCleanBefore(runs: *FreeRuns, first: SliceId, wanted: u32) u32 {
        const before = slice(first - 1);
        if (wanted == 0 or before.run_state != .clean) return 0;
        const length = before.back + 1;
        const start = first - length;
        const taken = @min(wanted, length);
        const stamp = slice(start).state.age.stamp_ms;
        runs.remove(start);
        before.run_state = .none;
        slice(start).run_state = .none;
        if (length > taken) runs.insert(start, length - taken, .clean, stamp);
        return taken;
    }

    /// The same off the beginning of a clean run that begins at `first`.
    pub fn takeCleanFrom(runs: *FreeRuns, first: SliceId, wanted: u32) u32 {
        if (wanted == 0 or slice(first).run_state != .clean) return 0;
        const length = slice(first).length;
        const taken = @min(wanted, length);
        const stamp = slice(first).state.age.stamp_ms;
        runs.remove(first);
        slice(first).run_state = .none;
        slice(first + length - 1).run_state = .none;
        if (length > taken) runs.insert(first + taken, length - taken, .clean, stamp);
        return taken;
    }

    /// Puts a run into the lists as it is. Its neighbours are known to differ. `stamp`: of a dirty
    /// run its time of death, ms; of a clean one the slices (about) that were purged since its
    /// metadata was given back.
    pub noinline fn insert(
        runs: *FreeRuns,
        first: SliceId,
        length: u32,
        state: RunState,
        stamp: u32,
    ) void {
        const head = slice(first);
        const tail = slice(first + length - 1);
        head.back = 0;
        tail.back = length - 1;
        head.length = length;
        head.run_state = state;
        tail.run_state = state;
        const lists = listsOf(state);
        const bin = binOf(length);
        head.prev = 0;
        head.next = runs.heads[lists][bin];
        if (head.next != 0) slice(head.next).prev = first;
        runs.heads[lists][bin] = first;
        runs.occupied[lists][bin / 64] |= @as(u64, 1) << @intCast(bin % 64);
        if (state == .dirty) return runs.appendYoungest(first, stamp);
        head.state = .{ .age = .{ .next = 0, .prev = 0, .stamp_ms = stamp } };
    }

    fn appendYoungest(runs: *FreeRuns, first: SliceId, now: u32) void {
        const head = slice(first);
        head.state = .{ .age = .{ .next = 0, .prev = runs.youngest, .stamp_ms = now } };
        if (runs.youngest != 0) {
            slice(runs.youngest).state.age.next = first;
        } else runs.oldest = first;
        runs.youngest = first;
        runs.dirty_slices += head.length;
    }

    /// Puts a dirty run before all others by age: the rest of a run that is purged in pieces.
    pub fn insertOldest(runs: *FreeRuns, first: SliceId, length: u32, stamp_ms: u32) void {
        runs.insert(first, length, .dirty, stamp_ms);
        if (runs.oldest == first) return;
        const age = &slice(first).state.age;
        runs.youngest = age.prev;
        slice(age.prev).state.age.next = 0;
        age.* = .{ .next = runs.oldest, .prev = 0, .stamp_ms = stamp_ms };
        slice(runs.oldest).state.age.prev = first;
        runs.oldest = first;
    }

    /// Takes a run out of its lists. Its boundary tags stay: the caller marks what it becomes.
    pub noinline fn remove(runs: *FreeRuns, first: SliceId) void {
        const head = slice(first);
        const lists = listsOf(head.run_state);
        const bin = binOf(head.length);
        if (head.prev != 0) {
            slice(head.prev).next = head.next;
        } else {
            assert(runs.heads[lists][bin] == first);
            runs.heads[lists][bin] = head.next;
            if (head.next == 0) {
                runs.occupied[lists][bin / 64] &= ~(@as(u64, 1) << @intCast(bin % 64));
            }
        }
        if (head.next != 0) slice(head.next).prev = head.prev;
        if (head.run_state == .dirty) runs.removeAge(first);
    }

    fn removeAge(runs: *FreeRuns, first: SliceId) void {
        const age = slice(first).state.age;
        if (age.prev != 0) {
            slice(age.prev).state.age.next = age.next;
        } else runs.oldest = age.next;
        if (age.next != 0) {
            slice(age.next).state.age.prev = age.prev;
        } else runs.youngest = age.prev;
        runs.dirty_slices -= slice(first).length;
    }

    /// A run of at least `length` slices, the best fit of those looked at; 0: there is none.
    pub noinline fn find(runs: *const FreeRuns, state: RunState, length: u32) SliceId {
        const lists = listsOf(state);
        var bin = binOf(length);
        if (bin > exact_max) {
            // The request's own inexact bin may also hold shorter runs.
            const fit = bestOf(runs.heads[lists][bin], length);
            if (fit != 0) return fit;
            bin += 1;
        }
        var word = bin / 64;
        if (word >= bin_words) return 0;
        var bits = runs.occupied[lists][word] & (~@as(u64, 0) << @intCast(bin % 64));
        while (bits == 0) {
            word += 1;
            if (word == bin_words) return 0;
            bits = runs.occupied[lists][word];
        }
        const found = word * 64 + @ctz(bits);
        const first = runs.heads[lists][found];
        return if (found > exact_max) bestOf(first, length) else first;
    }

    /// Free runs side by side, dirty and clean by turns, that are together at least `length` slices
    /// long; of the last one that was added only a part may be needed. Looked for round the longest
    /// dirty runs, when no single one is long enough: without them long runs come from ever new
    /// address space, and the dirty ones between others stay dirty for nothing.
    pub noinline fn findStretch(runs: *const FreeRuns, length: u32) Stretch {
        const lists = listsOf(.dirty);
        var probes: u32 = stretch_probes_max;
        var word: usize = bin_words;
        while (word > 0) {
            word -= 1;
            var bits = runs.occupied[lists][word];
            while (bits != 0) {
                const bit: u6 = @intCast(63 - @clz(bits));
                bits &= ~(@as(u64, 1) << bit);
                var run = runs.heads[lists][word * 64 + bit];
                while (run != 0) : (run = slice(run).next) {
                    const stretch = stretchRound(run, length);
                    if (stretch.length >= length) return stretch;
                    probes -= 1;
                    if (probes == 0) return .none;
                }
            }
        }
        return .none;
    }

    /// Takes `length` slices out of a stretch; its first or its last run may be too long, as it
    /// says. Where they begin, and how many of them are clean.
    pub noinline fn takeStretch(runs: *FreeRuns, stretch: Stretch, length: u32) Taken {
        const first = stretch.first;
        const end = first + stretch.length;
        const excess = stretch.length - length;
        const cut = if (stretch.ends_whole) first else end - 1 - slice(end - 1).back;
        const state = slice(cut).run_state;
        const stamp = slice(cut).state.age.stamp_ms;
        assert(excess < slice(cut).length);
        var clean: u32 = 0;
        var run = first;
        while (run < end) {
            const whole = slice(run).length;
            if (slice(run).run_state == .clean) clean += whole;
            runs.remove(run);
            slice(run).run_state = .none;
            slice(run + whole - 1).run_state = .none;
            run += whole;
        }
        assert(run == end);
        const taken: SliceId = if (stretch.ends_whole) first + excess else first;
        if (excess == 0) return .{ .first = taken, .clean = clean };
        runs.insert(if (stretch.ends_whole) first else end - excess, excess, state, stamp);
        return .{ .first = taken, .clean = if (state == .clean) clean - excess else clean };
    }

    /// One of the longest dirty runs; 0: there is none.
    pub fn longestDirty(runs: *const FreeRuns) SliceId {
        const lists = listsOf(.dirty);
        var word: usize = bin_words;
        while (word > 0) {
            word -= 1;
            const bits = runs.occupied[lists][word];
            if (bits != 0) return runs.heads[lists][word * 64 + 63 - @clz(bits)];
        }
        return 0;
    }

    fn bestOf(list: SliceId, length: u32) SliceId {
        var best: SliceId = 0;
        var best_length: u32 = std.math.maxInt(u32);
        var run = list;
        for (0..probes_max) |_| {
            if (run == 0) break;
            const candidate = slice(run).length;
            if (candidate >= length and candidate < best_length) {
                best = run;
                best_length = candidate;
            }
            run = slice(run).next;
        }
        return best;
    }

    /// Walks all lists; see the invariants above.
    pub fn check(runs: *const FreeRuns) void {
        var dirty: u64 = 0;
        for (0..2) |lists| {
            for (0..bin_count) |bin| {
                const bit = runs.occupied[lists][bin / 64] >> @intCast(bin % 64) & 1;
                assert((bit == 1) == (runs.heads[lists][bin] != 0));
                var prev: SliceId = 0;
                var run = runs.heads[lists][bin];
                while (run != 0) : (run = slice(run).next) {
                    const head = slice(run);
                    assert(listsOf(head.run_state) == lists);
                    assert(binOf(head.length) == bin);
                    assert(head.prev == prev);
                    const tail = slice(run + head.length - 1);
                    assert(tail.run_state == head.run_state);
                    assert(tail.back == head.length - 1);
                    assert(slice(run - 1).run_state != head.run_state);
                    assert(slice(run + head.length).run_state != head.run_state);
                    if (head.run_state == .dirty) dirty += head.length;
                    prev = run;
                }
            }
        }
        assert(dirty == runs.dirty_slices);
        runs.checkAges();
    }

    fn checkAges(runs: *const FreeRuns) void {
        var dirty: u64 = 0;
        var prev: SliceId = 0;
        var run = runs.oldest;
        while (run != 0) : (run = slice(run).state.age.next) {
            assert(slice(run).run_state == .dirty);
            assert(slice(run).state.age.prev == prev);
            dirty += slice(run).length;
            // A list that runs in a circle would never end.
            assert(dirty <= runs.dirty_slices);
            prev = run;
        }
        assert(runs.youngest == prev);
        assert(dirty == runs.dirty_slices);
    }
};

/// Free runs side by side: so many slices from `first` on. `ends_whole`: the last one is needed to
/// its end, and what is too much lies at the beginning.
pub const Stretch = struct {
    first: SliceId,
    length: u32,
    ends_whole: bool = false,

    pub const none: Stretch = .{ .first = 0, .length = 0 };
};

pub const Taken = struct { first: SliceId, clean: u32 };

fn isFree(state: RunState) bool {
    return state == .dirty or state == .clean;
}

/// What lies free round a free run, until it is long enough.
fn stretchRound(run: SliceId, length: u32) Stretch {
    var first = run;
    var end = run + slice(run).length;
    // One alone, where a search did not look at all of them.
    if (end - first >= length) return .{ .first = first, .length = end - first };
    for (0..stretch_steps_max) |_| {
        const after = slice(end);
        if (isFree(after.run_state)) {
            end += after.length;
            if (end - first >= length) return .{ .first = first, .length = end - first };
        }
        const before = slice(first - 1);
        if (isFree(before.run_state)) {
            first -= 1 + before.back;
            if (end - first >= length) {
                return .{ .first = first, .length = end - first, .ends_whole = true };
            }
        } else if (!isFree(after.run_state)) break;
    }
    return .none;
}

/// What lies free from a slice on, in runs side by side, until it is long enough.
pub fn stretchFrom(first: SliceId, length: u32) Stretch {
    var end = first;
    for (0..2 * stretch_steps_max) |_| {
        if (!isFree(slice(end).run_state)) break;
        end += slice(end).length;
        if (end - first >= length) return .{ .first = first, .length = end - first };
    }
    return .none;
}

/// Marks a run as handed out.
pub fn markUsed(first: SliceId, length: u32) void {
    const head = slice(first);
    head.run_state = .used;
    head.length = length;
    head.back = 0;
    if (length > 1) slice(first + length - 1).run_state = .used;
}

test binOf {
    var last: u32 = 0;
    for (1..100_000) |length| {
        const bin = binOf(@intCast(length));
        try std.testing.expect(bin == last or bin == last + 1);
        last = bin;
    }
    try std.testing.expect(binOf(std.math.maxInt(u32)) < bin_count);
}

//! Freed huge blocks that will be wanted again: a program that frees and allocates them over and
//! over should not pay the system for every page of them each time.
//!
//! Huge blocks recur when one is wanted within a second of another being freed. From the third time
//! on as many are kept as recurred, each for a second; those that are not wanted by then go with a
//! slow call soon after. What is kept and what is live are together no more than was live lately,
//! so none of it makes a peak. Where none recur, none is kept: they return to the system in the
//! call that frees them.
//!
//! Invariant: a kept block is a whole mapping that no table of blocks knows, or a part of one of
//! which other blocks are the rest. Every function needs the lock of `huge_block`.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const assert = base.assert;

/// A whole mapping, in bytes, or a part of one that was cut.
pub const Extent = struct {
    address: usize,
    length: usize,
    /// Parts with one number are of one mapping: side by side the system lengthens and moves them
    /// as one. 0: it was never cut.
    origin: u32 = 0,
};

const Kept = struct { extent: Extent, stamp_ms: u32 };

var kept: [t.huge_kept_max]Kept = undefined;
/// monotonic: written under the lock, read as a hint and by statistics.
pub var count: base.atomic.Value(u32) = .init(0);
pub var bytes: base.atomic.Value(usize) = .init(0);

/// Blocks that were freed and none wanted instead yet; those that were, one within a second of the
/// other without a break; and when the last was freed or wanted.
var freed: u32 = 0;
var recurred: u32 = 0;
var stamp_ms: u32 = 0;
/// The last number of an origin. That it comes round after four billion cuts makes two mappings
/// one for a second, if they lie side by side: then the system refuses to lengthen them.
var origins: u32 = 0;

/// The most bytes that were live when a block was freed, in this window of a second and in the one
/// before.
var window_ms: u32 = 0;
var most: usize = 0;
var most_earlier: usize = 0;

/// A block of at least this length on a multiple of `alignment` is wanted, whatever it contains: of
/// the kept one that fits best so much, or null. It may be a little longer; where pages are aligned
/// enough it may be shorter, for the caller to lengthen.
pub fn take(length: usize, alignment: usize, now_ms: u32) ?Extent {
    heed(now_ms);
    if (freed > 0) {
        freed -= 1;
        recurred +|= 1;
    }
    var best: ?usize = null;
    for (kept[0..count.raw], 0..) |*block, index| {
        const extent = block.extent;
        if (extent.address % alignment != 0) continue;
        if (extent.length < length) {
            if (alignment > os.machine.page_size) continue;
            if (extent.length < length / t.huge_grow_share) continue;
        }
        if (best == null or fits(extent.length, kept[best.?].extent.length, length)) best = index;
    }
    return cut(best orelse return null, length);
}

/// What lies right behind a block that is to grow by so much, if it is kept and of one mapping with
/// it.
pub fn takeBehind(extent: Extent, length: usize) ?Extent {
    if (extent.origin == 0) return null;
    for (kept[0..count.raw], 0..) |*block, index| {
        if (block.extent.address != extent.address + extent.length) continue;
        if (block.extent.origin != extent.origin or block.extent.length < length) return null;
        return cut(index, length);
    }
    return null;
}

/// The beginning of a kept block; the rest stays kept unless it is not worth it.
fn cut(index: usize, length: usize) Extent {
    const extent = &kept[index].extent;
    if (extent.length <= length + length / t.huge_slack_share) return remove(index);
    if (extent.origin == 0) {
        origins = @max(origins +% 1, 1);
        extent.origin = origins;
    }
    const start = extent.address;
    extent.address += length;
    extent.length -= length;
    _ = bytes.fetchSub(length, .monotonic);
    return .{ .address = start, .length = length, .origin = extent.origin };
}

/// Whether one length serves a wanted one better than another does: the shortest that is long
/// enough, else the longest.
fn fits(length: usize, other: usize, wanted: usize) bool {
    if ((length >= wanted) != (other >= wanted)) return length >= wanted;
    return (length < other) == (length >= wanted);
}

/// A block is freed, of `live_bytes` of the process with it. True: it is kept, and its mapping must
/// stay. All that is kept stays within `bytes_max`.
pub fn keep(extent: Extent, live_bytes: usize, bytes_max: usize, now_ms: u32) bool {
    heed(now_ms);
    freed +|= 1;
    most = @max(most, live_bytes);
    if (recurred < t.huge_recurrences_min) return false;
    if (bytes.raw + extent.length > keptMax(live_bytes - extent.length, bytes_max)) return false;
    const whole = joined(extent);
    const known = count.raw;
    if (known == kept.len or (known >= recurred and extent.origin == 0)) return false;
    kept[known] = .{ .extent = whole, .stamp_ms = now_ms };
    count.store(known + 1, .monotonic);
    _ = bytes.fetchAdd(whole.length, .monotonic);
    return true;
}

/// An extent with the kept parts of its mapping on both sides, which are taken out.
fn joined(extent: Extent) Extent {
    var whole = extent;
    if (extent.origin == 0) return whole;
    var index: usize = 0;
    while (index < count.raw) {
        const other = kept[index].extent;
        const is_before = other.address + other.length == whole.address;
        const is_behind = whole.address + whole.length == other.address;
        if (other.origin == extent.origin and (is_before or is_behind)) {
            _ = remove(index);
            whole.address = @min(whole.address, other.address);
            whole.length += other.length;
            index = 0;
        } else index += 1;
    }
    return whole;
}

/// Forgets what was too long ago.
fn heed(now_ms: u32) void {
    if (now_ms -% stamp_ms > t.swing_window_ms) forgetRecurrence();
    stamp_ms = now_ms;
    const age_ms = now_ms -% window_ms;
    if (age_ms < t.swing_window_ms) return;
    most_earlier = if (age_ms < 2 * t.swing_window_ms) most else 0;
    most = 0;
    window_ms = now_ms;
}

/// What may be kept beside so many live bytes.
fn keptMax(live_bytes: usize, bytes_max: usize) usize {
    return @min(bytes_max, @max(most, most_earlier) -| live_bytes);
}

/// One block that is kept and may not be beside so many live bytes, for the caller to unmap; null:
/// there is none.
pub fn dropExcess(live_bytes: usize, bytes_max: usize) ?Extent {
    if (bytes.raw <= keptMax(live_bytes, bytes_max)) return null;
    var shortest: usize = 0;
    for (kept[0..count.raw], 0..) |*block, index| {
        if (block.extent.length < kept[shortest].extent.length) shortest = index;
    }
    return remove(shortest);
}

/// One block that was kept for `age_ms` or more, for the caller to unmap; null: there is none.
pub fn dropAged(age_ms: u32, now_ms: u32) ?Extent {
    for (kept[0..count.raw], 0..) |*block, index| {
        if (now_ms -% block.stamp_ms >= age_ms) return remove(index);
    }
    return null;
}

fn remove(index: usize) Extent {
    const extent = kept[index].extent;
    const last = count.raw - 1;
    kept[index] = kept[last];
    count.store(last, .monotonic);
    _ = bytes.fetchSub(extent.length, .monotonic);
    return extent;
}

/// The kept blocks, for statistics: as many as fit; how many.
pub fn list(extents: []Extent) usize {
    const known = @min(count.raw, extents.len);
    for (kept[0..known], extents[0..known]) |*block, *extent| extent.* = block.extent;
    return known;
}

/// What recurred so far counts no more.
pub fn forgetRecurrence() void {
    freed = 0;
    recurred = 0;
}

/// In a child after fork, when the list may be torn: its blocks are lost to the child.
pub fn forget() void {
    count.store(0, .monotonic);
    bytes.store(0, .monotonic);
    most = 0;
    most_earlier = 0;
    forgetRecurrence();
}

/// No two kept blocks overlap, and the sums are right. Under the lock.
pub fn check() void {
    var sum: usize = 0;
    for (kept[0..count.raw], 0..) |*block, index| {
        sum += block.extent.length;
        for (kept[0..index]) |*other| {
            assert(block.extent.address + block.extent.length <= other.extent.address or
                other.extent.address + other.extent.length <= block.extent.address);
        }
    }
    assert(sum == bytes.raw);
}

fn extentOf(index: usize, length: usize) Extent {
    return .{ .address = (index + 1) << 40, .length = length };
}

test "kept is only what recurred three times within a second" {
    defer forget();
    const mib = t.mib;
    const extent = extentOf(0, 40 * mib);
    const live = extent.length;
    var now: u32 = 1 << 20;
    for (0..3) |_| {
        try std.testing.expectEqual(@as(?Extent, null), take(40 * mib, 4096, now));
        now += 5;
        try std.testing.expect(!keep(extent, live, t.gib, now));
    }
    // Freed three times, wanted again twice so far.
    try std.testing.expectEqual(@as(?Extent, null), take(40 * mib, 4096, now));
    try std.testing.expect(keep(extent, live, t.gib, now));
    check();
    // Not aligned, and far too short.
    try std.testing.expectEqual(@as(?Extent, null), take(40 * mib, 1 << 41, now));
    try std.testing.expectEqual(@as(?Extent, null), take(200 * mib, 4096, now));
    // One that is a little shorter is for the caller to lengthen, unless it must be aligned.
    try std.testing.expectEqual(@as(?Extent, null), take(41 * mib, 1 << 20, now));
    try std.testing.expectEqual(extent, take(41 * mib, 4096, now).?);
    check();
    // After a pause they must prove themselves again.
    try std.testing.expect(keep(extent, live, t.gib, now));
    try std.testing.expectEqual(extent, dropAged(1000, now + 1000).?);
    try std.testing.expectEqual(@as(?Extent, null), dropAged(0, now + 1000));
    try std.testing.expect(!keep(extent, live, t.gib, now + 3000));
}

test "as many blocks are kept as recurred" {
    defer forget();
    const length = 64 * t.mib;
    var now: u32 = 1 << 20;
    for (0..6) |swing| {
        for (0..4) |index| {
            const taken = take(length, 4096, now);
            try std.testing.expectEqual(swing >= 2 and index < 3, taken != null);
        }
        for (0..4) |index| {
            // The fourth would be too much.
            const live = (4 - index) * length;
            const kept_it = keep(extentOf(index, length), live, 3 * length, now);
            try std.testing.expectEqual(swing >= 1 and index < 3, kept_it);
        }
        check();
        now += 100;
    }
}

test "what is kept and what is live are no more than was live" {
    defer forget();
    const length = 64 * t.mib;
    var now: u32 = 1 << 20;
    for (0..4) |_| {
        _ = take(length, 4096, now);
        _ = keep(extentOf(0, length), 2 * length, t.gib, now);
    }
    try std.testing.expectEqual(1, count.raw);
    // One is live, one is kept, and no more than two were live.
    try std.testing.expect(!keep(extentOf(1, length), 2 * length, t.gib, now));
    try std.testing.expect(keep(extentOf(1, length), length, t.gib, now));
    check();
    // That three were is forgotten two seconds later.
    _ = keep(extentOf(2, length), 3 * length, 0, now);
    for (0..5) |_| {
        now += 500;
        _ = take(length, 4096, now);
        while (dropAged(0, now)) |_| {}
        try std.testing.expect(keep(extentOf(3, length), length, t.gib, now));
    }
    try std.testing.expect(!keep(extentOf(4, length), 2 * length - 1, t.gib, now));
}

test "the kept block that fits best" {
    defer forget();
    const mib = t.mib;
    const now: u32 = 1 << 20;
    for (0..5) |index| {
        _ = keep(extentOf(9, mib), t.gib, 0, now);
        _ = take(t.gib, 4096, now);
        _ = keep(extentOf(index, (40 + 10 * index) * mib), 200 * mib, t.gib, now);
    }
    try std.testing.expectEqual(3, count.raw);
    try std.testing.expectEqual(extentOf(3, 70 * mib), take(65 * mib, 4096, now).?);
    try std.testing.expectEqual(extentOf(4, 80 * mib), take(100 * mib, 4096, now).?);
    check();
    // A part of it; the rest is there for who grows over it, or for others.
    const part = take(20 * mib, 4096, now).?;
    try std.testing.expectEqual(extentOf(2, 0).address, part.address);
    try std.testing.expectEqual(@as(usize, 20 * mib), part.length);
    check();
    const origin = part.origin;
    try std.testing.expect(origin != 0);
    var other = part;
    other.origin += 1;
    try std.testing.expectEqual(@as(?Extent, null), takeBehind(other, mib));
    other = part;
    other.length -= 4096;
    try std.testing.expectEqual(@as(?Extent, null), takeBehind(other, mib));
    try std.testing.expectEqual(@as(?Extent, null), takeBehind(part, 41 * mib));
    const more = takeBehind(part, 10 * mib).?;
    try std.testing.expectEqual(part.address + part.length, more.address);
    try std.testing.expectEqual(@as(usize, 10 * mib), more.length);
    try std.testing.expectEqual(@as(usize, 30 * mib), bytes.raw);
    const rest = take(29 * mib, 4096, now).?;
    try std.testing.expectEqual(@as(usize, 30 * mib), rest.length);
    try std.testing.expectEqual(0, count.raw);
    // Parts become one again, in whatever order; a neighbour of another mapping stays one.
    const neighbour: Extent = .{ .address = rest.address + rest.length, .length = 50 * mib };
    for ([_]Extent{ part, rest, neighbour, more }) |extent| {
        try std.testing.expect(keep(extent, t.gib / 2, t.gib, now));
        check();
    }
    try std.testing.expectEqual(2, count.raw);
    const whole: Extent = .{ .address = part.address, .length = 60 * mib, .origin = origin };
    try std.testing.expectEqual(whole, take(55 * mib, 4096, now).?);
    try std.testing.expectEqual(neighbour, take(45 * mib, 4096, now).?);
    check();
}

//! Freed huge blocks that will be wanted again: a program that frees and allocates the same sizes
//! over and over should not pay the system for every page of them each time.
//!
//! A size recurs when a block of about it is wanted within a second of one being freed. From the
//! third time on as many blocks of that size are kept as recurred, each for a second; those that
//! are not wanted by then go with the next slow call. A size that does not recur is never kept:
//! its blocks return to the system in the call that frees them.
//!
//! Invariant: a kept block is a whole mapping that no table of blocks knows. Every function needs
//! the lock of `huge_block`.
const std = @import("std");
const base = @import("base");
const t = base.tunables;
const assert = base.assert;

/// A whole mapping, in bytes.
pub const Extent = struct { address: usize, length: usize };

const Kept = struct { extent: Extent, stamp_ms: u32 };

/// What is known of the blocks of about one length.
const Size = struct {
    length: usize = 0,
    /// Freed and not wanted again yet.
    freed: u32 = 0,
    /// Wanted again within a second, without a break.
    recurred: u32 = 0,
    /// Of the last free or want.
    stamp_ms: u32 = 0,
};

var kept: [t.huge_kept_max]Kept = undefined;
/// monotonic: written under the lock, read as a hint and by statistics.
pub var count: base.atomic.Value(u32) = .init(0);
pub var bytes: base.atomic.Value(usize) = .init(0);
var sizes: [t.huge_sizes_max]Size = @splat(.{});

fn isNear(length: usize, other: usize) bool {
    return @max(length, other) - @min(length, other) <= @min(length, other) / t.huge_slack_share;
}

fn find(length: usize, now_ms: u32) ?*Size {
    for (&sizes) |*size| {
        if (size.length == 0 or !isNear(size.length, length)) continue;
        if (now_ms -% size.stamp_ms <= t.swing_window_ms) return size;
        size.length = 0;
    }
    return null;
}

/// For a block of this length, freed a while ago and not known now: a free entry or the oldest.
fn make(length: usize, now_ms: u32) *Size {
    var chosen = &sizes[0];
    for (&sizes) |*size| {
        if (size.length == 0) {
            chosen = size;
            break;
        }
        if (now_ms -% size.stamp_ms > now_ms -% chosen.stamp_ms) chosen = size;
    }
    chosen.* = .{ .length = length, .stamp_ms = now_ms };
    return chosen;
}

/// A block of at least this length (and at most a share more) on a multiple of `alignment` is
/// wanted, whatever it contains: one that was kept, or null.
pub fn take(length: usize, alignment: usize, now_ms: u32) ?Extent {
    const size = find(length, now_ms) orelse return null;
    // Sizes that creep upwards never fit into what was freed.
    if (length > size.length) return null;
    size.stamp_ms = now_ms;
    if (size.freed > 0) {
        size.freed -= 1;
        size.recurred +|= 1;
    }
    var best: ?usize = null;
    for (kept[0..count.raw], 0..) |*block, index| {
        const extent = block.extent;
        if (extent.address % alignment != 0 or extent.length < length) continue;
        if (!isNear(extent.length, length)) continue;
        if (best == null or extent.length < kept[best.?].extent.length) best = index;
    }
    return remove(best orelse return null);
}

/// A block is freed. True: it is kept, and its mapping must stay. All that is kept stays within
/// `bytes_max`.
pub fn keep(extent: Extent, now_ms: u32, bytes_max: usize) bool {
    const size = find(extent.length, now_ms) orelse make(extent.length, now_ms);
    size.stamp_ms = now_ms;
    size.length = extent.length;
    size.freed +|= 1;
    if (size.recurred < t.huge_recurrences_min) return false;
    const known = count.raw;
    if (known == kept.len or bytes.raw + extent.length > bytes_max) return false;
    var same: u32 = 0;
    for (kept[0..known]) |*block| same += @intFromBool(isNear(block.extent.length, extent.length));
    if (same >= size.recurred) return false;
    kept[known] = .{ .extent = extent, .stamp_ms = now_ms };
    count.store(known + 1, .monotonic);
    _ = bytes.fetchAdd(extent.length, .monotonic);
    return true;
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
pub fn forgetSizes() void {
    sizes = @splat(.{});
}

/// In a child after fork, when the list may be torn: its blocks are lost to the child.
pub fn forget() void {
    count.store(0, .monotonic);
    bytes.store(0, .monotonic);
    forgetSizes();
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

test "kept is only what recurred three times within a second" {
    defer forget();
    const mib = t.mib;
    const extent: Extent = .{ .address = 1 << 40, .length = 40 * mib };
    for (0..3) |swing| {
        const now: u32 = @intCast(swing * 10);
        try std.testing.expectEqual(@as(?Extent, null), take(40 * mib, 4096, now));
        try std.testing.expect(!keep(extent, now + 5, t.gib));
    }
    // Freed three times, wanted again twice so far.
    try std.testing.expectEqual(@as(?Extent, null), take(40 * mib, 4096, 40));
    try std.testing.expect(keep(extent, 45, t.gib));
    check();
    // Too small, too large, not aligned.
    try std.testing.expectEqual(@as(?Extent, null), take(41 * mib, 4096, 50));
    try std.testing.expectEqual(@as(?Extent, null), take(30 * mib, 4096, 50));
    try std.testing.expectEqual(@as(?Extent, null), take(40 * mib, 1 << 41, 50));
    try std.testing.expectEqual(extent, take(39 * mib, 4096, 50).?);
    check();
    // After a pause it must prove itself again.
    try std.testing.expect(keep(extent, 60, t.gib));
    try std.testing.expectEqual(extent, dropAged(1000, 1060).?);
    try std.testing.expectEqual(@as(?Extent, null), dropAged(0, 1060));
    try std.testing.expect(!keep(extent, 3000, t.gib));
}

test "as many blocks are kept as recurred" {
    defer forget();
    const length = 64 * t.mib;
    var now: u32 = 0;
    for (0..6) |swing| {
        for (0..4) |index| {
            const taken = take(length, 4096, now);
            try std.testing.expectEqual(swing >= 2 and index < 3, taken != null);
        }
        for (0..4) |index| {
            // The fourth would be too much.
            const extent: Extent = .{ .address = (index + 1) << 40, .length = length };
            const kept_it = keep(extent, now, 3 * length);
            try std.testing.expectEqual(swing >= 1 and index < 3, kept_it);
        }
        check();
        now += 100;
    }
    forget();
    // Sizes that creep upwards are not kept: what is freed never fits.
    for (0..50) |index| {
        const larger = length + index * t.mib;
        try std.testing.expectEqual(@as(?Extent, null), take(larger, 4096, now));
        try std.testing.expect(!keep(.{ .address = 1 << 40, .length = larger }, now, t.gib));
    }
    // More sizes than are remembered: the oldest are forgotten, nothing breaks.
    for (0..100) |index| try std.testing.expect(!keep(.{
        .address = 1 << 50,
        .length = (index + 100) * 100 * t.mib,
    }, now, t.gib));
}

//! Memory for the allocator's own structures: heaps, magazines, live bits of big slabs, messages.
//! Bump allocation from the part of each region reserved for it, with free lists by power of two.
//! Any thread, under its own lock. Null when the system refuses; nothing is lost then.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const assert = base.assert;
const space = @import("address_space.zig");

const size_min_shift = 6;
const size_max_shift = 16;
const commit_step = 256 * t.kib;
const Link = extern struct { next: ?*Link };

var lock: os.Lock = .{};
/// Under the lock: the segment in use, its committed end, and the free lists.
var bump: usize = 0;
var committed_end: usize = 0;
var segment_end: usize = 0;
var spare: [t.regions_max]space.Arena = undefined;
var spare_count: u32 = 0;
var free_lists: [size_max_shift + 1]?*Link = @splat(null);
/// Bytes handed out and not returned; a statistic.
var used_bytes: base.atomic.Value(usize) = .init(0);
/// Bytes in the free lists. Under the lock.
var freed_bytes: usize = 0;

/// Adds the arena part of a new region. Under the run lock.
pub fn add(segment: space.Arena, holder: u32) void {
    if (segment.length == 0) return;
    lock.acquire(holder);
    defer lock.release();
    spare[spare_count] = segment;
    spare_count += 1;
}

/// Whether the next region should bring a segment. Under the run lock.
pub fn isLow(holder: u32) bool {
    lock.acquire(holder);
    defer lock.release();
    return spare_count == 0 and segment_end - bump < t.mib;
}

/// Gives back what the segment in use has not committed, all but a little; bytes. See
/// space.giveBackRest, whose lock is held.
pub fn giveBackRest(holder: u32) usize {
    lock.acquire(holder);
    defer lock.release();
    const end = committed_end + commit_step;
    if (segment_end < end + commit_step) return 0;
    const length = segment_end - end;
    if (!os.memory.unmap(@ptrFromInt(end), length)) return 0;
    segment_end = end;
    return length;
}

fn shiftOf(size: usize) u6 {
    assert(size > 0);
    return @intCast(@max(std.math.log2_int_ceil(usize, size), size_min_shift));
}

/// Memory of at least `size` bytes (up to 64 KiB), 64-byte aligned, contents undefined unless
/// the block is new. `size` is rounded up to a power of two.
pub noinline fn alloc(size: usize, holder: u32) ?[*]align(64) u8 {
    const shift = shiftOf(size);
    assert(shift <= size_max_shift);
    lock.acquire(holder);
    defer lock.release();
    if (free_lists[shift]) |link| {
        free_lists[shift] = link.next;
        freed_bytes -= @as(usize, 1) << shift;
        account(@as(isize, 1) << shift);
        return @ptrCast(@alignCast(link));
    }
    return takeFresh(@as(usize, 1) << shift);
}

/// The same for a structure that is never given back: rounded to 64 bytes only, zeroed.
pub noinline fn allocForever(size: usize, holder: u32) ?[*]align(64) u8 {
    lock.acquire(holder);
    defer lock.release();
    return takeFresh(std.mem.alignForward(usize, size, 64));
}

fn takeFresh(size: usize) ?[*]align(64) u8 {
    while (segment_end - bump < size) {
        // The rest of the old segment is lost: at most 64 KiB.
        if (spare_count == 0) {
            // Small regions (under a limit of address space) bring little: a mapping then.
            const memory = os.memory.map(commit_step) orelse return null;
            bump = @intFromPtr(memory);
            segment_end = bump + commit_step;
            committed_end = segment_end;
        } else {
            spare_count -= 1;
            bump = @intFromPtr(spare[spare_count].address);
            committed_end = bump;
            segment_end = bump + spare[spare_count].length;
        }
    }
    if (bump + size > committed_end) {
        const step = @min(@max(commit_step, size), segment_end - committed_end);
        const length = std.mem.alignForward(usize, step, commit_step);
        const capped = @min(length, segment_end - committed_end);
        if (!os.memory.commit(@ptrFromInt(committed_end), capped)) return null;
        committed_end += capped;
    }
    defer bump += size;
    account(@intCast(size));
    return @ptrFromInt(bump);
}

/// Takes back what `alloc` gave for the same size.
pub noinline fn free(memory: [*]align(64) u8, size: usize, holder: u32) void {
    const shift = shiftOf(size);
    const link: *Link = @ptrCast(memory);
    lock.acquire(holder);
    defer lock.release();
    link.next = free_lists[shift];
    free_lists[shift] = link;
    freed_bytes += @as(usize, 1) << shift;
    account(-(@as(isize, 1) << shift));
}

fn account(change: isize) void {
    // monotonic: a statistic, read without order.
    _ = used_bytes.fetchAdd(@bitCast(change), .monotonic);
}

pub fn usedBytes() usize {
    return used_bytes.load(.monotonic); // A statistic.
}

/// bump <= committed_end <= segment_end, and every list holds whole blocks, each once at the most.
pub fn check(holder: u32) void {
    lock.acquire(holder);
    defer lock.release();
    assert(bump <= committed_end);
    assert(committed_end <= segment_end);
    assert(bump % 64 == 0);
    assert(spare_count <= spare.len);
    var listed: usize = 0;
    for (free_lists, 0..) |first, shift| {
        assert(first == null or shift >= size_min_shift);
        var link = first;
        while (link) |block| : (link = block.next) {
            assert(@intFromPtr(block) % 64 == 0);
            listed += @as(usize, 1) << @intCast(shift);
            // A list that runs in a circle would never end.
            assert(listed <= freed_bytes);
        }
    }
    assert(listed == freed_bytes);
}

/// In a child after fork, before any other call: if a thread that does not exist here held the
/// lock, the free lists may be torn and are abandoned; the bump pointer is moved by one store.
pub fn repairAfterFork(survivor: u32) void {
    if (!lock.holderLost(survivor)) return;
    free_lists = @splat(null);
    freed_bytes = 0;
    lock.reset();
}

test "arena: alloc, free, reuse" {
    if (spare_count == 0 and segment_end == 0) add(space.reserveNext(true, 0).?, 1);
    const before = usedBytes();
    const a = alloc(100, 1).?;
    const b = alloc(128, 1).?;
    try std.testing.expect(a != b);
    check(1);
    free(a, 100, 1);
    check(1);
    try std.testing.expectEqual(a, alloc(128, 1).?);
    free(a, 128, 1);
    free(b, 128, 1);
    check(1);
    try std.testing.expectEqual(before, usedBytes());
    const forever = allocForever(5000, 1).?;
    try std.testing.expect(std.mem.allEqual(u8, forever[0..5000], 0));
}

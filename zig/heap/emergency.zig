//! Memory for calls from signal handlers that interrupted a slow path of the same thread, and
//! for calls while a thread's heap is being set up: a bump buffer in .bss, lock-free.
//!
//! Guarantees: never blocks, never touches the heap. The buffer starts over when all its blocks
//! are free. Null when it is full. Any thread, signal handlers included.
const std = @import("std");
const base = @import("base");
const t = base.tunables;
const assert = base.assert;

/// How far the buffer is used, and how many blocks of it are live, in one word so that both
/// change together. acq_rel on every change: a block's memory is handed from the thread that
/// freed the last one to the thread that takes the next.
const Fill = packed struct(u64) { used: u32, live: u32 };

var fill: base.atomic.Value(u64) = .init(0);
var buffer: [t.emergency_size]u8 align(16) linksection(base.sparse_section) = undefined;

const header_size = 16;

pub fn contains(address: usize) bool {
    return address -% @intFromPtr(&buffer) < buffer.len;
}

/// A zeroed block; its size stands before it.
pub fn alloc(size: usize, alignment: usize) ?usize {
    if (size > buffer.len or alignment > buffer.len) return null;
    const start = @intFromPtr(&buffer);
    while (true) {
        const word = fill.load(.acquire);
        const old: Fill = @bitCast(word);
        const first = start + old.used + header_size;
        const block = std.mem.alignForward(usize, first, @max(alignment, 16));
        const end = std.mem.alignForward(usize, block - start + size, 16);
        if (end > buffer.len) return null;
        const new: Fill = .{ .used = @intCast(end), .live = old.live + 1 };
        if (fill.cmpxchgWeak(word, @bitCast(new), .acq_rel, .monotonic) != null) continue;
        sizeOf(block).* = size;
        const bytes: [*]u8 = @ptrFromInt(block);
        @memset(bytes[0..size], 0);
        return block;
    }
}

fn sizeOf(block: usize) *usize {
    return @ptrFromInt(block - header_size);
}

pub fn usableSize(block: usize) usize {
    return sizeOf(block).*;
}

pub fn free(block: usize) void {
    std.debug.assert(contains(block));
    while (true) {
        const word = fill.load(.acquire);
        const old: Fill = @bitCast(word);
        if (old.live == 0) return; // A double free; nothing of ours is touched by it.
        const used = if (old.live == 1) 0 else old.used;
        const new: Fill = .{ .used = used, .live = old.live - 1 };
        if (fill.cmpxchgWeak(word, @bitCast(new), .acq_rel, .monotonic) == null) return;
    }
}

/// Used up to the end of the last block, and from the start again when none is live.
pub fn check() void {
    const now: Fill = @bitCast(fill.load(.acquire));
    assert(now.used <= buffer.len);
    assert((now.live == 0) == (now.used == 0));
}

test "emergency: aligned, zero, distinct; starts over when empty; null when full" {
    const a = alloc(100, 16).?;
    const b = alloc(1, 4096).?;
    try std.testing.expect(contains(a));
    check();
    try std.testing.expectEqual(@as(usize, 0), b % 4096);
    try std.testing.expectEqual(@as(usize, 100), usableSize(a));
    const bytes: [*]u8 = @ptrFromInt(a);
    @memset(bytes[0..100], 0xff);
    try std.testing.expectEqual(@as(usize, 1), usableSize(b));
    try std.testing.expectEqual(@as(?usize, null), alloc(t.emergency_size, 16));
    free(a);
    free(b);
    check();
    const again = alloc(100, 16).?;
    try std.testing.expectEqual(a, again);
    const zero: [*]u8 = @ptrFromInt(again);
    try std.testing.expect(std.mem.allEqual(u8, zero[0..100], 0));
    free(again);
}

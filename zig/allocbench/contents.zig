//! Whether blocks keep what was written into them. Two ways: a stamp in the first 8 bytes, cheap
//! enough for a measured pass with threads; and a pattern at both ends and in every page, which
//! depends on the block, for the pass that measures nothing.
const std = @import("std");

/// What a block should hold, kept beside it.
pub const Content = struct { size: usize = 0, seed: u64 = 0 };

const end_length = 64;
const stride = 4096;

pub const stamp_size = 8;
const stamp_secret = 0x5eed_b10c_5eed_b10c;

/// A block's stamp is its address in disguise. It is wiped before the block is freed: of two
/// owners of one block the second finds it gone.
pub inline fn stamp(block: [*]u8) void {
    word(block).* = @intFromPtr(block) ^ stamp_secret;
}

pub inline fn isStamped(block: [*]const u8, as: [*]const u8) bool {
    const found: *align(1) const u64 = @ptrCast(block);
    return found.* == @intFromPtr(as) ^ stamp_secret;
}

pub inline fn wipe(block: [*]u8) void {
    word(block).* = 0;
}

inline fn word(block: [*]u8) *align(1) u64 {
    return @ptrCast(block);
}

pub fn fill(block: [*]u8, content: Content) void {
    var places: Places = .{ .size = content.size };
    while (places.next()) |at| block[at] = byteAt(content.seed, at);
}

/// The first place that does not hold what `fill` wrote, below `size`.
pub fn damage(block: [*]const u8, content: Content, size: usize) ?usize {
    var places: Places = .{ .size = content.size };
    while (places.next()) |at| {
        if (at < size and block[at] != byteAt(content.seed, at)) return at;
    }
    return null;
}

pub fn firstNonZero(block: [*]const u8, size: usize) ?usize {
    for (block[0..size], 0..) |byte, at| {
        if (byte != 0) return at;
    }
    return null;
}

inline fn byteAt(seed: u64, at: usize) u8 {
    return @truncate((seed +% at) *% 0x9e3779b97f4a7c15 >> 56);
}

/// Every byte of the ends, and one in each page between them.
const Places = struct {
    size: usize,
    at: usize = 0,

    fn next(places: *Places) ?usize {
        if (places.at >= places.size) return null;
        const at = places.at;
        const last = places.size -| end_length;
        places.at += 1;
        if (places.at >= end_length and places.at < last) {
            const page = std.mem.alignForward(usize, places.at, stride);
            places.at = @min(page, last);
        }
        return at;
    }
};

test "contents: damage is found at the ends and in pages" {
    var block: [20_000]u8 = undefined;
    const content: Content = .{ .size = block.len, .seed = 99 };
    fill(&block, content);
    try std.testing.expectEqual(null, damage(&block, content, block.len));
    for ([_]usize{ 0, 63, 4096, 16384, 19_999 }) |at| {
        block[at] ^= 1;
        try std.testing.expectEqual(at, damage(&block, content, block.len).?);
        block[at] ^= 1;
    }
    try std.testing.expectEqual(null, damage(&block, content, 100));
}

test "contents: every byte of a small block is a place" {
    var places: Places = .{ .size = 100 };
    var count: usize = 0;
    while (places.next()) |at| : (count += 1) try std.testing.expectEqual(count, at);
    try std.testing.expectEqual(100, count);
}

test "contents: a stamp belongs to one block and one owner" {
    var block: [16]u8 = undefined;
    stamp(&block);
    try std.testing.expect(isStamped(&block, &block));
    try std.testing.expect(!isStamped(&block, block[8..]));
    wipe(&block);
    try std.testing.expect(!isStamped(&block, &block));
}

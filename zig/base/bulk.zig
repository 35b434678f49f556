//! Clearing and copying whole blocks. Long ones by the processor's string instructions: the
//! compiler's own memset and memcpy are built for the baseline CPU: calloc of 16,000 bytes took 155
//! ns with them and takes 76 with `rep stosq`, as with the vector versions of a libc.
const std = @import("std");
const builtin = @import("builtin");

/// Below this the start of a string instruction costs more than it saves, bytes.
const string_min = 2048;

/// Clears `length` bytes from an address that is a multiple of 16.
pub inline fn zero(address: usize, length: usize) void {
    const bytes: [*]u8 = @ptrFromInt(address);
    if (builtin.cpu.arch != .x86_64 or length < string_min) return @memset(bytes[0..length], 0);
    const words = length / 8;
    asm volatile ("rep stosq"
        :
        : [target] "{rdi}" (bytes),
          [count] "{rcx}" (words),
          [value] "{rax}" (@as(u64, 0)),
        : .{ .rdi = true, .rcx = true, .memory = true });
    @memset(bytes[words * 8 .. length], 0);
}

/// Copies between blocks, which do not overlap and begin at multiples of 16.
pub inline fn copy(target: usize, source: usize, length: usize) void {
    const to: [*]u8 = @ptrFromInt(target);
    const from: [*]const u8 = @ptrFromInt(source);
    if (builtin.cpu.arch != .x86_64 or length < string_min) {
        @memcpy(to[0..length], from[0..length]);
        return;
    }
    const words = length / 8;
    asm volatile ("rep movsq"
        :
        : [target] "{rdi}" (to),
          [source] "{rsi}" (from),
          [count] "{rcx}" (words),
        : .{ .rdi = true, .rsi = true, .rcx = true, .memory = true });
    @memcpy(to[words * 8 .. length], from[words * 8 .. length]);
}

test "bulk: every length, nothing beyond" {
    var target: [5000]u8 align(16) = undefined;
    var source: [5000]u8 align(16) = undefined;
    for (&source, 0..) |*byte, index| byte.* = @truncate(index *% 7 + 1);
    var length: usize = 0;
    while (length < 4900) : (length += if (length < 40) 1 else 61) {
        @memset(&target, 0xaa);
        zero(@intFromPtr(&target), length);
        try std.testing.expect(std.mem.allEqual(u8, target[0..length], 0));
        try std.testing.expectEqual(@as(u8, 0xaa), target[length]);
        copy(@intFromPtr(&target), @intFromPtr(&source), length);
        try std.testing.expectEqualSlices(u8, source[0..length], target[0..length]);
        try std.testing.expectEqual(@as(u8, 0xaa), target[length]);
    }
}

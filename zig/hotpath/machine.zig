//! What the cases stand on: malloc and free of whoever is preloaded, and memory, time and resident
//! size by raw system calls, which no malloc sees.
const std = @import("std");
const linux = std.os.linux;

pub extern "c" fn malloc(size: usize) ?[*]u8;
pub extern "c" fn free(block: ?[*]u8) void;

/// A block that is written to, as a program would: else an allocator that leaves blocks alone would
/// never bring them into memory at all.
pub inline fn touched(size: usize) ?[*]u8 {
    const block = malloc(size) orelse return null;
    block[0] = 1;
    std.mem.doNotOptimizeAway(block);
    return block;
}

/// Zeroed memory of its own.
pub fn pages(comptime T: type, count: usize) ?[]T {
    const address = linux.mmap(
        null,
        count * @sizeOf(T),
        .{ .READ = true, .WRITE = true },
        .{ .TYPE = .PRIVATE, .ANONYMOUS = true },
        -1,
        0,
    );
    if (linux.errno(address) != .SUCCESS) return null;
    const items: [*]T = @ptrFromInt(address);
    return items[0..count];
}

/// KiB of this process in memory, by raw system calls; null without /proc.
pub fn residentKib() ?u64 {
    // Exact, where statm may lag behind by some pages per thread.
    var buffer: [4096]u8 = undefined;
    const file = linux.open("/proc/self/smaps_rollup", .{}, 0);
    if (linux.errno(file) != .SUCCESS) return null;
    defer _ = linux.close(@intCast(file));
    const length = linux.read(@intCast(file), &buffer, buffer.len);
    if (linux.errno(length) != .SUCCESS) return null;
    var lines = std.mem.tokenizeScalar(u8, buffer[0..length], '\n');
    while (lines.next()) |line| {
        if (!std.mem.startsWith(u8, line, "Rss:")) continue;
        var words = std.mem.tokenizeScalar(u8, line["Rss:".len..], ' ');
        return std.fmt.parseInt(u64, words.next() orelse return null, 10) catch null;
    }
    return null;
}

/// Lets others run for a millisecond.
pub fn nap() void {
    const time: linux.timespec = .{ .sec = 0, .nsec = std.time.ns_per_ms };
    _ = linux.nanosleep(&time, null);
}

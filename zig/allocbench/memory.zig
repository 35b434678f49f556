//! Memory of this process: tables of its own, mapped and touched beforehand so that they are no
//! part of what is measured, and how much of it is resident.
const std = @import("std");
const linux = std.os.linux;
const fail = @import("failure.zig").fail;

/// Zeroed items, in memory already.
pub fn tables(comptime T: type, count: usize) []T {
    return map(T, count, .{ .TYPE = .PRIVATE, .ANONYMOUS = true, .POPULATE = true });
}

/// Zeroed items, of which only those that are used take memory.
pub fn sparse(comptime T: type, count: usize) []T {
    return map(T, count, .{ .TYPE = .PRIVATE, .ANONYMOUS = true });
}

/// One item that a child and its parent both see.
pub fn shared(comptime T: type) *T {
    return &map(T, 1, .{ .TYPE = .SHARED, .ANONYMOUS = true })[0];
}

fn map(comptime T: type, count: usize, flags: linux.MAP) []T {
    if (count == 0) return &.{};
    const length = count * @sizeOf(T);
    const address = linux.mmap(null, length, .{ .READ = true, .WRITE = true }, flags, -1, 0);
    if (linux.errno(address) != .SUCCESS) {
        fail("no memory for tables of {d} bytes", .{length});
    }
    const items: [*]T = @ptrFromInt(address);
    return items[0..count];
}

/// Bytes in memory now. smaps_rollup is exact, where statm may lag behind by some pages a thread.
pub fn resident() ?u64 {
    return field("/proc/self/smaps_rollup", "Rss:");
}

/// The most that was in memory at any moment.
pub fn residentPeak() ?u64 {
    return field("/proc/self/status", "VmHWM:");
}

/// A field in KiB of a file of /proc, in bytes; null where there is none.
fn field(path: [*:0]const u8, name: []const u8) ?u64 {
    var buffer: [8192]u8 = undefined;
    const opened = linux.open(path, .{ .CLOEXEC = true }, 0);
    if (linux.errno(opened) != .SUCCESS) return null;
    defer _ = linux.close(@intCast(opened));
    const length = linux.read(@intCast(opened), &buffer, buffer.len);
    if (linux.errno(length) != .SUCCESS) return null;
    var lines = std.mem.tokenizeScalar(u8, buffer[0..length], '\n');
    while (lines.next()) |line| {
        if (!std.mem.startsWith(u8, line, name)) continue;
        var words = std.mem.tokenizeAny(u8, line[name.len..], " \t");
        const kib = std.fmt.parseInt(u64, words.next() orelse return null, 10) catch return null;
        return kib * 1024;
    }
    return null;
}

test "memory: a page that is written becomes resident" {
    const before = resident() orelse return;
    const bytes = sparse(u8, 8 << 20);
    @memset(bytes, 1);
    try std.testing.expect(resident().? >= before + (7 << 20));
    try std.testing.expect(residentPeak().? >= before + (7 << 20));
}

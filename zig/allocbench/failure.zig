//! How a measuring process ends when an allocator does not do what it must: one line, status 1.
const std = @import("std");
const linux = std.os.linux;

pub fn fail(comptime format: []const u8, arguments: anytype) noreturn {
    @branchHint(.cold);
    var buffer: [512]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, "allocbench: " ++ format ++ "\n", arguments) catch
        &buffer;
    _ = linux.write(2, text.ptr, text.len);
    // All threads: others may wait for this one.
    linux.exit_group(1);
}

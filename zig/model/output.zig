//! Lines on stderr, without std.Io, which an object without start code cannot have.
const std = @import("std");
const linux = std.os.linux;

pub fn print(comptime format: []const u8, arguments: anytype) void {
    var buffer: [8192]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, format, arguments) catch "a line is too long\n";
    _ = linux.write(2, text.ptr, text.len);
}

//! Option `log`, debug library only: a line per call of the malloc family, appended to a file.
//! The file is opened for each line: no descriptor is kept that a program could close. Slow, and
//! lines of several threads come in the order of their writes.
const std = @import("std");
const build_options = @import("build_options");
const base = @import("base");
const os = @import("os");

/// Zero-terminated; empty: no log.
pub var file: [256:0]u8 = @splat(0);

/// Whether this build can log.
pub const available = build_options.checks;

/// The function itself, or one that also writes a line.
pub fn wrap(comptime name: []const u8, comptime function: anytype) @TypeOf(function) {
    if (!available) return function;
    const info = @typeInfo(@typeInfo(@TypeOf(function)).pointer.child).@"fn";
    const P = info.param_types;
    const R = info.return_type.?;
    const wrapper = switch (P.len) {
        0 => return function,
        1 => struct {
            fn call(a: P[0].?) callconv(.c) R {
                const result = function(a);
                write(name, .{number(a)}, result);
                return result;
            }
        },
        2 => struct {
            fn call(a: P[0].?, b: P[1].?) callconv(.c) R {
                const result = function(a, b);
                write(name, .{ number(a), number(b) }, result);
                return result;
            }
        },
        3 => struct {
            fn call(a: P[0].?, b: P[1].?, c: P[2].?) callconv(.c) R {
                const result = function(a, b, c);
                write(name, .{ number(a), number(b), number(c) }, result);
                return result;
            }
        },
        else => struct {
            fn call(a: P[0].?, b: P[1].?, c: P[2].?, d: P[3].?) callconv(.c) R {
                const result = function(a, b, c, d);
                write(name, .{ number(a), number(b), number(c), number(d) }, result);
                return result;
            }
        },
    };
    return &wrapper.call;
}

fn number(value: anytype) u64 {
    return switch (@typeInfo(@TypeOf(value))) {
        // By value: its first word names it (a checkpoint's is its chunk).
        .@"struct" => @as(*const u64, @ptrCast(&value)).*,
        .int => |int| if (int.signedness == .signed)
            @bitCast(@as(i64, value))
        else
            value,
        else => @intFromPtr(value),
    };
}

fn write(name: []const u8, arguments: anytype, result: anytype) void {
    if (file[0] == 0) return;
    var buffer: [160]u8 = undefined;
    var text: base.Text = .{ .buffer = &buffer };
    text.string(name);
    inline for (arguments, 0..) |argument, index| {
        text.string(if (index == 0) "(" else ", ");
        if (argument > 1 << 32) text.hex(argument) else text.decimal(argument);
    }
    text.char(')');
    switch (@typeInfo(@TypeOf(result))) {
        .int, .optional, .pointer => {
            text.string(" = ");
            text.hex(number(result));
        },
        else => {},
    }
    text.char('\n');
    _ = os.machine.appendFile(&file, text.slice());
}

fn twice(value: usize) callconv(.c) usize {
    return value * 2;
}

test "log: a wrapped function does what it did" {
    const wrapped = wrap("twice", &twice);
    try std.testing.expectEqual(@as(usize, 42), wrapped(21));
    const path = "/tmp/liballoc-log-test";
    _ = std.os.linux.unlink(path);
    @memcpy(file[0..path.len], path);
    defer file[0] = 0;
    _ = wrapped(4);
    var buffer: [64]u8 = undefined;
    const line = os.machine.readFile(path, &buffer).?;
    try std.testing.expectEqualStrings("twice(4) = 0x8\n", line);
    _ = std.os.linux.unlink(path);
}

//! The one input that a fuzz target is to run, instead of its corpus: the file that FUZZ_INPUT
//! names, for the target whose name the file's name begins with. Tests only.
const std = @import("std");
const machine = @import("machine.zig");

/// Null: run the corpus. An input for another target skips this one.
pub fn of(target: []const u8, buffer: []u8) !?[]const u8 {
    var environment: [64 * 1024]u8 = undefined;
    const name = machine.environment("FUZZ_INPUT", &environment) orelse return null;
    if (!std.mem.startsWith(u8, std.fs.path.basename(name), target)) return error.SkipZigTest;
    var path: [4096:0]u8 = @splat(0);
    if (name.len >= path.len) return error.PathTooLong;
    @memcpy(path[0..name.len], name);
    return machine.readFile(&path, buffer) orelse error.FuzzInputCannotBeRead;
}

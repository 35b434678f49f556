//! The allocators that can be measured: `core`, `system`, and the rungs of the ladder.
const std = @import("std");
const ladder = @import("ladder");
const core = @import("core.zig");
const system = @import("system.zig");

pub const Allocator = ladder.Allocator;
pub const Held = ladder.Held;

pub const Choice = struct {
    name: []const u8,
    about: []const u8,
    /// Whether several threads may use it.
    threads: bool,
    /// Brings it up, in the process that measures it.
    open: *const fn () Allocator,
    /// Makes what it holds depend on the calls alone and not on the time between them.
    ignoreTime: *const fn () void,
};

pub const table = [_]Choice{
    .{
        .name = "core",
        .about = "the library's own heap, linked in",
        .threads = true,
        .open = core.open,
        .ignoreTime = core.neverPurge,
    },
    .{
        .name = "system",
        .about = "the process's malloc: libc's, or what is preloaded",
        .threads = true,
        .open = system.open,
        .ignoreTime = system.neverPurge,
    },
};

pub fn find(name: []const u8) ?*const Choice {
    for (&table) |*choice| {
        if (std.mem.eql(u8, choice.name, name)) return choice;
    }
    return null;
}

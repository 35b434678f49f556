//! The allocators that can be measured: `core`, `system`, and the other rungs of the ladder.
const std = @import("std");
const abi = @import("abi");
const ladder = @import("ladder");
const system = @import("system.zig");

pub const Allocator = ladder.Allocator;
pub const Held = ladder.Held;
pub const HeapKind = ladder.source.Kind;

pub const Choice = struct {
    name: []const u8,
    about: []const u8,
    /// Whether several threads may use it.
    threads: bool,
    /// Whether it is told where its memory comes from.
    is_rung: bool,
    /// Brings it up, in the process that measures it; null: there is no memory for it.
    open: *const fn (HeapKind) ?Allocator,
    /// Makes what it holds depend on the calls alone and not on the time between them.
    ignoreTime: *const fn () void,
};

pub const table = [_]Choice{
    .{
        .name = "core",
        .about = "the library's own heap, linked in",
        .threads = true,
        .is_rung = false,
        .open = ladder.find("core").?.open,
        .ignoreTime = neverPurge,
    },
    .{
        .name = "system",
        .about = "the process's malloc: libc's, or what is preloaded",
        .threads = true,
        .is_rung = false,
        .open = system.open,
        .ignoreTime = system.neverPurge,
    },
} ++ rungs;

const rungs: [ladder.rungs.len - 1]Choice = blk: {
    var choices: [ladder.rungs.len - 1]Choice = undefined;
    // The last is the core.
    for (ladder.rungs[0..choices.len], &choices) |rung, *choice| choice.* = .{
        .name = rung.name,
        .about = rung.idea,
        .threads = rung.threads,
        .is_rung = true,
        .open = rung.open,
        .ignoreTime = knowNoTime,
    };
    break :blk choices;
};

pub fn find(name: []const u8) ?*const Choice {
    for (&table) |*choice| {
        if (std.mem.eql(u8, choice.name, name)) return choice;
    }
    return null;
}

/// Whether the core purges depends on the time that has passed: without, its layout depends on the
/// calls alone.
fn neverPurge() void {
    inline for (abi.table) |row| {
        if (comptime std.mem.eql(u8, row[0], "alloc_config")) _ = row[1]("decay_ms:-1");
    }
}

fn knowNoTime() void {}

//! Rung 9, core: the library's own heap, as malloc and its kin reach it, but without going through
//! exported names. The only rung that threads may share, that gives memory back to the system, and
//! whose metadata lies out of reach of its blocks. How it works: ARCHITECTURE.md.
//!
//! There is one heap in a process, so it cannot be closed and opened anew as the other rungs.
const std = @import("std");
const abi = @import("abi");
const heap = @import("heap");
const Allocator = @import("interface.zig").Allocator;
const Held = @import("interface.zig").Held;

pub const name = "core";
pub const idea = "the library: per-thread magazines over slabs";

pub const calls: Allocator.Calls = .{
    .malloc = malloc,
    .free = free,
    .realloc = realloc,
    .aligned = aligned,
    .calloc = calloc,
    .usable = usable,
    .held = held,
};

/// The function behind a C name.
fn entry(comptime c_name: []const u8) blk: {
    for (abi.table) |row| {
        if (std.mem.eql(u8, row[0], c_name)) break :blk @TypeOf(row[1]);
    }
    @compileError("the library has no " ++ c_name);
} {
    inline for (abi.table) |row| {
        if (comptime std.mem.eql(u8, row[0], c_name)) return row[1];
    }
    unreachable;
}

fn malloc(_: *anyopaque, size: usize) ?[*]u8 {
    return @ptrCast(entry("malloc")(size));
}

fn free(_: *anyopaque, block: [*]u8) void {
    entry("free")(block);
}

/// Never frees: a block of 0 bytes is a block here.
fn realloc(_: *anyopaque, block: [*]u8, size: usize) ?[*]u8 {
    return @ptrCast(entry("realloc")(block, @max(size, 1)));
}

fn aligned(_: *anyopaque, alignment: usize, size: usize) ?[*]u8 {
    return @ptrCast(entry("aligned_alloc")(alignment, size));
}

fn calloc(_: *anyopaque, size: usize) ?[*]u8 {
    return @ptrCast(entry("calloc")(1, size));
}

fn usable(_: *anyopaque, block: [*]u8) usize {
    return entry("malloc_usable_size")(block);
}

fn held(_: *anyopaque) ?Held {
    const now = abi.statistics.current();
    return .{ .bytes = now.bytes_mapped, .metadata = now.bytes_metadata };
}

/// Walks the heap of this thread.
pub fn check() void {
    heap.slow.check();
}

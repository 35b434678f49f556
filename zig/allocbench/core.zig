//! `core`: the functions that the library exports as malloc and its family, linked in and called
//! without their exported names, so that the process's own malloc stays what it is.
const std = @import("std");
const abi = @import("abi");
const ladder = @import("ladder");

pub fn open() ladder.Allocator {
    return .{ .name = "core", .context = &none, .calls = &calls };
}

/// Whether a purge takes place depends on the time that has passed: without, the layout depends on
/// the calls alone.
pub fn neverPurge() void {
    _ = entry("alloc_config")("decay_ms:-1");
}

var none: u8 = 0;

const calls: ladder.Allocator.Calls = .{
    .malloc = malloc,
    .free = free,
    .realloc = realloc,
    .aligned = aligned,
    .calloc = calloc,
    .usable = usable,
    .held = held,
};

/// What stands behind an exported name.
inline fn entry(comptime name: []const u8) EntryType(name) {
    inline for (abi.table) |row| {
        if (comptime std.mem.eql(u8, row[0], name)) return row[1];
    }
}

fn EntryType(comptime name: []const u8) type {
    inline for (abi.table) |row| {
        if (std.mem.eql(u8, row[0], name)) return @TypeOf(row[1]);
    }
    @compileError("no entry " ++ name);
}

fn malloc(_: *anyopaque, size: usize) ?[*]u8 {
    return @ptrCast(entry("malloc")(size));
}

fn free(_: *anyopaque, block: [*]u8) void {
    entry("free")(block);
}

/// To size 0 it would free the block, which is no part of the interface.
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

fn held(_: *anyopaque) ?ladder.Held {
    const now = abi.statistics.current();
    return .{ .bytes = now.bytes_mapped, .metadata = now.bytes_metadata };
}

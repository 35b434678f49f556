//! A chunk of an arena: a piece of memory that is used up from its end downwards.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const backing = @import("backing.zig");

pub const Chunk = extern struct {
    memory: backing.Memory,
    /// In its list.
    next: ?*Chunk,
    /// Bytes of the structure itself; 0: it is a part of the arena.
    own_length: usize,
    /// More than an arena grows by: in the list of large ones.
    is_large: bool,
    /// Bytes of the memory that are used: for the first chunk what was asked for.
    capacity: usize,
    /// Set when it becomes the current one: bytes in use in the chunks before, and its beginning
    /// on a scale on which every later moment without a rewind has a higher position.
    before: u64,
    offset: u64,
    /// Set likewise: the current one until then, and the last in use of the other list.
    previous: ?*Chunk,
    other_last: ?*Chunk,

    /// Memory for a chunk of at least `length` bytes. `is_exact`: of no more than that.
    pub fn fill(chunk: *Chunk, length: usize, is_exact: bool, flags: backing.Flags) !void {
        const watched = backing.isWatched();
        // Redzones take as much again.
        const wanted = if (watched) length *| 2 else length;
        chunk.* = std.mem.zeroes(Chunk);
        chunk.memory = try backing.acquire(.{ .length = wanted, .flags = flags });
        const exact = is_exact and !watched;
        chunk.capacity = if (exact) length else chunk.memory.length & ~@as(usize, 63);
        if (!watched) return;
        os.checker.openGroup(@intFromPtr(chunk));
        os.checker.forbid(chunk.memory.address, chunk.memory.length);
    }

    pub fn release(chunk: *Chunk) void {
        if (backing.isWatched()) {
            os.checker.closeGroup(@intFromPtr(chunk));
            os.checker.allow(chunk.memory.address, chunk.memory.length);
        }
        backing.release(chunk.memory);
    }

    /// Under a checker: what lies below `left` belongs to nobody any more.
    pub fn forbidBelow(chunk: *Chunk, left: usize) void {
        const address = chunk.memory.address;
        os.checker.keepOnly(@intFromPtr(chunk), address + left, chunk.capacity - left);
        if (left != 0) os.checker.forbid(address, left);
    }
};

//! Rung 1, bump: the smallest thing that is an allocator. A cursor moves through the heap; malloc
//! returns where it stands and moves it on; free does nothing.
//!
//!     | size | block | size | block ...... | size | block | cursor -> (nothing yet)
//!
//! What it shows: addresses rise, malloc costs a few instructions whatever happened before, and
//! the heap grows for as long as the program allocates, however much it frees. Each block is
//! preceded by its size: the one thing that realloc has to know, and the first metadata there is.
//!
//! Bounds-checked: memory that the source did not give is never handed out, sizes do not wrap
//! round, and pointers that lie outside are refused.
const std = @import("std");
const Fault = @import("fault.zig").Fault;
const ensure = @import("fault.zig").ensure;
const Source = @import("source.zig").Source;

pub const Bump = struct {
    source: *Source,
    /// Blocks handed out, for `check`.
    blocks: usize = 0,
    last: usize = 0,
    looked: u64 = 0,

    pub const name = "bump";
    pub const idea = "a cursor; free does nothing";
    pub const reuses = false;
    pub const splits = false;
    pub const merges = false;

    const size_bytes = @sizeOf(usize);

    pub fn init(source: *Source) Bump {
        return .{ .source = source };
    }

    pub fn allocate(bump: *Bump, size: usize) ?usize {
        return bump.allocateAligned(16, size);
    }

    pub fn allocateAligned(bump: *Bump, alignment: usize, size: usize) ?usize {
        const payload = std.mem.alignForward(usize, @max(size, 1), 16);
        // `alignment` is 16 at least: room for the size, and for the way to the next multiple. The
        // source knows the bounds.
        const start = bump.source.take(payload + alignment, 16) orelse return null;
        const block = std.mem.alignForward(usize, start + size_bytes, alignment);
        sizeOf(block).* = payload;
        bump.last = block;
        bump.blocks += 1;
        return block;
    }

    /// Nothing, but for pointers that cannot be ours.
    pub fn free(bump: *Bump, block: usize) Fault!void {
        if (!bump.source.contains(block)) return error.NotABlock;
        if (block % 16 != 0) return error.NotABlock;
    }

    pub fn usable(_: *Bump, block: usize) Fault!usize {
        return sizeOf(block).*;
    }

    fn sizeOf(block: usize) *usize {
        return @ptrFromInt(block - size_bytes);
    }

    /// No block is ever free again.
    pub fn eachFree(_: *Bump, _: anytype) void {}

    pub fn metadata(_: *Bump) usize {
        return 0;
    }

    /// The last block ends where the source gave memory, and all fit into what it gave.
    pub fn check(bump: *Bump) Fault!void {
        if (bump.blocks == 0) return;
        try ensure(bump.source.contains(bump.last));
        try ensure(bump.source.contains(bump.last + sizeOf(bump.last).* - 1));
        try ensure(bump.blocks * 32 <= bump.source.taken);
    }
};

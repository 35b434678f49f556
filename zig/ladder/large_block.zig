//! Large blocks: each a mapping of its own, so that a block of a megabyte neither moves the program
//! break nor lies about in a free list afterwards. All rungs share this; one thread.
//!
//!     | ... | header (32 bytes) | payload ... to the end of the mapping |
const std = @import("std");
const Fault = @import("fault.zig").Fault;
const source = @import("source.zig");
const page = std.heap.page_size_min;

/// From this size on a block is large: what glibc begins with too.
pub const threshold = 128 * 1024;

const Header = extern struct {
    magic: u64,
    /// The mapping.
    base: usize,
    length: usize,
    unused: usize = 0,

    const bytes = @sizeOf(Header);
    const magic_large = 0x1a46_e000_d0b1_0c00;

    fn of(block: usize) *Header {
        return @ptrFromInt(block - bytes);
    }
};

pub const LargeBlocks = struct {
    bytes: usize = 0,
    count: usize = 0,

    /// `alignment` is a power of two, 16 at least; it and the size at most a quarter of all
    /// address space.
    pub fn allocate(blocks: *LargeBlocks, alignment: usize, size: usize) ?usize {
        const length = std.mem.alignForward(usize, size + alignment + Header.bytes, page);
        const base = source.mapPages(length) orelse return null;
        const block = std.mem.alignForward(usize, base + Header.bytes, alignment);
        Header.of(block).* = .{ .magic = Header.magic_large, .base = base, .length = length };
        blocks.bytes += length;
        blocks.count += 1;
        return block;
    }

    pub fn free(blocks: *LargeBlocks, block: usize) Fault!void {
        const header = try headerOf(block);
        header.magic = 0;
        blocks.bytes -= header.length;
        blocks.count -= 1;
        source.unmapPages(header.base, header.length);
    }

    pub fn usable(_: *const LargeBlocks, block: usize) Fault!usize {
        const header = try headerOf(block);
        return header.base + header.length - block;
    }

    /// The kernel moves the pages, nothing is copied. Null: no room, and the block is as it was.
    pub fn resize(blocks: *LargeBlocks, block: usize, size: usize) Fault!?usize {
        const header = try headerOf(block);
        const ahead = block - header.base;
        const old: [*]align(page) u8 = @ptrFromInt(header.base);
        const old_length = header.length;
        const length = std.mem.alignForward(usize, ahead + size, page);
        const moved = std.posix.mremap(old, old_length, length, .{ .MAYMOVE = true }, null) catch
            return null;
        const base = @intFromPtr(moved.ptr);
        Header.of(base + ahead).base = base;
        Header.of(base + ahead).length = length;
        blocks.bytes = blocks.bytes - old_length + length;
        return base + ahead;
    }

    /// Reads before the block: whoever frees a pointer that never was one may die of it here.
    fn headerOf(block: usize) Fault!*Header {
        if (block % 16 != 0 or block < page) return error.NotABlock;
        const header = Header.of(block);
        if (header.magic != Header.magic_large) return error.BadMagic;
        return header;
    }
};

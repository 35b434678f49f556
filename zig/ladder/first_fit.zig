//! Rung 2, first-fit: freed blocks are used again. Each block has a header in front, and free
//! blocks form a list: the header says how large the block is, and the first bytes of the block
//! itself, which nobody needs any more, say where the next one is.
//!
//!     | size | magic | payload ...        in use: magic_used
//!     | size | magic | next | ...         free: magic_free
//!
//! malloc walks the list and takes the first block that is large enough, all of it: a request of
//! 16 bytes may carry off a block of 64 KiB. free pushes to the front (LIFO: last in, first out),
//! since what was just freed is still in the processor's cache. The magic number tells a block
//! from a pointer that never was one, and a free block from one in use: writing past the end of
//! the block before, or freeing twice, is found out at the next free.
const std = @import("std");
const Fault = @import("fault.zig").Fault;
const ensure = @import("fault.zig").ensure;
const Source = @import("source.zig").Source;

/// In front of every payload.
pub const Header = extern struct {
    /// Bytes of payload, a multiple of 16.
    size: usize,
    magic: u64,

    pub const bytes = @sizeOf(Header);
    pub const magic_used = 0xa110_ca7e_d0b1_0c00;
    pub const magic_free = 0xf4ee_f4ee_d0b1_0c00;
    /// Not the header of a block but a signpost in front of an aligned pointer: `size` is how far
    /// back the block itself begins.
    pub const magic_signpost = 0x5167_9057_d0b1_0c00;

    pub fn of(block: usize) *Header {
        return @ptrFromInt(block - bytes);
    }

    pub fn payload(header: *Header) usize {
        return @intFromPtr(header) + bytes;
    }

    /// The next free block's header, in the payload of a free one; null: the last.
    pub fn next(header: *Header) *?*Header {
        return @ptrFromInt(header.payload());
    }
};

comptime {
    std.debug.assert(Header.bytes == 16); // Or payloads were not aligned.
}

/// The payload that a request is given: a multiple of 16, and large enough for a link once it is
/// free.
pub fn payloadFor(size: usize) usize {
    return std.mem.alignForward(usize, @max(size, 16), 16);
}

/// The header of a block in use that the program gives back.
pub fn headerInUse(source: *const Source, block: usize) Fault!*Header {
    if (block % 16 != 0) return error.NotABlock;
    if (!source.contains(block -% Header.bytes)) return error.NotABlock;
    var header = Header.of(block);
    if (header.magic == Header.magic_signpost) {
        const start = block -% header.size;
        if (start % 16 != 0 or !source.contains(start -% Header.bytes)) return error.BadMagic;
        header = Header.of(start);
    }
    return switch (header.magic) {
        Header.magic_used => header,
        Header.magic_free => error.DoubleFree,
        else => error.BadMagic,
    };
}

/// Makes a pointer to `alignment` out of a block that is larger by so much.
pub fn alignBlock(block: usize, alignment: usize) usize {
    const aligned = std.mem.alignForward(usize, block, alignment);
    if (aligned != block) {
        Header.of(aligned).* = .{ .size = aligned - block, .magic = Header.magic_signpost };
    }
    return aligned;
}

pub const FirstFit = struct {
    source: *Source,
    /// The free block that was freed last.
    first: ?*Header = null,
    free_count: usize = 0,
    /// Free blocks that malloc has looked at, over all calls.
    looked: u64 = 0,

    pub const name = "first-fit";
    pub const idea = "headers, one list of free blocks";
    pub const reuses = true;
    pub const splits = false;
    pub const merges = false;
    pub const header_bytes = Header.bytes;

    pub fn init(source: *Source) FirstFit {
        return .{ .source = source };
    }

    pub fn allocate(rung: *FirstFit, size: usize) ?usize {
        const payload = payloadFor(size);
        const header = rung.find(payload) orelse extend(rung.source, payload) orelse return null;
        header.magic = Header.magic_used;
        return header.payload();
    }

    /// The first free block that is large enough, taken out of the list.
    fn find(rung: *FirstFit, payload: usize) ?*Header {
        var link: *?*Header = &rung.first;
        var looked: u64 = 0;
        defer rung.looked += looked;
        while (link.*) |header| : (link = header.next()) {
            looked += 1;
            if (header.size < payload) continue;
            link.* = header.next().*;
            rung.free_count -= 1;
            return header;
        }
        return null;
    }

    pub fn allocateAligned(rung: *FirstFit, alignment: usize, size: usize) ?usize {
        return alignBlock(rung.allocate(size + alignment) orelse return null, alignment);
    }

    pub fn free(rung: *FirstFit, block: usize) Fault!void {
        const header = try headerInUse(rung.source, block);
        header.magic = Header.magic_free;
        header.next().* = rung.first;
        rung.first = header;
        rung.free_count += 1;
    }

    pub fn usable(rung: *FirstFit, block: usize) Fault!usize {
        const header = try headerInUse(rung.source, block);
        return header.payload() + header.size - block;
    }

    pub fn eachFree(rung: *FirstFit, visitor: anytype) void {
        var next = rung.first;
        while (next) |header| : (next = header.next().*) visitor.see(header.size);
    }

    /// Headers stand inside the heap and count as part of it.
    pub fn metadata(_: *FirstFit) usize {
        return 0;
    }

    pub fn check(rung: *FirstFit) Fault!void {
        try checkList(rung.source, rung.first, rung.free_count);
    }
};

/// A new block from the end of the heap.
pub fn extend(source: *Source, payload: usize) ?*Header {
    const address = source.take(Header.bytes + payload, 16) orelse return null;
    const header: *Header = @ptrFromInt(address);
    header.* = .{ .size = payload, .magic = Header.magic_used };
    return header;
}

/// The list holds as many blocks as were counted (so it has no circle), all of them free, whole
/// and inside the heap.
pub fn checkList(source: *const Source, first: ?*Header, free_count: usize) Fault!void {
    var next = first;
    var count: usize = 0;
    while (next) |header| : (next = header.next().*) {
        const start = @intFromPtr(header);
        try ensure(start % 16 == 0);
        try ensure(source.contains(start));
        if (header.magic != Header.magic_free) return error.BadMagic;
        try ensure(header.size >= 16 and header.size % 16 == 0);
        try ensure(source.contains(header.payload() + header.size - 1));
        count += 1;
        try ensure(count <= free_count);
    }
    try ensure(count == free_count);
}

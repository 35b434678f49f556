//! Rung 4, first-fit-coalesce: neighbours that are both free become one block again.
//!
//! For that a block has to know its neighbours, so all blocks, free or not, stand in a doubly
//! linked list in the order of their addresses, beside the list of the free ones:
//!
//!     header (32 bytes):  | magic | size | before | after |   all blocks, by address
//!     payload of a free one:     | newer | older | ...        free blocks, newest first
//!
//! free merges forward (with the block after) and backward (with the block before), so that two
//! free blocks never touch. What it shows: the pieces of the rung before grow together again, the
//! largest free block is about as large as all free bytes together, and the list stays short. The
//! price is a header of 32 bytes.
//!
//! Which free block is taken is a parameter: best_fit.zig differs in nothing else.
const std = @import("std");
const Fault = @import("fault.zig").Fault;
const ensure = @import("fault.zig").ensure;
const Source = @import("source.zig").Source;
const payloadFor = @import("first_fit.zig").payloadFor;
const alignBlock = @import("first_fit.zig").alignBlock;
const Signpost = @import("first_fit.zig").Header;

pub const FirstFitCoalesce = CoalescingType("first-fit-coalesce", findFirst);

/// The first free block that is large enough.
fn findFirst(newest: ?*Block, size: usize, looked: *u64) ?*Block {
    var next = newest;
    while (next) |block| : (next = block.links().older) {
        looked.* += 1;
        if (block.size >= size) return block;
    }
    return null;
}

pub const Links = struct { newer: ?*Block, older: ?*Block };

pub const Block = extern struct {
    magic: u64,
    /// Bytes of payload, a multiple of 16.
    size: usize,
    /// Neighbours by address; null at either end of the heap.
    before: ?*Block,
    after: ?*Block,

    const bytes = @sizeOf(Block);
    const magic_used = 0xa110_ca7e_32b1_0c00;
    const magic_free = 0xf4ee_f4ee_32b1_0c00;

    fn payload(block: *Block) usize {
        return @intFromPtr(block) + bytes;
    }

    fn end(block: *Block) usize {
        return block.payload() + block.size;
    }

    fn isFree(block: *Block) bool {
        return block.magic == magic_free;
    }

    /// Of a free block.
    pub fn links(block: *Block) *Links {
        return @ptrFromInt(block.payload());
    }
};

comptime {
    std.debug.assert(Block.bytes % 16 == 0);
    std.debug.assert(@sizeOf(Links) <= 16); // They fit into the smallest payload.
}

pub fn CoalescingType(
    comptime rung_name: []const u8,
    comptime find: fn (newest: ?*Block, size: usize, looked: *u64) ?*Block,
) type {
    return struct {
        source: *Source,
        /// The ends of the list by address.
        lowest: ?*Block = null,
        highest: ?*Block = null,
        /// The free block that came last.
        newest: ?*Block = null,
        free_count: usize = 0,
        looked: u64 = 0,

        const Rung = @This();
        pub const name = rung_name;
        pub const idea = if (find == findFirst)
            "free neighbours merge"
        else
            "the smallest that fits";
        pub const reuses = true;
        pub const splits = true;
        pub const merges = true;
        pub const header_bytes = Block.bytes;

        pub fn init(source: *Source) Rung {
            return .{ .source = source };
        }

        pub fn allocate(rung: *Rung, size: usize) ?usize {
            const wanted = payloadFor(size);
            var looked: u64 = 0;
            const found = find(rung.newest, wanted, &looked);
            rung.looked += looked;
            const block = found orelse rung.extend(wanted) orelse return null;
            if (block.isFree()) rung.unlink(block);
            block.magic = Block.magic_used;
            rung.split(block, wanted);
            return block.payload();
        }

        /// The heap's last block if it is free, made longer; else a new one behind it.
        fn extend(rung: *Rung, size: usize) ?*Block {
            if (rung.highest) |last| {
                if (last.isFree() and last.end() == rung.source.next and last.size < size) {
                    const more = rung.source.take(size - last.size, 16) orelse return null;
                    if (more == last.end()) {
                        last.size = size;
                        return last;
                    }
                    // Somebody moved the break in between: what came is a block of its own.
                    rung.adopt(more, size - last.size);
                }
            }
            const start = rung.source.take(Block.bytes + size, 16) orelse return null;
            return rung.append(start, size);
        }

        /// Makes a free block of memory that is too small for what it was meant for.
        fn adopt(rung: *Rung, start: usize, space: usize) void {
            if (space < Block.bytes + 16) return;
            const block = rung.append(start, space - Block.bytes);
            rung.push(block);
        }

        fn append(rung: *Rung, start: usize, size: usize) *Block {
            const block: *Block = @ptrFromInt(start);
            block.* = .{
                .magic = Block.magic_used,
                .size = size,
                .before = rung.highest,
                .after = null,
            };
            if (rung.highest) |last| last.after = block else rung.lowest = block;
            rung.highest = block;
            return block;
        }

        fn split(rung: *Rung, block: *Block, size: usize) void {
            if (block.size - size < Block.bytes + 16) return;
            const rest: *Block = @ptrFromInt(block.payload() + size);
            rest.* = .{
                .magic = Block.magic_used,
                .size = block.size - size - Block.bytes,
                .before = block,
                .after = block.after,
            };
            if (block.after) |after| after.before = rest else rung.highest = rest;
            block.after = rest;
            block.size = size;
            rung.release(rest);
        }

        pub fn free(rung: *Rung, address: usize) Fault!void {
            rung.release(try rung.inUse(address));
        }

        /// The new thing: first forward, then backward, so that the block in the middle is gone.
        fn release(rung: *Rung, block: *Block) void {
            var merged = block;
            if (block.after) |after| {
                if (after.isFree() and block.end() == @intFromPtr(after)) {
                    rung.unlink(after);
                    rung.swallow(block, after);
                }
            }
            if (block.before) |before| {
                if (before.isFree() and before.end() == @intFromPtr(block)) {
                    rung.unlink(before);
                    rung.swallow(before, block);
                    merged = before;
                }
            }
            rung.push(merged);
        }

        /// `block` becomes as long as both; `after`, which follows it, is no block any more, and
        /// says so to whoever frees it again.
        fn swallow(rung: *Rung, block: *Block, after: *Block) void {
            after.magic = Block.magic_free;
            block.size += Block.bytes + after.size;
            block.after = after.after;
            if (block.after) |next| next.before = block else rung.highest = block;
        }

        fn push(rung: *Rung, block: *Block) void {
            block.magic = Block.magic_free;
            block.links().* = .{ .newer = null, .older = rung.newest };
            if (rung.newest) |second| second.links().newer = block;
            rung.newest = block;
            rung.free_count += 1;
        }

        /// Doubly linked, since a merge takes blocks out of the middle.
        fn unlink(rung: *Rung, block: *Block) void {
            const links = block.links().*;
            if (links.newer) |newer| newer.links().older = links.older else {
                rung.newest = links.older;
            }
            if (links.older) |older| older.links().newer = links.newer;
            rung.free_count -= 1;
        }

        fn inUse(rung: *const Rung, address: usize) Fault!*Block {
            if (address % 16 != 0) return error.NotABlock;
            if (!rung.source.contains(address -% Block.bytes)) return error.NotABlock;
            var start = address;
            if (Signpost.of(address).magic == Signpost.magic_signpost) {
                start = address -% Signpost.of(address).size;
                if (start % 16 != 0) return error.BadMagic;
                if (!rung.source.contains(start -% Block.bytes)) return error.BadMagic;
            }
            const block: *Block = @ptrFromInt(start - Block.bytes);
            return switch (block.magic) {
                Block.magic_used => block,
                Block.magic_free => error.DoubleFree,
                else => error.BadMagic,
            };
        }

        pub fn allocateAligned(rung: *Rung, alignment: usize, size: usize) ?usize {
            return alignBlock(rung.allocate(size + alignment) orelse return null, alignment);
        }

        pub fn usable(rung: *Rung, address: usize) Fault!usize {
            return (try rung.inUse(address)).end() - address;
        }

        pub fn eachFree(rung: *Rung, visitor: anytype) void {
            var next = rung.newest;
            while (next) |block| : (next = block.links().older) visitor.see(block.size);
        }

        pub fn metadata(_: *Rung) usize {
            return 0;
        }

        /// Both lists agree, addresses rise without overlap, no two free blocks touch.
        pub fn check(rung: *Rung) Fault!void {
            var before: ?*Block = null;
            var next = rung.lowest;
            var free_count: usize = 0;
            while (next) |block| : (next = block.after) {
                try rung.expectInside(block);
                if (block.magic != Block.magic_used and !block.isFree()) return error.BadMagic;
                try ensure(block.before == before);
                try ensure(block.size >= 16 and block.size % 16 == 0);
                try ensure(rung.source.contains(block.end() - 1));
                if (before) |lower| {
                    try ensure(lower.end() <= @intFromPtr(block));
                    const touch = lower.end() == @intFromPtr(block);
                    try ensure(!(touch and lower.isFree() and block.isFree()));
                }
                free_count += @intFromBool(block.isFree());
                before = block;
            }
            try ensure(rung.highest == before);
            try ensure(rung.free_count == free_count);
            try rung.checkFreeList();
        }

        /// Before anything of it is believed.
        fn expectInside(rung: *Rung, block: *Block) Fault!void {
            try ensure(@intFromPtr(block) % 16 == 0);
            try ensure(rung.source.contains(@intFromPtr(block)));
        }

        fn checkFreeList(rung: *Rung) Fault!void {
            var newer: ?*Block = null;
            var next = rung.newest;
            var count: usize = 0;
            while (next) |block| : (next = block.links().older) {
                try rung.expectInside(block);
                try ensure(block.isFree());
                try ensure(block.links().newer == newer);
                count += 1;
                try ensure(count <= rung.free_count);
                newer = block;
            }
            try ensure(count == rung.free_count);
        }
    };
}

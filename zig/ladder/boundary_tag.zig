//! Rung 6, boundary-tag: merging without lists of neighbours (Knuth). A block has its size at both
//! ends, so both neighbours are found by arithmetic: the one after begins where this one ends, and
//! the one before has its size in the last word before us.
//!
//!     in use:  | tag | payload ........................... |
//!     free:    | tag | newer | older | ...       | size    |   <- footer
//!
//! Only a free block needs the footer, for only a free one is merged with; whether the block
//! before is free stands in a bit of our own tag. So a block in use pays 8 bytes, where the rung
//! before it pays 32, and merges just as well. The tag has a magic number in its upper half-word.
const std = @import("std");
const Fault = @import("fault.zig").Fault;
const ensure = @import("fault.zig").ensure;
const Source = @import("source.zig").Source;

/// In the 8 bytes before the payload.
const Tag = packed struct(u64) {
    used: bool,
    /// Whether the block before is in use; if not, its size stands before this tag.
    before_used: bool,
    unused: u14 = 0,
    /// Tag and payload, in units of 16 bytes; 0: the end of a stretch.
    units: u32,
    magic: u16 = magic_number,

    const magic_number = 0xb7a6;

    fn size(tag: Tag) usize {
        return @as(usize, tag.units) * 16;
    }
};

const tag_bytes = 8;
/// Tag, two links and a footer.
const size_min = 32;
const size_max = std.math.maxInt(u32) * 16;

const Links = struct { newer: usize, older: usize };

// A block is named by the address of its payload. 0: none.
fn tagOf(block: usize) *Tag {
    return @ptrFromInt(block - tag_bytes);
}

fn linksOf(block: usize) *Links {
    return @ptrFromInt(block);
}

/// Of a free block: the last word of its payload.
fn footerOf(block: usize) *usize {
    return @ptrFromInt(block + tagOf(block).size() - 2 * tag_bytes);
}

fn after(block: usize) usize {
    return block + tagOf(block).size();
}

/// A stretch of memory without gaps begins with this word, and the first tag comes after it.
const Stretch = extern struct { previous: ?*Stretch };

pub const BoundaryTag = struct {
    source: *Source,
    /// At least so much is taken from the source at once.
    growth: usize = 4096,
    newest: usize = 0,
    free_count: usize = 0,
    stretch: ?*Stretch = null,
    /// Where the last stretch ends: its last tag, of size 0, stands before.
    end: usize = 0,
    looked: u64 = 0,

    pub const name = "boundary-tag";
    pub const idea = "sizes at both ends, 8 bytes a block";
    pub const reuses = true;
    pub const splits = true;
    pub const merges = true;
    pub const header_bytes = tag_bytes;

    pub fn init(source: *Source) BoundaryTag {
        return .{ .source = source };
    }

    pub fn allocate(rung: *BoundaryTag, size: usize) ?usize {
        const wanted = sizeFor(size) orelse return null;
        const block = rung.find(wanted) orelse rung.extend(wanted) orelse return null;
        rung.unlink(block);
        tagOf(block).used = true;
        tagOf(after(block)).before_used = true;
        rung.trim(block, wanted);
        return block;
    }

    fn sizeFor(size: usize) ?usize {
        if (size > size_max - 4096) return null;
        return std.mem.alignForward(usize, @max(size + tag_bytes, size_min), 16);
    }

    fn find(rung: *BoundaryTag, wanted: usize) ?usize {
        var block = rung.newest;
        var looked: u64 = 0;
        defer rung.looked += looked;
        while (block != 0) : (block = linksOf(block).older) {
            looked += 1;
            if (tagOf(block).size() >= wanted) return block;
        }
        return null;
    }

    /// A free block of at least this size at the end of the heap.
    fn extend(rung: *BoundaryTag, wanted: usize) ?usize {
        var missing = wanted;
        if (rung.end != 0 and rung.end == rung.source.next and !tagOf(rung.end).before_used) {
            missing -= @min(missing - 16, footer(rung.end).*);
        }
        const block = rung.grow(missing) orelse return null;
        if (tagOf(block).size() >= wanted) return block;
        return rung.grow(wanted); // Somebody moved the break: it could not merge with the last.
    }

    /// The footer of the free block that ends where this one begins.
    fn footer(block: usize) *const usize {
        return @ptrFromInt(block - 2 * tag_bytes);
    }

    fn grow(rung: *BoundaryTag, size: usize) ?usize {
        var space = std.mem.alignForward(usize, size + 16, rung.growth);
        const start = rung.source.take(space, 16) orelse blk: {
            space = size + 16; // Little is left: no more than needed.
            break :blk rung.source.take(space, 16) orelse return null;
        };
        var block = rung.end;
        if (start == rung.end) {
            // The tag of size 0 becomes the tag of the new block.
            tagOf(block).units = @intCast(space / 16);
        } else {
            const stretch: *Stretch = @ptrFromInt(start);
            stretch.previous = rung.stretch;
            rung.stretch = stretch;
            block = start + 16;
            tagOf(block).* = inUse(space - 16); // There is nothing before to merge with.
        }
        rung.end = start + space;
        tagOf(rung.end).* = inUse(0);
        return rung.release(block);
    }

    fn inUse(size: usize) Tag {
        return .{ .used = true, .before_used = true, .units = @intCast(size / 16) };
    }

    /// Cuts off what is beyond `size`, unless it is too small to stand alone.
    fn trim(rung: *BoundaryTag, block: usize, size: usize) void {
        const rest = tagOf(block).size() - size;
        if (rest < size_min) return;
        tagOf(block).units = @intCast(size / 16);
        tagOf(block + size).* = inUse(rest);
        _ = rung.release(block + size);
    }

    pub fn free(rung: *BoundaryTag, block: usize) Fault!void {
        try rung.expectUsed(block);
        _ = rung.release(block);
    }

    /// Merges forward and backward; the free block that comes of it.
    fn release(rung: *BoundaryTag, freed: usize) usize {
        var block = freed;
        var size = tagOf(block).size();
        const next = after(block);
        if (!tagOf(next).used) {
            rung.unlink(next);
            size += tagOf(next).size();
        }
        if (!tagOf(block).before_used) {
            const before_size = footer(block).*;
            tagOf(block).used = false; // For who frees it again: no block begins here now.
            block -= before_size;
            rung.unlink(block);
            size += before_size;
        }
        tagOf(block).used = false;
        tagOf(block).units = @intCast(size / 16);
        footerOf(block).* = size;
        tagOf(block + size).before_used = false;
        rung.push(block);
        return block;
    }

    fn push(rung: *BoundaryTag, block: usize) void {
        linksOf(block).* = .{ .newer = 0, .older = rung.newest };
        if (rung.newest != 0) linksOf(rung.newest).newer = block;
        rung.newest = block;
        rung.free_count += 1;
    }

    fn unlink(rung: *BoundaryTag, block: usize) void {
        const links = linksOf(block).*;
        const link = if (links.newer != 0) &linksOf(links.newer).older else &rung.newest;
        link.* = links.older;
        if (links.older != 0) linksOf(links.older).newer = links.newer;
        rung.free_count -= 1;
    }

    fn expectUsed(rung: *BoundaryTag, block: usize) Fault!void {
        if (block % 16 != 0) return error.NotABlock;
        if (!rung.source.contains(block -% tag_bytes)) return error.NotABlock;
        if (tagOf(block).magic != Tag.magic_number) return error.BadMagic;
        if (tagOf(block).units == 0) return error.NotABlock;
        if (!tagOf(block).used) return error.DoubleFree;
        if (!rung.source.contains(after(block) - 1)) return error.BadMagic;
        if (tagOf(after(block)).magic != Tag.magic_number) return error.BadMagic;
    }

    /// No signpost is needed here: what lies before the aligned address is cut off and freed.
    pub fn allocateAligned(rung: *BoundaryTag, alignment: usize, size: usize) ?usize {
        const start = rung.allocate(size + alignment + 2 * size_min) orelse return null;
        var block = start;
        if (start % alignment != 0) {
            block = std.mem.alignForward(usize, start + size_min, alignment);
            const whole = tagOf(start).size();
            tagOf(start).units = @intCast((block - start) / 16);
            tagOf(block).* = inUse(whole - (block - start));
            _ = rung.release(start);
        }
        rung.trim(block, sizeFor(size).?);
        return block;
    }

    /// For realloc: whether the block is so large now, at the cost of the free one after it.
    pub fn growInPlace(rung: *BoundaryTag, block: usize, size: usize) bool {
        const wanted = sizeFor(size) orelse return false;
        const next = after(block);
        const is_last = next == rung.end or (!tagOf(next).used and after(next) == rung.end);
        if (is_last) _ = rung.extend(wanted - tagOf(block).size());
        if (tagOf(next).used) return false;
        const joined = tagOf(block).size() + tagOf(next).size();
        if (joined < wanted) return false;
        rung.unlink(next);
        tagOf(block).units = @intCast(joined / 16);
        tagOf(after(block)).before_used = true;
        // The last block keeps what the heap grew by, or the next small one would sit behind it.
        if (!is_last) rung.trim(block, wanted);
        return true;
    }

    pub fn usable(rung: *BoundaryTag, block: usize) Fault!usize {
        try rung.expectUsed(block);
        return tagOf(block).size() - tag_bytes;
    }

    pub fn eachFree(rung: *BoundaryTag, visitor: anytype) void {
        var block = rung.newest;
        while (block != 0) : (block = linksOf(block).older) {
            visitor.see(tagOf(block).size() - tag_bytes);
        }
    }

    pub fn metadata(_: *BoundaryTag) usize {
        return 0;
    }

    /// Every stretch is blocks from end to end, tags agree with footers and with the bits of
    /// their neighbours, no two free blocks touch, and the list holds the free ones.
    pub fn check(rung: *BoundaryTag) Fault!void {
        var free_count: usize = 0;
        var stretch = rung.stretch;
        while (stretch) |first| : (stretch = first.previous) {
            var block = @intFromPtr(first) + 16;
            var before_used = true;
            while (true) : (block = after(block)) {
                const tag = tagOf(block).*;
                if (tag.magic != Tag.magic_number) return error.BadMagic;
                try ensure(tag.before_used == before_used);
                if (tag.units == 0) break;
                try ensure(tag.size() >= size_min);
                try ensure(rung.source.contains(after(block) - 1));
                if (!tag.used) {
                    try ensure(before_used);
                    try ensure(footerOf(block).* == tag.size());
                    free_count += 1;
                }
                before_used = tag.used;
            }
            if (first == rung.stretch) try ensure(block == rung.end);
        }
        try ensure(free_count == rung.free_count);
        var listed: usize = 0;
        var block = rung.newest;
        while (block != 0) : (block = linksOf(block).older) {
            listed += 1;
            try ensure(listed <= free_count);
            try ensure(block % 16 == 0 and rung.source.contains(block));
            try ensure(!tagOf(block).used);
        }
        try ensure(listed == free_count);
    }
};

//! Rung 7, buddy: every block is a power of two and lies on a multiple of its size. A block that
//! is too large is halved; the two halves are buddies, and when both are free they become one.
//!
//!     area of 256 KiB:  | 8K map | 8K | 16K | 32K | 64K | 128K |       at first
//!     malloc(10000):    16K is the smallest power: taken from its list, nothing to halve
//!     malloc(20000):    32K; malloc(3000): no 4K free, so 8K is halved: | 4K used | 4K free |
//!
//! A buddy's address differs from one's own in a single bit (offset xor size), so nothing is
//! searched: one list for each size, at most one halving or merge for each. There is no header:
//! one byte for each 32 bytes of an area, at its front, says what begins there, and so a write
//! past a block's end cannot reach it. The price is internal fragmentation: 33 bytes take 64.
const std = @import("std");
const Fault = @import("fault.zig").Fault;
const ensure = @import("fault.zig").ensure;
const source_file = @import("source.zig");
const Source = source_file.Source;

const unit = 32;
const area_size = source_file.boundary;
const units_per_area = area_size / unit;
/// Orders: a block of order n has 32 << n bytes.
const order_count = std.math.log2_int(usize, units_per_area) + 1;
/// The map is a block like any other, the first of its area.
const map_order = std.math.log2_int(usize, units_per_area / unit);

// What begins at a unit, in the map: 0, nothing does; else one of these and the order.
const free_mark = 0x40;
const used_mark = 0x80;

const Map = [units_per_area]u8;

comptime {
    std.debug.assert(@sizeOf(Map) == unit << map_order);
    std.debug.assert(@sizeOf(Links) <= unit);
}

const Links = struct { newer: usize, older: usize };

fn mapOf(block: usize) *Map {
    return @ptrFromInt(block & ~@as(usize, area_size - 1));
}

fn indexOf(block: usize) usize {
    return block % area_size / unit;
}

fn linksOf(block: usize) *Links {
    return @ptrFromInt(block);
}

fn bytesOf(order: usize) usize {
    return @as(usize, unit) << @intCast(order);
}

pub const Buddy = struct {
    source: *Source,
    /// The newest free block of each order; 0: none.
    newest: [order_count]usize = @splat(0),
    free_count: usize = 0,
    areas: usize = 0,
    /// The area that was taken last; each names the one before, in the map's own entry of it.
    area: usize = 0,
    looked: u64 = 0,

    pub const name = "buddy";
    pub const idea = "powers of two, halved and joined";
    pub const reuses = true;
    pub const splits = true;
    pub const merges = true;

    pub fn init(source: *Source) Buddy {
        return .{ .source = source };
    }

    pub fn allocate(rung: *Buddy, size: usize) ?usize {
        const order = orderFor(size) orelse return null;
        while (true) {
            if (rung.takeFree(order)) |block| return block;
            if (!rung.addArea()) return null;
        }
    }

    /// The smallest order that holds `size`; null: larger than a half of an area, which is the
    /// most that one can give beside its map.
    fn orderFor(size: usize) ?usize {
        if (size > area_size / 2) return null;
        if (size <= unit) return 0;
        return std.math.log2_int_ceil(usize, size) - std.math.log2_int(usize, unit);
    }

    fn takeFree(rung: *Buddy, wanted: usize) ?usize {
        for (wanted..order_count) |order| {
            rung.looked += 1;
            const block = rung.newest[order];
            if (block == 0) continue;
            rung.unlink(block, order);
            // Halved down to what is wanted; the upper halves stay free.
            var half = order;
            while (half > wanted) {
                half -= 1;
                rung.push(block + bytesOf(half), half);
            }
            mapOf(block)[indexOf(block)] = used_mark | @as(u8, @intCast(wanted));
            return block;
        }
        return null;
    }

    fn addArea(rung: *Buddy) bool {
        const area = rung.source.take(area_size, area_size) orelse return false;
        const map = mapOf(area);
        @memset(map, 0);
        // The map takes the lowest block; what is left of the area are its buddies, upwards. No
        // unit begins inside the map, so its own entries are free to name the area before.
        std.mem.writeInt(usize, map[8..16], rung.area, .little);
        rung.area = area;
        rung.areas += 1;
        for (map_order..order_count - 1) |order| rung.push(area + bytesOf(order), order);
        return true;
    }

    pub fn free(rung: *Buddy, freed: usize) Fault!void {
        var order = try rung.orderInUse(freed);
        var block = freed;
        const map = mapOf(block);
        map[indexOf(block)] = 0;
        // Join for as long as the buddy is free and whole.
        while (order < order_count - 1) : (order += 1) {
            const buddy = block ^ bytesOf(order);
            if (map[indexOf(buddy)] != free_mark | @as(u8, @intCast(order))) break;
            rung.unlink(buddy, order);
            map[indexOf(buddy)] = 0;
            block = @min(block, buddy);
        }
        rung.push(block, order);
    }

    fn push(rung: *Buddy, block: usize, order: usize) void {
        mapOf(block)[indexOf(block)] = free_mark | @as(u8, @intCast(order));
        linksOf(block).* = .{ .newer = 0, .older = rung.newest[order] };
        if (rung.newest[order] != 0) linksOf(rung.newest[order]).newer = block;
        rung.newest[order] = block;
        rung.free_count += 1;
    }

    fn unlink(rung: *Buddy, block: usize, order: usize) void {
        const links = linksOf(block).*;
        if (links.newer != 0) linksOf(links.newer).older = links.older else {
            rung.newest[order] = links.older;
        }
        if (links.older != 0) linksOf(links.older).newer = links.newer;
        rung.free_count -= 1;
    }

    fn orderInUse(rung: *const Buddy, block: usize) Fault!usize {
        if (block % unit != 0 or !rung.source.contains(block)) return error.NotABlock;
        if (block % area_size < @sizeOf(Map)) return error.NotABlock;
        const entry = mapOf(block)[indexOf(block)];
        if (entry & free_mark != 0) return error.DoubleFree;
        if (entry & used_mark == 0) return error.NotABlock;
        return entry & ~@as(u8, used_mark);
    }

    /// A block lies on a multiple of its size, so a block of the alignment's size will do.
    pub fn allocateAligned(rung: *Buddy, alignment: usize, size: usize) ?usize {
        return rung.allocate(@max(alignment, size));
    }

    pub fn usable(rung: *Buddy, block: usize) Fault!usize {
        return bytesOf(try rung.orderInUse(block));
    }

    pub fn eachFree(rung: *Buddy, visitor: anytype) void {
        for (rung.newest, 0..) |first, order| {
            var block = first;
            while (block != 0) : (block = linksOf(block).older) visitor.see(bytesOf(order));
        }
    }

    pub fn metadata(rung: *Buddy) usize {
        return rung.areas * @sizeOf(Map);
    }

    /// Blocks fill every area from end to end, each on a multiple of its size; no free block has
    /// a free buddy of its size; the lists hold the free ones.
    pub fn check(rung: *Buddy) Fault!void {
        var area = rung.area;
        var areas: usize = 0;
        var free_count: usize = 0;
        while (area != 0) : (areas += 1) {
            try ensure(area % area_size == 0);
            const map = mapOf(area);
            var offset: usize = @sizeOf(Map);
            while (offset < area_size) {
                const entry = map[offset / unit];
                try ensure(entry & (free_mark | used_mark) != 0);
                const order = entry & 0x3f;
                try ensure(order < order_count);
                try ensure(offset % bytesOf(order) == 0);
                if (entry & free_mark != 0) {
                    try ensure(map[(offset ^ bytesOf(order)) / unit] != entry);
                    free_count += 1;
                }
                offset += bytesOf(order);
            }
            try ensure(offset == area_size);
            area = std.mem.readInt(usize, map[8..16], .little);
        }
        try ensure(areas == rung.areas);
        try ensure(free_count == rung.free_count);
        try rung.checkLists();
    }

    fn checkLists(rung: *Buddy) Fault!void {
        var listed: usize = 0;
        for (rung.newest, 0..) |first, order| {
            var block = first;
            while (block != 0) : (block = linksOf(block).older) {
                listed += 1;
                try ensure(listed <= rung.free_count);
                try ensure(block % unit == 0 and rung.source.contains(block));
                const mark = free_mark | @as(u8, @intCast(order));
                try ensure(mapOf(block)[indexOf(block)] == mark);
            }
        }
        try ensure(listed == rung.free_count);
    }
};

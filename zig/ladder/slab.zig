//! Rung 8, slab: sizes are rounded up to one of 24 classes, and a slab of 16 KiB is cut into blocks
//! of one class. All blocks of a slab are alike, so the first free one always fits: nothing is
//! searched, cut or merged, malloc and free are a few instructions each.
//!
//!     slab of class 48:  | header | 48 | 48 | 48 | 48 | ...
//!                          class, live count, first free block -> next free -> ...
//!
//! A slab lies on a multiple of 16 KiB, so a block's slab, and with it the block's size, follows
//! from its address: no header for each block. Slabs of a class that have free blocks stand in a
//! list; a slab that is wholly free can become one of any other class. The price: rounding (under
//! a quarter for sizes above 64 bytes), and slabs held for the sake of a single block.
//!
//! Above 2 KiB the rung boundary-tag does the work: real allocators too are several in one.
const std = @import("std");
const Fault = @import("fault.zig").Fault;
const ensure = @import("fault.zig").ensure;
const source_file = @import("source.zig");
const Source = source_file.Source;
const BoundaryTag = @import("boundary_tag.zig").BoundaryTag;

const slab_size = 16 * 1024;
const small_max = 2048;
/// Address space from the first slab on that the table of slabs covers: 16 GiB. Less
/// than 2 MiB of table: the kernel would clear a huge page for it.
const slab_count_max = 1 << 20;

/// Steps of 16 to 128, then four for each doubling.
const classes: [24]u16 = .{
    16,  32,  48,  64,  80,  96,  112, 128,  160,  192,  224,  256,
    320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048,
};

/// The class of (size + 15) / 16.
const class_of: [small_max / 16 + 1]u8 = blk: {
    @setEvalBranchQuota(10_000);
    var table: [small_max / 16 + 1]u8 = undefined;
    for (&table, 0..) |*entry, index| {
        var class: u8 = 0;
        while (classes[class] < index * 16) class += 1;
        entry.* = class;
    }
    break :blk table;
};

const Slab = extern struct {
    magic: u32,
    class: u8,
    /// Whether it stands in its class's list: while it has a free block.
    listed: bool,
    live: u16,
    /// Blocks that were handed out at least once; those beyond were never touched.
    fresh: u16,
    count: u16,
    block_size: u16,
    start: u16,
    /// The block that was freed last; 0: none.
    first: usize,
    newer: ?*Slab,
    older: ?*Slab,

    const magic_slab = 0x51ab_51ab;

    fn of(block: usize) *Slab {
        return @ptrFromInt(block & ~@as(usize, slab_size - 1));
    }
};

/// What stands in a free block. The mark is its address in disguise: where it is found again at a
/// free, the list is searched for the block, which else would cost too much.
const Free = extern struct { next: usize, mark: usize };
const disguise = 0xf4ee_51ab_f4ee_51ab;

fn freeAt(block: usize) *Free {
    return @ptrFromInt(block);
}

pub const SlabRung = struct {
    source: *Source,
    /// For each class the slabs with free blocks.
    newest: [classes.len]?*Slab = @splat(null),
    /// Wholly free slabs, of no class, linked by `older`.
    empty: ?*Slab = null,
    slabs: usize = 0,
    /// One byte for each 16 KiB of the heap: whether it is a slab.
    table: ?[*]u8 = null,
    table_count: usize = 0,
    large: BoundaryTag,
    looked: u64 = 0,

    pub const name = "slab";
    pub const idea = "size classes, nothing to search";
    pub const reuses = true;
    pub const splits = false;
    pub const merges = false;

    pub fn init(source: *Source) SlabRung {
        // In whole slabs, so that what comes next lies on a slab's boundary.
        return .{ .source = source, .large = .{ .source = source, .growth = slab_size } };
    }

    pub fn allocate(rung: *SlabRung, size: usize) ?usize {
        if (size > small_max) return rung.allocateLarge(16, size);
        const class = class_of[(size + 15) / 16];
        const slab = rung.newest[class] orelse rung.addSlab(class) orelse return null;
        rung.looked += 1;
        return rung.takeBlock(slab);
    }

    fn takeBlock(rung: *SlabRung, slab: *Slab) usize {
        var block = slab.first;
        if (block != 0) {
            slab.first = freeAt(block).next;
        } else {
            block = @intFromPtr(slab) + slab.start + @as(usize, slab.fresh) * slab.block_size;
            slab.fresh += 1;
        }
        freeAt(block).mark = 0; // Also from an earlier life of the slab.
        slab.live += 1;
        if (slab.live == slab.count) rung.unlist(slab);
        return block;
    }

    fn addSlab(rung: *SlabRung, class: u8) ?*Slab {
        var slab = rung.empty;
        if (slab) |again| rung.empty = again.older else slab = rung.newSlab() orelse return null;
        const size = classes[class];
        // Every block of a class lies on a multiple of the largest power of two in its size.
        const start = std.mem.alignForward(usize, @sizeOf(Slab), @as(usize, 1) << @ctz(size));
        slab.?.* = .{
            .magic = Slab.magic_slab,
            .class = class,
            .listed = false,
            .live = 0,
            .fresh = 0,
            .count = @intCast((slab_size - start) / size),
            .block_size = size,
            .start = @intCast(start),
            .first = 0,
            .newer = null,
            .older = null,
        };
        rung.list(slab.?);
        return slab;
    }

    fn newSlab(rung: *SlabRung) ?*Slab {
        if (rung.table == null and !rung.makeTable()) return null;
        const address = rung.source.take(slab_size, slab_size) orelse return null;
        const index = (address - rung.source.low) / slab_size;
        if (index >= rung.table_count) return null;
        rung.table.?[index] = 1;
        rung.slabs += 1;
        return @ptrFromInt(address);
    }

    /// The fake heap holds its own; elsewhere mapped, and only what is touched takes memory.
    fn makeTable(rung: *SlabRung) bool {
        if (rung.source.kind == .fake) {
            rung.table_count = source_file.fake_size / slab_size;
            rung.table = @ptrFromInt(rung.source.take(rung.table_count, 16) orelse return false);
            @memset(rung.table.?[0..rung.table_count], 0);
        } else {
            rung.table_count = slab_count_max;
            rung.table = @ptrFromInt(source_file.mapPages(slab_count_max) orelse return false);
        }
        return true;
    }

    /// What the source does not know of is given back.
    pub fn deinit(rung: *SlabRung) void {
        const table = rung.table orelse return;
        if (rung.source.kind != .fake) source_file.unmapPages(@intFromPtr(table), slab_count_max);
    }

    fn isInSlab(rung: *const SlabRung, block: usize) bool {
        const table = rung.table orelse return false;
        const index = (block -% rung.source.low) / slab_size;
        return index < rung.table_count and table[index] != 0;
    }

    pub fn free(rung: *SlabRung, block: usize) Fault!void {
        if (!rung.isInSlab(block)) return rung.large.free(block);
        const slab = Slab.of(block);
        if (slab.magic != Slab.magic_slab) return error.BadMagic;
        if (block % 16 != 0 or block < @intFromPtr(slab) + slab.start) return error.NotABlock;
        if (slab.live == 0) return error.DoubleFree;
        if (freeAt(block).mark == block ^ disguise) try expectUnlisted(slab, block);
        freeAt(block).* = .{ .next = slab.first, .mark = block ^ disguise };
        slab.first = block;
        slab.live -= 1;
        if (!slab.listed) rung.list(slab);
        // The last one of a class stays: else one block back and forth would make and unmake it.
        if (slab.live == 0 and (slab.newer != null or slab.older != null)) {
            rung.unlist(slab);
            slab.older = rung.empty;
            rung.empty = slab;
        }
    }

    /// The mark may be there by chance, the list tells.
    fn expectUnlisted(slab: *Slab, block: usize) Fault!void {
        var next = slab.first;
        while (next != 0) : (next = freeAt(next).next) {
            if (next == block) return error.DoubleFree;
        }
    }

    fn list(rung: *SlabRung, slab: *Slab) void {
        const older = rung.newest[slab.class];
        slab.newer = null;
        slab.older = older;
        if (older) |second| second.newer = slab;
        rung.newest[slab.class] = slab;
        slab.listed = true;
    }

    fn unlist(rung: *SlabRung, slab: *Slab) void {
        const link = if (slab.newer) |newer| &newer.older else &rung.newest[slab.class];
        link.* = slab.older;
        if (slab.older) |older| older.newer = slab.newer;
        slab.listed = false;
    }

    fn allocateLarge(rung: *SlabRung, alignment: usize, size: usize) ?usize {
        const looked = rung.large.looked;
        defer rung.looked += rung.large.looked - looked;
        if (alignment <= 16) return rung.large.allocate(size);
        return rung.large.allocateAligned(alignment, size);
    }

    /// The first class whose blocks all lie on such a boundary.
    pub fn allocateAligned(rung: *SlabRung, alignment: usize, size: usize) ?usize {
        for (classes) |class| {
            if (class >= size and class % alignment == 0) return rung.allocate(class);
        }
        return rung.allocateLarge(alignment, size);
    }

    pub fn growInPlace(rung: *SlabRung, block: usize, size: usize) bool {
        return !rung.isInSlab(block) and rung.large.growInPlace(block, size);
    }

    pub fn usable(rung: *SlabRung, block: usize) Fault!usize {
        if (!rung.isInSlab(block)) return rung.large.usable(block);
        const slab = Slab.of(block);
        if (slab.magic != Slab.magic_slab) return error.BadMagic;
        return slab.block_size;
    }

    pub fn eachFree(rung: *SlabRung, visitor: anytype) void {
        rung.large.eachFree(visitor);
        var empty = rung.empty;
        while (empty) |slab| : (empty = slab.older) visitor.see(slab_size - @sizeOf(Slab));
        for (rung.newest) |newest| {
            var next = newest;
            while (next) |slab| : (next = slab.older) {
                for (slab.live..slab.count) |_| visitor.see(slab.block_size);
            }
        }
    }

    pub fn metadata(rung: *SlabRung) usize {
        const in_heap = if (rung.source.kind == .fake) rung.table_count else 0;
        return rung.slabs * @sizeOf(Slab) + in_heap;
    }

    /// live + free = fresh in every slab with free blocks, the lists hold slabs of their class.
    pub fn check(rung: *SlabRung) Fault!void {
        for (rung.newest, 0..) |newest, class| {
            var newer: ?*Slab = null;
            var next = newest;
            while (next) |slab| : (next = slab.older) {
                if (slab.magic != Slab.magic_slab) return error.BadMagic;
                try ensure(rung.isInSlab(@intFromPtr(slab)));
                try ensure(slab.class == class and slab.listed);
                try ensure(slab.newer == newer);
                try ensure(slab.live < slab.count);
                try checkBlocks(slab);
                newer = slab;
            }
        }
        var empty = rung.empty;
        while (empty) |slab| : (empty = slab.older) try ensure(slab.live == 0 and !slab.listed);
        try rung.large.check();
    }

    fn checkBlocks(slab: *Slab) Fault!void {
        var free_count: usize = 0;
        var block = slab.first;
        while (block != 0) : (block = freeAt(block).next) {
            free_count += 1;
            try ensure(free_count <= slab.fresh);
            try ensure(Slab.of(block) == slab);
            try ensure((block % slab_size - slab.start) % slab.block_size == 0);
            if (freeAt(block).mark != block ^ disguise) return error.BadMagic;
        }
        try ensure(slab.live + free_count == slab.fresh);
    }
};

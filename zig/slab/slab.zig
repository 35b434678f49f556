//! Slabs: runs cut into blocks of one size, with the state of every block in bits out of line.
//! Nothing is ever written into a block.
//!
//! Invariant (`check`): free_count = set live bits + (block_count - fresh). A set bit means: free,
//! and handed out at least once before. A block whose bit is clear and whose index is below
//! `fresh` is held by the application, by a magazine, or by a message on its way home.
//! Every function needs the lock of the heap that owns the slab.
pub const holes = @import("holes.zig");
const std = @import("std");
const base = @import("base");
const region = @import("region");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;
const space = region.space;
const Slice = region.Slice;
const SliceId = region.SliceId;

const inline_blocks_max = 256;

/// No count of free blocks reaches it.
pub const threshold_none = std.math.maxInt(u16);

inline fn wordsOf(slab: *Slice) [*]u64 {
    const external = slab.block_count > inline_blocks_max;
    return if (external) slab.state.external_bits else &slab.state.bits;
}

/// Cuts a new slab of a small class; `entry` is what the slice map says of its slices. 0 when
/// the system refuses memory.
pub noinline fn create(class: u32, entry: u32, holder: u32) SliceId {
    assert(class > 0);
    assert(class <= size_class.small_count);
    const g = &size_class.geometry[class];
    const run = region.run_allocator.allocFor(.slab, g.slices, holder);
    if (run.isNone()) return 0;
    const slab = space.slice(run.first);
    slab.class = @intCast(class);
    slab.block_count = @intCast(g.blocks);
    slab.free_count = slab.block_count;
    slab.fresh = 0;
    slab.hint = 0;
    slab.slab_state = .current;
    slab.bucket = 0;
    slab.threshold = threshold_none;
    slab.hole_count = 0;
    if (g.blocks > inline_blocks_max) {
        const bits = space.liveBits(run.first);
        bits.* = @splat(0);
        slab.state.external_bits = bits;
    } else slab.state.bits = @splat(0);
    for (0..g.slices) |back| {
        const id = run.first + @as(u32, @intCast(back));
        space.slice(id).back = @intCast(back);
        space.slice(id).holes = 0;
        // monotonic: a thread that frees a block of this slab got the block from a thread that
        // got it after this store.
        space.entry(id).store(entry, .monotonic);
    }
    return run.first;
}

/// In a child after fork: counts and entries of a slab whose heap was torn, from its bits.
pub fn rebuild(id: SliceId, entry: u32) void {
    const slab = space.slice(id);
    const g = &size_class.geometry[slab.class];
    for (0..g.slices) |back| space.slice(id + @as(u32, @intCast(back))).back = @intCast(back);
    reassign(id, entry);
    var set_bits: u32 = 0;
    const words = wordsOf(slab);
    for (0..(slab.block_count + 63) / 64) |word| set_bits += @popCount(words[word]);
    slab.free_count = @intCast(set_bits + (slab.block_count - slab.fresh));
    slab.hint = 0;
    // What was about to be purged or handed out: no holes, as far as anybody knows.
    region.run_allocator.forgetHolesLocked(holes.bytes(slab));
    slab.hole_count = 0;
    for (0..g.slices) |back| space.slice(id + @as(u32, @intCast(back))).holes = 0;
}

/// Gives a slab back whose blocks are all free.
pub noinline fn destroy(id: SliceId, holder: u32) void {
    const slab = space.slice(id);
    assert(slab.free_count == slab.block_count);
    const g = &size_class.geometry[slab.class];
    // The first entry last: until then a rebuild after fork finds the slab whole.
    var left = g.slices;
    while (left > 0) {
        left -= 1;
        space.entry(id + left).store(0, .monotonic); // Nobody holds a block of it any more.
        space.slice(id + left).back = 0;
    }
    slab.state.bits = @splat(0);
    region.run_allocator.free(id, g.slices, false, holder);
}

/// The same with blocks that somebody may think he has: their heap is destroyed.
pub noinline fn discard(id: SliceId, holder: u32) void {
    space.slice(id).free_count = space.slice(id).block_count;
    destroy(id, holder);
}

/// Makes the slab's slices point to another owner; `entry` is the new map entry.
pub fn reassign(id: SliceId, entry: u32) void {
    const g = &size_class.geometry[space.slice(id).class];
    for (0..g.slices) |offset| {
        // monotonic: a free that still reads the old owner goes to the old owner's inbox, and
        // whoever drains it there forwards.
        space.entry(id + @as(u32, @intCast(offset))).store(entry, .monotonic);
    }
}

/// The first slice of the slab that holds this slice.
pub inline fn headOf(id: SliceId) SliceId {
    return id - space.slice(id).back;
}

/// Moves up to `wanted` free blocks into `slots`, lowest addresses first; how many.
pub noinline fn take(id: SliceId, slots: [*]usize, wanted: u32) u32 {
    const slab = space.slice(id);
    const start = space.address(id);
    const size = size_class.sizes[slab.class];
    var taken: u32 = 0;
    const free_count: u32 = narrow(&slab.free_count).*;
    var set_bits = free_count - (slab.block_count - slab.fresh);
    const words = wordsOf(slab);
    var word: u16 = slab.hint;
    while (set_bits > 0 and taken < wanted) {
        var bits = words[word];
        while (bits != 0 and taken < wanted) {
            const block = @as(u32, word) * 64 + @ctz(bits);
            bits &= bits - 1;
            slots[taken] = start + @as(usize, block) * size;
            taken += 1;
            set_bits -= 1;
        }
        words[word] = bits;
        if (bits == 0 and set_bits > 0) word += 1;
    }
    slab.hint = word;
    const fresh_blocks = @min(wanted - taken, slab.block_count - slab.fresh);
    var address = start + @as(usize, slab.fresh) * size;
    for (0..fresh_blocks) |_| {
        slots[taken] = address;
        taken += 1;
        address += size;
    }
    narrow(&slab.fresh).* += @intCast(fresh_blocks);
    narrow(&slab.free_count).* -= @intCast(taken);
    if (slab.hole_count != 0) holes.fill(slab, start, slots[0..taken]);
    if (base.asserts.enabled) check(id);
    return taken;
}

/// The look-up of addresses in a loop over blocks: what it reads of the first region stays in
/// registers. A block beyond the limit of that moment is found the long way.
pub const Finder = struct {
    address: usize,
    limit: usize,
    map: [*]space.Entry,
    slices: [*]Slice,

    pub inline fn init() Finder {
        return .{
            .address = space.hot.address,
            // monotonic: as in placeOf.
            .limit = space.hot.limit_units.load(.monotonic) >> (t.slice_shift - 4),
            .map = space.hot.map,
            .slices = space.hot.slices,
        };
    }

    /// Asks for the metadata that `find` will point to, which a loop over blocks misses as a rule.
    pub inline fn prefetch(finder: *const Finder, pointer: usize) void {
        const index = (pointer -% finder.address) >> t.slice_shift;
        @prefetch(&finder.slices[@min(index, finder.limit)], .{ .rw = .write });
    }

    /// Null: in no region.
    pub inline fn find(finder: *const Finder, pointer: usize) ?space.Place {
        const index = (pointer -% finder.address) >> t.slice_shift;
        if (index >= finder.limit) {
            @branchHint(.cold);
            const id = space.findFurther(pointer);
            if (id == space.nowhere) return null;
            const entry = space.entry(id).load(.monotonic); // See slab.create.
            return .{ .id = id, .entry = entry, .slice = space.slice(id) };
        }
        return .{
            .id = @intCast(index),
            .entry = finder.map[index].load(.monotonic), // See slab.create.
            .slice = &finder.slices[index],
        };
    }
};

/// What `put` needs to know of a class.
pub const Shape = struct {
    reciprocal: u32,
    /// Bytes of a slab.
    length: u32,
    external: bool,

    pub inline fn of(class: u32) Shape {
        const g = &size_class.geometry[class];
        return .{
            .reciprocal = g.reciprocal,
            .length = g.slices << t.slice_shift,
            .external = g.blocks > inline_blocks_max,
        };
    }
};

pub const PutError = error{ DoubleFree, InteriorPointer };

/// Where an address lies in its slab: the first slice's metadata and the offset in bytes.
pub const Spot = struct { slab: *Slice, offset: u32, back: u32 };

/// Slices lie on multiples of their size, and their metadata side by side.
pub inline fn spotOf(slice: *Slice, address: usize) Spot {
    const back = slice.back;
    return .{
        .slab = @ptrFromInt(@intFromPtr(slice) - @as(usize, back) * @sizeOf(Slice)),
        .offset = @as(u32, @truncate(address & (t.slice_size - 1))) + (back << t.slice_shift),
        .back = back,
    };
}

/// Marks blocks of one slab free. Between `begin` and `end` its counts are in registers: through
/// memory each block waited for the one before. `shape` is that of the slab's class.
pub const Puts = struct {
    slab: *Slice,
    start: usize,
    shape: Shape,
    words: [*]u64,
    fresh: u32,
    threshold: u32,
    free_count: u32,
    hint: u32,

    /// `address`: of any block of the slab.
    pub inline fn begin(spot: Spot, address: usize, shape: Shape) Puts {
        const slab = spot.slab;
        assert(shape.reciprocal == size_class.geometry[slab.class].reciprocal);
        return .{
            .slab = slab,
            .start = address - spot.offset,
            .shape = shape,
            .words = if (shape.external) slab.state.external_bits else &slab.state.bits,
            .fresh = slab.fresh,
            .threshold = slab.threshold,
            .free_count = narrow(&slab.free_count).*,
            .hint = slab.hint,
        };
    }

    /// Whether the address lies in this slab.
    pub inline fn covers(puts: *const Puts, address: usize) bool {
        return address -% puts.start < puts.shape.length;
    }

    /// Exact: an address that is no block's start, a block that is free already and one that was
    /// never handed out are refused, and nothing changes.
    pub inline fn put(puts: *Puts, address: usize) PutError!void {
        const offset: u32 = @truncate(address -% puts.start);
        const product = @as(u64, offset) * puts.shape.reciprocal;
        const block: u32 = @truncate(product >> 32);
        // The fraction says whether it is a block's start: see the test of that name.
        if (@as(u32, @truncate(product)) >= puts.shape.reciprocal) return error.InteriorPointer;
        // Also blocks past the last whole one.
        if (block >= puts.fresh) return error.InteriorPointer;
        const word = block / 64;
        const bit = @as(u64, 1) << @intCast(block % 64);
        const bits = puts.words[word];
        if (bits & bit != 0) return error.DoubleFree;
        puts.words[word] = bits | bit;
        puts.hint = @min(puts.hint, word);
        puts.free_count += 1;
    }

    /// Whether the free blocks have reached the slab's threshold.
    pub inline fn isDue(puts: *const Puts) bool {
        return puts.free_count >= puts.threshold;
    }

    pub inline fn end(puts: *const Puts) void {
        puts.slab.hint = @intCast(puts.hint);
        narrow(&puts.slab.free_count).* = @intCast(puts.free_count);
    }
};

/// A counter that is stored and loaded again soon. Volatile: else LLVM makes the load of `+=` 32
/// bits wide where the field is 4-byte aligned, and a load wider than the last store to its bytes
/// waits until that store has left the core: 3 ns of a put's 6.
inline fn narrow(counter: *u16) *volatile u16 {
    return counter;
}

/// The start of the block an address lies in; null past the last one. For checks and reports.
pub fn blockStart(id: SliceId, address: usize) ?usize {
    const slab = space.slice(id);
    const size = size_class.sizes[slab.class];
    const index = (address - space.address(id)) / size;
    if (index >= slab.block_count) return null;
    return space.address(id) + index * size;
}

/// Whether the block at this address has its live bit set or was never handed out.
pub fn isFree(id: SliceId, address: usize) bool {
    const slab = space.slice(id);
    const block: u32 = @intCast((address - space.address(id)) / size_class.sizes[slab.class]);
    if (block >= slab.fresh) return true;
    return wordsOf(slab)[block / 64] >> @intCast(block % 64) & 1 == 1;
}

/// The first free block at or after this one; the number of blocks: there is none.
pub fn nextFree(slab: *Slice, from: u32) u32 {
    if (from >= slab.fresh) return from;
    const words = wordsOf(slab);
    var word = from / 64;
    var bits = words[word] & (~@as(u64, 0) << @intCast(from % 64));
    while (bits == 0) {
        word += 1;
        if (word * 64 >= slab.fresh) return slab.fresh;
        bits = words[word];
    }
    return word * 64 + @ctz(bits); // Below `fresh`: no other bit is set.
}

/// The first block at or after this one that is not free; the number of blocks: there is none.
pub fn nextHeld(slab: *Slice, from: u32) u32 {
    if (from >= slab.fresh) return slab.block_count;
    const words = wordsOf(slab);
    var word = from / 64;
    var bits = ~words[word] & (~@as(u64, 0) << @intCast(from % 64));
    while (bits == 0) {
        word += 1;
        if (word * 64 >= slab.fresh) return slab.block_count;
        bits = ~words[word];
    }
    const block = word * 64 + @ctz(bits);
    return if (block >= slab.fresh) slab.block_count else block;
}

/// The counting equation.
pub fn check(id: SliceId) void {
    const slab = space.slice(id);
    assert(slab.fresh <= slab.block_count);
    assert(slab.free_count <= slab.block_count);
    var set_bits: u32 = 0;
    const words = wordsOf(slab);
    for (0..(slab.block_count + 63) / 64) |word| {
        set_bits += @popCount(words[word]);
        if (word < slab.hint) assert(words[word] == 0);
    }
    assert(slab.free_count == set_bits + (slab.block_count - slab.fresh));
    holes.check(id);
}

/// For tests.
pub fn putAt(address: usize) PutError!void {
    const finder: Finder = .init();
    const spot = spotOf(finder.find(address).?.slice, address);
    var puts: Puts = .begin(spot, address, .of(spot.slab.class));
    try puts.put(address);
    assert(!puts.isDue()); // A current slab has no threshold.
    puts.end();
}

/// For tests.
pub fn prepare() !void {
    if (space.count() == 0) {
        region.arena.add(space.reserveNext(true, 0) orelse return error.OutOfMemory, 1);
    }
}

test {
    _ = holes;
}

test "slab: every class, take all, put in random order, take again" {
    try prepare();
    var prng: std.Random.DefaultPrng = .init(7);
    const random = prng.random();
    var slots: [t.slab_blocks_max]usize = undefined;
    for (1..size_class.small_count + 1) |class| {
        const id = create(@intCast(class), 0x2020, 1);
        const blocks = size_class.geometry[class].blocks;
        for (0..2) |_| {
            var taken: u32 = 0;
            while (taken < blocks) {
                const got = take(id, slots[taken..].ptr, 1 + random.uintLessThan(u32, 70));
                try std.testing.expect(got > 0);
                taken += got;
            }
            try std.testing.expectEqual(blocks, taken);
            try std.testing.expectEqual(@as(u32, 0), take(id, slots[0..].ptr, 0));
            random.shuffle(usize, slots[0..blocks]);
            for (slots[0..blocks], 0..) |address, n| {
                try std.testing.expectEqual(address, blockStart(id, address).?);
                try std.testing.expect(!isFree(id, address));
                try putAt(address);
                try std.testing.expect(isFree(id, address));
                if (n % 97 == 0) try std.testing.expectError(error.DoubleFree, putAt(address));
            }
            check(id);
        }
        destroy(id, 1);
    }
    region.run_allocator.check(1);
}

test "put: the fraction of offset / size tells a block's start" {
    for (1..size_class.small_count + 1) |class| {
        const shape: Shape = .of(@intCast(class));
        for (0..size_class.geometry[class].slices * t.slice_size) |offset| {
            const fraction: u32 = @truncate(offset * shape.reciprocal);
            const starts = offset % size_class.sizes[class] == 0;
            try std.testing.expectEqual(starts, fraction < shape.reciprocal);
        }
    }
}

test "slab: no block twice, none outside, interior pointers refused" {
    try prepare();
    const class = size_class.classOf(48);
    const id = create(class, 0x2020, 1);
    var slots: [10]usize = undefined;
    try std.testing.expectEqual(@as(u32, 10), take(id, &slots, 10));
    for (slots, 0..) |address, index| {
        try std.testing.expectEqual(space.address(id) + index * 48, address);
    }
    try std.testing.expectError(error.InteriorPointer, putAt(slots[3] + 16));
    // Never handed out.
    try std.testing.expectError(error.InteriorPointer, putAt(slots[9] + 48));
    for (slots) |address| try putAt(address);
    destroy(id, 1);
}

test "slab: the system refuses the n-th call" {
    try prepare();
    const space_os = @import("os");
    for (1..12) |n| {
        space_os.fake.failCall(n);
        const id = create(1, 0x2020, 1);
        space_os.fake.failNone();
        if (id != 0) destroy(id, 1);
        region.run_allocator.check(1);
    }
}

//! Medium blocks (32 KiB to 2 MiB): runs of their own, with magazines as the run cache. And large
//! ones up to the mmap threshold: runs of exact length without a magazine. Owner's slow path.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;
const space = region.space;
const heaps = @import("heap.zig");
const magazine = @import("magazine.zig");
const registry = @import("registry.zig");
const Heap = heaps.Heap;

/// A block and whether its memory is known to be zero, in one word: see run_allocator.Run.
pub const Block = packed struct(usize) {
    zero: bool,
    rest: u63,

    pub const none: Block = @bitCast(@as(usize, 0));

    pub inline fn init(at: usize, zero: bool) Block {
        return @bitCast(at | @intFromBool(zero));
    }

    /// 0: there is none.
    pub inline fn address(block: Block) usize {
        return @as(usize, @bitCast(block)) & ~@as(usize, 1);
    }
};

/// A fresh run of a medium class; none when the system refuses.
pub fn alloc(heap: *Heap, class: u32) Block {
    return allocFor(.block, heap, class);
}

/// The same for what a block is.
pub noinline fn allocFor(use: region.run_allocator.Use, heap: *Heap, class: u32) Block {
    assert(class > size_class.small_count);
    heap.medium_frees = 0;
    open(heap, class);
    releaseTooMany(heap);
    heap.medium_ticks +%= 1;
    if (heap.medium_ticks % t.medium_scan_period == 0) releaseOldest(heap);
    const slices = size_class.geometry[class].slices;
    const run = region.run_allocator.allocFor(use, slices, heap.id);
    if (run.isNone()) return .none;
    space.slice(run.first).class = @intCast(class);
    // monotonic: as in slab.create.
    space.entry(run.first).store(heap.entryOf(class), .monotonic);
    heap.large.blocks_taken += 1;
    heap.large.bytes_taken += size_class.sizes[class];
    return .init(space.address(run.first), run.zero);
}

/// Puts a run into its magazine if it is open, and gives the oldest one back for it.
pub noinline fn push(heap: *Heap, class: u32, address: usize) void {
    const bin = heap.bin(class);
    if (bin.isFull()) {
        heap.medium_frees += 1;
        if (heap.medium_frees == t.medium_frees_max) close(heap);
        // Closed, or never opened.
        if (bin.limit == bin.base) return giveBack(heap, class, address);
        const oldest = bin.base[0];
        const filled = magazine.count(bin);
        @memmove(bin.base[0 .. filled - 1], bin.base[1..filled]);
        base.compilerBarrier();
        bin.top -= 1;
        giveBack(heap, class, oldest);
    }
    bin.top[0] = address;
    base.compilerBarrier();
    bin.top += 1;
}

/// A closed magazine is empty and full: frees pass it by. The next allocation that misses opens
/// it again: a thread that only frees keeps no run.
fn close(heap: *Heap) void {
    releaseAll(heap);
    for (size_class.small_count + 1..size_class.count) |class| {
        const bin = heap.bin(@intCast(class));
        bin.limit = bin.base;
    }
}

fn open(heap: *Heap, class: u32) void {
    const bin = heap.bin(class);
    if (bin.capacity == 0) {
        // Without memory for a slot the class does without a magazine.
        _ = magazine.grow(heap, class);
    } else bin.limit = bin.base + bin.capacity;
}

/// A block that grows passes through all classes, and would leave a run in each. Emptied, not
/// closed: this may be a handler within a free that has found its magazine open; it would leave
/// a block in a closed one, which a later handler's pair could give out twice.
fn releaseTooMany(heap: *Heap) void {
    if (heldBytes(heap) > heldMax(region.run_allocator.liveBytes())) releaseAll(heap);
}

/// Bytes that medium magazines may hold together, with so many live, when another run is taken.
pub fn heldMax(live: usize) usize {
    const share = live / t.medium_held_share / @max(registry.activeCount(), 1);
    return t.medium_held_min + @min(share, region.purge.idleMax(live));
}

/// A run back to the run allocator, if the slice map agrees that it is ours and begins there.
pub noinline fn giveBack(heap: *Heap, class: u32, address: usize) void {
    const id = space.find(address) orelse os.report.misuse("free", address, "foreign pointer");
    // monotonic: own entry.
    if (space.entry(id).load(.monotonic) != heap.entryOf(class)) {
        os.report.misuse("free", address, "double free");
    }
    if (space.address(id) != address) os.report.misuse("free", address, "interior pointer");
    heap.large.blocks_returned += 1;
    heap.large.bytes_returned += size_class.sizes[class];
    space.entry(id).store(0, .monotonic); // Nobody else holds the block.
    region.run_allocator.free(id, size_class.geometry[class].slices, false, heap.id);
}

/// One run of each medium magazine back, the oldest: what is not used leaves in time.
fn releaseOldest(heap: *Heap) void {
    for (size_class.small_count + 1..size_class.count) |index| {
        const class: u32 = @intCast(index);
        const bin = heap.bin(class);
        const filled = magazine.count(bin);
        if (filled == 0) continue;
        const oldest = bin.base[0];
        @memmove(bin.base[0 .. filled - 1], bin.base[1..filled]);
        base.compilerBarrier();
        bin.top -= 1;
        giveBack(heap, class, oldest);
    }
}

/// Bytes of runs that medium magazines hold.
pub fn heldBytes(heap: *const Heap) usize {
    var bytes: usize = 0;
    for (size_class.small_count + 1..size_class.count) |class| {
        bytes += magazine.count(&heap.bins[class]) * @as(usize, size_class.sizes[class]);
    }
    return bytes;
}

/// When memory is about to return to the system: the magazines of a heap that has shrunk, which a
/// program that only frees large blocks would never come by, count as part of the reserve.
pub noinline fn releaseExcess(heap: *Heap) void {
    const live = region.run_allocator.liveBytes();
    const held = heldBytes(heap);
    if (held > @max(heldMax(live -| held), t.medium_size_max)) releaseAll(heap);
}

/// Every run of every medium magazine back. For exit and trim.
pub noinline fn releaseAll(heap: *Heap) void {
    for (size_class.small_count + 1..size_class.count) |index| {
        const bin = heap.bin(@intCast(index));
        while (bin.top != bin.base) {
            const block = (bin.top - 1)[0];
            bin.top -= 1;
            base.compilerBarrier();
            giveBack(heap, @intCast(index), block);
        }
    }
}

/// A block of exact length, on a multiple of `alignment` (a power of two); none when the system
/// refuses. Its size is counted by the slices of its run.
pub fn allocLarge(heap: *Heap, size: usize, alignment: usize) Block {
    const slices = slicesOf(size) orelse return .none;
    const holder = heap.id;
    const got = if (alignment <= t.slice_size)
        region.run_allocator.alloc(slices, holder)
    else
        region.run_allocator.allocAligned(slices, @intCast(alignment >> t.slice_shift), holder);
    if (got.isNone()) return .none;
    heap.large.blocks_taken += 1;
    heap.large.bytes_taken += @as(u64, slices) << t.slice_shift;
    space.entry(got.first).store(heaps.entry_large, .monotonic); // As in slab.create.
    return .init(space.address(got.first), got.zero);
}

pub fn slicesOf(size: usize) ?u32 {
    const slices = (size >> t.slice_shift) + @intFromBool(size % t.slice_size != 0);
    if (slices >= t.region_slices_max) return null;
    return @intCast(@max(slices, 1));
}

/// Frees a large block. The caller knows that the map says so.
pub fn freeLarge(heap: *Heap, id: region.SliceId, address: usize) void {
    if (space.address(id) != address) os.report.misuse("free", address, "interior pointer");
    const slices = space.slice(id).length;
    heap.large.blocks_returned += 1;
    heap.large.bytes_returned += @as(u64, slices) << t.slice_shift;
    space.entry(id).store(0, .monotonic); // Nobody else holds the block.
    region.run_allocator.free(id, slices, false, heap.id);
}

/// Grows or shrinks a large block where it is. False: its neighbour is in the way.
pub fn resizeLarge(heap: *Heap, id: region.SliceId, size: usize) bool {
    const slices_new = slicesOf(size) orelse return false;
    const slices = space.slice(id).length;
    const entry = heaps.entry_large;
    if (!region.run_allocator.resize(id, slices, slices_new, entry, heap.id)) return false;
    if (slices_new > slices) {
        heap.large.bytes_taken += @as(u64, slices_new - slices) << t.slice_shift;
    } else heap.large.bytes_returned += @as(u64, slices - slices_new) << t.slice_shift;
    return true;
}

/// Grows or shrinks a medium block of this heap where it is, to a size above the small ones: it
/// changes its class, or becomes a large one. False: it is another heap's, or a neighbour is in the
/// way.
pub fn resizeMedium(heap: *Heap, id: region.SliceId, entry: u32, size: usize) bool {
    assert(size > t.small_size_max);
    if ((entry ^ heap.tag) > heaps.bin_offset_mask) return false;
    const class = heaps.classOfEntry(entry);
    assert(class > size_class.small_count);
    const slices = size_class.geometry[class].slices;
    const is_large = size > t.medium_size_max;
    const class_new = if (is_large) 0 else size_class.classOf(size);
    const slices_new = if (is_large) slicesOf(size) orelse return false else blk: {
        break :blk size_class.geometry[class_new].slices;
    };
    const entry_new = if (is_large) heaps.entry_large else heap.entryOf(class_new);
    if (!region.run_allocator.resize(id, slices, slices_new, entry_new, heap.id)) return false;
    if (!is_large) space.slice(id).class = @intCast(class_new);
    heap.large.bytes_returned += size_class.sizes[class];
    heap.large.bytes_taken += if (is_large)
        @as(u64, slices_new) << t.slice_shift
    else
        size_class.sizes[class_new];
    return true;
}

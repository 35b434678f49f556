//! The slow paths: every call that the fast paths did not finish. Sorts out who calls (a thread
//! with a heap, a new one, an exited one, a signal handler inside a slow path) and what for.
//!
//! No call here sets errno; null, or 0 for an address, means out of memory. A free never fails.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const build_options = @import("build_options");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;
const space = region.space;
const heaps = @import("heap.zig");
const emergency = @import("emergency.zig");
const explicit = @import("explicit.zig");
const fork = @import("fork.zig");
const lookup = @import("lookup.zig");
const magazine = @import("magazine.zig");
const medium = @import("medium.zig");
const partial_slabs = @import("partial_slabs.zig");
const remote_free = @import("remote_free.zig");
const sparse_slabs = @import("sparse_slabs.zig");
const thread = @import("thread.zig");
const watched = @import("watched.zig");
const Heap = heaps.Heap;

/// Option `mmap_threshold`: blocks above it have a mapping of their own. Set at start-up.
pub var mmap_threshold: usize = t.mmap_threshold_default;

pub const Block = medium.Block;

/// A slow call in progress.
pub const Call = struct {
    heap: *Heap,
    /// The sentinel to return to when the shared heap is used.
    place: ?*const Heap,

    /// Null: nested in another slow call of this thread, or no heap can be had.
    pub inline fn begin() ?Call {
        const heap = heaps.current();
        if (heap.isSentinel()) return beginWithout(heap);
        if (heap.busy) return null;
        return beginWith(heap, null);
    }

    fn beginWithout(place: *Heap) ?Call {
        @branchHint(.cold);
        if (thread.isBooting(place)) return null;
        if (place == heaps.sentinelOf(.empty)) {
            if (thread.attach()) |heap| return beginWith(heap, null);
        }
        return beginWith(thread.enterShared(place) orelse return null, place);
    }

    inline fn beginWith(heap: *Heap, place: ?*const Heap) Call {
        heap.busy = true;
        base.compilerBarrier();
        if (fork.happened()) fork.repair(heap, heap.id);
        heap.ticks +%= 1;
        if (heap.ticks % t.post_period == 0) {
            remote_free.postAll(heap, .allowed);
            if (region.huge_block.hasKept()) {
                region.huge_block.dropKept(t.swing_window_ms, heap.id);
            }
        }
        return .{ .heap = heap, .place = place };
    }

    pub inline fn end(call: Call) void {
        const heap = call.heap;
        if (heap.parked_count != 0) freeParked(heap);
        if (region.run_allocator.isPurgeDue()) giveBackMemory(heap);
        if (base.verify and heap.ticks % t.verify_period == 0) heaps.check(heap);
        base.compilerBarrier();
        heap.busy = false;
        if (call.place) |place| return endShared(heap, place);
        if (!heap.hooked) thread.hook(heap);
    }

    noinline fn giveBackMemory(heap: *Heap) void {
        const growth = region.run_allocator.takeGrowth(heap.id);
        if (growth != 0) {
            sparse_slabs.sweep(heap, growth);
            if (region.huge_block.hasKept()) region.huge_block.dropExcess(heap.id);
        }
        if (!region.run_allocator.isPurgeDue()) return;
        medium.releaseExcess(heap);
        magazine.noteShrinking(heap);
        region.run_allocator.purgeDue(heap.id);
    }

    fn endShared(heap: *Heap, place: *const Heap) void {
        @branchHint(.cold);
        // Nobody comes by to post later what an exited thread has freed.
        thread.postEverything(heap);
        thread.leaveShared(place);
    }
};

/// A block of at least `size` bytes, 16-byte aligned; 0 when the system refuses or `size` is over
/// PTRDIFF_MAX. Not an optional: see run_allocator.Run.
pub noinline fn allocate(size: usize) usize {
    if (watched.isOn()) return watched.allocate(size, 16);
    return allocatePlain(size);
}

pub inline fn allocatePlain(size: usize) usize {
    const call = Call.begin() orelse return emergency.alloc(size, 16) orelse 0;
    const block = allocateIn(call.heap, size);
    call.end();
    return block;
}

fn allocateIn(heap: *Heap, size: usize) usize {
    const block = allocateOnce(heap, size);
    if (block != 0 or !dropForRoom(heap)) return block;
    return allocateOnce(heap, size);
}

/// What is kept of huge blocks may be all that is missing under a limit. Whether there was some.
fn dropForRoom(heap: *Heap) bool {
    @branchHint(.cold);
    if (!region.huge_block.hasKept()) return false;
    region.huge_block.dropKept(0, heap.id);
    return true;
}

fn allocateOnce(heap: *Heap, size: usize) usize {
    if (size > t.medium_size_max) return allocateBig(heap, size, 16);
    if (size <= t.table_size_max) {
        return takeSmall(heap, heap.table[size_class.unitsOf(size)] / @sizeOf(heaps.Bin));
    }
    const class = size_class.classOf(size);
    if (class <= size_class.small_count) return takeSmall(heap, class);
    const cached = takeCached(heap.bin(class));
    return if (cached != 0) cached else medium.alloc(heap, class).address();
}

/// A block of a small class, by the heap's owner; 0 when there is none.
pub inline fn takeSmall(heap: *Heap, class: u32) usize {
    const cached = takeCached(heap.bin(class));
    return if (cached != 0) cached else magazine.refill(heap, class);
}

/// The newest block of a magazine; 0: it is empty.
inline fn takeCached(bin: *heaps.Bin) usize {
    const newest = (bin.top - 1)[0];
    if (newest == 0) return 0;
    bin.top -= 1;
    if (build_options.checks) checkOut(newest);
    return newest;
}

fn checkOut(block: usize) void {
    const id = space.find(block).?;
    lookup.checkBlock("malloc", block, id, space.entry(id).load(.monotonic)); // Own block.
}

/// For a block that need not be zero.
fn allocateBig(heap: *Heap, size: usize, alignment: usize) usize {
    if (size > mmap_threshold and size <= std.math.maxInt(isize)) {
        if (region.huge_block.allocKept(size, alignment, heap.id)) |address| return address;
    }
    return allocateFresh(heap, size, alignment).address();
}

fn allocateFresh(heap: *Heap, size: usize, alignment: usize) Block {
    if (size > std.math.maxInt(isize)) return .none;
    if (size <= mmap_threshold and alignment <= mmap_threshold) {
        const block = medium.allocLarge(heap, size, alignment);
        if (block != Block.none) return block;
        // Regions are small under a limit of address space: a mapping of its own may still fit.
    }
    const address = region.huge_block.alloc(size, alignment, 0, heap.id) orelse blk: {
        const dropped = dropForRoom(heap);
        releaseIdle(heap);
        if (!region.limits.makeRoom(heap.id) and !dropped) return .none;
        break :blk region.huge_block.alloc(size, alignment, 0, heap.id) orelse return .none;
    };
    return .init(address, true);
}

/// Gives back the runs that the heap holds and does not use, but for what its small magazines keep:
/// a handler may have interrupted one of their hit paths.
fn releaseIdle(heap: *Heap) void {
    @branchHint(.cold);
    medium.releaseAll(heap);
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    partial_slabs.releaseEmpty(heap);
}

/// The same for calloc above the small classes: says whether the block is known to be zero.
pub noinline fn allocateZeroed(size: usize) Block {
    assert(size > t.small_size_max);
    if (watched.isOn()) return .init(watched.allocate(size, 16), false);
    const call = Call.begin() orelse {
        const address = emergency.alloc(size, 16) orelse return .none;
        return .init(address, true);
    };
    const block = allocateZeroedIn(call.heap, size);
    call.end();
    return block;
}

fn allocateZeroedIn(heap: *Heap, size: usize) Block {
    if (size > t.medium_size_max) return allocateFresh(heap, size, 16);
    const class = size_class.classOf(size);
    const bin = heap.bin(class);
    const newest = (bin.top - 1)[0];
    if (newest != 0) {
        bin.top -= 1;
        return .init(newest, false);
    }
    const block = medium.alloc(heap, class);
    if (block != Block.none or !dropForRoom(heap)) return block;
    return medium.alloc(heap, class);
}

/// A block whose address is a multiple of `alignment`, a power of two over 16. Its class is one
/// whose blocks all are; beyond the slice size it is a run of exact length.
pub noinline fn allocateAligned(size: usize, alignment: usize) usize {
    assert(std.math.isPowerOfTwo(alignment));
    if (watched.isOn()) return watched.allocate(size, alignment);
    return allocateAlignedPlain(size, alignment);
}

pub inline fn allocateAlignedPlain(size: usize, alignment: usize) usize {
    if (size > std.math.maxInt(isize) or alignment > std.math.maxInt(isize)) return 0;
    const call = Call.begin() orelse return emergency.alloc(size, alignment) orelse 0;
    const block = if (alignment <= t.slice_size and size <= t.medium_size_max)
        allocateIn(call.heap, size_class.alignedSize(size, alignment))
    else
        allocateBig(call.heap, @max(size, 1), alignment);
    call.end();
    return block;
}

/// A block with a mapping of its own and room to grow: what realloc grows moves there once. Null
/// also when there are so many that mappings might run out.
pub noinline fn allocateWithRoom(size: usize) ?usize {
    if (size > std.math.maxInt(isize)) return null;
    const own_mappings = region.huge_block.table.count.load(.monotonic); // A statistic will do.
    if (own_mappings >= t.own_mappings_with_room_max) return null;
    const call = Call.begin() orelse return null;
    defer call.end();
    if (region.huge_block.allocKept(size, 16, call.heap.id)) |address| return address;
    const room = std.math.mul(usize, size, 2) catch size;
    return region.huge_block.alloc(size, 16, room, call.heap.id);
}

/// A medium block where one that grows may grow on; 0: the size is none of a medium block, or there
/// is none to be had.
pub noinline fn allocateGrown(size: usize) usize {
    if (size <= t.small_size_max or size > t.medium_size_max or watched.isOn()) return 0;
    const call = Call.begin() orelse return 0;
    defer call.end();
    return medium.allocFor(.growing, call.heap, size_class.classOf(size)).address();
}

/// Changes the size of a block above the small ones, to a size above the small ones, where it is or
/// by moving pages. The address now; null: it cannot be done without copying.
pub noinline fn resizeInPlace(pointer: usize, size: usize) ?usize {
    if (size > std.math.maxInt(isize)) return null;
    const id = space.find(pointer) orelse {
        const call = Call.begin() orelse return null;
        defer call.end();
        return region.huge_block.resize(pointer, size, call.heap.id);
    };
    const entry = space.entry(id).load(.monotonic); // The caller's block.
    const is_large = entry == heaps.entry_large;
    if (!is_large and heaps.classOfEntry(entry) <= size_class.small_count) return null;
    const call = Call.begin() orelse return null;
    defer call.end();
    const done = if (is_large)
        medium.resizeLarge(call.heap, id, size)
    else
        medium.resizeMedium(call.heap, id, entry, size);
    return if (done) pointer else null;
}

/// Frees the block that a growing one was, which is of this allocator; a medium one past its
/// magazine, so that what lies before it may grow over it.
pub noinline fn freeGrown(pointer: usize) void {
    if (!freePastMagazine(pointer)) _ = free(pointer, "realloc");
}

/// False: it is no medium block, or a slow call was interrupted.
fn freePastMagazine(pointer: usize) bool {
    // Emergency memory and own mappings lie elsewhere.
    const id = space.find(pointer) orelse return false;
    const entry = space.entry(id).load(.monotonic); // The caller's block.
    if (entry == heaps.entry_large or heaps.classOfEntry(entry) <= size_class.small_count) {
        return false;
    }
    if (explicit.ownerOf(entry) != null) return false;
    const call = Call.begin() orelse return false;
    defer call.end();
    freeMedium(.past_magazine, call.heap, pointer, id, entry, "realloc");
    return true;
}

/// Frees any pointer; false: it is foreign. `function` names the caller in a report.
pub noinline fn free(pointer: usize, function: []const u8) bool {
    if (pointer == 0) return true;
    if (watched.isOn()) return watched.free(pointer, function);
    return freePlain(pointer, function);
}

pub inline fn freePlain(pointer: usize, function: []const u8) bool {
    const id = space.find(pointer) orelse return freeOutside(pointer, function);
    const entry = space.entry(id).load(.monotonic); // See slab.create.
    if (entry == 0 or pointer % 16 != 0) {
        os.report.misuse(function, pointer, lookup.reasonInvalid(pointer, id));
    }
    const call = Call.begin() orelse {
        parkNested(pointer);
        return true;
    };
    defer call.end();
    freeIn(call.heap, pointer, id, entry, function);
    return true;
}

/// For a free whose owner is another heap (the fast path has looked the entry up).
pub noinline fn freeForeignOwner(pointer: usize, entry: u32, function: []const u8) void {
    if (remote_free.pushFast(heaps.current(), pointer, entry)) return;
    // With the entry that was read first: see explicit.zig.
    if (explicit.ownerOf(entry) != null) return freeExplicit(pointer, entry, function);
    _ = free(pointer, function);
}

noinline fn freeExplicit(pointer: usize, entry: u32, function: []const u8) void {
    @branchHint(.cold);
    const call = Call.begin() orelse return parkNested(pointer);
    defer call.end();
    explicit.free(explicit.ownerOf(entry) orelse return, pointer, entry, function, call.heap.id);
}

/// Whether the address lies in a freed huge block that is kept for reuse.
pub fn isKept(pointer: usize) bool {
    const huge = &region.huge_block;
    return huge.hasKept() and huge.isKept(pointer, thread.holder());
}

fn freeOutside(pointer: usize, function: []const u8) bool {
    @branchHint(.cold);
    if (emergency.contains(pointer)) {
        emergency.free(pointer);
        return true;
    }
    if (region.huge_block.usableSize(pointer) == null) {
        if (isKept(pointer)) os.report.misuse(function, pointer, "double free");
        if (!region.huge_block.table.contains(pointer)) return false;
        const misaligned = pointer % 16 != 0;
        const reason = if (misaligned) "misaligned pointer" else "interior pointer";
        os.report.misuse(function, pointer, reason);
    }
    const call = Call.begin() orelse {
        parkNested(pointer);
        return true;
    };
    defer call.end();
    if (!region.huge_block.free(pointer, call.heap.id)) {
        os.report.misuse(function, pointer, "double free");
    }
    return true;
}

/// A free inside a slow call of the same thread waits for the end of that call.
fn parkNested(pointer: usize) void {
    @branchHint(.cold);
    const heap = heaps.current();
    // Between states there is no heap to keep it: the block is lost.
    if (heap.isSentinel()) return;
    remote_free.park(heap, pointer);
}

/// Does nothing but what every slow call does at its ends: repairs after a fork, frees what was
/// parked.
pub noinline fn settle() void {
    const call = Call.begin() orelse return;
    call.end();
}

/// Frees what nested calls parked, at the end of a slow call.
noinline fn freeParked(heap: *Heap) void {
    @branchHint(.cold);
    while (heap.parked_count != 0) {
        const count = heap.parked_count;
        const pointer = heap.cold.parked[count - 1];
        heap.parked_count = count - 1;
        base.compilerBarrier();
        freeOne(heap, pointer);
        // Parked again (no memory for a message, or a handler just now): for the next call.
        if (heap.parked_count >= count) return;
    }
}

/// A pointer that was looked up once before.
fn freeOne(heap: *Heap, pointer: usize) void {
    if (space.find(pointer)) |id| {
        const entry = space.entry(id).load(.monotonic); // See slab.create.
        if (entry == 0) os.report.misuse("free", pointer, lookup.reasonInvalid(pointer, id));
        return freeIn(heap, pointer, id, entry, "free");
    }
    if (!region.huge_block.free(pointer, heap.id)) {
        os.report.misuse("free", pointer, "double free");
    }
}

fn freeIn(heap: *Heap, pointer: usize, id: region.SliceId, entry: u32, function: []const u8) void {
    if (entry == heaps.entry_large) return medium.freeLarge(heap, id, pointer);
    const own = (entry ^ heap.tag) <= heaps.bin_offset_mask;
    if (!own) if (explicit.ownerOf(entry)) |owner| {
        return explicit.free(owner, pointer, entry, function, heap.id);
    };
    if (build_options.checks) lookup.checkBlock(function, pointer, id, entry);
    const class = heaps.classOfEntry(entry);
    if (class > size_class.small_count) {
        return freeMedium(.to_magazine, heap, pointer, id, entry, function);
    }
    if (!own) return remote_free.push(heap, pointer, entry, .allowed);
    putSmall(heap, pointer, entry, function);
}

/// Frees a small block of this heap, by its owner.
pub fn putSmall(heap: *Heap, pointer: usize, entry: u32, function: []const u8) void {
    const class = heaps.classOfEntry(entry);
    const bin = heap.bin(class);
    if (build_options.checks) checkMagazine(bin, pointer, function);
    if ((bin.top - 1)[0] == pointer) os.report.misuse(function, pointer, "double free");
    if (bin.isFull()) magazine.makeRoom(heap, class);
    if (bin.isFull()) {
        // Not even memory for slots: straight into the bits.
        heap.lock.acquire(heap.id);
        defer heap.lock.release();
        return magazine.putBack(heap, class, &.{pointer}, entry);
    }
    bin.top[0] = pointer;
    base.compilerBarrier();
    bin.top += 1;
}

fn checkMagazine(bin: *const heaps.Bin, pointer: usize, function: []const u8) void {
    for (bin.base[0..magazine.count(bin)]) |block| {
        if (block == pointer) os.report.misuse(function, pointer, "double free");
    }
}

fn freeMedium(
    comptime way: enum { to_magazine, past_magazine },
    heap: *Heap,
    pointer: usize,
    id: region.SliceId,
    entry: u32,
    function: []const u8,
) void {
    if (space.address(id) != pointer) os.report.misuse(function, pointer, "interior pointer");
    const class = heaps.classOfEntry(entry);
    const bin = heap.bin(class);
    if (build_options.checks) checkMagazine(bin, pointer, function);
    if ((bin.top - 1)[0] == pointer) os.report.misuse(function, pointer, "double free");
    const mine = heap.entryOf(class);
    // A run changes its owner by its entry alone. cmpxchg: of two threads that free it, one sees
    // that it was free already. monotonic: the block itself is handed over by the application.
    if (entry != mine and
        space.entry(id).cmpxchgStrong(entry, mine, .monotonic, .monotonic) != null)
    {
        os.report.misuse(function, pointer, "double free");
    }
    switch (way) {
        .to_magazine => medium.push(heap, class, pointer),
        .past_magazine => medium.giveBack(heap, class, pointer),
    }
}

/// Gives back what the calling thread's magazines, the inboxes of all threads and the run allocator
/// hold. Bytes returned to the system, which keeps at most `keep` bytes of dirty runs.
pub fn trim(keep: usize) usize {
    const call = Call.begin() orelse return 0;
    defer call.end();
    const heap = call.heap;
    const purged = &region.purge.purged_bytes;
    const before = purged.load(.monotonic); // A statistic; own purges are in order.
    heap.lock.acquire(heap.id);
    while (!heap.inbox.isEmpty()) {
        remote_free.drain(heap, heap, t.drain_messages_max, false);
    }
    heap.lock.release();
    magazine.flushAll(heap);
    medium.releaseAll(heap);
    heap.lock.acquire(heap.id);
    partial_slabs.releaseEmpty(heap);
    sparse_slabs.sweepAll(heap);
    heap.lock.release();
    remote_free.postAll(heap, .allowed);
    remote_free.drainOthers(heap);
    remote_free.postAll(heap, .allowed);
    const kept = region.huge_block.cache.bytes.load(.monotonic); // A statistic.
    region.huge_block.dropAll(heap.id);
    region.run_allocator.trim(keep, heap.id);
    region.limits.giveBack(0, heap.id);
    return kept + (purged.load(.monotonic) - before);
}

/// Checks the calling thread's heap and what it stands on. For tests.
pub fn check() void {
    const call = Call.begin() orelse return;
    defer call.end();
    heaps.check(call.heap);
    emergency.check();
    region.run_allocator.check(call.heap.id);
    region.arena.check(call.heap.id);
    region.huge_block.check(call.heap.id);
}

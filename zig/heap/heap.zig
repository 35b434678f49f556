//! The heap of a thread: one magazine per size class, the partial slabs they are filled from, the
//! frees on their way to other heaps. The two fast paths are here; everything else is `slow`.
//!
//! Who may touch what. The owner thread alone: bins, outgoing, busy, parked. Under `lock` (which
//! the owner takes in its slow path, thieves and helpers by tryAcquire): slabs, current,
//! partial, draining the inbox. Any thread: pushing to the inbox; reading id, tag, state.
//!
//! A block is at every instruction in at most one of {application, magazine, live bits, outgoing
//! message, inbox}: it is taken out first and put in second. A fork's snapshot may leak, never
//! duplicate.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const build_options = @import("build_options");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;
pub const space = region.space;
const SliceId = region.SliceId;

pub const emergency = @import("emergency.zig");
pub const explicit = @import("explicit.zig");
pub const fork = @import("fork.zig");
pub const lookup = @import("lookup.zig");
pub const magazine = @import("magazine.zig");
pub const medium = @import("medium.zig");
pub const message = @import("message.zig");
pub const partial_slabs = @import("partial_slabs.zig");
pub const registry = @import("registry.zig");
pub const remote_free = @import("remote_free.zig");
const shared_pages = @import("shared_pages.zig");
pub const slow = @import("slow.zig");
pub const thread = @import("thread.zig");
pub const watched = @import("watched.zig");

/// A magazine: free blocks of one class, a stack. slots[-1] is 0, so that the newest entry of an
/// empty one reads as "none". The blocks are base[0..top-base]; full when top >= limit. Base and
/// limit are a window that moves up through a larger array when the oldest blocks leave.
pub const Bin = extern struct {
    top: [*]allowzero usize,
    limit: [*]allowzero usize,
    base: [*]allowzero usize,
    /// Slots behind `base`; 0: the shared dummy, which is empty and full.
    capacity: u16,
    /// Refills since the last overflow, and overflows since the last refill, 255 at most.
    refills: u8,
    overflows: u8,
    /// Slots of the array, the first (the sentinel's) apart: so far the magazine grows in place.
    room: u16,
    /// The heap's shrinkings that this magazine has followed.
    shrinkings: u8,
    /// Steps of `window_step` slots by which `base` stands above the array's beginning.
    steps: u8,

    pub inline fn isFull(bin: *const Bin) bool {
        return @intFromPtr(bin.top) >= @intFromPtr(bin.limit);
    }
};

/// In the slice map and in `tag` an owner's id stands above the byte offset of a bin.
pub const bin_offset_bits = 13;
pub const bin_offset_mask = (1 << bin_offset_bits) - 1;
/// No heap has this id; the sentinels carry it.
pub const id_none = 0x7ffff;
/// Map entries of runs without a bin: blocks of exact length.
pub const id_large = 0x7fffe;

pub const State = enum(u8) {
    /// Its thread lives.
    active = 0,
    /// Its thread is gone; anybody may adopt it, steal its slabs, drain its inbox.
    orphan = 1,
    /// Torn by a fork: never used again, what is freed into it is forgotten.
    set_aside = 2,
    /// One of the three shared constants below.
    sentinel = 3,
    /// No thread's: see explicit.zig. For good, or until a fork tears it.
    explicit = 4,
};

const table_length = t.table_size_max / 16 + 1;

/// Bytes and blocks that went out of slabs and runs and came back: written by whoever holds the
/// lock (or by the owner, for medium runs), read without order by statistics.
pub const Traffic = extern struct {
    blocks_taken: u64 = 0,
    blocks_returned: u64 = 0,
    bytes_taken: u64 = 0,
    bytes_returned: u64 = 0,
};

/// What a thread that calls malloc and free once does not touch: it lies with that of other heaps.
pub const Cold = extern struct {
    /// Under the lock: the partial slabs of each class, by free share.
    partial: [size_class.small_count + 1][partial_slabs.list_count]SliceId,
    /// The owner's.
    parked: [t.parked_max]usize,
    /// Set once, before the heap is published: null in heaps of threads.
    explicit: ?*explicit.Explicit,
};

pub const Heap = extern struct {
    bins: [size_class.count]Bin,
    /// id << 13. An entry of the slice map xor this is a bin's offset when the owner is this heap.
    /// As wide as an address, or the offset would be widened by an instruction of its own.
    tag: u64,
    id: u32,
    /// Bin offset by size_class.unitsOf. The owner's; shared_pages.zig changes it.
    table: [table_length]u16,
    /// Set while the owner is in a slow path: what a signal handler then calls takes care of it.
    busy: bool,
    /// Whether the exit hook of the thread is set; rounds of destructors it has seen.
    hooked: bool,
    exit_rounds: u8,
    /// Written by the owner (exit: seq_cst, before it looks at the inbox once more; adoption),
    /// read by posters after their push (seq_cst): one of the two sees the other.
    state: base.atomic.Value(State),
    parked_count: u32,
    outgoing: [t.outgoing_slots]remote_free.Outgoing,
    // Sentinels end here.
    messages: ?*message.Message,
    message_count: u32,
    lock: os.Lock,
    ticks: u32,
    /// Where its thread has the thread word, which no two living threads share; 0: no thread, or
    /// the shared heap. Written by that thread, read by its successor at the same address.
    word_address: base.atomic.Value(usize),
    /// Fresh runs taken, and frees since then that found a medium magazine full.
    medium_ticks: u32,
    medium_frees: u32,
    /// The most bytes live (of all heaps) that this heap saw since they last halved.
    live_seen: usize,
    /// The most bytes of its own slabs out (with its magazines, or in messages) since they last
    /// halved. Under the lock.
    out_seen: usize,
    /// Bytes that magazines may hold above magazine_bytes_max, of all together.
    extension: u32,
    /// How often what is live has halved, see magazine.noteShrinking and noteReturned.
    shrinkings: u8,
    /// Slots that magazines shrink to.
    slots_shrunk: u8,
    /// Under the lock: see sparse_slabs.
    idle: isize,
    sweep_class: u32,
    offers_passed: u32,
    /// Bit c: the bin of class c has slots.
    used_bins: [2]u64,
    small: Traffic,
    large: Traffic,
    inbox: message.Inbox,
    /// Under the lock: the slab a class is refilled from.
    current: [size_class.small_count + 1]SliceId,
    /// Set once, before the heap is published.
    cold: *Cold,

    pub inline fn bin(heap: *Heap, class: u32) *Bin {
        return heap.binAt(@as(usize, class) * @sizeOf(Bin));
    }

    /// The address in a register of its own. Left to itself the compiler folds it into indexed
    /// operands, and then no store to `top` is forwarded to the next load by renaming: a pair of
    /// malloc and free took 3.9 ns with, 2.4 ns without indexed operands (Golden Cove).
    inline fn binAt(heap: *Heap, offset: usize) *Bin {
        const address = @intFromPtr(heap) + offset;
        return asm (""
            : [bin] "=r" (-> *Bin),
            : [address] "0" (address),
        );
    }

    /// The map entry for blocks of a class of this heap.
    pub fn entryOf(heap: *const Heap, class: u32) u32 {
        return @intCast(heap.tag | class * @sizeOf(Bin));
    }

    pub fn isSentinel(heap: *const Heap) bool {
        return heap.state.load(.monotonic) == .sentinel; // Constant for sentinels.
    }
};

/// tag = id << 13; the magazines, slabs, outgoing frees and messages are as their files say. Only
/// the owner, in a slow call, without the lock.
pub fn check(heap: *Heap) void {
    assert(heap.busy);
    assert(heap.tag == heap.id << bin_offset_bits);
    assert(heap.parked_count <= t.parked_max);
    assert(heap.state.load(.monotonic) == .active); // Its own.
    magazine.check(heap);
    shared_pages.check(heap);
    remote_free.check(heap);
    message.check(heap);
    heap.lock.acquire(heap.id);
    defer heap.lock.release();
    partial_slabs.check(heap);
}

pub fn classOfEntry(entry: u32) u32 {
    return (entry & bin_offset_mask) / @sizeOf(Bin);
}

pub fn ownerOfEntry(entry: u32) u32 {
    return entry >> bin_offset_bits;
}

pub const entry_large: u32 = id_large << bin_offset_bits;

/// What every bin without slots points to: empty (slot -1 is 0) and full.
var dummy_slots: [2]usize = .{ 0, 0 };

/// Of a heap that has few blocks: see shared_pages.zig.
const table: [table_length]u16 = blk: {
    var result: [table_length]u16 = undefined;
    for (&result, 0..) |*offset, units| {
        offset.* = @as(u16, shared_pages.classOf(units)) * @sizeOf(Bin);
    }
    break :blk result;
};

/// The same of larger blocks, by size_class.gridOf.
const grid: [size_class.by_grid.len]u16 = blk: {
    var result: [size_class.by_grid.len]u16 = undefined;
    for (&result, size_class.by_grid) |*offset, class| offset.* = @as(u16, class) * @sizeOf(Bin);
    break :blk result;
};

/// A bin of a sentinel: empty. Nobody but `pop` looks at it; a null limit and base save two
/// relocations each, which every process would pay for.
const sentinel_bin: Bin = blk: {
    var bin = std.mem.zeroes(Bin);
    bin.top = dummy_slots[1..];
    break :blk bin;
};

/// As much of a heap as is looked at before the slow path knows a sentinel by its state.
const Front = extern struct {
    bins: [size_class.count]Bin,
    tag: u64,
    id: u32,
    rest: [front_size - @offsetOf(Heap, "table")]u8,
};
const front_size = @offsetOf(Heap, "messages");

const sentinel: Front = blk: {
    var rest: [front_size - @offsetOf(Heap, "table")]u8 = @splat(0);
    rest[@offsetOf(Heap, "state") - @offsetOf(Heap, "table")] = @backingInt(State.sentinel);
    break :blk .{
        .bins = @splat(sentinel_bin),
        .tag = id_none << bin_offset_bits,
        .id = id_none,
        .rest = rest,
    };
};

/// A bin without slots.
pub inline fn emptyBin() Bin {
    var bin = std.mem.zeroes(Bin);
    bin.top = dummy_slots[1..];
    bin.limit = bin.top;
    bin.base = bin.top;
    return bin;
}

/// Fills in what is not zero in a new heap, whose memory is zero.
pub fn initialise(heap: *Heap, cold: *Cold, id: u32) void {
    heap.cold = cold;
    // One by one: a constant array of bins would be 195 more relocations.
    for (&heap.bins) |*bin| {
        bin.* = emptyBin();
        std.mem.doNotOptimizeAway(bin);
    }
    heap.table = table;
    heap.id = id;
    heap.tag = id << bin_offset_bits;
    heap.state.store(.active, .monotonic); // Published when the registry stores the heap.
}

/// Three constants that stand for "no heap": the thread word is an offset from `empty`, so that
/// the zero word of a new thread means `empty`. Their bins are empty and full, their id owns
/// nothing: every call goes to the slow path. `booting`: the thread is between states, nested
/// calls get emergency memory. `exited`: the thread's destructors have run.
const Sentinels = extern struct { empty: Front, booting: Front, exited: Front };
const sentinels: Sentinels = .{
    .empty = sentinel,
    .booting = sentinel,
    .exited = sentinel,
};

pub const Sentinel = enum { empty, booting, exited };

pub inline fn sentinelOf(which: Sentinel) *const Heap {
    return @ptrCast(@alignCast(switch (which) {
        .empty => &sentinels.empty,
        .booting => &sentinels.booting,
        .exited => &sentinels.exited,
    }));
}

/// The calling thread's heap, or a sentinel.
pub inline fn current() *Heap {
    return @ptrFromInt(@intFromPtr(&sentinels.empty) +% os.tls.load());
}

/// The fast path of malloc up to 1024 bytes: the newest block of the magazine; null: go slow.
pub inline fn allocateSmall(size: usize) ?usize {
    assert(size <= t.table_size_max);
    const heap = current();
    return pop(heap.binAt(heap.table[size_class.unitsOf(size)]));
}

/// The same for 1025 bytes up to 2 MiB.
pub inline fn allocateMedium(size: usize) ?usize {
    assert(size <= t.medium_size_max);
    const heap = current();
    const bin = heap.binAt(grid[size_class.gridOf(size)]);
    if (build_options.checks) return null; // As in `pop`.
    if (size <= t.small_size_max) return pop(bin);
    if ((bin.top - 1)[0] == 0) return null; // Sentinels end here: they are never written.
    // Medium magazines are also emptied from slow calls for other classes. One by a handler that
    // interrupts this pop must not: it finds the heap busy.
    const was_busy = heap.busy;
    heap.busy = true;
    base.compilerBarrier();
    // Not `pop`: its optional would go through memory here.
    const top = bin.top;
    const block = (top - 1)[0];
    if (block == 0) { // One did so just before.
        @branchHint(.cold);
        heap.busy = was_busy;
        return null;
    }
    bin.top = top - 1;
    base.compilerBarrier();
    heap.busy = was_busy;
    return block;
}

/// The same for blocks on a multiple of `alignment`, a power of two: up to a slice and 2 MiB.
pub inline fn allocateAligned(size: usize, alignment: usize) ?usize {
    if (alignment > t.slice_size or size > t.medium_size_max) return null;
    const size_aligned = size_class.alignedSize(size, alignment);
    if (size_aligned <= t.table_size_max) return allocateSmall(size_aligned);
    return allocateMedium(size_aligned);
}

inline fn pop(bin: *Bin) ?usize {
    if (build_options.checks) return null; // Every call is checked, on the slow path.
    const top = bin.top;
    const block = (top - 1)[0];
    if (block == 0) return null;
    bin.top = top - 1;
    return block;
}

/// The whole of malloc but errno; 0 when the system refuses.
pub inline fn allocate(size: usize) usize {
    if (size <= t.table_size_max) {
        if (allocateSmall(size)) |block| return block;
    } else if (size <= t.medium_size_max) {
        if (allocateMedium(size)) |block| return block;
    }
    return slow.allocate(size);
}

pub const FreeOutcome = enum {
    done,
    /// Owned by another heap, or no small block at all; `entry` is valid.
    foreign_owner,
    /// Everything else.
    slow,
};

/// The fast path of free: a block of the calling thread, room in its magazine. `entry` is set
/// unless the outcome is `slow` for a pointer outside the first region.
pub inline fn freeFast(pointer: usize, entry: *u32) FreeOutcome {
    if (build_options.checks) return .slow;
    const offset = pointer -% space.hot.address;
    // Outside the region or not 16-byte aligned: one comparison for both.
    const units = std.math.rotr(usize, offset, 4);
    // weakest: see Hot.limit_units.
    if (units >= space.hot.limit_units.load(base.atomic.weakest)) return .slow;
    // monotonic: see slab.create; the owner's own entries were written by itself.
    entry.* = space.hot.map[units >> (t.slice_shift - 4)].load(.monotonic);
    const heap = current();
    const bin_offset = entry.* ^ heap.tag;
    if (bin_offset > bin_offset_mask) {
        @branchHint(.unlikely);
        return .foreign_owner;
    }
    const bin = heap.binAt(bin_offset);
    const top = bin.top;
    // Not ==: a medium magazine may have been closed by a handler just before this store.
    if (@intFromPtr(top) >= @intFromPtr(bin.limit)) return .slow;
    // The same block twice in a row.
    if ((top - 1)[0] == pointer) return .slow;
    top[0] = pointer;
    base.compilerBarrier();
    bin.top = top + 1;
    return .done;
}

comptime {
    assert(@offsetOf(Heap, "bins") == 0);
    assert(@sizeOf(Bin) == 32);
    assert(size_class.count * @sizeOf(Bin) <= bin_offset_mask);
    assert(t.heaps_max <= id_large);
    // With a page of blocks and the first magazine (512 bytes) a thread costs less than 8 KiB.
    assert(@sizeOf(Heap) <= 3200);
}

test {
    _ = emergency;
    _ = explicit;
    _ = fork;
    _ = lookup;
    _ = magazine;
    _ = medium;
    _ = message;
    _ = partial_slabs;
    _ = registry;
    _ = remote_free;
    _ = slow;
    _ = shared_pages;
    _ = @import("sparse_slabs.zig");
    _ = thread;
    _ = watched;
    _ = @import("heap_test.zig");
}

//! All heaps by id; which are orphans; adoption and stealing. Heaps are never unmapped and keep
//! their id, so a reader of the slice map may always ask for the owner it read.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const slabs = @import("slab");
const t = base.tunables;
const assert = base.assert;
const heaps = @import("heap.zig");
const explicit = @import("explicit.zig");
const message = @import("message.zig");
const partial_slabs = @import("partial_slabs.zig");
const sparse_slabs = @import("sparse_slabs.zig");
const remote_free = @import("remote_free.zig");
const thread = @import("thread.zig");
const Heap = heaps.Heap;

const Word = base.atomic.Value(u64);

/// Written once per id with release, before any block of that heap exists; `get` acquires.
var table: [t.heaps_max]base.atomic.Value(?*Heap) linksection(base.sparse_section) =
    @splat(.init(null));
/// The next id. Ids start at 1: entry 0 of the slice map means "nothing".
var next_id: base.atomic.Value(u32) = .init(1);
/// Bit id: the heap is an orphan, or was a moment ago: whoever wants it takes its lock and looks
/// at its state. Set and cleared with monotonic: the lock orders.
var orphans: [t.heaps_max / 64]Word linksection(base.sparse_section) = @splat(.init(0));
var orphan_count: base.atomic.Value(u32) = .init(0);

/// Heaps behind explicit ones, destroyed ones too. A statistic: monotonic.
var explicit_count: base.atomic.Value(u32) = .init(0);

/// Of the batch of cold parts in use, what is not taken. Under the lock: of many threads that start
/// together each would else bring a batch, and lie apart from the others by what is lost.
var cold_lock: os.Lock = .{};
var cold_left: []heaps.Cold = &.{};

/// Orphans a thief looks at.
const steal_probes_max = 4;

pub fn get(id: u32) ?*Heap {
    if (id >= t.heaps_max) return null;
    return table[id].load(.acquire);
}

/// One more than the highest id in use.
pub fn end() u32 {
    return @min(next_id.load(.acquire), t.heaps_max);
}

/// A piece of the batch in use, zero.
fn takeCold(holder: u32) ?*heaps.Cold {
    cold_lock.acquire(holder);
    defer cold_lock.release();
    if (cold_left.len == 0) {
        const bytes = t.cold_batch * @sizeOf(heaps.Cold);
        const memory = region.arena.allocForever(bytes, holder) orelse return null;
        cold_left = @as(*[t.cold_batch]heaps.Cold, @ptrCast(memory));
    }
    // From the end, by the length alone: a fork meanwhile finds the whole slice, or one less.
    const piece = &cold_left[cold_left.len - 1];
    cold_left.len -= 1;
    return piece;
}

/// A new heap for a thread; null when ids or memory are used up.
pub fn create(holder: u32) ?*Heap {
    return createFor(null, holder);
}

/// The same, or the heap behind an explicit one.
pub noinline fn createFor(owner: ?*explicit.Explicit, holder: u32) ?*Heap {
    if (next_id.load(.monotonic) >= t.heaps_max) return null; // A hint.
    const cold = takeCold(holder) orelse return null;
    const memory = region.arena.allocForever(@sizeOf(Heap), holder) orelse return null;
    // acq_rel: ids are given out in order; the release is for `end`.
    const id = next_id.fetchAdd(1, .acq_rel);
    if (id >= t.heaps_max) {
        _ = next_id.fetchSub(1, .acq_rel);
        return null;
    }
    const heap: *Heap = @ptrCast(memory);
    heaps.initialise(heap, cold, id);
    // Threads' cold parts stay untouched: zero is null.
    if (owner != null) {
        cold.explicit = owner;
        heap.state.store(.explicit, .monotonic); // Published by the next store.
        _ = explicit_count.fetchAdd(1, .monotonic);
    }
    table[id].store(heap, .release);
    return heap;
}

/// Says that a heap is an orphan now. Its state says so already.
pub fn markOrphan(heap: *Heap) void {
    const bit = @as(u64, 1) << @intCast(heap.id % 64);
    // The count follows the bit: a fork may come between state and mark.
    if (orphans[heap.id / 64].fetchOr(bit, .monotonic) & bit != 0) return;
    _ = orphan_count.fetchAdd(1, .monotonic);
}

fn unmarkOrphan(heap: *Heap) void {
    const bit = @as(u64, 1) << @intCast(heap.id % 64);
    if (orphans[heap.id / 64].fetchAnd(~bit, .monotonic) & bit == 0) return;
    _ = orphan_count.fetchSub(1, .monotonic);
}

/// Walks the orphans' ids, lowest first.
const Orphans = struct {
    word_index: u32 = 0,
    bits: u64 = 0,

    fn next(walk: *Orphans) ?*Heap {
        while (walk.bits == 0) {
            if (walk.word_index * 64 >= end()) return null;
            walk.bits = orphans[walk.word_index].load(.monotonic); // The lock orders.
            walk.word_index += 1;
        }
        const id = (walk.word_index - 1) * 64 + @ctz(walk.bits);
        walk.bits &= walk.bits - 1;
        return get(id);
    }
};

/// An orphan for a new thread, with all its slabs and its id; null: there is none.
pub noinline fn adopt(holder: u32) ?*Heap {
    if (orphan_count.load(.monotonic) == 0) return null; // A hint.
    var walk: Orphans = .{};
    while (walk.next()) |heap| {
        if (!heap.lock.tryAcquire(holder)) continue;
        defer heap.lock.release();
        if (heap.state.load(.monotonic) != .orphan) continue; // Stable under the lock.
        // seq_cst: a poster that reads `orphan` before this may still drain under the lock.
        heap.state.store(.active, .seq_cst);
        unmarkOrphan(heap);
        return heap;
    }
    return null;
}

/// A slab of this class with free blocks, taken from an orphan; 0: none found. The thief holds
/// its own lock; others are only tried.
pub noinline fn steal(thief: *Heap, class: u32) region.SliceId {
    if (orphan_count.load(.monotonic) == 0) return 0; // A hint.
    var walk: Orphans = .{};
    for (0..steal_probes_max) |_| {
        const heap = walk.next() orelse break;
        if (heap == thief or !heap.lock.tryAcquire(thief.id)) continue;
        const stolen = stealFrom(heap, thief, class);
        remote_free.releaseHelped(heap, thief);
        if (stolen != 0) return stolen;
    }
    return 0;
}

fn stealFrom(heap: *Heap, thief: *Heap, class: u32) region.SliceId {
    if (heap.state.load(.monotonic) != .orphan) return 0; // Stable under the lock.
    if (!heap.inbox.isEmpty()) remote_free.drain(heap, thief, t.help_messages_max, false);
    const id = partial_slabs.takeAny(heap, class);
    if (id == 0) return 0;
    slabs.reassign(id, thief.entryOf(class));
    const idle = sparse_slabs.idleOf(id);
    heap.idle -= idle;
    thief.idle += idle;
    return id;
}

/// Every id in use has its heap, or is just about to; as many heaps are marked as orphans as are
/// counted. For tests, while no thread starts or ends.
pub fn check() void {
    var marked: u32 = 0;
    for (orphans) |word| marked += @popCount(word.load(.monotonic)); // Nobody writes.
    assert(marked == orphanCount());
    for (1..end()) |id| {
        const heap = get(@intCast(id)) orelse continue;
        assert(heap.id == id);
        const is_marked = orphans[id / 64].load(.monotonic) >> @intCast(id % 64) & 1 == 1;
        assert(is_marked == (heap.state.load(.monotonic) == .orphan));
        for (1..id) |other| {
            const before = get(@intCast(other)) orelse continue;
            assert(before.cold != heap.cold);
        }
    }
}

/// Heaps that threads have, about.
pub fn activeCount() u32 {
    return end() -| 1 -| orphanCount() -| explicit_count.load(.monotonic);
}

pub fn orphanCount() u32 {
    return orphan_count.load(.monotonic); // A statistic.
}

/// In a child after fork. Every heap but the survivor's belongs to a thread that does not exist.
/// Those whose lock was held are torn: set aside. The others become orphans; what lay in their
/// magazines and outgoing messages is lost to the child (a bounded leak). With `set_aside_all`
/// nothing is known of who survived: whole heaps stay with their owner, who may live.
pub fn repairAfterFork(survivor: ?*Heap, survivor_holder: u32, set_aside_all: bool) void {
    message.repairAfterFork(survivor_holder);
    // A thread takes it by the name that it has: see thread.holder.
    if (cold_lock.holderLost(survivor_holder) and cold_lock.holderLost(thread.holder())) {
        // Its thread may just have been replacing the batch.
        cold_left = &.{};
        cold_lock.reset();
    }
    for (1..end()) |id| {
        const heap = table[id].load(.monotonic) orelse continue; // One thread.
        if (heap == survivor) {
            if (!heap.lock.holderLost(survivor_holder)) continue;
            partial_slabs.rebuild(heap);
            heap.lock.reset();
            continue;
        }
        if (heap.cold.explicit != null) {
            explicit.repairOneAfterFork(heap, survivor_holder);
            continue;
        }
        // Its thread may have been anywhere: nobody inherits it as it is.
        heap.word_address.store(0, .monotonic);
        const state = heap.state.load(.monotonic);
        const lost = heap.lock.holderLost(survivor_holder);
        if (lost) heap.lock.reset();
        if (state == .orphan and !lost) {
            markOrphan(heap);
            continue;
        }
        if (state == .orphan) unmarkOrphan(heap);
        if (lost or state == .set_aside) {
            heap.state.store(.set_aside, .monotonic); // One thread.
            continue;
        }
        // The forking thread may live and use this heap: it stays as it is, and nobody's.
        if (set_aside_all) continue;
        forgetOwner(heap);
        heap.state.store(.orphan, .monotonic); // One thread.
        markOrphan(heap);
    }
}

fn forgetOwner(heap: *Heap) void {
    for (&heap.bins) |*bin| {
        // The arrays are leaked with the blocks in them: one may have been grown just then.
        bin.* = heaps.emptyBin();
    }
    heap.extension = 0;
    for (&heap.outgoing) |*slot| slot.* = .{ .owner = 0, .bytes_left = 0, .message = null };
    heap.messages = null;
    heap.message_count = 0;
    heap.parked_count = 0;
    heap.busy = false;
    heap.hooked = false;
}

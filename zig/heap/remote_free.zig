//! Frees of blocks that another heap owns: collected per destination, posted as messages, drained
//! by the owner (or, for an orphan or a flooded owner, by the poster).
//!
//! Bounds: a thread holds back at most 8 messages of 16 KiB; an inbox of more than 256 KiB makes
//! its posters help; a slow call drains at most 3 messages.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const slabs = @import("slab");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;
const space = region.space;
const heaps = @import("heap.zig");
const explicit = @import("explicit.zig");
const message_file = @import("message.zig");
const magazine = @import("magazine.zig");
const partial_slabs = @import("partial_slabs.zig");
const registry = @import("registry.zig");
const sparse_slabs = @import("sparse_slabs.zig");
const Heap = heaps.Heap;
const Message = message_file.Message;

/// Frees collected for one owner. Unused: owner and bytes_left 0, no message. A block fits when
/// its cost is less than bytes_left; since no cost is below message_bytes_max /
/// message_blocks_max, a message never has more blocks than it has room for.
pub const Outgoing = extern struct {
    owner: u32,
    bytes_left: i32,
    message: ?*Message,
};

/// What a block of each class counts against a message. Medium runs fit none, nor does class 0.
const costs: [size_class.count]i32 = blk: {
    var table: [size_class.count]i32 = undefined;
    for (&table, size_class.geometry) |*cost, g| cost.* = @intCast(g.message_cost);
    table[0] = std.math.maxInt(i32);
    const least = t.message_bytes_max / t.message_blocks_max;
    for (table[1..]) |cost| assert(cost >= least);
    assert(t.message_bytes_max - t.message_blocks_max * least < least);
    for (table[size_class.small_count + 1 ..]) |cost| assert(cost >= t.message_bytes_max);
    break :blk table;
};

/// Rounds of helping before a helper leaves the rest to the next one.
const help_rounds_max = 4;

/// The common case, without entering the slow path: the destination has a message with room.
/// False: not done.
pub inline fn pushFast(heap: *Heap, pointer: usize, entry: u32) bool {
    const owner = heaps.ownerOfEntry(entry);
    const slot = &heap.outgoing[owner % t.outgoing_slots];
    const cost = costs[heaps.classOfEntry(entry)];
    // Nothing fits an unused slot, nor those of sentinels (which are never written).
    if (slot.owner != owner or heap.busy or slot.bytes_left <= cost) return false;
    heap.busy = true; // From here on a handler's frees wait.
    base.compilerBarrier();
    // Once more: a handler may have posted the message before it saw the mark.
    const fits = slot.owner == owner and slot.bytes_left > cost;
    if (fits) add(slot, cost, pointer);
    base.compilerBarrier();
    heap.busy = false;
    if (!fits) return false;
    if (heap.parked_count != 0) @import("slow.zig").settle();
    return true;
}

inline fn add(slot: *Outgoing, cost: i32, pointer: usize) void {
    const message = slot.message.?;
    assert(message.count < t.message_blocks_max);
    slot.bytes_left -= cost;
    message.blocks[message.count] = pointer;
    message.count += 1;
}

pub const Help = enum {
    /// The poster may take the destination's lock.
    allowed,
    /// The poster holds a heap's lock: it only posts.
    forbidden,
};

/// Collects one free for its owner; posts a message without room for it. Slow path.
pub noinline fn push(heap: *Heap, pointer: usize, entry: u32, help: Help) void {
    const owner = heaps.ownerOfEntry(entry);
    const cost = costs[heaps.classOfEntry(entry)];
    assert(heaps.classOfEntry(entry) <= size_class.small_count);
    const slot = &heap.outgoing[owner % t.outgoing_slots];
    if (slot.owner != owner or slot.bytes_left <= cost) {
        post(heap, slot, help);
        // Helping may have forwarded blocks through this very slot.
        post(heap, slot, .forbidden);
        slot.message = message_file.get(heap) orelse
            return withoutMessage(heap, pointer, entry, help);
        slot.owner = owner;
        slot.bytes_left = t.message_bytes_max;
    }
    add(slot, cost, pointer);
    if (slot.bytes_left <= 0) post(heap, slot, help);
}

/// The system refuses memory for a message: straight into the owner's bits, or kept for later.
fn withoutMessage(heap: *Heap, pointer: usize, entry: u32, help: Help) void {
    @branchHint(.cold);
    const owner = registry.get(heaps.ownerOfEntry(entry)) orelse return;
    const mine = owner == heap or !owner.lock.tryAcquire(heap.id);
    if (mine) return park(heap, pointer);
    const place = space.placeOf(pointer).?;
    if (place.entry == entry) { // Stable under the owner's lock.
        _ = partial_slabs.put(owner, .of(heaps.classOfEntry(entry)), place, &.{pointer});
        partial_slabs.countReturned(owner, heaps.classOfEntry(entry), 1);
    } else park(heap, pointer);
    if (help == .allowed) releaseHelped(owner, heap) else owner.lock.release();
}

/// Keeps a free for the end of the slow call. With the array full the block is lost.
pub fn park(heap: *Heap, pointer: usize) void {
    const index = heap.parked_count;
    if (index == t.parked_max) return;
    heap.cold.parked[index] = pointer;
    base.compilerBarrier();
    heap.parked_count = index + 1;
}

/// A slot has an owner and a message, or neither; bytes_left = message_bytes_max - the costs of the
/// blocks in it, and is over 0. Only the owner, in a slow call.
pub fn check(heap: *const Heap) void {
    for (heap.outgoing, 0..) |slot, index| {
        const message = slot.message orelse {
            assert(slot.owner == 0);
            assert(slot.bytes_left == 0);
            continue;
        };
        assert(slot.owner != 0);
        assert(slot.owner % t.outgoing_slots == index);
        assert(slot.bytes_left > 0);
        assert(message.count <= t.message_blocks_max);
        var left: i32 = t.message_bytes_max;
        for (message.blocks[0..message.count]) |block| {
            left -= costs[heaps.classOfEntry(space.placeOf(block).?.entry)];
        }
        assert(slot.bytes_left == left);
    }
}

fn post(heap: *Heap, slot: *Outgoing, help: Help) void {
    const message = slot.message orelse return;
    const owner = slot.owner;
    slot.message = null;
    slot.owner = 0;
    slot.bytes_left = 0;
    base.compilerBarrier();
    deliver(owner, message, heap, help);
}

pub noinline fn postAll(heap: *Heap, help: Help) void {
    for (&heap.outgoing) |*slot| post(heap, slot, help);
}

/// Hands a message to a heap. Frees into a heap torn by fork are forgotten.
pub noinline fn deliver(owner: u32, message: *Message, helper: *Heap, help: Help) void {
    const target = registry.get(owner) orelse return message_file.destroy(message, helper.id);
    // monotonic: a heap is set aside only in a child with one thread.
    if (target.state.load(.monotonic) == .set_aside) return message_file.put(helper, message);
    const depth = target.inbox.push(message);
    if (help == .forbidden) return;
    // seq_cst: after the push; see Heap.state.
    const orphan = target.state.load(.seq_cst) == .orphan;
    const flooded = depth > t.inbox_messages_bound;
    if ((orphan or flooded) and target != helper and target.lock.tryAcquireSeqCst(helper.id)) {
        drainHelped(target, helper);
        releaseHelped(target, helper);
    }
}

/// Drains another heap's inbox, or a heap's own whose thread is gone: nobody comes by later to
/// post what that one forwards.
pub fn drainHelped(target: *Heap, helper: *Heap) void {
    drain(target, helper, t.help_messages_max, false);
    if (target == helper) postAll(helper, .forbidden);
}

/// Puts what waits in the inboxes of all other heaps into their slabs, and gives back those that
/// are empty and the free pages of the others: for trim, on behalf of threads that may not call for
/// long. A heap at work is passed over.
pub noinline fn drainOthers(helper: *Heap) void {
    for (1..registry.end()) |id| {
        const target = registry.get(@intCast(id)) orelse continue;
        // monotonic: a heap is set aside only in a child with one thread.
        if (target == helper or target.state.load(.monotonic) == .set_aside) continue;
        if (!target.lock.tryAcquireSeqCst(helper.id)) continue;
        for (0..t.inbox_drains_max) |_| {
            if (target.inbox.isEmpty()) break;
            drainHelped(target, helper);
        }
        partial_slabs.releaseEmpty(target);
        sparse_slabs.sweepAll(target);
        releaseHelped(target, helper);
    }
}

/// Releases another heap's lock; what was posted to an orphan meanwhile is drained too, since its
/// poster may have found the lock taken.
pub noinline fn releaseHelped(target: *Heap, helper: *Heap) void {
    for (0..help_rounds_max) |_| {
        target.lock.releaseSeqCst();
        // All seq_cst: release, then look; poster: push, then try. One of them sees the other.
        if (target.state.load(.seq_cst) != .orphan or target.inbox.isEmptySeqCst()) return;
        if (!target.lock.tryAcquireSeqCst(helper.id)) return;
        // Adopted meanwhile: an exiting owner must not touch what is another thread's now.
        if (target.state.load(.monotonic) != .orphan) break; // Stable under the lock.
        drainHelped(target, helper);
    }
    target.lock.release();
}

/// Takes up to `messages_max` messages out of an inbox: blocks of `target` go to its magazines
/// (only if its owner calls) or its slabs; what has another owner by now is forwarded through
/// `helper`. Under target's lock.
pub noinline fn drain(target: *Heap, helper: *Heap, messages_max: u32, to_magazines: bool) void {
    const finder: slabs.Finder = .init();
    var returned: Returned = .{};
    for (0..messages_max) |_| {
        const message = target.inbox.pop() orelse break;
        if (message.next) |next| @prefetch(next, .{});
        var blocks: []const usize = message.blocks[0..message.count];
        while (blocks.len > 0) {
            const count = putSome(target, helper, &finder, &returned, blocks, to_magazines);
            blocks = blocks[count..];
        }
        message_file.put(helper, message);
    }
    partial_slabs.countReturnedBytes(target, returned.blocks, returned.bytes);
}

/// What a drain put into slabs: counted apart, in registers.
const Returned = struct { blocks: u64 = 0, bytes: u64 = 0 };

/// Puts the first of the blocks where it belongs, and what follows it in the same slab; how many.
inline fn putSome(
    target: *Heap,
    helper: *Heap,
    finder: *const slabs.Finder,
    returned: *Returned,
    blocks: []const usize,
    to_magazines: bool,
) u32 {
    const block = blocks[0];
    // Its entry is stable under the lock if the slab is target's; else a hint for the forward.
    const place = finder.find(block).?;
    const bin_offset = place.entry ^ target.tag;
    if (bin_offset > heaps.bin_offset_mask) {
        forward(helper, block, place.entry);
        return 1;
    }
    const class: u32 = @intCast(bin_offset / @sizeOf(heaps.Bin));
    if (to_magazines) {
        const bin = target.bin(class);
        if (!bin.isFull() or magazine.growInPlace(target, class)) {
            if ((bin.top - 1)[0] == block) partial_slabs.report(block, error.DoubleFree);
            bin.top[0] = block;
            base.compilerBarrier();
            bin.top += 1;
            return 1;
        }
    }
    const count = partial_slabs.put(target, .of(class), place, blocks);
    returned.blocks += count;
    returned.bytes += @as(u64, count) * size_class.sizes[class];
    return count;
}

fn forward(helper: *Heap, block: usize, entry: u32) void {
    @branchHint(.cold);
    const owner = heaps.ownerOfEntry(entry);
    const class = heaps.classOfEntry(entry);
    // The slab is gone or something else lies there: the block was free already.
    if (owner == 0 or class == 0 or class > size_class.small_count or
        explicit.ownerOf(entry) != null)
    {
        partial_slabs.report(block, error.DoubleFree);
    }
    push(helper, block, entry, .forbidden);
}

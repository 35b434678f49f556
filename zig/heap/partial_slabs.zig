//! The slabs of a heap by class: one that is refilled from, and lists of partial ones by how much
//! of them is free, so that the fullest are used up first and the emptiest become free runs. Last
//! come the dormant ones, whose free pages went back to the system.
//! Every function needs the heap's lock. Invariant: a slab in bucket k has slab_state partial.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const slabs = @import("slab");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;
const slice = region.space.slice;
const Slice = region.Slice;
const SliceId = region.SliceId;
const Place = region.space.Place;
const heaps = @import("heap.zig");
const lookup = @import("lookup.zig");
const sparse_slabs = @import("sparse_slabs.zig");
const space = region.space;
const Heap = heaps.Heap;

/// An empty slab of more slices is given back even when it is the class's last free capacity.
const keep_slices_max = 64 * t.kib / t.slice_size;

const bucket_last = t.slab_buckets - 1;
const dormant = t.slab_buckets;
/// Lists of a class: the buckets, and that of the dormant.
pub const list_count = t.slab_buckets + 1;

fn insert(heap: *Heap, class: u32, id: SliceId, bucket: u8) void {
    const slab = slice(id);
    const list = &heap.cold.partial[class][bucket];
    slab.bucket = bucket;
    slab.slab_state = .partial;
    slab.prev = 0;
    slab.next = list.*;
    if (slab.next != 0) slice(slab.next).prev = id;
    list.* = id;
    setThreshold(slab);
}

/// Free blocks more from one bucket to the next.
fn bucketStep(slab: *const Slice) u32 {
    return slab.block_count / t.slab_buckets + 1;
}

/// The bucket by what is free.
fn bucketOf(slab: *const Slice) u8 {
    return @intCast(@min(slab.free_count / bucketStep(slab), bucket_last));
}

/// Free blocks at which the bucket after this one begins.
fn nextBucketBegins(slab: *const Slice) u32 {
    if (slab.bucket >= bucket_last) return slab.block_count;
    return @min(bucketStep(slab) * (@as(u32, slab.bucket) + 1), slab.block_count);
}

fn setThreshold(slab: *Slice) void {
    var next = nextBucketBegins(slab);
    const free: u32 = slab.free_count;
    // Nothing but emptiness lies ahead: half of the way there, if there is something to do.
    const on_the_way = slab.bucket == dormant or sparse_slabs.isOffered(slab);
    if (next == slab.block_count and on_the_way) next = free + (next - free + 1) / 2;
    slab.threshold = @intCast(next);
}

fn remove(heap: *Heap, class: u32, id: SliceId) void {
    const slab = slice(id);
    assert(slab.slab_state == .partial);
    if (slab.prev != 0) {
        slice(slab.prev).next = slab.next;
    } else heap.cold.partial[class][slab.bucket] = slab.next;
    if (slab.next != 0) slice(slab.next).prev = slab.prev;
}

/// Takes out the fullest partial slab of a class and makes it `current` in name; 0: none.
pub fn takeFullest(heap: *Heap, class: u32) SliceId {
    for (heap.cold.partial[class]) |id| {
        if (id == 0) continue;
        remove(heap, class, id);
        slice(id).slab_state = .current;
        slice(id).threshold = slabs.threshold_none;
        return id;
    }
    return 0;
}

/// For a thief: any slab of the class with free blocks; 0: none.
pub fn takeAny(heap: *Heap, class: u32) SliceId {
    const id = takeFullest(heap, class);
    if (id != 0) return id;
    const current = heap.current[class];
    if (current == 0 or slice(current).free_count == 0) return 0;
    heap.current[class] = 0;
    return current;
}

/// Makes `id` the slab that the class is refilled from, in place of one that is used up.
pub fn setCurrent(heap: *Heap, class: u32, id: SliceId) void {
    const before = heap.current[class];
    if (before != 0) {
        assert(slice(before).free_count == 0);
        demoteCurrent(heap, class);
    }
    heap.current[class] = id;
}

/// Makes the slab that the class is refilled from one among others, which is given back when it is
/// empty: a thread that only frees does not need it.
pub noinline fn demoteCurrent(heap: *Heap, class: u32) void {
    const id = heap.current[class];
    if (id == 0) return;
    heap.current[class] = 0;
    if (slice(id).free_count == slice(id).block_count) return destroy(heap, id);
    if (slice(id).free_count > 0) return insert(heap, class, id, 0);
    setFull(heap, id);
}

/// Full slabs are in no list, but for those of an explicit heap, which must find all it has.
fn setFull(heap: *Heap, id: SliceId) void {
    slice(id).slab_state = .full;
    slice(id).threshold = 0;
    if (heap.cold.explicit) |explicit| explicit.addFull(id);
}

/// Gives a slab back that is in no list and all of whose blocks are free.
fn destroy(heap: *Heap, id: SliceId) void {
    heap.idle -= sparse_slabs.idleOf(id);
    // In the name of who holds the lock, who may be a helper: after a fork it must be known whose
    // hands the run allocator was in.
    const holder = heap.lock.heldBy();
    const holes = slabs.holes.bytes(slice(id));
    if (holes != 0) region.run_allocator.forgetHoles(holes, holder);
    if (heap.cold.explicit) |explicit| explicit.bytes_held -= bytesOf(slice(id).class);
    slabs.destroy(id, holder);
}

/// Bytes of a slab.
fn bytesOf(class: u32) usize {
    return @as(usize, size_class.geometry[class].slices) << t.slice_shift;
}

/// A fresh slab; 0: the system refuses, or the limit of an explicit heap.
pub fn create(heap: *Heap, class: u32) SliceId {
    const explicit = heap.cold.explicit;
    if (explicit) |owner| if (!owner.hasRoom(bytesOf(class))) return 0;
    const id = slabs.create(class, heap.entryOf(class), heap.id);
    if (id == 0) return 0;
    if (explicit) |owner| owner.bytes_held += bytesOf(class);
    heap.idle += sparse_slabs.idleOf(id);
    return id;
}

/// Takes up to `wanted` blocks out of a slab of this heap; how many.
pub fn take(heap: *Heap, id: SliceId, slots: [*]usize, wanted: u32) u32 {
    const holes_before = slabs.holes.bytes(slice(id));
    const got = slabs.take(id, slots, wanted);
    const size = @as(u64, got) * size_class.sizes[slice(id).class];
    heap.small.blocks_taken += got;
    heap.small.bytes_taken += size;
    heap.idle -= @intCast(size);
    const filled = holes_before - slabs.holes.bytes(slice(id));
    if (filled != 0) {
        heap.idle += @intCast(filled);
        region.run_allocator.fillHoles(filled, heap.lock.heldBy());
    }
    return got;
}

/// The account of `put`, for as many blocks as were put.
pub fn countReturned(heap: *Heap, class: u32, blocks: u32) void {
    countReturnedBytes(heap, blocks, @as(u64, blocks) * size_class.sizes[class]);
}

/// The same for blocks of several classes.
pub fn countReturnedBytes(heap: *Heap, blocks: u64, bytes: u64) void {
    heap.small.blocks_returned += blocks;
    heap.small.bytes_returned += bytes;
    heap.idle += @intCast(bytes);
}

/// Of the slabs of any class whose free pages were not looked for yet, one of which most is free;
/// 0: there is none. Goes round the classes.
pub fn emptiest(heap: *Heap) SliceId {
    for (0..size_class.small_count) |_| {
        const id = heap.cold.partial[heap.sweep_class + 1][bucket_last];
        if (id != 0) return id;
        heap.sweep_class = (heap.sweep_class + 1) % size_class.small_count;
    }
    return 0;
}

/// Puts a slab of the emptiest bucket among the dormant.
pub fn setDormant(heap: *Heap, id: SliceId) void {
    const class = slice(id).class;
    remove(heap, class, id);
    insert(heap, class, id, dormant);
}

/// Marks blocks of this heap free, from the first one, which lies at `place`, as long as they are
/// of one slab; how many. `shape` is that of their class. Aborts on a double free or an address
/// within a block. The caller counts them (`countReturned`).
pub inline fn put(heap: *Heap, shape: slabs.Shape, place: Place, blocks: []const usize) u32 {
    const spot = slabs.spotOf(place.slice, blocks[0]);
    var puts: slabs.Puts = .begin(spot, blocks[0], shape);
    var count: u32 = 0;
    for (blocks) |address| {
        if (!puts.covers(address)) break;
        puts.put(address) catch |reason| report(address, reason);
        count += 1;
    }
    puts.end();
    if (puts.isDue()) promote(heap, place.id - spot.back);
    return count;
}

/// A slab that was full, is emptier than its bucket says, or empty.
noinline fn promote(heap: *Heap, id: SliceId) void {
    @branchHint(.cold);
    const slab = slice(id);
    const class = slab.class;
    const listed = slab.slab_state == .partial;
    if (!listed) if (heap.cold.explicit) |explicit| explicit.removeFull(id);
    if (slab.free_count == slab.block_count and !isLastOf(heap, class, id)) {
        if (listed) remove(heap, class, id);
        slab.slab_state = .full;
        return destroy(heap, id);
    }
    // A dormant one has pages again that nobody looked at.
    const bucket = if (listed and slab.bucket == dormant) bucket_last else bucketOf(slab);
    if (listed and slab.bucket == bucket) {
        setThreshold(slab);
    } else {
        if (listed) remove(heap, class, id);
        insert(heap, class, id, bucket);
    }
    if (slab.free_count < slab.block_count) sparse_slabs.offer(heap, id);
}

pub fn report(address: usize, reason: slabs.PutError) noreturn {
    @branchHint(.cold);
    os.report.misuse("free", address, switch (reason) {
        error.DoubleFree => "double free",
        error.InteriorPointer => "interior pointer",
    });
}

/// An empty slab is kept only as the class's last free capacity (or the next refill would cut it
/// again), and only by a living thread.
fn isLastOf(heap: *const Heap, class: u32, id: SliceId) bool {
    const orphan = heap.state.load(.monotonic) == .orphan; // Stable under the lock.
    const large = size_class.geometry[class].slices > keep_slices_max;
    return !orphan and !large and !hasOther(heap, class, id);
}

fn hasOther(heap: *const Heap, class: u32, id: SliceId) bool {
    const current = heap.current[class];
    if (current != 0 and slice(current).free_count > 0) return true;
    for (heap.cold.partial[class]) |first| {
        if (first != 0 and (first != id or slice(first).next != 0)) return true;
    }
    return false;
}

/// Gives back every slab that is wholly free, the current ones too.
pub noinline fn releaseEmpty(heap: *Heap) void {
    for (1..size_class.small_count + 1) |index| {
        const class: u32 = @intCast(index);
        const current = heap.current[class];
        if (current != 0 and slice(current).free_count == slice(current).block_count) {
            heap.current[class] = 0;
            destroy(heap, current);
        }
        for (heap.cold.partial[class]) |first| {
            var id = first;
            while (id != 0) {
                const next = slice(id).next;
                if (slice(id).free_count == slice(id).block_count) {
                    remove(heap, class, id);
                    destroy(heap, id);
                }
                id = next;
            }
        }
    }
}

/// In a child after fork, for the heap of the thread that forked, which a helper of the parent was
/// just draining: the lists and counts are made again from the slice map and the bits. Blocks in
/// the helper's hands are lost to the child.
pub fn rebuild(heap: *Heap) void {
    heap.current = @splat(0);
    heap.cold.partial = @splat(@splat(0));
    heap.idle = 0;
    for (0..space.count()) |index| {
        const number: u32 = @intCast(index);
        if (space.isVacant(number)) continue;
        var id = (number << t.region_slices_shift) + 1;
        const end = (number << t.region_slices_shift) + space.at(number).frontier;
        while (id < end) {
            const entry = space.entry(id).load(.monotonic); // One thread.
            if (entry == 0) {
                id += 1;
                continue;
            }
            const class: u32 = @truncate((entry ^ heap.tag) / @sizeOf(heaps.Bin));
            if (class <= size_class.small_count) rebuildSlab(heap, class, id, entry);
            id += lookup.lengthOfRun(id);
        }
    }
}

fn rebuildSlab(heap: *Heap, class: u32, id: SliceId, entry: u32) void {
    slabs.rebuild(id, entry);
    const slab = slice(id);
    heap.idle += sparse_slabs.idleOf(id);
    if (slab.free_count > 0) return insert(heap, class, id, 0);
    slab.slab_state = .full;
    slab.threshold = 0;
}

/// Checks every slab the heap has in a list, and that they sum up to `idle`: full slabs have
/// nothing.
pub fn check(heap: *Heap) void {
    var idle: isize = 0;
    for (1..size_class.small_count + 1) |class| {
        const current = heap.current[class];
        if (current != 0) {
            assert(slice(current).slab_state == .current);
            assert(slice(current).class == class);
            assert(slice(current).threshold == slabs.threshold_none);
            slabs.check(current);
            idle += sparse_slabs.idleOf(current);
        }
        for (heap.cold.partial[class], 0..) |first, bucket| {
            var prev: SliceId = 0;
            var id = first;
            while (id != 0) : (id = slice(id).next) {
                const slab = slice(id);
                assert(slab.slab_state == .partial);
                assert(slab.bucket == bucket);
                assert(slab.class == class);
                assert(slab.threshold <= slab.block_count);
                assert(slab.prev == prev);
                assert(slab.free_count > 0);
                slabs.check(id);
                idle += sparse_slabs.idleOf(id);
                prev = id;
            }
        }
    }
    assert(idle == heap.idle);
}

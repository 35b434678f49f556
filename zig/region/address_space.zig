//! Reserved address space, cut into slices, with the slice map and the slice metadata beside it.
//!
//! Guarantees: any 64-bit value may be looked up, without fault and without lock (`find`); slices
//! are committed from the bottom up. The first region is found by the hot path
//! through `hot`; further ones, reserved when it is used up or small, on the slow path only.
//! `reserveNext` and `ensureCommitted` need the run allocator's lock; the rest any thread.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const assert = base.assert;
const allowance = @import("allowance.zig");
const Slice = @import("slice.zig").Slice;
const SliceId = @import("slice.zig").SliceId;

/// An entry of the slice map: owner id << 13 | class << 5. 0: never handed out, or not the first
/// slice of a run. Readable by any thread at any time.
pub const Entry = base.atomic.Value(u32);

/// A bit for each block of a slab of one slice; see slab.
pub const LiveBits = [t.slab_blocks_max / 64]u64;

pub const Region = struct {
    /// Address of slice 0. Constant once the region is published.
    address: usize,
    /// Slices whose map entries are readable. Written under the run lock with release, after the
    /// map was committed; `find` and the fast path load it (see `hot`).
    limit: base.atomic.Value(usize),
    map: [*]Entry,
    slices: [*]Slice,
    /// Live bits of slabs of more than 256 blocks: room for one slab a slice.
    bits: [*]LiveBits,
    /// Slices reserved.
    capacity: u32,
    /// The first slice never handed out. Under the run lock.
    frontier: u32,
    /// The most it was: what is decommitted above it was handed out once. Under the run lock.
    frontier_most: u32,
    /// The reservation. Null address: the slot is vacant (its region was given back).
    reserved_address: usize,
    reserved_length: usize,
    /// Bytes within it that were given back. Under the run lock.
    returned: usize,
    arena_offset: usize,
    /// Slices whose memory is committed, and whose metadata is. Under the run lock.
    committed: u32,
    committed_slices: u32,
    /// Huge pages were asked for from the first to the second of these slices (not everywhere
    /// between). Both 0: nowhere. Under the run lock.
    huge_first: u32,
    huge_end: u32,
    /// They are asked for beyond this slice. Under the run lock.
    huge_from: u32,
};

/// Called under the run lock each time memory was committed: statistics take their samples then.
pub var on_growth: ?*const fn () void = null;

/// What free() needs of the first region, in one cache line. All zero until it exists, so that
/// every pointer is outside.
pub const Hot = extern struct {
    address: usize = 0,
    /// The first region's limit in units of 16 bytes: a pointer's offset rotated right by 4 is
    /// above it when the pointer is outside or not 16-byte aligned. Written with release under
    /// the run lock, after address and map; pairs with the acquire load in `find`. The fast path
    /// asks for no order: a thread that owns a block has synchronised with the one that made it.
    limit_units: base.atomic.Value(usize) = .init(0),
    map: [*]Entry = undefined,
    slices: [*]Slice = undefined,
    // Neighbouring lines are fetched in pairs: nothing that is written often may follow.
    padding: [96]u8 = @splat(0),
};

pub var hot: Hot align(128) = .{};
comptime {
    // A symbol, or the optimiser splits the structure and puts the run allocator's counters into
    // the line that every free reads.
    @export(&hot, .{ .name = "liballoc_hot", .visibility = .hidden });
}
var regions: [t.regions_max]Region = undefined;
/// Regions published. Written under the run lock with release after the region's fields; pairs
/// with the acquire load in `find`.
var region_count: base.atomic.Value(u32) = .init(0);

const units_per_slice_shift = t.slice_shift - 4;
const chunk_size = 2 * t.mib;
const chunk_slices = chunk_size / t.slice_size;
const guard_size = 64 * t.kib;
/// Slices whose metadata (1 MiB) is committed at a time, and whose map (1 MiB) is.
const slices_step = 16 * 1024;
const map_step = 256 * 1024;
/// The map is extended this far ahead, in slices, so that one growth seldom needs both.
const map_ahead = 128 * t.mib / t.slice_size;

pub inline fn regionOf(id: SliceId) u32 {
    return id >> t.region_slices_shift;
}

pub inline fn indexOf(id: SliceId) u32 {
    return id & (t.region_slices_max - 1);
}

pub inline fn slice(id: SliceId) *Slice {
    if (id < t.region_slices_max) return &hot.slices[id];
    return &regions[regionOf(id)].slices[indexOf(id)];
}

pub inline fn entry(id: SliceId) *Entry {
    if (id < t.region_slices_max) return &hot.map[id];
    return &regions[regionOf(id)].map[indexOf(id)];
}

pub inline fn address(id: SliceId) usize {
    if (id < t.region_slices_max) return hot.address + (@as(usize, id) << t.slice_shift);
    return regions[regionOf(id)].address + (@as(usize, indexOf(id)) << t.slice_shift);
}

/// The slice an address lies in; null when it lies in no region. Total: any value may be asked.
pub inline fn find(pointer: usize) ?SliceId {
    if (findFirst(pointer)) |id| return id;
    const id = findFurther(pointer);
    return if (id == nowhere) null else id;
}

/// What the map and the metadata say of an address, looked up once.
pub const Place = struct { id: SliceId, entry: u32, slice: *Slice };

/// Like `find`, for loops over blocks. The entry is loaded monotonic: see `Entry`.
pub inline fn placeOf(pointer: usize) ?Place {
    const index = (pointer -% hot.address) >> t.slice_shift;
    if (index >= hot.limit_units.load(.monotonic) >> units_per_slice_shift) {
        const id = findFurther(pointer);
        if (id == nowhere) return null;
        return .{ .id = id, .entry = entry(id).load(.monotonic), .slice = slice(id) };
    }
    return .{
        .id = @intCast(index),
        .entry = hot.map[index].load(.monotonic),
        .slice = &hot.slices[index],
    };
}

/// The same in the first region alone, in line.
pub inline fn findFirst(pointer: usize) ?SliceId {
    const index = (pointer -% hot.address) >> t.slice_shift;
    if (index < hot.limit_units.load(.acquire) >> units_per_slice_shift) return @intCast(index);
    return null;
}

/// What `findFurther` says of an address in no region.
pub const nowhere: SliceId = std.math.maxInt(SliceId);

pub noinline fn findFurther(pointer: usize) SliceId {
    @branchHint(.cold);
    const known = region_count.load(.acquire);
    for (regions[0..known], 0..) |*region, number| {
        const limit = region.limit.load(.acquire);
        const start = @atomicLoad(usize, &region.address, .acquire);
        const index = (pointer -% start) >> t.slice_shift;
        if (index >= limit) continue;
        // The slot may have been given back and taken again between the two loads; the region
        // of a live block cannot.
        if (region.limit.load(.acquire) != limit) return findFurther(pointer);
        return @intCast(number << t.region_slices_shift | index);
    }
    return nowhere;
}

pub fn count() u32 {
    return region_count.load(.acquire);
}

pub fn at(number: u32) *Region {
    return &regions[number];
}

/// Bytes of metadata arena that come with a region; `reserveNext` hands them to the caller.
pub const Arena = struct { address: [*]u8, length: usize };

/// Reserves one more region: as large as sensible, halved until the system agrees. Null when not
/// even the smallest can be had. `with_arena`: memory for metadata is wanted too (else length 0).
/// `size_needed`: a smaller one would be of no use.
pub fn reserveNext(with_arena: bool, size_needed: usize) ?Arena {
    const number = vacantSlot() orelse return null;
    var size = reservationSize();
    // Valgrind warns of ranges over 256 MiB.
    if (number == 0 and os.checker.isWatching()) size = @min(size, t.watched_region_size);
    while (size >= t.region_size_min and size > size_needed) : (size /= 2) {
        if (reserve(number, size, with_arena)) |arena| return arena;
    }
    return null;
}

fn vacantSlot() ?u32 {
    const known = region_count.load(.monotonic); // Written under the lock only.
    for (regions[0..known], 0..) |*region, number| {
        if (region.reserved_length == 0) return @intCast(number);
    }
    return if (known == t.regions_max) null else known;
}

/// Whether a slot's region was given back.
pub fn isVacant(number: u32) bool {
    return regions[number].reserved_length == 0;
}

/// Gives a further region back that is wholly free, all but its arena part. The caller has taken
/// its runs out of all lists. A look-up of a stale pointer into it that began before may fault:
/// no live pointer into it exists.
pub fn giveBack(number: u32) void {
    assert(number > 0);
    const region = &regions[number];
    const start = region.reserved_address;
    const arena_start = start + region.arena_offset;
    const after_arena = @intFromPtr(region.slices) - guard_size;
    const end = start + region.reserved_length;
    // Vacant before it is gone: a child made by fork in between must not look into it.
    region.limit.store(0, .release);
    region.reserved_length = 0;
    region.capacity = 0;
    region.frontier = 1;
    region.committed = 0;
    _ = os.memory.unmap(@ptrFromInt(start), arena_start - start);
    _ = os.memory.unmap(@ptrFromInt(after_arena), end - after_arena);
}

/// Gives back what the first region has reserved and not committed, all but a share of `limit`, a
/// limit of address space (bytes) that was set after the reservation was made. Whether there was
/// any. Under the run lock.
pub fn giveBackRest(limit_bytes: u64) bool {
    if (count() == 0 or os.checker.isWatching()) return false;
    if (limit_bytes >= reservedBytes()) return false;
    // Known from here on, also to further reservations.
    space_left = limit_bytes;
    const region = &regions[0];
    const kept = (limit_bytes / t.region_limit_share) >> t.slice_shift;
    const wanted = @max(region.committed + 1, @min(kept, region.capacity));
    const end = std.mem.alignForward(u32, wanted, chunk_slices);
    if (end >= region.capacity) return false;
    const capacity = region.capacity;
    const limit: u32 = @intCast(region.limit.load(.monotonic)); // Under the lock.
    region.capacity = end;
    // Before the space is anybody else's, so that it is not looked up in the map. What the map
    // has committed stays: a look-up that began before reads zero.
    region.limit.store(@min(limit, end), .release);
    publishLimit(region, 0);
    region.returned += unmapRest(region.map, @sizeOf(Entry), @max(limit, end), capacity);
    const slices = @max(region.committed_slices, end);
    region.committed_slices = @min(region.committed_slices, end);
    region.returned += unmapRest(region.slices, @sizeOf(Slice), slices, capacity);
    region.returned += unmapRest(region.bits, @sizeOf(LiveBits), slices, capacity);
    const data_end = region.address + (@as(usize, end) << t.slice_shift);
    const length = (@as(usize, capacity) - end) << t.slice_shift;
    if (os.memory.unmap(@ptrFromInt(data_end), length)) region.returned += length;
    return true;
}

/// Whether the address space of the process has a limit, as far as is known. Under the run lock.
pub fn isLimited() bool {
    return space_left != null;
}

/// Gives what is committed above a region's frontier back to the system, all but the address space.
/// Nothing there is in use, and it reads as zero. Whether there was some. Under the run lock.
pub fn decommitRest(number: u32) bool {
    const region = &regions[number];
    const from = std.mem.alignForward(u32, region.frontier, chunk_slices);
    if (from >= region.committed) return false;
    const length = @as(usize, region.committed - from) << t.slice_shift;
    const start: [*]u8 = @ptrFromInt(region.address + (@as(usize, from) << t.slice_shift));
    region.committed = from;
    region.huge_end = @min(region.huge_end, from);
    if (region.huge_end <= region.huge_first) {
        region.huge_first = 0;
        region.huge_end = 0;
    }
    if (os.memory.decommit(start, length)) {
        _ = os.memory.adviseSmall(start, length);
        return true;
    }
    // Not ours for sure any more: the region ends here.
    region.capacity = from;
    region.committed_slices = @min(region.committed_slices, from);
    // Under the lock; release as in giveBackRest.
    region.limit.store(@min(region.limit.load(.monotonic), from), .release);
    publishLimit(region, number);
    return true;
}

/// Unmaps what an array of the first region has for the elements from `from` on; bytes.
fn unmapRest(array: anytype, element_size: usize, from: u32, capacity: u32) usize {
    const first = std.mem.alignForward(usize, from * element_size, guard_size);
    const end = std.mem.alignForward(usize, capacity * element_size, guard_size);
    if (first >= end) return 0;
    const rest: [*]u8 = @ptrFromInt(@intFromPtr(array) + first);
    return if (os.memory.unmap(rest, end - first)) end - first else 0;
}

/// What the first reservation asked of the system. Later ones ask nothing: a sandbox may have
/// closed by then, and kill for prlimit or a read of /proc. Under the run lock.
var space_left: ?u64 = null;

/// 16 times the memory, at most 1 TiB; under a finite RLIMIT_AS a part of what is left.
fn reservationSize() usize {
    const is_first = count() == 0;
    if (is_first) {
        allowance.ask();
        space_left = os.machine.addressSpaceLeft();
    }
    const all = t.region_slices_max * t.slice_size;
    const wanted = std.math.ceilPowerOfTwo(u64, @max(allowance.ofMachine(), t.gib) * 16) catch all;
    const size: usize = @min(wanted, all);
    const left = space_left orelse return size;
    const share = (left -| reservedBytes()) / t.region_limit_share & ~@as(u64, chunk_size - 1);
    if (share >= t.region_size_min) return @min(size, share);
    // Used up, as far as is known: halving finds the rest, and the limit may have been raised.
    return if (is_first) t.region_size_min else size;
}

/// Bytes of arena parts that were given back, of whichever region. Under the run lock.
pub var arena_returned: usize = 0;

/// Bytes of address space that the regions have reserved. Under the run lock.
pub fn reservedBytes() u64 {
    var sum: u64 = 0;
    for (regions[0..count()]) |*region| sum += region.reserved_length - region.returned;
    return sum - arena_returned;
}

fn reserve(number: u32, size: usize, with_arena: bool) ?Arena {
    const capacity = size / t.slice_size;
    const map_size = std.mem.alignForward(usize, capacity * @sizeOf(Entry), guard_size);
    const slices_size = std.mem.alignForward(usize, capacity * @sizeOf(Slice), guard_size);
    const arena_wanted = std.mem.alignForward(usize, capacity * 64, guard_size);
    const arena_size = if (with_arena) @max(arena_wanted, t.mib) else 0;
    const bits_size = std.mem.alignForward(usize, capacity * @sizeOf(LiveBits), guard_size);
    // Guards between the parts; the data last, on a 2 MiB boundary.
    const metadata_size = map_size + slices_size + bits_size + arena_size + 4 * guard_size;
    const total = metadata_size + size + chunk_size;
    const start = os.memory.reserve(total) orelse return null;
    // Where the system gives huge pages to everybody they would fill the metadata and undo every
    // purge. Refused by old kernels without huge pages: then there is nothing to prevent.
    _ = os.memory.adviseSmall(start, total);
    os.checker.addRoots(@intFromPtr(start), total);
    const arena_start = start + map_size + guard_size;
    const slices_start = arena_start + arena_size + guard_size;
    const bits_start = slices_start + slices_size + guard_size;
    const data_start = @intFromPtr(bits_start) + bits_size + guard_size;
    const region = &regions[number];
    region.* = .{
        .address = std.mem.alignForward(usize, data_start, chunk_size),
        .limit = .init(0),
        .map = @ptrCast(@alignCast(start)),
        .slices = @ptrCast(@alignCast(slices_start)),
        .bits = @ptrCast(@alignCast(bits_start)),
        .capacity = @intCast(capacity),
        .reserved_address = @intFromPtr(start),
        .reserved_length = total,
        .returned = 0,
        .arena_offset = @intFromPtr(arena_start) - @intFromPtr(start),
        .frontier_most = 1,
        .frontier = 1, // Slice 0 is the "none" of links and the left neighbour of slice 1.
        .committed = 0,
        .committed_slices = 0,
        .huge_first = 0,
        .huge_end = 0,
        .huge_from = t.hugepage_start / t.slice_size,
    };
    if (!commitMetadata(region, number, 1)) {
        region.limit.store(0, .monotonic); // Never published.
        region.reserved_length = 0;
        region.capacity = 0;
        _ = os.memory.unmap(start, total);
        return null;
    }
    region.slices[0].run_state = .used;
    if (number == 0) {
        hot.address = region.address;
        hot.map = region.map;
        hot.slices = region.slices;
    }
    publishLimit(region, number);
    if (number == region_count.load(.monotonic)) region_count.store(number + 1, .release);
    return .{ .address = arena_start, .length = arena_size };
}

fn publishLimit(region: *Region, number: u32) void {
    // Under a memory checker the hit paths must find nothing: every call goes slow.
    if (number != 0 or os.checker.isWatching()) return;
    const limit = region.limit.load(.monotonic); // Written by this thread, under the lock.
    hot.limit_units.store(limit << units_per_slice_shift, .release);
}

/// Makes map and metadata of slices below `end` usable. Under the run lock.
pub fn commitMetadata(region: *Region, number: u32, end: u32) bool {
    const limit: u32 = @intCast(region.limit.load(.monotonic)); // Under the run lock.
    if (end > limit or (region.committed_slices >= end and end + map_ahead > limit)) {
        const wanted = @min(@max(end, limit +| map_step), region.capacity);
        if (wanted > limit and commitRange(region.map, @sizeOf(Entry), limit, wanted)) {
            region.limit.store(wanted, .release);
            if (region_count.load(.monotonic) > number) publishLimit(region, number);
        } else if (end > limit) return false;
    }
    if (end > region.committed_slices) {
        const from = region.committed_slices;
        const wanted = @min(@max(end, from +| slices_step), region.capacity);
        if (!commitRange(region.slices, @sizeOf(Slice), from, wanted)) return false;
        if (!commitRange(region.bits, @sizeOf(LiveBits), from, wanted)) return false;
        region.committed_slices = wanted;
    }
    return true;
}

fn commitRange(array: anytype, element_size: usize, from: u32, end: u32) bool {
    const bytes: [*]u8 = @ptrCast(array);
    const first = from * element_size & ~@as(usize, guard_size - 1);
    const last = std.mem.alignForward(usize, end * element_size, guard_size);
    return os.memory.commit(bytes + first, last - first);
}

/// Where the live bits of a big slab lie that begins at this slice.
pub fn liveBits(id: SliceId) *LiveBits {
    return &regions[regionOf(id)].bits[indexOf(id)];
}

/// Gives back the metadata of slices within a clean run (not its first and last), whole pages of
/// it. They read as zero then, which says the same. Under the run lock. The metadata of 10 GiB is
/// 120 MiB: a program that has freed all of it must not keep that.
pub fn purgeMetadata(first: SliceId, length: u32) void {
    const region = &regions[regionOf(first)];
    const from = indexOf(first) + 1;
    const end = indexOf(first) + length - 1;
    purgeRange(region.slices, @sizeOf(Slice), from, end);
    purgeRange(region.bits, @sizeOf(LiveBits), from, end);
}

fn purgeRange(array: anytype, element_size: usize, from: u32, end: u32) void {
    const page = os.machine.page_size;
    const bytes = @intFromPtr(array);
    const first = std.mem.alignForward(usize, bytes + from * element_size, page);
    const last = std.mem.alignBackward(usize, bytes + end * element_size, page);
    if (first < last) _ = os.memory.purge(@ptrFromInt(first), last - first);
}

/// Makes the slices below `end` usable, a step ahead of need. False when the system refuses.
/// `dense`: what they are for will be touched all over, so huge pages serve.
pub fn ensureCommitted(number: u32, end: u32, dense: bool) bool {
    const region = &regions[number];
    assert(end <= region.capacity);
    // Apart, since memory is committed further ahead than its metadata.
    // And one slice further: a run that ends at the frontier looks at its neighbour.
    if (!commitMetadata(region, number, @min(end + 1, region.capacity))) return false;
    if (end <= region.committed) return true;
    const from = region.committed;
    // Whole chunks: after an end within one each step would have one less of them in huge pages.
    const ahead = @max(end, from + commitStep(region));
    const wanted = @min(std.mem.alignForward(u32, ahead, chunk_slices), region.capacity);
    const done = commitData(region, wanted) or (wanted > end and commitData(region, end));
    if (done and dense and huge_pages) adviseHuge(region, from);
    return done;
}

/// Option `thp`. Set at start-up.
pub var huge_pages: bool = true;

/// Asks for huge pages in what was committed just now. A refusal changes nothing.
fn adviseHuge(region: *Region, from: u32) void {
    if (from < region.huge_from) return;
    const first = std.mem.alignForward(u32, from, chunk_slices);
    const last = std.mem.alignBackward(u32, region.committed, chunk_slices);
    if (first >= last) return;
    const start = region.address + (@as(usize, first) << t.slice_shift);
    _ = os.memory.adviseHuge(@ptrFromInt(start), @as(usize, last - first) << t.slice_shift);
    if (region.huge_end == 0) region.huge_first = first;
    region.huge_end = last;
    is_huge = true;
}

/// Whether huge pages are asked for somewhere. Under the run lock.
var is_huge: bool = false;

/// Called under the run lock when memory went back to the system, with what is live. When a quarter
/// is gone, no more huge pages are wanted where they were: the kernel would make whole ones again
/// of what has holes, and an idle program would grow back to where it was.
pub fn keepSmall(live_bytes: usize) void {
    if (!is_huge or live_bytes >= committedBytes() / 4 * 3) return;
    is_huge = false;
    for (regions[0..count()]) |*region| {
        if (region.huge_end == 0 or region.reserved_length == 0) continue;
        const start = region.address + (@as(usize, region.huge_first) << t.slice_shift);
        const length = @as(usize, region.huge_end - region.huge_first) << t.slice_shift;
        _ = os.memory.adviseSmall(@ptrFromInt(start), length);
        region.huge_first = 0;
        region.huge_end = 0;
    }
}

/// In a child after fork: huge pages only when it has grown as much by itself as a new process must
/// have. The next page of each of many workers would else be a huge one.
pub fn repairAfterFork() void {
    for (regions[0..count()]) |*region| {
        if (region.reserved_length == 0) continue;
        region.huge_from = region.committed +| t.hugepage_start / t.slice_size;
        const first = region.frontier & ~@as(u32, chunk_slices - 1);
        if (region.huge_end <= first) continue;
        const start = region.address + (@as(usize, first) << t.slice_shift);
        const length = @as(usize, region.huge_end - first) << t.slice_shift;
        _ = os.memory.adviseSmall(@ptrFromInt(start), length);
        region.huge_end = if (first > region.huge_first) first else 0;
        if (region.huge_end == 0) region.huge_first = 0;
    }
}

fn commitStep(region: *const Region) u32 {
    const share = region.committed / t.commit_step_share;
    const least = t.commit_step_min / t.slice_size;
    const step = std.math.clamp(share, least, t.commit_step_max / t.slice_size);
    return step & ~@as(u32, chunk_slices - 1); // Whole chunks, for huge pages.
}

fn commitData(region: *Region, end: u32) bool {
    // Where a page is larger than a slice the last page is committed whole.
    const from = region.committed & ~@as(u32, guard_size / t.slice_size - 1);
    const last = @min(std.mem.alignForward(u32, end, guard_size / t.slice_size), region.capacity);
    const start = region.address + (@as(usize, from) << t.slice_shift);
    const length = @as(usize, last - from) << t.slice_shift;
    if (!os.memory.commit(@ptrFromInt(start), length)) return false;
    region.committed = last;
    if (on_growth) |callback| callback();
    return true;
}

/// Bytes committed in all regions.
pub fn committedBytes() usize {
    var sum: usize = 0;
    for (regions[0..count()]) |*region| sum += @as(usize, region.committed) << t.slice_shift;
    return sum;
}

/// frontier <= committed <= capacity, and what lies below the frontier has its map entries and
/// metadata; `hot` says of the first region what its own fields say. Under the run lock.
pub fn check() void {
    for (regions[0..count()], 0..) |*region, number| {
        const limit = region.limit.load(.monotonic); // Written under the lock.
        if (region.reserved_length == 0) {
            assert(limit == 0);
            continue;
        }
        assert(region.frontier >= 1);
        assert(region.frontier == 1 or region.frontier <= region.committed);
        assert(region.committed <= region.capacity);
        assert(limit <= region.capacity);
        assert(region.frontier <= limit);
        assert(region.committed_slices <= region.capacity);
        assert(region.frontier <= region.committed_slices);
        assert(region.address % chunk_size == 0);
        if (number != 0) continue;
        assert(hot.address == region.address);
        assert(hot.map == region.map);
        assert(hot.slices == region.slices);
        // monotonic: as above.
        assert(hot.limit_units.load(.monotonic) == limit << units_per_slice_shift);
    }
}

comptime {
    assert(slices_step * @sizeOf(Slice) % guard_size == 0);
    assert(slices_step * @sizeOf(LiveBits) % guard_size == 0);
    assert(map_step * @sizeOf(Entry) % guard_size == 0);
    assert(@sizeOf(Hot) == 128);
}

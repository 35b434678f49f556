//! What a pointer is: the total look-up. Any 64-bit value may be asked for; no lock, no fault.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const slabs = @import("slab");
const size_class = base.size_class;
const t = base.tunables;
const space = region.space;
const heaps = @import("heap.zig");
const emergency = @import("emergency.zig");
const watched = @import("watched.zig");

/// Usable bytes of a live block: all of them may be written, the number stays the same until the
/// block is resized. Null: not a block of this allocator.
pub inline fn usableSize(pointer: usize) ?usize {
    const id = space.findFirst(pointer) orelse return usableElsewhere(pointer);
    return usableOf(id);
}

inline fn usableOf(id: region.SliceId) ?usize {
    // monotonic: see slab.create.
    const entry = space.entry(id).load(.monotonic);
    const class = heaps.classOfEntry(entry);
    if (class != 0) return size_class.sizes[class];
    return usableLarge(id, entry);
}

fn usableLarge(id: region.SliceId, entry: u32) ?usize {
    if (entry == 0) return null;
    return @as(usize, space.slice(id).length) << t.slice_shift;
}

/// Not in the first region. Under a memory checker nothing is, and nothing is found here: what
/// realloc and malloc_usable_size do then is in `watched`.
noinline fn usableElsewhere(pointer: usize) ?usize {
    @branchHint(.cold);
    if (watched.isOn()) return null;
    return usableOfBlock(pointer);
}

/// The same for what the heap itself handed out, also under a memory checker.
pub fn usableOfBlock(pointer: usize) ?usize {
    if (space.find(pointer)) |id| return usableOf(id);
    if (emergency.contains(pointer)) return emergency.usableSize(pointer);
    return region.huge_block.usableSize(pointer);
}

/// Why a pointer whose slice has no entry, or that is no block's start, was refused.
pub fn reasonInvalid(pointer: usize, id: region.SliceId) []const u8 {
    if (pointer % 16 != 0) return "misaligned pointer";
    var before = id;
    // A run has an entry for its first slice; blocks of exact length may be long.
    while (space.indexOf(before) > 1) {
        before -= 1;
        if (lengthAt(before)) |length| {
            if (before + length > id) return "interior pointer";
            break;
        }
    }
    // Not its frontier, which moves back when memory is decommitted.
    const end = space.at(space.regionOf(id)).frontier_most;
    return if (space.indexOf(id) < end) "double free" else "never allocated";
}

fn lengthAt(id: region.SliceId) ?u32 {
    if (space.entry(id).load(.monotonic) == 0) return null; // For a report.
    return lengthOfRun(id);
}

/// Slices of the run that begins at a slice with an entry.
pub fn lengthOfRun(id: region.SliceId) u32 {
    const entry = space.entry(id).load(.monotonic); // For reports, and for a child with one thread.
    const class = heaps.classOfEntry(entry);
    return if (class == 0) space.slice(id).length else size_class.geometry[class].slices;
}

/// Exact checks of a small or medium block about to be freed, for builds with checks: it starts
/// where a block starts, and its live bit is not set. Any owner: a live block's bit is stable.
pub fn checkBlock(function: []const u8, pointer: usize, id: region.SliceId, entry: u32) void {
    const class = heaps.classOfEntry(entry);
    const head = if (class > size_class.small_count) id else slabs.headOf(id);
    const start = if (class > size_class.small_count)
        space.address(id)
    else
        slabs.blockStart(head, pointer);
    if (start == null or start.? != pointer) {
        os.report.misuse(function, pointer, "interior pointer");
    }
    if (class <= size_class.small_count and slabs.isFree(head, pointer)) {
        os.report.misuse(function, pointer, "double free");
    }
}

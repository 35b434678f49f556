//! realloc and reallocarray: in place where it can be, by moving pages where blocks are big, else
//! by copying. On failure the old block is as it was.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const heap = @import("heap");
const foreign = @import("foreign.zig");
const malloc_file = @import("malloc.zig");
const t = base.tunables;

const malloc = malloc_file.malloc;
const outOfMemory = malloc_file.outOfMemory;

/// realloc(NULL, n) is malloc(n); realloc(p, 0) frees and returns NULL.
pub fn realloc(pointer: ?*anyopaque, size: usize) callconv(.c) ?*anyopaque {
    const address = @intFromPtr(pointer);
    if (address == 0) return malloc(size);
    const usable = heap.lookup.usableSize(address) orelse return reallocUnknown(address, size);
    if (size == 0) {
        malloc_file.free(pointer);
        return null;
    }
    // Blocks at least half full stay: most growth and shrinking ends here.
    if (size <= usable and size >= usable / 2) return checked(address);
    return reallocSlow(address, usable, size);
}

/// The pointer itself, if it is one: an interior address has a usable size too.
fn checked(address: usize) ?*anyopaque {
    if (address % 16 != 0) os.report.misuse("realloc", address, "misaligned pointer");
    return @ptrFromInt(address);
}

noinline fn reallocSlow(address: usize, usable: usize, size: usize) ?*anyopaque {
    _ = checked(address);
    if (size > std.math.maxInt(isize)) return outOfMemory();
    // A block that shrinks by a few bytes of its class is not worth a copy.
    if (size <= usable and usable <= t.keep_size_max) return @ptrFromInt(address);
    if (usable > t.medium_size_max or heap.space.find(address) == null) {
        if (resizeBig(address, usable, size)) |block| return @ptrFromInt(block);
    } else if (size > usable and size >= t.realloc_own_mapping_min) {
        if (heap.slow.allocateWithRoom(size)) |block| return moved(address, block, usable);
    } else if (usable > t.small_size_max and size > t.small_size_max) {
        // A medium block: into what is free behind it, or the rest given back.
        if (heap.slow.resizeInPlace(address, size)) |block| return @ptrFromInt(block);
    }
    const wanted = if (size > usable) base.size_class.forGrowth(size) else size;
    if (size > usable) if (movedToGrow(address, usable, wanted)) |block| return block;
    var block = heap.allocate(wanted);
    if (block == 0 and wanted > size) block = heap.allocate(size);
    if (block == 0) {
        // A smaller block that cannot be had is no reason to fail.
        return if (size <= usable) @ptrFromInt(address) else outOfMemory();
    }
    return moved(address, block, @min(usable, size));
}

/// Big blocks: in place, by moving pages, or once by copy into a mapping with room.
fn resizeBig(address: usize, usable: usize, size: usize) ?usize {
    // A block that has become small leaves its mapping or run.
    if (size < t.medium_size_max and size < usable / 2) return null;
    if (heap.slow.resizeInPlace(address, size)) |block| return block;
    if (size <= usable or size < t.realloc_own_mapping_min) return null;
    const block = heap.slow.allocateWithRoom(size) orelse return null;
    return @intFromPtr(moved(address, block, usable));
}

/// What grew once grows again: by less copying if there is room behind it.
fn movedToGrow(address: usize, usable: usize, size: usize) ?*anyopaque {
    const block = heap.slow.allocateGrown(size);
    if (block == 0) return null;
    base.bulk.copy(block, address, usable);
    heap.slow.freeGrown(address);
    return @ptrFromInt(block);
}

fn moved(address: usize, block: usize, size: usize) ?*anyopaque {
    base.bulk.copy(block, address, size);
    var entry: u32 = 0;
    if (heap.freeFast(address, &entry) != .done) {
        if (!heap.slow.free(address, "realloc")) unreachable; // It had a usable size.
    }
    return @ptrFromInt(block);
}

/// Not a live block of ours: foreign, or misuse.
fn reallocUnknown(address: usize, size: usize) ?*anyopaque {
    @branchHint(.cold);
    if (heap.watched.isOn()) {
        if (heap.watched.isAside()) return heap.watched.resizeAside(address, size);
        if (heap.watched.usableSize(address)) |usable| return reallocWatched(address, usable, size);
        return foreign.realloc(address, size);
    }
    if (heap.space.find(address)) |id| {
        os.report.misuse("realloc", address, heap.lookup.reasonInvalid(address, id));
    }
    malloc_file.refuseKept("realloc", address);
    return foreign.realloc(address, size);
}

/// Always to another block: what used the old one is found out.
fn reallocWatched(address: usize, usable: usize, size: usize) ?*anyopaque {
    if (size == 0) {
        _ = heap.slow.free(address, "realloc");
        return null;
    }
    const block = @intFromPtr(malloc(size) orelse return null);
    return moved(address, block, @min(usable, size));
}

pub fn reallocarray(pointer: ?*anyopaque, count: usize, size: usize) callconv(.c) ?*anyopaque {
    const total, const overflow = @mulWithOverflow(count, size);
    if (overflow != 0) return outOfMemory();
    return realloc(pointer, total);
}

//! malloc, calloc, free and their names: the hit paths, and errno on failure. C semantics as in
//! SPEC section 2. Any thread, signal handlers within the bounds that README states.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const heap = @import("heap");
const foreign = @import("foreign.zig");
const t = base.tunables;

/// malloc up to 1024 bytes in line, up to 2 MiB in one call, the rest slow.
pub fn malloc(size: usize) callconv(.c) ?*anyopaque {
    if (size > t.table_size_max) return mallocMedium(size);
    const block = heap.allocateSmall(size) orelse return mallocSlow(size);
    return @ptrFromInt(block);
}

noinline fn mallocMedium(size: usize) ?*anyopaque {
    if (size > t.medium_size_max) return mallocSlow(size);
    const block = heap.allocateMedium(size) orelse return mallocSlow(size);
    return @ptrFromInt(block);
}

pub noinline fn mallocSlow(size: usize) ?*anyopaque {
    const block = heap.slow.allocate(size);
    if (block == 0) return outOfMemory();
    return @ptrFromInt(block);
}

/// errno = ENOMEM and NULL, for every failing path of every entry.
pub fn outOfMemory() ?*anyopaque {
    @branchHint(.cold);
    os.host.setErrno(.NOMEM);
    return null;
}

/// Also free_sized, free_aligned_sized and every operator delete: what they say of size and
/// alignment is a promise that is not needed, and further arguments in registers do no harm.
pub fn free(pointer: ?*anyopaque) callconv(.c) void {
    const address = @intFromPtr(pointer);
    var entry: u32 = 0;
    switch (heap.freeFast(address, &entry)) {
        .done => {},
        .foreign_owner => heap.slow.freeForeignOwner(address, entry, "free"),
        .slow => freeSlow(address),
    }
}

noinline fn freeSlow(address: usize) void {
    if (!heap.slow.free(address, "free")) foreign.free(address);
}

pub fn calloc(count: usize, size: usize) callconv(.c) ?*anyopaque {
    const total, const overflow = @mulWithOverflow(count, size);
    if (overflow != 0) return outOfMemory();
    if (total > t.small_size_max) return callocBig(total);
    const block = heap.allocate(total);
    if (block == 0) return outOfMemory();
    base.bulk.zero(block, total);
    return @ptrFromInt(block);
}

/// Fresh memory is known to be zero; memory of a magazine is not.
noinline fn callocBig(size: usize) ?*anyopaque {
    const block = heap.slow.allocateZeroed(size);
    const address = block.address();
    if (address == 0) return outOfMemory();
    if (!block.zero) base.bulk.zero(address, size);
    return @ptrFromInt(address);
}

pub fn usableSize(pointer: ?*anyopaque) callconv(.c) usize {
    const address = @intFromPtr(pointer);
    if (address == 0) return 0;
    if (address % 16 == 0) {
        if (heap.lookup.usableSize(address)) |size| return size;
    }
    return usableSizeUnknown(address);
}

/// A huge block that was freed and is kept for reuse is mapped, yet nobody's.
pub fn refuseKept(function: []const u8, address: usize) void {
    if (!heap.slow.isKept(address)) return;
    os.report.misuse(function, address, "double free");
}

/// Not a live block of ours: misuse when it lies in a region, else foreign.
pub noinline fn usableSizeUnknown(address: usize) usize {
    @branchHint(.cold);
    if (heap.watched.isOn()) {
        return heap.watched.usableSize(address) orelse foreign.usableSize(address);
    }
    if (heap.space.find(address)) |id| {
        const reason = heap.lookup.reasonInvalid(address, id);
        os.report.misuse("malloc_usable_size", address, reason);
    }
    refuseKept("malloc_usable_size", address);
    return foreign.usableSize(address);
}

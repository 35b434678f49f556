//! The heaps of alloc.h: alloc_heap_create and what follows. Any thread; errno on failure.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const heap = @import("heap");
const foreign = @import("foreign.zig");
const malloc_file = @import("malloc.zig");
const t = base.tunables;
const explicit = heap.explicit;
const Handle = explicit.Handle;
const outOfMemory = malloc_file.outOfMemory;

fn invalid() ?*anyopaque {
    @branchHint(.cold);
    os.host.setErrno(.INVAL);
    return null;
}

/// An alloc_heap_t * is a number that nobody follows: which heap, and which of those that stood in
/// its place. Null for NULL.
fn handleOf(target: ?*anyopaque) ?Handle {
    return @bitCast(@intFromPtr(target orelse return null));
}

/// NULL with errno ENOMEM.
pub fn create(bytes_max: usize) callconv(.c) ?*anyopaque {
    const handle = explicit.create(bytes_max) orelse return outOfMemory();
    return @ptrFromInt(@as(u64, @bitCast(handle)));
}

/// How many blocks were live.
pub fn destroy(target: ?*anyopaque) callconv(.c) usize {
    return explicit.destroy(handleOf(target) orelse return 0);
}

pub fn malloc(target: ?*anyopaque, size: usize) callconv(.c) ?*anyopaque {
    return allocate(handleOf(target) orelse return invalid(), size, 16);
}

fn allocate(target: Handle, size: usize, alignment: usize) ?*anyopaque {
    const address = explicit.allocate(target, size, alignment).address();
    return if (address == 0) outOfMemory() else @ptrFromInt(address);
}

pub fn calloc(target: ?*anyopaque, count: usize, size: usize) callconv(.c) ?*anyopaque {
    const from = handleOf(target) orelse return invalid();
    const total, const overflow = @mulWithOverflow(count, size);
    if (overflow != 0) return outOfMemory();
    const block = explicit.allocate(from, total, 16);
    const address = block.address();
    if (address == 0) return outOfMemory();
    if (!block.zero) base.bulk.zero(address, total);
    return @ptrFromInt(address);
}

/// EINVAL unless `alignment` is a power of two.
pub fn alignedAlloc(target: ?*anyopaque, alignment: usize, size: usize) callconv(.c) ?*anyopaque {
    const from = handleOf(target) orelse return invalid();
    if (alignment == 0 or !std.math.isPowerOfTwo(alignment)) return invalid();
    return allocate(from, size, @max(alignment, 16));
}

/// As realloc. What moves, moves into this heap.
pub fn realloc(target: ?*anyopaque, pointer: ?*anyopaque, size: usize) callconv(.c) ?*anyopaque {
    const from = handleOf(target) orelse return invalid();
    const old = pointer orelse return allocate(from, size, 16);
    if (size == 0) {
        release(@intFromPtr(old));
        return null;
    }
    const usable = usableSize(@intFromPtr(old));
    if (size <= usable and size >= usable / 2) return old;
    if (explicit.resizeInPlace(from, @intFromPtr(old), size)) return old;
    const block = allocate(from, size, 16) orelse {
        // A smaller block that cannot be had is no reason to fail.
        return if (size <= usable) old else null;
    };
    base.bulk.copy(@intFromPtr(block), @intFromPtr(old), @min(usable, size));
    release(@intFromPtr(old));
    return block;
}

/// A block of any heap. Nothing happens when `target` was destroyed.
pub fn free(target: ?*anyopaque, pointer: ?*anyopaque) callconv(.c) void {
    if (handleOf(target)) |handle| {
        if (explicit.freeOf(handle, @intFromPtr(pointer), "alloc_heap_free")) return;
    }
    release(@intFromPtr(pointer));
}

/// Not by the exported functions: Valgrind as a rule puts its own in their place, which know
/// nothing of these blocks.
fn release(address: usize) void {
    var entry: u32 = 0;
    switch (heap.freeFast(address, &entry)) {
        .done => {},
        .foreign_owner => heap.slow.freeForeignOwner(address, entry, "alloc_heap_free"),
        .slow => if (!heap.slow.free(address, "alloc_heap_free")) foreign.free(address),
    }
}

fn usableSize(address: usize) usize {
    if (address % 16 == 0) {
        if (heap.lookup.usableSize(address)) |size| return size;
    }
    return malloc_file.usableSizeUnknown(address);
}

pub fn owns(target: ?*anyopaque, pointer: ?*anyopaque) callconv(.c) c_int {
    const from = handleOf(target) orelse return 0;
    return @intFromBool(explicit.owns(from, @intFromPtr(pointer)));
}

/// alloc_heap_stats_t. Grows at its end only.
const HeapStats = extern struct {
    live_blocks: u64,
    bytes_in_use: u64,
    bytes_held: u64,
    bytes_max: u64,
    allocations: u64,
    frees: u64,
};

/// 0; -1 with errno EINVAL.
pub fn stats(target: ?*anyopaque, out: ?*anyopaque, size: usize) callconv(.c) c_int {
    const from = handleOf(target) orelse return refuse();
    const room: [*]u8 = @ptrCast(out orelse return refuse());
    if (size == 0) return refuse();
    const now = explicit.statistics(from) orelse return refuse();
    fill(room[0..size], &HeapStats{
        .live_blocks = now.live_blocks,
        .bytes_in_use = now.bytes_in_use,
        .bytes_held = now.bytes_held,
        .bytes_max = now.bytes_max,
        .allocations = now.allocations,
        .frees = now.frees,
    });
    return 0;
}

fn refuse() c_int {
    _ = invalid();
    return -1;
}

/// As much of a structure as the caller knows; zeros for what it knows beyond that.
pub fn fill(room: []u8, structure: anytype) void {
    const bytes = std.mem.asBytes(structure);
    const known = @min(room.len, bytes.len);
    @memcpy(room[0..known], bytes[0..known]);
    @memset(room[known..], 0);
}

//! The heaps of alloc.h: alloc_heap_create and what follows. Any thread; errno on failure.
const std = @import("std");
const base = @import("base");
const heap = @import("heap");
const foreign = @import("foreign.zig");
const malloc_file = @import("malloc.zig");
const refusal = @import("refusal.zig");
const explicit = heap.explicit;
const Handle = explicit.Handle;
const outOfMemory = malloc_file.outOfMemory;

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
    return allocate(handleOf(target) orelse return refusal.of(error.InvalidArgument), size, 16);
}

fn allocate(target: Handle, size: usize, alignment: usize) ?*anyopaque {
    const address = explicit.allocate(target, size, alignment).address();
    return if (address == 0) outOfMemory() else @ptrFromInt(address);
}

pub fn calloc(target: ?*anyopaque, count: usize, size: usize) callconv(.c) ?*anyopaque {
    const from = handleOf(target) orelse return refusal.of(error.InvalidArgument);
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
    const from = handleOf(target) orelse return refusal.of(error.InvalidArgument);
    const is_power = alignment != 0 and std.math.isPowerOfTwo(alignment);
    if (!is_power) return refusal.of(error.InvalidArgument);
    return allocate(from, size, @max(alignment, 16));
}

/// As realloc. What moves, moves into this heap.
pub fn realloc(target: ?*anyopaque, pointer: ?*anyopaque, size: usize) callconv(.c) ?*anyopaque {
    const from = handleOf(target) orelse return refusal.of(error.InvalidArgument);
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

/// 0; -1 with errno EINVAL.
pub fn stats(target: ?*anyopaque, out: ?*anyopaque, size: usize) callconv(.c) c_int {
    const from = handleOf(target) orelse return refusal.invalid();
    const now = explicit.statistics(from) orelse return refusal.invalid();
    return refusal.fill(out, size, &now);
}

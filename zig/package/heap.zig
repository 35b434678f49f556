//! A heap of its own: blocks that are freed one by one, or all with the heap. Any thread.
const std = @import("std");
const base = @import("base");
const heap = @import("heap");
const general = @import("allocator.zig");
const t = base.tunables;
const explicit = heap.explicit;
const Alignment = std.mem.Alignment;

pub const Heap = struct {
    handle: explicit.Handle,

    pub const Statistics = explicit.Statistics;

    /// Holds at most `bytes_max` bytes of memory, free blocks in it included; 0: no limit.
    pub fn create(bytes_max: usize) error{OutOfMemory}!Heap {
        return .{ .handle = explicit.create(bytes_max) orelse return error.OutOfMemory };
    }

    /// Frees the heap and every block in it; how many were live. No other call may run or come
    /// later.
    pub fn destroy(heap_own: Heap) usize {
        return explicit.destroy(heap_own.handle);
    }

    /// Whether an address lies in memory of this heap. Any value may be asked for.
    pub fn owns(heap_own: Heap, address: usize) bool {
        return explicit.owns(heap_own.handle, address);
    }

    /// Zeros when a fork lost the heap to this child.
    pub fn statistics(heap_own: Heap) Statistics {
        return explicit.statistics(heap_own.handle) orelse std.mem.zeroes(Statistics);
    }

    pub fn allocator(heap_own: Heap) std.mem.Allocator {
        return .{ .ptr = contextOf(heap_own.handle), .vtable = &vtable };
    }
};

/// A handle is a number that is never 0.
fn contextOf(handle: explicit.Handle) *anyopaque {
    return @ptrFromInt(@as(u64, @bitCast(handle)));
}

fn handleOf(context: *anyopaque) explicit.Handle {
    return @bitCast(@intFromPtr(context));
}

const vtable: std.mem.Allocator.VTable = .{
    .alloc = alloc,
    .resize = resize,
    .remap = remap,
    .free = general.free,
};

fn alloc(context: *anyopaque, size: usize, alignment: Alignment, _: usize) ?[*]u8 {
    const handle = handleOf(context);
    const multiple = @max(alignment.toByteUnits(), general.natural_alignment);
    const address = explicit.allocate(handle, size, multiple).address();
    return if (address == 0) null else @ptrFromInt(address);
}

/// In place: see `allocator.resize`, which does not know whose run a block is.
fn resize(context: *anyopaque, memory: []u8, _: Alignment, size: usize, _: usize) bool {
    const handle = handleOf(context);
    const usable = general.usableSize(@intFromPtr(memory.ptr)) orelse return false;
    if (size <= usable and (size >= usable / 2 or usable <= t.keep_size_max)) return true;
    return explicit.resizeInPlace(handle, @intFromPtr(memory.ptr), size);
}

fn remap(
    context: *anyopaque,
    memory: []u8,
    alignment: Alignment,
    size: usize,
    return_address: usize,
) ?[*]u8 {
    return if (resize(context, memory, alignment, size, return_address)) memory.ptr else null;
}

//! The aligned entries. Alignment and size follow the standards and, where those are silent,
//! glibc: memalign rounds a crooked alignment up, aligned_alloc refuses it.
const std = @import("std");
const os = @import("os");
const heap = @import("heap");
const malloc_file = @import("malloc.zig");

const outOfMemory = malloc_file.outOfMemory;
const natural_alignment = 16;

/// `alignment` is a power of two.
pub fn allocate(alignment: usize, size: usize) ?*anyopaque {
    const block = heap.allocateAligned(size, alignment) orelse return allocateSlow(alignment, size);
    return @ptrFromInt(block);
}

noinline fn allocateSlow(alignment: usize, size: usize) ?*anyopaque {
    const block = slow(alignment, size);
    return if (block == 0) outOfMemory() else @ptrFromInt(block);
}

/// 0: refused.
noinline fn slow(alignment: usize, size: usize) usize {
    if (alignment <= natural_alignment) return heap.slow.allocate(size);
    return heap.slow.allocateAligned(size, alignment);
}

fn invalid() ?*anyopaque {
    os.host.setErrno(.INVAL);
    return null;
}

/// EINVAL for an alignment that is no power of two. Any size.
pub fn alignedAlloc(alignment: usize, size: usize) callconv(.c) ?*anyopaque {
    if (alignment == 0 or !std.math.isPowerOfTwo(alignment)) return invalid();
    return allocate(alignment, size);
}

/// An alignment that is no power of two is rounded up to one: EINVAL when there is none.
pub fn memalign(alignment: usize, size: usize) callconv(.c) ?*anyopaque {
    if (alignment > 1 << (@bitSizeOf(usize) - 1)) return invalid();
    return allocate(std.math.ceilPowerOfTwoAssert(usize, @max(alignment, 1)), size);
}

/// 0, EINVAL or ENOMEM. errno is as with glibc: ENOMEM too, and left alone at EINVAL.
pub fn posixMemalign(out: *?*anyopaque, alignment: usize, size: usize) callconv(.c) c_int {
    if (alignment < @sizeOf(usize) or !std.math.isPowerOfTwo(alignment)) {
        return @intCast(@backingInt(std.os.linux.E.INVAL));
    }
    const block = heap.allocateAligned(size, alignment) orelse slow(alignment, size);
    if (block == 0) {
        os.host.setErrno(.NOMEM);
        return @intCast(@backingInt(std.os.linux.E.NOMEM));
    }
    out.* = @ptrFromInt(block);
    return 0;
}

pub fn valloc(size: usize) callconv(.c) ?*anyopaque {
    return allocate(pageSize(), size);
}

/// Known once the heap is up, and this may be the first call of the process.
fn pageSize() usize {
    heap.slow.settle();
    return os.machine.page_size;
}

/// Whole pages; 0 bytes are one page.
pub fn pvalloc(size: usize) callconv(.c) ?*anyopaque {
    const page = pageSize();
    const rounded = std.math.add(usize, @max(size, 1), page - 1) catch return outOfMemory();
    return allocate(page, rounded & ~(page - 1));
}

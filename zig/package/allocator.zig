//! The general heap as a std.mem.Allocator: the hit paths of malloc and free, with the alignment
//! and sizes that Zig's interface knows. Any thread. Blocks may be freed by any thread.
const std = @import("std");
const abi = @import("abi");
const base = @import("base");
const heap = @import("heap");
const os = @import("os");
const build_options = @import("build_options");
const t = base.tunables;
const Alignment = std.mem.Alignment;

/// The heap has no state that a value would have to carry.
pub const general: std.mem.Allocator = .{ .ptr = undefined, .vtable = &vtable };

const vtable: std.mem.Allocator.VTable = .{
    .alloc = alloc,
    .resize = resize,
    .remap = remap,
    .free = free,
};

/// Every block of the heap is on a multiple of this.
pub const natural_alignment = 16;

fn alloc(_: *anyopaque, size: usize, alignment: Alignment, _: usize) ?[*]u8 {
    const multiple = alignment.toByteUnits();
    const block = if (multiple <= natural_alignment)
        heap.allocate(size)
    else
        heap.allocateAligned(size, multiple) orelse heap.slow.allocateAligned(size, multiple);
    return if (block == 0) null else @ptrFromInt(block);
}

pub fn free(_: *anyopaque, memory: []u8, _: Alignment, _: usize) void {
    const address = @intFromPtr(memory.ptr);
    if (build_options.checks) checkSize(address, memory.len);
    var entry: u32 = 0;
    switch (heap.freeFast(address, &entry)) {
        .done => {},
        .foreign_owner => heap.slow.freeForeignOwner(address, entry, "free"),
        .slow => freeSlow(address),
    }
}

noinline fn freeSlow(address: usize) void {
    if (!heap.slow.free(address, "free")) os.report.misuse("free", address, "foreign pointer");
}

/// No block is smaller than what its owner believes.
fn checkSize(address: usize, size: usize) void {
    const usable = usableSize(address) orelse return; // The free will say why.
    if (size > usable) os.report.misuse("free", address, "size mismatch");
}

pub fn usableSize(address: usize) ?usize {
    if (heap.watched.isOn()) return heap.watched.usableSize(address);
    return heap.lookup.usableSize(address);
}

/// In place. A block that would be left less than half full is not kept as it is: what is behind it
/// is given back, or the answer is no and the caller moves to a smaller one.
fn resize(_: *anyopaque, memory: []u8, _: Alignment, size: usize, _: usize) bool {
    const address = @intFromPtr(memory.ptr);
    const usable = usableSize(address) orelse return false;
    if (size <= usable and (size >= usable / 2 or usable <= t.keep_size_max)) return true;
    if (size > usable) return growInPlace(address, size);
    return shrinkInPlace(address, usable, size);
}

/// A block with a mapping of its own would be moved where it has no room: only runs, which stay.
fn growInPlace(address: usize, size: usize) bool {
    if (size <= t.small_size_max or heap.watched.isOn()) return false;
    if (heap.space.find(address) == null) return false;
    return heap.slow.resizeInPlace(address, size) != null;
}

fn shrinkInPlace(address: usize, usable: usize, size: usize) bool {
    if (heap.watched.isOn()) return true;
    if (size <= t.small_size_max or usable <= t.small_size_max) return false;
    return heap.slow.resizeInPlace(address, size) != null;
}

/// In place, or as realloc moves large blocks: by moving their pages, or once to where there is
/// room to grow. Null: a copy by the caller is no worse.
fn remap(
    context: *anyopaque,
    memory: []u8,
    alignment: Alignment,
    size: usize,
    return_address: usize,
) ?[*]u8 {
    if (resize(context, memory, alignment, size, return_address)) return memory.ptr;
    if (alignment.toByteUnits() > natural_alignment or size < memory.len) return null;
    const moves_pages = memory.len > t.medium_size_max or size >= t.realloc_own_mapping_min;
    if (!moves_pages or size > std.math.maxInt(isize)) return null;
    return @ptrCast(abi.realloc.realloc(memory.ptr, size));
}

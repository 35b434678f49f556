//! The arenas of alloc.h. One thread at a time.
const std = @import("std");
const pools = @import("pools");
const malloc_file = @import("malloc.zig");
const refusal = @import("refusal.zig");
const Arena = pools.Arena;

pub fn create(capacity: usize, flags: u32) callconv(.c) ?*anyopaque {
    return Arena.create(capacity, @bitCast(flags)) catch |reason| refusal.of(reason);
}

pub fn alloc(arena: *Arena, size: usize) callconv(.c) ?*anyopaque {
    const address = arena.take(size) orelse return allocSlow(arena, size);
    return @ptrFromInt(address);
}

noinline fn allocSlow(arena: *Arena, size: usize) ?*anyopaque {
    const address = arena.allocSlow(size, 16);
    return if (address == 0) malloc_file.outOfMemory() else @ptrFromInt(address);
}

pub fn allocAligned(arena: *Arena, size: usize, alignment: usize) callconv(.c) ?*anyopaque {
    const is_power = alignment != 0 and std.math.isPowerOfTwo(alignment);
    if (!is_power) return refusal.of(error.InvalidArgument);
    const address = arena.takeAligned(size, alignment) orelse
        return allocAlignedSlow(arena, size, alignment);
    return @ptrFromInt(address);
}

noinline fn allocAlignedSlow(arena: *Arena, size: usize, alignment: usize) ?*anyopaque {
    const address = arena.allocSlow(size, alignment);
    return if (address == 0) malloc_file.outOfMemory() else @ptrFromInt(address);
}

pub fn checkpoint(arena: *const Arena) callconv(.c) pools.arena.Checkpoint {
    return arena.checkpoint();
}

pub fn rewind(arena: ?*Arena, moment: pools.arena.Checkpoint) callconv(.c) c_int {
    const known = arena orelse return refusal.invalid();
    return if (known.rewind(&moment)) 0 else refusal.invalid();
}

pub fn reset(arena: ?*Arena) callconv(.c) void {
    if (arena) |known| known.reset();
}

pub fn trim(arena: ?*Arena) callconv(.c) usize {
    return if (arena) |known| known.trim() else 0;
}

pub fn destroy(arena: ?*Arena) callconv(.c) usize {
    return if (arena) |known| known.destroy() else 0;
}

pub fn stats(arena: ?*const Arena, out: ?*anyopaque, size: usize) callconv(.c) c_int {
    const known = arena orelse return refusal.invalid();
    return refusal.fill(out, size, &known.stats());
}

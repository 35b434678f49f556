//! The functions of hft_alloc.h: pools and arenas with everything in memory from the start, and the
//! size-class router. The code is that of alloc.h.
const std = @import("std");
const base = @import("base");
const pools = @import("pools");
const arena_h = @import("arena_h.zig");
const malloc_file = @import("malloc.zig");
const pool_h = @import("pool_h.zig");
const refusal = @import("refusal.zig");
const t = base.tunables;
const Arena = pools.Arena;
const Flags = pools.backing.Flags;
const Pool = pools.Pool;

pub fn poolCreate(size: usize, capacity: usize) callconv(.c) ?*anyopaque {
    return make(.{ .object_size = size, .capacity = capacity });
}

pub fn poolCreateAligned(size: usize, capacity: usize, alignment: usize) callconv(.c) ?*anyopaque {
    // 0 is a default only in alloc.h.
    if (alignment == 0) return refusal.of(error.InvalidArgument);
    return make(.{ .object_size = size, .capacity = capacity, .alignment = alignment });
}

pub fn poolCreateNuma(size: usize, capacity: usize, node: c_int) callconv(.c) ?*anyopaque {
    const flags: Flags = .{ .on_node = true };
    return make(.{ .object_size = size, .capacity = capacity, .flags = flags, .node = node });
}

pub fn poolCreateDebug(size: usize, capacity: usize) callconv(.c) ?*anyopaque {
    return make(.{ .object_size = size, .capacity = capacity, .flags = .{ .debug = true } });
}

fn make(options: pools.pool.Options) ?*anyopaque {
    var all = options;
    all.flags.prefault = true;
    all.flags.huge_pages = (options.object_size *| options.capacity) >= t.pool_huge_min;
    return Pool.create(&all) catch |reason| refusal.of(reason);
}

/// pool_stats_t.
const PoolStats = extern struct {
    object_size: usize,
    total_objects: usize,
    allocated_objects: usize,
    free_objects: usize,
    allocations_count: usize,
    frees_count: usize,
    bytes_allocated: usize,
    bytes_overhead: usize,
};

pub fn poolStats(pool: ?*const Pool, out: ?*PoolStats) callconv(.c) void {
    const known = (pool orelse return).stats();
    (out orelse return).* = .{
        .object_size = known.object_size,
        .total_objects = known.total_objects,
        .allocated_objects = known.allocated_objects,
        .free_objects = known.free_objects,
        .allocations_count = known.allocations,
        .frees_count = known.frees,
        .bytes_allocated = known.bytes_allocated,
        .bytes_overhead = known.bytes_overhead,
    };
}

pub fn poolDestroy(pool: ?*Pool) callconv(.c) void {
    _ = pool_h.destroy(pool);
}

pub fn arenaCreate(capacity: usize) callconv(.c) ?*anyopaque {
    const huge = capacity >= t.pool_huge_min;
    const flags: Flags = .{ .prefault = true, .fixed = true, .huge_pages = huge };
    return Arena.create(capacity, flags) catch |reason| refusal.of(reason);
}

pub fn arenaDestroy(arena: ?*Arena) callconv(.c) void {
    _ = arena_h.destroy(arena);
}

/// Both: the process and the calling thread are ready, and what the router needs is in magazines.
pub fn threadInit() callconv(.c) void {
    pools.router.fill();
}

pub fn alloc(size: usize) callconv(.c) ?*anyopaque {
    const block = pools.router.take(size) orelse return allocSlow(size);
    return @ptrFromInt(block);
}

noinline fn allocSlow(size: usize) ?*anyopaque {
    const block = pools.router.allocSlow(size);
    return if (block == 0) malloc_file.outOfMemory() else @ptrFromInt(block);
}

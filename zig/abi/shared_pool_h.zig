//! The pools of alloc.h that threads share.
const os = @import("os");
const pools = @import("pools");
const malloc_file = @import("malloc.zig");
const pool_h = @import("pool_h.zig");
const refusal = @import("refusal.zig");
const SharedPool = pools.SharedPool;

pub fn create(options: ?*const anyopaque, size: usize) callconv(.c) ?*anyopaque {
    const known = pool_h.optionsFrom(options, size) catch |reason| return refusal.of(reason);
    return SharedPool.create(&known) catch |reason| refusal.of(reason);
}

pub fn alloc(pool: *SharedPool) callconv(.c) ?*anyopaque {
    const object = pool.alloc();
    return if (object == 0) malloc_file.outOfMemory() else @ptrFromInt(object);
}

pub fn free(pool: *SharedPool, object: ?*anyopaque) callconv(.c) void {
    if (!pool.free(@intFromPtr(object))) refuse(pool, @intFromPtr(object));
}

noinline fn refuse(pool: *SharedPool, object: usize) void {
    @branchHint(.cold);
    if (object == 0) return;
    os.report.misuse("shared_pool_free", object, pool.reasonRefused(object));
}

pub fn destroy(pool: ?*SharedPool) callconv(.c) usize {
    return if (pool) |known| known.destroy() else 0;
}

pub fn stats(pool: ?*SharedPool, out: ?*anyopaque, size: usize) callconv(.c) c_int {
    const known = pool orelse return refusal.invalid();
    return refusal.fill(out, size, &known.stats());
}

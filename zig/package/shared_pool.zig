//! Objects of one size for any number of threads, lock-free.
const std = @import("std");
const os = @import("os");
const pools = @import("pools");

pub const SharedPool = struct {
    handle: *pools.SharedPool,

    pub const Options = pools.pool.Options;
    pub const Statistics = pools.pool.Stats;

    /// The policy is `fail`.
    pub fn create(options: Options) pools.backing.Error!SharedPool {
        return .{ .handle = try pools.SharedPool.create(&options) };
    }

    /// How many objects were live. No other call may run or come later.
    pub fn destroy(pool: SharedPool) u64 {
        return pool.handle.destroy();
    }

    /// Null: all parts of the pool were found empty.
    pub inline fn alloc(pool: SharedPool) ?*anyopaque {
        return @ptrFromInt(pool.handle.alloc());
    }

    pub inline fn free(pool: SharedPool, object: *anyopaque) void {
        if (!pool.handle.free(@intFromPtr(object))) refuse(pool.handle, @intFromPtr(object));
    }

    /// Exact when no other call runs.
    pub fn statistics(pool: SharedPool) Statistics {
        return pool.handle.stats();
    }
};

noinline fn refuse(pool: *const pools.SharedPool, object: usize) noreturn {
    @branchHint(.cold);
    os.report.misuse("SharedPool.free", object, pool.reasonRefused(object));
}

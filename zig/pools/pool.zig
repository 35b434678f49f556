//! Pools: objects of one size, for one thread at a time. A freed object is the next one handed out.
//!
//! The two hit paths know a list and a bound. Whatever needs more is a state of these: no free
//! object (`head` is 0, every allocation goes slow), or frees that must be looked at (`low` is the
//! highest address, every free goes slow). A checked pool (debug, or under a memory checker) is in
//! both states for good: see checked_pool.
//!
//! Invariant: live = allocations - frees = total - (free list) - (not yet linked) + fallback.
const std = @import("std");
const build_options = @import("build_options");
const base = @import("base");
const backing = @import("backing.zig");
const counts = @import("counts.zig");
const checked_pool = @import("checked_pool.zig");
const BlockSet = @import("block_set.zig").BlockSet;
const place_file = @import("place.zig");
const slab_file = @import("pool_slab.zig");
const t = base.tunables;
const assert = base.assert;
const Error = backing.Error;
const History = place_file.History;
const Place = place_file.Place;
const PoolSlab = slab_file.PoolSlab;

/// The numbers of alloc.h.
pub const Policy = enum(u8) { fail = 0, grow = 1, fall_back = 2 };

pub const Options = struct {
    object_size: usize,
    capacity: usize,
    /// 0: 16, which is also the least.
    alignment: usize = 0,
    policy: Policy = .fail,
    flags: backing.Flags = .{},
    node: i32 = 0,

    /// How objects lie; a checked pool keeps `guard` bytes free on either side.
    pub fn shape(options: *const Options, guard: usize) Error!slab_file.Shape {
        if (options.object_size == 0 or options.capacity == 0) return error.InvalidArgument;
        const is_power = options.alignment == 0 or std.math.isPowerOfTwo(options.alignment);
        if (!is_power) return error.InvalidArgument;
        const alignment = @max(options.alignment, object_alignment_min);
        _ = std.math.mul(usize, options.object_size, options.capacity) catch
            return error.InvalidArgument;
        const size = @max(options.object_size, object_size_min);
        const lead = if (guard == 0) 0 else @max(guard, alignment);
        const whole = size +| lead +| guard +| (alignment - 1);
        const stride = whole & ~(alignment - 1);
        // Over PTRDIFF_MAX there is no memory.
        const length = std.math.mul(usize, stride, options.capacity) catch whole_max;
        if (whole > whole_max or length >= whole_max) return error.OutOfMemory;
        return .{ .size = size, .stride = stride, .lead = lead, .alignment = alignment };
    }
};

/// The link is in the object.
const object_size_min = @sizeOf(usize);
pub const object_alignment_min = 16;
const whole_max = std.math.maxInt(isize);
const always_slow = std.math.maxInt(usize);

pub const Stats = extern struct {
    object_size: u64,
    total_objects: u64,
    allocated_objects: u64,
    free_objects: u64,
    allocations: u64,
    frees: u64,
    bytes_allocated: u64,
    bytes_overhead: u64,
    fallback_objects: u64,
};

pub const Pool = extern struct {
    /// The newest free object; 0: go slow. An object's first word is the next one.
    head: usize,
    allocations: u64,
    frees: u64,
    /// No object lies below. Frees of anything below go slow.
    low: usize,
    shape: slab_file.Shape,
    total: usize,
    newest: *PoolSlab,
    first: PoolSlab,
    flags: backing.Flags,
    node: i32,
    policy: Policy,
    /// Every call is looked at: records, and guards or a memory checker.
    is_checked: bool,
    /// Guard bytes are written and looked at; else they are the checker's redzones.
    has_guards: bool,
    /// Checked: the newest free object.
    checked_head: usize,
    /// Objects from the general heap that are live.
    fallback: BlockSet,

    pub fn create(options: *const Options) Error!*Pool {
        const flags = options.flags;
        if (flags.unknown != 0 or flags.fixed) return error.InvalidArgument;
        const watched = backing.isWatched();
        const is_checked = flags.debug or build_options.checks or watched;
        const shape = try options.shape(if (is_checked) t.pool_guard_size else 0);
        const pool = try backing.create(Pool);
        errdefer backing.destroy(pool);
        pool.shape = shape;
        pool.flags = flags;
        pool.node = options.node;
        pool.policy = options.policy;
        pool.is_checked = is_checked;
        pool.has_guards = is_checked and !watched;
        pool.low = always_slow;
        pool.newest = &pool.first;
        try pool.fill(&pool.first, options.capacity);
        counts.add(&counts.pools, 1);
        return pool;
    }

    /// Memory for a slab of so many objects, which becomes a part of the pool.
    fn fill(pool: *Pool, slab: *PoolSlab, count: usize) Error!void {
        const shape = &pool.shape;
        const length = std.math.mul(usize, count, shape.stride) catch return error.OutOfMemory;
        slab.memory = try backing.acquire(.{
            .length = length,
            .alignment = @max(shape.alignment, 64),
            .flags = pool.flags,
            .node = pool.node,
        });
        slab.count = count;
        if (pool.is_checked) {
            errdefer backing.release(slab.memory);
            try checked_pool.prepare(pool, slab);
        }
        pool.total += count;
        pool.setLow();
        if (pool.is_checked) return;
        // All at once where no later call may take longer; else as they are needed.
        if (pool.flags.prefault) pool.link(slab, count);
    }

    /// Links the next `count` objects of a slab, the lowest to be handed out first.
    fn link(pool: *Pool, slab: *PoolSlab, count: usize) void {
        assert(slab.linked + count <= slab.count);
        var index = slab.linked + count;
        while (index > slab.linked) {
            index -= 1;
            const object = slab.object(&pool.shape, index);
            @as(*usize, @ptrFromInt(object)).* = pool.head;
            pool.head = object;
        }
        slab.linked += count;
    }

    fn setLow(pool: *Pool) void {
        pool.low = always_slow;
        if (pool.is_checked or pool.fallback.count != 0) return;
        var next: ?*PoolSlab = pool.newest;
        while (next) |slab| : (next = slab.next) pool.low = @min(pool.low, slab.memory.address);
    }

    /// The hit path: the newest free object; 0: go slow.
    pub inline fn pop(pool: *Pool) usize {
        const object = pool.popPlain();
        // Its link is what the next call waits for.
        if (object != 0) prefetch(pool.head);
        return object;
    }

    /// The same an instruction shorter.
    pub inline fn popPlain(pool: *Pool) usize {
        const object = pool.head;
        if (object == 0) return 0;
        pool.head = @as(*const usize, @ptrFromInt(object)).*;
        pool.allocations += 1;
        return object;
    }

    /// The hit path; false: go slow.
    pub inline fn push(pool: *Pool, object: usize) bool {
        if (object < pool.low) return false;
        @as(*usize, @ptrFromInt(object)).* = pool.head;
        pool.head = object;
        pool.frees += 1;
        return true;
    }

    /// An object, contents undefined; null: there is none, or no memory for more.
    pub inline fn alloc(pool: *Pool) ?*anyopaque {
        const object = pool.pop();
        if (object != 0) return @ptrFromInt(object);
        return @ptrFromInt(pool.allocSlow(.unknown));
    }

    pub inline fn free(pool: *Pool, object: ?*anyopaque) void {
        if (!pool.push(@intFromPtr(object))) pool.freeSlow(@intFromPtr(object), .unknown);
    }

    /// The whole of an allocation; 0: refused.
    pub noinline fn allocSlow(pool: *Pool, place: Place) usize {
        if (pool.is_checked) {
            const object = checked_pool.alloc(pool, place);
            if (object != 0) return object;
        } else {
            const slab = pool.newest;
            if (pool.head == 0 and slab.linked < slab.count) pool.link(slab, pool.batchOf(slab));
            const object = pool.pop();
            if (object != 0) return object;
        }
        switch (pool.policy) {
            .fail => return 0,
            .grow => pool.grow() catch return 0,
            .fall_back => return pool.fallBack(place) catch 0,
        }
        return pool.allocSlow(place);
    }

    fn batchOf(pool: *const Pool, slab: *const PoolSlab) usize {
        const objects = @max(t.pool_batch_bytes / pool.shape.stride, 1);
        return @min(objects, slab.count - slab.linked);
    }

    /// As many objects again as there are.
    noinline fn grow(pool: *Pool) Error!void {
        const slab = try backing.create(PoolSlab);
        errdefer backing.destroy(slab);
        const before = pool.newest;
        slab.next = before;
        pool.newest = slab;
        errdefer pool.newest = before;
        try pool.fill(slab, pool.total);
    }

    noinline fn fallBack(pool: *Pool, place: Place) Error!usize {
        try pool.fallback.reserve();
        const shape = &pool.shape;
        const length = if (pool.has_guards) shape.stride else shape.size;
        const block = backing.allocateBlock(length, shape.alignment);
        if (block == 0) return error.OutOfMemory;
        const object = if (pool.has_guards) block + shape.lead else block;
        if (pool.has_guards) checked_pool.setGuards(pool, object);
        pool.fallback.insert(object, place);
        pool.setLow();
        pool.allocations += 1;
        return object;
    }

    fn dropFallback(pool: *Pool, object: usize) void {
        backing.freeBlock(if (pool.has_guards) object - pool.shape.lead else object);
    }

    /// The whole of a free.
    pub noinline fn freeSlow(pool: *Pool, object: usize, place: Place) void {
        if (object == 0) return;
        if (pool.fallback.remove(object)) |allocated| {
            const history: History = .{ .now = place, .allocated = allocated };
            if (pool.has_guards) checked_pool.refuseOverflow(pool, object, history);
            pool.dropFallback(object);
            pool.frees += 1;
            if (pool.fallback.count == 0) pool.setLow();
            return;
        }
        const slab = pool.slabOf(object) orelse return refuseForeign(object, place);
        if (pool.is_checked) return checked_pool.free(pool, slab, object, place);
        const history: History = .{ .now = place };
        if (!slab.isObject(&pool.shape, object)) refuse(object, reasonNoObject(object), history);
        if (slab.indexOf(&pool.shape, object) >= slab.linked) {
            refuse(object, "never allocated", history);
        }
        @as(*usize, @ptrFromInt(object)).* = pool.head;
        pool.head = object;
        pool.frees += 1;
    }

    fn refuseForeign(object: usize, place: Place) noreturn {
        const misaligned = object % object_alignment_min != 0;
        const reason = if (misaligned) "misaligned pointer" else "foreign pointer";
        refuse(object, reason, .{ .now = place });
    }

    pub fn slabOf(pool: *const Pool, address: usize) ?*PoolSlab {
        var next: ?*PoolSlab = pool.newest;
        while (next) |slab| : (next = slab.next) {
            if (slab.contains(&pool.shape, address)) return slab;
        }
        return null;
    }

    pub fn live(pool: *const Pool) u64 {
        return pool.allocations - pool.frees;
    }

    /// Frees the pool with every object; how many were live.
    pub fn destroy(pool: *Pool) u64 {
        const lost = pool.live();
        while (pool.fallback.first()) |object| {
            _ = pool.fallback.remove(object);
            pool.dropFallback(object);
        }
        pool.fallback.deinit();
        var next: ?*PoolSlab = pool.newest;
        while (next) |slab| {
            next = slab.next;
            if (pool.is_checked) checked_pool.forget(pool, slab);
            backing.release(slab.memory);
            if (slab != &pool.first) backing.destroy(slab);
        }
        backing.destroy(pool);
        counts.less(&counts.pools);
        counts.add(&counts.pool_objects_lost, lost);
        return lost;
    }

    pub fn stats(pool: *const Pool) Stats {
        const allocated = pool.live();
        const size = pool.shape.size;
        return .{
            .object_size = size,
            .total_objects = pool.total,
            .allocated_objects = allocated,
            .free_objects = pool.total - (allocated - pool.fallback.count),
            .allocations = pool.allocations,
            .frees = pool.frees,
            .bytes_allocated = allocated * size,
            .bytes_overhead = pool.heldBytes() - pool.total * size,
            .fallback_objects = pool.fallback.count,
        };
    }

    /// All that it holds, blocks of the general heap that were handed out excepted.
    fn heldBytes(pool: *const Pool) usize {
        var sum = backing.bytesOf(pool) + pool.fallback.heldBytes();
        var next: ?*PoolSlab = pool.newest;
        while (next) |slab| : (next = slab.next) {
            sum += slab.heldBytes();
            if (slab != &pool.first) sum += backing.bytesOf(slab);
        }
        return sum;
    }

    /// Walks the free list, and in a checked pool every record and guard. Null: all is well; else
    /// what is wrong, in `text`, and where.
    pub fn check(pool: *const Pool, text: *base.Text) ?usize {
        if (pool.is_checked) return checked_pool.check(pool, text);
        var free_objects: usize = 0;
        var next = pool.head;
        while (next != 0) : (free_objects += 1) {
            const slab = pool.slabOf(next);
            if (slab == null or !slab.?.isObject(&pool.shape, next)) {
                text.string("the free list leads to no object: written after free, or overflowed");
                return next;
            }
            if (free_objects == pool.total) {
                text.string("the free list has no end: an object was freed twice");
                return next;
            }
            next = @as(*const usize, @ptrFromInt(next)).*;
        }
        return pool.checkCounts(free_objects + pool.notLinked(), text);
    }

    fn notLinked(pool: *const Pool) usize {
        var sum: usize = 0;
        var next: ?*PoolSlab = pool.newest;
        while (next) |slab| : (next = slab.next) sum += slab.count - slab.linked;
        return sum;
    }

    /// The invariant, for so many objects found free.
    pub fn checkCounts(pool: *const Pool, free_objects: usize, text: *base.Text) ?usize {
        const in_slabs = pool.allocations -% pool.frees -% pool.fallback.count;
        if (in_slabs == pool.total - free_objects) return null;
        text.string("live and free objects do not add up: ");
        text.decimal(free_objects);
        text.string(" free of ");
        text.decimal(pool.total);
        text.string(", allocations less frees ");
        text.decimal(pool.allocations -% pool.frees);
        return @intFromPtr(pool);
    }
};

inline fn prefetch(address: usize) void {
    // Of 0 too: a prefetch never faults.
    @prefetch(@as([*]allowzero const u8, @ptrFromInt(address)), .{ .rw = .read, .locality = 3 });
}

pub fn reasonNoObject(object: usize) []const u8 {
    const misaligned = object % object_alignment_min != 0;
    return if (misaligned) "misaligned pointer" else "interior pointer";
}

pub fn refuse(object: usize, reason: []const u8, history: History) noreturn {
    @branchHint(.cold);
    history.abort("pool_free", object, reason);
}

comptime {
    // The hit paths touch one cache line.
    assert(@offsetOf(Pool, "low") < 64);
}

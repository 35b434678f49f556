//! Pools for any number of threads, without a lock: a stack of free objects for each of a few
//! groups of threads. Who finds its own empty takes a batch of objects that were never handed out,
//! or of another group's.
//!
//! A head is the top object's number and, in all bits that numbers leave, a tag that every pop
//! changes: a head that is as it was read has not been popped since, and what was read of the
//! stack still holds (no ABA). With 1,000,000 objects of 64 bytes the tag has 43 bits: it comes
//! round after a day of pops of one stack every 10 ns, and only a thread that sleeps exactly so
//! many pops between two instructions would be fooled. Objects are numbered from 1, in units of the
//! largest power of two that divides their stride: no division.
//!
//! The link of a free object is its first word. A pop may read it when the object has just been
//! handed out to somebody else who writes there: the memory is the pool's as long as it lives, and
//! whatever was read is thrown away, for the exchange of the head fails.
//!
//! Invariant: total = live + in the stacks + never handed out + on the way between stacks.
const std = @import("std");
const build_options = @import("build_options");
const base = @import("base");
const os = @import("os");
const heap = @import("heap");
const backing = @import("backing.zig");
const counts = @import("counts.zig");
const pool_file = @import("pool.zig");
const atomic = base.atomic;
const t = base.tunables;
const assert = base.assert;
const Error = backing.Error;

// In the model two show what all do.
const shard_count = if (atomic.modelled) 2 else t.shared_pool_shards;
const batch_max = if (atomic.modelled) 2 else t.shared_pool_batch;
const tries_max = if (atomic.modelled) 6 else t.shared_pool_tries_max;
const objects_max = std.math.maxInt(u32) - 1;

/// Two cache lines: processors fetch them in pairs.
const apart = 128;

const Word = atomic.Value(u64);

/// Where links lie apart: that of an object that is handed out.
const link_live = std.math.maxInt(u64);

const Shard = extern struct {
    /// Tag and top. Pushed with release, popped with acquire: what the last owner wrote, and the
    /// links of all objects below (every change of a head is an exchange, so one release sequence
    /// follows the other), is seen by the next owner. A batch is popped with acq_rel: see `moving`.
    head: Word align(apart),
    /// How often the tag has come round, and objects handed out that were in no stack: for
    /// statistics. monotonic: read at rest.
    rounds: Word,
    fresh_taken: Word,
};

pub const SharedPool = extern struct {
    // Constant once created.
    start: usize,
    /// In units, as are all numbers of objects.
    unit_count: usize,
    unit_shift: u32,
    tag_shift: u32,
    /// Where links are, and how much nearer to each other than objects.
    links: usize,
    link_shift: u32,
    /// In builds with checks, and under a memory checker: links lie apart from the objects, say
    /// which of them are live, and no write to a freed object tears them.
    is_checked: bool,
    is_watched: bool,
    size: usize,
    stride: usize,
    lead: usize,
    total: usize,
    memory: backing.Memory,
    link_memory: backing.Memory,
    /// Objects never handed out begin here (an index). monotonic: their memory is as it was when
    /// the pool was created, before any other thread knew it.
    fresh: Word align(apart),
    /// Batches on their way between stacks (low half), and all that ever were (high half). Raised
    /// before the batch is popped, whose acq_rel publishes it; lowered with release after it was
    /// pushed. Who has found all stacks empty (acquire) sees here (acquire) whether one of them was
    /// emptied by a batch that is not back yet.
    moving: Word,
    shards: [shard_count]Shard,

    pub fn create(options: *const pool_file.Options) Error!*SharedPool {
        const flags = options.flags;
        const is_plain = options.policy == .fail and !flags.debug and !flags.fixed;
        if (flags.unknown != 0 or !is_plain) return error.InvalidArgument;
        const watched = backing.isWatched();
        const shape = try options.shape(if (watched) t.pool_guard_size else 0);
        if (options.capacity > objects_max) return error.InvalidArgument;
        const pool = try backing.create(SharedPool);
        errdefer backing.destroy(pool);
        const length = options.capacity * shape.stride;
        pool.memory = try backing.acquire(.{
            .length = length,
            .alignment = @max(shape.alignment, 64),
            .flags = flags,
            .node = options.node,
        });
        errdefer backing.release(pool.memory);
        pool.unit_shift = @ctz(shape.stride);
        pool.unit_count = length >> @intCast(pool.unit_shift);
        pool.tag_shift = @bitSizeOf(usize) - @clz(pool.unit_count);
        pool.start = pool.memory.address;
        pool.links = pool.start;
        pool.size = shape.size;
        pool.stride = shape.stride;
        pool.lead = shape.lead;
        pool.total = options.capacity;
        pool.is_watched = watched;
        if (build_options.checks or watched) try pool.moveLinks();
        if (watched) {
            os.checker.openGroup(@intFromPtr(pool));
            os.checker.forbid(pool.memory.address, pool.memory.length);
        }
        counts.add(&counts.shared_pools, 1);
        return pool;
    }

    fn moveLinks(pool: *SharedPool) Error!void {
        pool.is_checked = true;
        pool.link_shift = 1; // 8 bytes for each unit, which has 16 or more.
        pool.link_memory = try backing.acquire(.{ .length = pool.memory.length >> 1 });
        pool.links = pool.link_memory.address;
        const bytes: [*]u8 = @ptrFromInt(pool.links);
        @memset(bytes[0..pool.link_memory.length], 0);
    }

    /// With every object; how many were live. No other call may run or come.
    pub fn destroy(pool: *SharedPool) u64 {
        const lost = pool.stats().allocated_objects;
        if (pool.is_watched) {
            os.checker.closeGroup(@intFromPtr(pool));
            os.checker.allow(pool.memory.address, pool.memory.length);
        }
        if (pool.is_checked) backing.release(pool.link_memory);
        backing.release(pool.memory);
        backing.destroy(pool);
        counts.less(&counts.shared_pools);
        counts.add(&counts.pool_objects_lost, lost);
        return lost;
    }

    inline fn linkOf(pool: *const SharedPool, number: u64) *Word {
        const offset = ((number - 1) << @intCast(pool.unit_shift)) >> @intCast(pool.link_shift);
        return @ptrFromInt(pool.links + offset);
    }

    inline fn objectOf(pool: *const SharedPool, number: u64) usize {
        return pool.start + ((number - 1) << @intCast(pool.unit_shift)) + pool.lead;
    }

    inline fn numberAt(pool: *const SharedPool, index: u64) u64 {
        return ((index * pool.stride) >> @intCast(pool.unit_shift)) + 1;
    }

    inline fn tagOne(pool: *const SharedPool) u64 {
        return @as(u64, 1) << @intCast(pool.tag_shift);
    }

    inline fn topOf(pool: *const SharedPool, head: u64) u64 {
        return head & (pool.tagOne() - 1);
    }

    /// The head after a pop: another tag.
    inline fn popped(pool: *const SharedPool, head: u64, top: u64) u64 {
        const mask = pool.tagOne() - 1;
        return ((head +% pool.tagOne()) & ~mask) | (top & mask);
    }

    inline fn notePop(pool: *const SharedPool, shard: *Shard, head: u64) void {
        if (head +% pool.tagOne() < pool.tagOne()) {
            @branchHint(.cold);
            _ = shard.rounds.fetchAdd(1, .monotonic); // A statistic.
        }
    }

    /// The calling thread's: threads that live have heaps of different ids.
    inline fn home(pool: *SharedPool) *Shard {
        var id = heap.current().id;
        if (id == heap.id_none) {
            @branchHint(.unlikely);
            heap.slow.settle(); // Its first call of the library: it gets a heap.
            id = heap.current().id;
        }
        return &pool.shards[id % shard_count];
    }

    /// An object, contents undefined; 0: all parts of the pool were found empty.
    pub inline fn alloc(pool: *SharedPool) usize {
        const shard = pool.home();
        var number = pool.pop(shard);
        if (number == 0) number = pool.allocSlow(shard);
        if (number == 0) return 0;
        if (pool.is_checked) pool.noteOut(number);
        return pool.objectOf(number);
    }

    inline fn pop(pool: *SharedPool, shard: *Shard) u64 {
        var head = shard.head.load(.acquire);
        while (true) {
            const top = pool.topOf(head);
            if (top == 0) return 0;
            // monotonic: ordered by the head, if it is still the same below.
            const next = pool.linkOf(top).load(.monotonic);
            const new = pool.popped(head, next);
            head = shard.head.cmpxchgWeak(head, new, .acquire, .acquire) orelse {
                pool.notePop(shard, head);
                return top;
            };
        }
    }

    /// Puts objects that are linked from `first` to `last` on a stack.
    inline fn pushChain(pool: *SharedPool, shard: *Shard, first: u64, last: u64) void {
        var head = shard.head.load(.monotonic); // Nothing is read by it.
        while (true) {
            const top = pool.topOf(head);
            pool.linkOf(last).store(top, .monotonic); // Published by the exchange.
            const new = (head & ~(pool.tagOne() - 1)) | first;
            head = shard.head.cmpxchgWeak(head, new, .release, .monotonic) orelse return;
        }
    }

    noinline fn allocSlow(pool: *SharedPool, own: *Shard) u64 {
        for (0..tries_max) |round| {
            const moving = pool.moving.load(.acquire);
            const fresh = pool.takeFresh(own);
            if (fresh != 0) return fresh;
            const first = (@intFromPtr(own) - @intFromPtr(&pool.shards)) / @sizeOf(Shard);
            for (0..shard_count) |step| {
                const shard = &pool.shards[(first + step) % shard_count];
                const number = if (shard == own) pool.pop(own) else pool.steal(own, shard);
                if (number != 0) return number;
            }
            if (pool.isEmpty(moving)) return 0;
            atomic.spinLoopHint();
            // Who moves a batch may have lost its CPU between two instructions.
            if (round >= t.shared_pool_spins_max) os.machine.yield();
        }
        return 0;
    }

    /// Whether there was a moment at which all stacks were empty and nothing on its way: no stack
    /// was popped between two looks at all of them, and no batch set out since `moving` was read.
    fn isEmpty(pool: *SharedPool, moving: u64) bool {
        var heads: [shard_count]u64 = undefined;
        for (&heads, &pool.shards) |*head, *shard| {
            head.* = shard.head.load(.acquire);
            if (pool.topOf(head.*) != 0) return false;
        }
        for (heads, &pool.shards) |head, *shard| {
            if (shard.head.load(.acquire) != head) return false;
        }
        const on_the_way: u32 = @truncate(moving);
        return on_the_way == 0 and pool.moving.load(.acquire) == moving;
    }

    fn setOut(pool: *SharedPool) void {
        _ = pool.moving.fetchAdd((1 << 32) + 1, .monotonic); // Published by the pop.
    }

    fn arrive(pool: *SharedPool) void {
        _ = pool.moving.fetchSub(1, .release);
    }

    /// The next objects that were never handed out: one for the caller, the others for its stack.
    fn takeFresh(pool: *SharedPool, own: *Shard) u64 {
        var index = pool.fresh.load(.monotonic);
        if (index >= pool.total) return 0;
        pool.setOut();
        defer pool.arrive();
        while (index < pool.total) {
            const end = @min(index + batch_max, pool.total);
            // release: others see that this batch has set out.
            index = pool.fresh.cmpxchgWeak(index, end, .release, .monotonic) orelse {
                _ = own.fresh_taken.fetchAdd(1, .monotonic); // A statistic.
                if (end - index > 1) pool.pushFresh(own, index + 1, end);
                return pool.numberAt(index);
            };
        }
        return 0;
    }

    fn pushFresh(pool: *SharedPool, own: *Shard, from: u64, end: u64) void {
        for (from..end - 1) |index| {
            // monotonic: published by the push.
            pool.linkOf(pool.numberAt(index)).store(pool.numberAt(index + 1), .monotonic);
        }
        pool.pushChain(own, pool.numberAt(from), pool.numberAt(end - 1));
    }

    /// Objects of another stack: one for the caller, the others for its own.
    fn steal(pool: *SharedPool, own: *Shard, from: *Shard) u64 {
        var head = from.head.load(.acquire);
        if (pool.topOf(head) == 0) return 0;
        pool.setOut();
        defer pool.arrive();
        while (true) {
            const top = pool.topOf(head);
            if (top == 0) return 0;
            const chain = pool.walk(top);
            const new = pool.popped(head, chain.after);
            head = from.head.cmpxchgWeak(head, new, .acq_rel, .acquire) orelse {
                pool.notePop(from, head);
                if (chain.last != top) {
                    // monotonic: these objects are the caller's now.
                    const second = pool.linkOf(top).load(.monotonic);
                    pool.pushChain(own, second, chain.last);
                }
                return top;
            };
        }
    }

    const Chain = struct { last: u64, after: u64 };

    /// The end of a batch from here. What it reads may be anything when somebody pops meanwhile,
    /// and is then thrown away; but no link is looked for outside the pool. monotonic: as in pop.
    fn walk(pool: *const SharedPool, top: u64) Chain {
        var last = top;
        var after = pool.linkOf(top).load(.monotonic);
        for (1..batch_max) |_| {
            if (after == 0 or after > pool.unit_count) break;
            last = after;
            after = pool.linkOf(last).load(.monotonic);
        }
        return .{ .last = last, .after = after };
    }

    /// Gives an object back; false: it is none of this pool (0 among others).
    pub inline fn free(pool: *SharedPool, object: usize) bool {
        const offset = object -% pool.start -% pool.lead;
        // Outside, or within an object: one comparison for both.
        const unit = std.math.rotr(usize, offset, pool.unit_shift);
        if (unit >= pool.unit_count) return false;
        if (build_options.checks and offset % pool.stride != 0) return false;
        if (pool.is_checked) pool.noteBack(unit + 1);
        pool.pushChain(pool.home(), unit + 1, unit + 1);
        return true;
    }

    /// Why `free` did not take it.
    pub fn reasonRefused(pool: *const SharedPool, object: usize) []const u8 {
        if (object % pool_file.object_alignment_min != 0) return "misaligned pointer";
        const inside = object -% pool.start < pool.memory.length;
        return if (inside) "interior pointer" else "foreign pointer";
    }

    noinline fn noteOut(pool: *SharedPool, number: u64) void {
        @branchHint(.cold);
        pool.linkOf(number).store(link_live, .monotonic); // The caller's object.
        if (!pool.is_watched) return;
        os.checker.handOutIn(@intFromPtr(pool), pool.objectOf(number), pool.size);
    }

    noinline fn noteBack(pool: *SharedPool, number: u64) void {
        @branchHint(.cold);
        const object = pool.objectOf(number);
        // monotonic: of two threads that free it, one finds it live.
        if (pool.linkOf(number).swap(0, .monotonic) != link_live) {
            const is_object = ((number - 1) << @intCast(pool.unit_shift)) % pool.stride == 0;
            const reason = if (is_object) "double free, or never allocated" else "interior pointer";
            os.report.misuse("shared_pool_free", object, reason);
        }
        if (!pool.is_watched) return;
        os.checker.takeBackFrom(@intFromPtr(pool), object, pool.size);
    }

    /// Exact when no other call runs.
    pub fn stats(pool: *SharedPool) pool_file.Stats {
        const fresh = @min(pool.fresh.load(.monotonic), pool.total);
        var free_objects = pool.total - fresh;
        var allocations: u64 = 0;
        for (&pool.shards) |*shard| {
            const head = shard.head.load(.acquire);
            free_objects += pool.countFrom(pool.topOf(head));
            const tag_bits: u6 = @intCast(64 - pool.tag_shift);
            allocations +%= shard.rounds.load(.monotonic) << tag_bits;
            allocations +%= head >> @intCast(pool.tag_shift);
            allocations +%= shard.fresh_taken.load(.monotonic);
        }
        const live = pool.total -| free_objects;
        const held = pool.memory.length + pool.link_memory.length + backing.bytesOf(pool);
        return .{
            .object_size = pool.size,
            .total_objects = pool.total,
            .allocated_objects = live,
            .free_objects = pool.total - live,
            .allocations = allocations,
            .frees = allocations -| live,
            .bytes_allocated = live * pool.size,
            .bytes_overhead = held - pool.total * pool.size,
            .fallback_objects = 0,
        };
    }

    fn countFrom(pool: *const SharedPool, top: u64) usize {
        var count: usize = 0;
        var number = top;
        while (number != 0 and number <= pool.unit_count and count < pool.total) : (count += 1) {
            number = pool.linkOf(number).load(.monotonic);
        }
        return count;
    }

    /// Every object is free or live, none twice in the stacks; how many are free. At rest.
    pub fn check(pool: *SharedPool) usize {
        const now = pool.stats();
        const moving: u32 = @truncate(pool.moving.load(.monotonic));
        assert(moving == 0);
        assert(now.free_objects <= pool.total);
        assert(now.allocations - now.frees == now.allocated_objects);
        return now.free_objects;
    }
};

const Tester = struct {
    pool: *SharedPool,
    seed: u64,
    refused: usize = 0,

    /// Holds up to 64 objects, each with its mark, which nobody else may write.
    fn run(tester: *Tester) void {
        var source: std.Random.DefaultPrng = .init(tester.seed);
        const random = source.random();
        var held: [64]usize = @splat(0);
        for (0..20_000) |_| {
            const which = random.uintLessThan(usize, held.len);
            const mark = tester.seed * 1000 + which;
            if (held[which] == 0) {
                held[which] = tester.pool.alloc();
                if (held[which] == 0) tester.refused += 1 else words(held[which]).* = @splat(mark);
                continue;
            }
            for (words(held[which])) |word| if (word != mark) @panic("an object has two owners");
            if (!tester.pool.free(held[which])) @panic("its own object is refused");
            held[which] = 0;
        }
        for (held) |object| if (object != 0 and !tester.pool.free(object)) @panic("refused");
    }

    /// Behind the link, which pops of others may read while an object is handed out.
    fn words(object: usize) *[3]u64 {
        return @ptrFromInt(object + 8);
    }
};

test "SharedPool: four threads, more wishes than objects" {
    for ([_]usize{ 1, 40, 100, 1000 }) |capacity| {
        const options: pool_file.Options = .{ .object_size = 32, .capacity = capacity };
        const pool = try SharedPool.create(&options);
        var testers: [4]Tester = undefined;
        var threads: [4]std.Thread = undefined;
        for (&testers, &threads, 1..) |*tester, *thread, seed| {
            tester.* = .{ .pool = pool, .seed = seed };
            thread.* = try std.Thread.spawn(.{}, Tester.run, .{tester});
        }
        for (threads) |thread| thread.join();
        try std.testing.expectEqual(capacity, pool.check());
        for (testers) |tester| try std.testing.expect(capacity < 1000 or tester.refused == 0);
        try std.testing.expectEqual(@as(u64, 0), pool.destroy());
    }
}

test "SharedPool: exactly the capacity, counted" {
    for ([_]usize{ 1, 31, 32, 33, 500 }) |capacity| for ([_]usize{ 8, 24, 40, 64 }) |size| {
        const options: pool_file.Options = .{ .object_size = size, .capacity = capacity };
        const pool = try SharedPool.create(&options);
        var objects: [500]usize = undefined;
        for (0..3) |round| {
            for (objects[0..capacity]) |*object| {
                object.* = pool.alloc();
                try std.testing.expect(object.* != 0 and object.* % 16 == 0);
            }
            try std.testing.expectEqual(@as(usize, 0), pool.alloc());
            try std.testing.expectEqual((round + 1) * capacity, pool.stats().allocations);
            for (objects[0..capacity]) |object| try std.testing.expect(pool.free(object));
            try std.testing.expectEqual((round + 1) * capacity, pool.stats().frees);
        }
        try std.testing.expect(!pool.free(0));
        if (size > 16) try std.testing.expect(!pool.free(objects[0] + 16));
        try std.testing.expect(!pool.free(objects[0] + 8));
        try std.testing.expectEqual(capacity, pool.check());
        _ = pool.alloc();
        try std.testing.expectEqual(@as(u64, 1), pool.destroy());
    };
}

test "SharedPool: what it may be asked for" {
    for ([_]pool_file.Options{
        .{ .object_size = 8, .capacity = 8, .policy = .grow },
        .{ .object_size = 8, .capacity = 8, .flags = .{ .debug = true } },
        .{ .object_size = 8, .capacity = 1 << 32 },
        .{ .object_size = 0, .capacity = 8 },
    }) |options| {
        try std.testing.expectError(error.InvalidArgument, SharedPool.create(&options));
    }
}

comptime {
    assert(@sizeOf(Shard) == apart);
}

//! What else there is for bounded latency, measured as the pool is: arenas, and two threads on a
//! pool that they share and on the router.
const std = @import("std");
const clock = @import("clock.zig");
const library = @import("library.zig");
const memory = @import("memory.zig");
const pool = @import("pool.zig");
const threads_file = @import("threads.zig");
const fail = @import("failure.zig").fail;
const Gate = threads_file.Gate;
const Histogram = @import("histogram.zig").Histogram;

/// Objects that a thread holds at once.
const held = 16;
pub const threads_max = 2;
/// The best of these is taken: another process on one of two processors halves what two threads do.
const repeats = 5;

pub const Outcome = struct {
    /// ns an allocation, on memory that was never used and after a reset; the writes in it.
    arena_cold: f64,
    arena_warm: f64,
    arena_alloc: Histogram,
    arena_batch: Histogram,
    arena_reset: Histogram,
    /// ns a pair of allocation and free, by threads less one: time by pairs of all threads.
    shared_pool: [threads_max]f64,
    router: [threads_max]f64,
};

pub fn measure(plan: *const pool.Plan, outcome: *Outcome) void {
    const functions = library.functions();
    switch (plan.timer.source) {
        inline else => |source| measureArena(source, plan, &functions, outcome),
    }
    outcome.shared_pool = byThreads(sharedPool(plan, &functions), plan);
    const router: Router = .{
        .size = plan.object_size,
        .alloc_function = functions.hft_alloc,
        .free_function = functions.hft_free,
    };
    outcome.router = byThreads(router, plan);
}

fn sharedPool(plan: *const pool.Plan, functions: *const library.Functions) SharedPool {
    const options: library.PoolOptions = .{
        .object_size = plan.object_size,
        .capacity = @max(plan.objects, threads_max * held),
        .flags = library.PoolOptions.prefault,
    };
    const shared = functions.alloc_shared_pool_create(&options, @sizeOf(library.PoolOptions));
    return .{
        .pool = shared orelse fail("no memory for a shared pool", .{}),
        .alloc_function = functions.alloc_shared_pool_alloc,
        .free_function = functions.alloc_shared_pool_free,
    };
}

fn measureArena(
    comptime source: clock.Source,
    plan: *const pool.Plan,
    functions: *const library.Functions,
    outcome: *Outcome,
) void {
    const size = plan.object_size;
    const step = std.mem.alignForward(usize, size, 16);
    const arena = functions.hft_arena_create(plan.objects * step) orelse
        fail("no memory for an arena of {d} bytes", .{plan.objects * step});
    const allocate = functions.hft_arena_alloc;
    for ([_]*f64{ &outcome.arena_cold, &outcome.arena_warm }) |average| {
        const began = clock.nanoseconds();
        for (0..plan.objects) |_| {
            pool.touch(allocate(arena, size) orelse fail("the arena is used up", .{}), size);
        }
        average.* = pool.perCall(clock.nanoseconds() - began, plan.objects);
        functions.hft_arena_reset(arena);
    }
    for (0..plan.objects) |_| {
        const first = clock.begin(source);
        const object = allocate(arena, size);
        outcome.arena_alloc.record(clock.end(source) - first);
        pool.touch(object orelse fail("the arena is used up", .{}), size);
    }
    functions.hft_arena_reset(arena);
    for (0..plan.objects / pool.batch) |_| {
        var objects: [pool.batch]?[*]u8 = undefined;
        const first = clock.begin(source);
        inline for (&objects) |*object| object.* = allocate(arena, size);
        outcome.arena_batch.record(clock.end(source) - first);
        for (objects) |object| pool.touch(object orelse fail("the arena is used up", .{}), size);
    }
    for (0..1000) |_| {
        for (0..@min(held, plan.objects)) |_| _ = allocate(arena, size);
        const first = clock.begin(source);
        functions.hft_arena_reset(arena);
        outcome.arena_reset.record(clock.end(source) - first);
    }
}

const SharedPool = struct {
    pool: *library.SharedPool,
    alloc_function: @FieldType(library.Functions, "alloc_shared_pool_alloc"),
    free_function: @FieldType(library.Functions, "alloc_shared_pool_free"),

    inline fn alloc(calls: *const SharedPool) ?[*]u8 {
        return calls.alloc_function(calls.pool);
    }

    inline fn release(calls: *const SharedPool, object: [*]u8) void {
        calls.free_function(calls.pool, object);
    }
};

const Router = struct {
    size: usize,
    alloc_function: @FieldType(library.Functions, "hft_alloc"),
    free_function: @FieldType(library.Functions, "hft_free"),

    inline fn alloc(calls: *const Router) ?[*]u8 {
        return calls.alloc_function(calls.size);
    }

    inline fn release(calls: *const Router, object: [*]u8) void {
        calls.free_function(object);
    }
};

fn byThreads(calls: anytype, plan: *const pool.Plan) [threads_max]f64 {
    var averages: [threads_max]f64 = undefined;
    for (&averages, 1..) |*average, count| average.* = best(calls, plan, count);
    return averages;
}

/// The least of some repetitions.
fn best(calls: anytype, plan: *const pool.Plan, count: usize) f64 {
    var least = std.math.inf(f64);
    for (0..repeats) |_| least = @min(least, together(calls, plan, count));
    return least;
}

/// ns a pair, where `count` threads make as many each, all at once.
fn together(calls: anytype, plan: *const pool.Plan, count: usize) f64 {
    const Calls = @TypeOf(calls);
    const cycles = @max(1, plan.objects / held);
    const Member = struct {
        calls: Calls,
        size: usize,
        cycles: usize,
        gates: *Gates,
        began: u64 = 0,
        ended: u64 = 0,

        fn main(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
            const member: *@This() = @ptrCast(@alignCast(argument.?));
            cycle(member.calls, member.size); // What the first call of a thread takes.
            member.gates.prepared.add();
            member.gates.begin.spin(1);
            member.began = clock.nanoseconds();
            for (0..member.cycles) |_| cycle(member.calls, member.size);
            member.ended = clock.nanoseconds();
            return null;
        }
    };
    var gates: Gates = .{};
    const members = memory.tables(Member, count);
    var threads: [threads_max]threads_file.Thread = undefined;
    for (members, threads[0..count]) |*member, *thread| {
        member.* = .{
            .calls = calls,
            .size = plan.object_size,
            .cycles = cycles,
            .gates = &gates,
        };
        thread.* = threads_file.spawn(Member.main, member);
    }
    gates.prepared.wait(@intCast(count));
    gates.begin.add();
    for (threads[0..count]) |thread| threads_file.join(thread);
    var began: u64 = std.math.maxInt(u64);
    var ended: u64 = 0;
    for (members) |*member| {
        began = @min(began, member.began);
        ended = @max(ended, member.ended);
    }
    return pool.perCall(ended - began, cycles * held * count);
}

const Gates = struct { prepared: Gate = .{}, begin: Gate = .{} };

fn cycle(calls: anytype, size: usize) void {
    var objects: [held][*]u8 = undefined;
    for (&objects) |*object| {
        object.* = calls.alloc() orelse fail("an allocation failed", .{});
        pool.touch(object.*, size);
    }
    for (objects) |object| calls.release(object);
}

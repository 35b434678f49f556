//! `--pool`: a pool of the library beside the process's malloc, doing the same.
//!
//! The same is: N objects of one size are allocated, and the first and the last byte of each are
//! written, in both; then all are freed. Both are called through pointers (library.zig). Each runs
//! in processes of its own, in turns, several rounds; of averages the median of the rounds is
//! taken, of single calls the latencies of all rounds together.
//!
//! - cold: memory that was never used. malloc meets page faults there; a pool has its memory since
//!   it was created, so what that took is shown beside it.
//! - warm: all objects have been freed in the order in which they came, and are allocated again.
//! - scattered: they have been freed in a random order before: caches and prefetchers are of no
//!   help, and what is measured is largely the memory.
//! - hot: a few objects, allocated and freed again and again; all that they need is in the cache.
const std = @import("std");
const clock = @import("clock.zig");
const library = @import("library.zig");
const memory = @import("memory.zig");
const pool_extras = @import("pool_extras.zig");
const process = @import("process.zig");
const fail = @import("failure.zig").fail;
const Histogram = @import("histogram.zig").Histogram;
const Random = @import("random.zig").Random;
const Timer = clock.Timer;

pub const rounds = 5;
/// Calls between two readings of the timer, where one alone is too short for it.
pub const batch = 16;
/// Objects of the hot case.
const hot_objects = 64;
/// Pairs of readings with nothing between them.
const empty_pairs = 100_000;
const shuffle_seed = 1337;

/// Of the averages, the one that is said first. Not the cold one, in which malloc maps memory and a
/// pool does not, for it did that before: a far larger ratio, which says little of the calls.
pub const headline: Average = .warm;

pub const Subject = enum { malloc, pool };

/// Whole passes, without a reading of the timer in them: ns a call, the writes in it.
pub const Average = enum { cold, warm, scattered, free, free_scattered, hot_pair };

/// Calls timed one by one, and in batches; nothing but the calls between the readings.
pub const Latency = enum {
    alloc_cold,
    alloc_warm,
    free_warm,
    alloc_scattered,
    free_scattered,
    alloc_hot,
    free_hot,
    alloc_batch,
    free_batch,

    pub fn isBatch(latency: Latency) bool {
        return latency == .alloc_batch or latency == .free_batch;
    }
};

pub const Plan = struct {
    object_size: usize,
    objects: usize,
    timer: Timer,
    empty: *const Empty,
    /// Every pass of malloc and pool, and arena, shared pool and router too.
    thorough: bool,
};

/// What the timer alone costs, and how finely it tells.
pub const Empty = struct {
    times: Histogram = .{},
    /// All readings are multiples of it.
    step_ticks: u64 = 0,
    /// The median: subtracted from latencies.
    cost_ticks: u64 = 0,

    pub fn measure(source: clock.Source) Empty {
        switch (source) {
            inline else => |known| {
                var empty: Empty = .{};
                for (0..empty_pairs) |_| {
                    const first = clock.begin(known);
                    empty.add(clock.end(known) - first);
                }
                empty.conclude();
                return empty;
            },
        }
    }

    fn add(empty: *Empty, ticks: u64) void {
        empty.times.record(ticks);
        empty.step_ticks = std.math.gcd(empty.step_ticks, ticks);
    }

    fn conclude(empty: *Empty) void {
        empty.cost_ticks = empty.times.percentile(500_000).?;
    }
};

/// Written by the process of a subject, read by its parent once it has ended.
pub const Outcome = struct {
    averages: std.EnumArray(Average, f64),
    latencies: std.EnumArray(Latency, Histogram),
    create_ns: u64,
    stats: library.PoolStats,
};

pub const Result = struct {
    plan: *const Plan,
    outcomes: std.EnumArray(Subject, [rounds]*const Outcome),
    extras: ?*const pool_extras.Outcome,

    pub fn average(result: *const Result, subject: Subject, kind: Average) f64 {
        var values: [rounds]f64 = undefined;
        for (&values, result.outcomes.get(subject)) |*value, outcome| {
            value.* = outcome.averages.get(kind);
        }
        return median(&values);
    }

    /// Of malloc's average to the pool's.
    pub fn ratio(result: *const Result, kind: Average) f64 {
        return result.average(.malloc, kind) / result.average(.pool, kind);
    }

    /// What creating the pool took, an object.
    pub fn createAverage(result: *const Result) f64 {
        var values: [rounds]f64 = undefined;
        for (&values, result.outcomes.get(.pool)) |*value, outcome| {
            value.* = perCall(outcome.create_ns, result.plan.objects);
        }
        return median(&values);
    }

    pub fn latencies(result: *const Result, subject: Subject, kind: Latency) Histogram {
        var sum: Histogram = .{};
        for (result.outcomes.get(subject)) |outcome| {
            sum.add(outcome.latencies.getPtrConst(kind));
        }
        return sum;
    }

    pub fn stats(result: *const Result) *const library.PoolStats {
        return &result.outcomes.get(.pool)[0].stats;
    }
};

fn median(values: []f64) f64 {
    std.mem.sort(f64, values, {}, std.sort.asc(f64));
    return values[values.len / 2];
}

pub fn perCall(nanoseconds: u64, calls: usize) f64 {
    return @as(f64, @floatFromInt(nanoseconds)) / @as(f64, @floatFromInt(calls));
}

/// Null when a process failed, which has been said.
pub fn run(plan: *const Plan) ?Result {
    var result: Result = .{ .plan = plan, .outcomes = undefined, .extras = null };
    for (0..rounds) |round| {
        // The pool first: what there is no memory for it says at once, before malloc has taken all.
        for ([_]Subject{ .pool, .malloc }) |subject| {
            const outcome = memory.shared(Outcome);
            for (std.enums.values(Part)) |part| {
                if (part == .first_calls and !plan.thorough) continue;
                const arguments = .{ plan, subject, part, outcome };
                if (!process.run(measure, arguments, "pool", @tagName(subject))) return null;
            }
            result.outcomes.getPtr(subject)[round] = outcome;
        }
    }
    if (plan.thorough) {
        const outcome = memory.shared(pool_extras.Outcome);
        if (!process.run(pool_extras.measure, .{ plan, outcome }, "pool", "extras")) return null;
        result.extras = outcome;
    }
    return result;
}

/// What a process does: in one pass over new memory there is either no reading of the timer, or
/// one at every call.
const Part = enum { passes, first_calls };

fn measure(plan: *const Plan, subject: Subject, part: Part, outcome: *Outcome) void {
    const functions = library.functions();
    switch (plan.timer.source) {
        inline else => |source| switch (subject) {
            .malloc => {
                const calls: Malloc = .{
                    .size = plan.object_size,
                    .malloc = functions.malloc,
                    .free = functions.free,
                };
                execute(source, calls, plan, part, outcome);
            },
            .pool => {
                const began = clock.nanoseconds();
                const pool = functions.hft_pool_create(plan.object_size, plan.objects);
                const ended = clock.nanoseconds();
                if (part == .passes) outcome.create_ns = ended - began;
                const calls: Pool = .{
                    .pool = pool orelse fail("no memory for a pool of {d} objects of {d} bytes", .{
                        plan.objects, plan.object_size,
                    }),
                    .alloc_function = functions.hft_pool_alloc,
                    .free_function = functions.hft_pool_free,
                    .stats_function = functions.hft_pool_stats,
                };
                execute(source, calls, plan, part, outcome);
                functions.hft_pool_destroy(calls.pool);
            },
        },
    }
}

const Malloc = struct {
    size: usize,
    malloc: @FieldType(library.Functions, "malloc"),
    free: @FieldType(library.Functions, "free"),

    inline fn alloc(calls: *const Malloc) ?[*]u8 {
        return calls.malloc(calls.size);
    }

    inline fn release(calls: *const Malloc, object: [*]u8) void {
        calls.free(object);
    }

    /// There are none to ask for.
    fn stats(_: *const Malloc) library.PoolStats {
        return .{};
    }
};

const Pool = struct {
    pool: *library.Pool,
    alloc_function: @FieldType(library.Functions, "hft_pool_alloc"),
    free_function: @FieldType(library.Functions, "hft_pool_free"),
    stats_function: @FieldType(library.Functions, "hft_pool_stats"),

    inline fn alloc(calls: *const Pool) ?[*]u8 {
        return calls.alloc_function(calls.pool);
    }

    inline fn release(calls: *const Pool, object: [*]u8) void {
        calls.free_function(calls.pool, object);
    }

    fn stats(calls: *const Pool) library.PoolStats {
        var found: library.PoolStats = .{};
        calls.stats_function(calls.pool, &found);
        return found;
    }
};

/// All passes of a subject, in the order in which each finds what it needs.
fn execute(
    comptime source: clock.Source,
    calls: anytype,
    plan: *const Plan,
    part: Part,
    outcome: *Outcome,
) void {
    const size = plan.object_size;
    const objects = memory.tables([*]u8, plan.objects);
    const averages = &outcome.averages;
    const latencies = &outcome.latencies;
    if (part == .first_calls) {
        return timeAllocs(source, 1, calls, size, objects, latencies.getPtr(.alloc_cold));
    }
    averages.set(.cold, averageOfAllocs(calls, size, objects));
    outcome.stats = calls.stats();
    averages.set(.free, averageOfFrees(calls, objects));
    averages.set(.warm, averageOfAllocs(calls, size, objects));
    freeAll(calls, objects);
    timeAllocs(source, 1, calls, size, objects, latencies.getPtr(.alloc_warm));
    timeFrees(source, 1, calls, objects, latencies.getPtr(.free_warm));
    if (!plan.thorough) return;
    timeAllocs(source, batch, calls, size, objects, latencies.getPtr(.alloc_batch));
    timeFrees(source, batch, calls, objects, latencies.getPtr(.free_batch));
    allocAll(calls, size, objects);
    shuffle(objects);
    averages.set(.free_scattered, averageOfFrees(calls, objects));
    averages.set(.scattered, averageOfAllocs(calls, size, objects));
    timeFrees(source, 1, calls, objects, latencies.getPtr(.free_scattered));
    timeAllocs(source, 1, calls, size, objects, latencies.getPtr(.alloc_scattered));
    freeAll(calls, objects);
    const few = objects[0..@min(hot_objects, objects.len)];
    const repeats = std.math.divCeil(usize, objects.len, few.len) catch unreachable; // Not 0.
    const began = clock.nanoseconds();
    for (0..repeats) |_| {
        allocAll(calls, size, few);
        freeAll(calls, few);
    }
    averages.set(.hot_pair, perCall(clock.nanoseconds() - began, repeats * few.len));
    for (0..repeats) |_| {
        timeAllocs(source, 1, calls, size, few, latencies.getPtr(.alloc_hot));
        timeFrees(source, 1, calls, few, latencies.getPtr(.free_hot));
    }
}

/// What malloc and the pool both do to an object: its first and its last byte are written.
pub inline fn touch(object: [*]u8, size: usize) void {
    const first: *volatile u8 = &object[0];
    const last: *volatile u8 = &object[size - 1];
    first.* = 1;
    last.* = 1;
}

noinline fn refuse() noreturn {
    fail("an allocation failed", .{});
}

inline fn allocAll(calls: anytype, size: usize, objects: [][*]u8) void {
    for (objects) |*object| {
        object.* = calls.alloc() orelse refuse();
        touch(object.*, size);
    }
}

inline fn freeAll(calls: anytype, objects: []const [*]u8) void {
    for (objects) |object| calls.release(object);
}

fn averageOfAllocs(calls: anytype, size: usize, objects: [][*]u8) f64 {
    const began = clock.nanoseconds();
    allocAll(calls, size, objects);
    return perCall(clock.nanoseconds() - began, objects.len);
}

fn averageOfFrees(calls: anytype, objects: []const [*]u8) f64 {
    const began = clock.nanoseconds();
    freeAll(calls, objects);
    return perCall(clock.nanoseconds() - began, objects.len);
}

/// The calls alone are timed, `group` of them at once; what is left over at the end is not.
fn timeAllocs(
    comptime source: clock.Source,
    comptime group: usize,
    calls: anytype,
    size: usize,
    objects: [][*]u8,
    times: *Histogram,
) void {
    var position: usize = 0;
    while (position + group <= objects.len) : (position += group) {
        const some = objects[position..][0..group];
        var found: [group]?[*]u8 = undefined;
        const first = clock.begin(source);
        inline for (&found) |*object| object.* = calls.alloc();
        times.record(clock.end(source) - first);
        for (some, found) |*object, maybe| {
            object.* = maybe orelse refuse();
            touch(object.*, size);
        }
    }
    allocAll(calls, size, objects[position..]);
}

fn timeFrees(
    comptime source: clock.Source,
    comptime group: usize,
    calls: anytype,
    objects: []const [*]u8,
    times: *Histogram,
) void {
    var position: usize = 0;
    while (position + group <= objects.len) : (position += group) {
        const some = objects[position..][0..group];
        const first = clock.begin(source);
        inline for (some) |object| calls.release(object);
        times.record(clock.end(source) - first);
    }
    freeAll(calls, objects[position..]);
}

fn shuffle(objects: [][*]u8) void {
    var random: Random = .init(shuffle_seed, 0);
    var left = objects.len;
    while (left > 1) : (left -= 1) {
        const pick: usize = @intCast(random.below(left));
        std.mem.swap([*]u8, &objects[pick], &objects[left - 1]);
    }
}

test "pool: the median of the rounds" {
    var values = [_]f64{ 3, 1, 2 };
    try std.testing.expectEqual(2, median(&values));
}

test "pool: the median of empty pairs is subtracted, and the timer's step is known" {
    var empty: Empty = .{};
    for ([_]u64{ 24, 36, 36, 36, 48, 48, 120 }) |ticks| empty.add(ticks);
    empty.conclude();
    try std.testing.expectEqual(36, empty.cost_ticks);
    try std.testing.expectEqual(12, empty.step_ticks);
    const measured: Empty = .measure(.monotonic);
    try std.testing.expectEqual(empty_pairs, measured.times.total);
    try std.testing.expect(measured.cost_ticks <= measured.times.largest);
}

test "pool: shuffled objects are the same objects" {
    var bytes: [100]u8 = undefined;
    var objects: [100][*]u8 = undefined;
    for (&objects, 0..) |*object, index| object.* = bytes[index..].ptr;
    shuffle(&objects);
    var seen: [100]bool = @splat(false);
    var moved: usize = 0;
    for (objects, 0..) |object, index| {
        const place = @intFromPtr(object) - @intFromPtr(&bytes);
        try std.testing.expect(!seen[place]);
        seen[place] = true;
        if (place != index) moved += 1;
    }
    try std.testing.expect(moved > 80);
}

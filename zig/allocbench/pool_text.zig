//! The result of `--pool` as text: what was asked for in one page, and `--details`.
const std = @import("std");
const pool = @import("pool.zig");
const pool_extras = @import("pool_extras.zig");
const system = @import("system.zig");
const Histogram = @import("histogram.zig").Histogram;
const Result = pool.Result;
const Writer = std.Io.Writer;

/// Names as they are printed, and millionths of all values.
pub const percentiles = [_]struct { []const u8, u64 }{
    .{ "p50", 500_000 },
    .{ "p99", 990_000 },
    .{ "p999", 999_000 },
    .{ "max", 1_000_000 },
};

/// ns above the timer's own cost of what `millionths` do not exceed, of `group` calls at once.
pub fn latency(result: *const Result, times: *const Histogram, millionths: u64, group: u64) ?f64 {
    const ticks = times.percentile(millionths) orelse return null;
    const above = ticks -| result.plan.empty.cost_ticks;
    return result.plan.timer.nanosecondsOf(above) / @as(f64, @floatFromInt(group));
}

/// The same with the timer's cost in it.
pub fn raw(result: *const Result, times: *const Histogram, millionths: u64) ?f64 {
    return result.plan.timer.nanosecondsOf(times.percentile(millionths) orelse return null);
}

pub fn overheadPercent(result: *const Result) f64 {
    const stats = result.stats();
    const used: f64 = @floatFromInt(@max(stats.total_objects * stats.object_size, 1));
    return 100 * @as(f64, @floatFromInt(stats.bytes_overhead)) / used;
}

pub fn write(out: *Writer, result: *const Result, details: bool) Writer.Error!void {
    const stats = result.stats();
    try out.writeAll("Memory Allocator Benchmark\n==========================\n");
    try out.print("Object size: {d} bytes\n", .{result.plan.object_size});
    try out.print("Allocations: {d}\n\n", .{result.plan.objects});
    try out.print("malloc: {d:.1} ns avg\n", .{result.average(.malloc, pool.headline)});
    try out.print("pool_alloc: {d:.1} ns avg\n", .{result.average(.pool, pool.headline)});
    try out.print("Speedup: {d:.1}x\n\n", .{result.ratio(pool.headline)});
    try out.writeAll("Pool Statistics:\n");
    try out.print(" Total objects: {d}\n", .{stats.total_objects});
    try out.print(" Allocated: {d}\n", .{stats.allocated_objects});
    try out.print(" Free: {d}\n", .{stats.free_objects});
    try out.print(" Memory used: {d} bytes\n", .{stats.bytes_allocated});
    try out.print(" Overhead: {d} bytes ({d:.1}%)\n\n", .{
        stats.bytes_overhead, overheadPercent(result),
    });
    try out.writeAll("Latency Distribution (pool_alloc):\n");
    const times = result.latencies(.pool, .alloc_warm);
    for (percentiles) |entry| {
        try out.print(" {s}: {d:.1} ns\n", .{
            entry[0],
            latency(result, &times, entry[1], 1) orelse 0, // There is a call at least.
        });
    }
    if (details) try writeDetails(out, result);
}

fn writeDetails(out: *Writer, result: *const Result) Writer.Error!void {
    try writeMethod(out, result);
    try writeAverages(out, result);
    try out.print("\nLatencies of single calls (ns above the timer's cost | raw):\n", .{});
    try writeHead(out, true);
    for (std.enums.values(pool.Latency)) |kind| {
        if (kind.isBatch()) continue;
        for (std.enums.values(pool.Subject)) |subject| {
            const times = result.latencies(subject, kind);
            try writeRow(out, result, subject, kind, &times, 1);
        }
    }
    try out.print("\nBatches of {d} calls, warm (ns a call above the timer's cost):\n", .{
        pool.batch,
    });
    try writeHead(out, false);
    for (std.enums.values(pool.Latency)) |kind| {
        if (!kind.isBatch()) continue;
        for (std.enums.values(pool.Subject)) |subject| {
            const times = result.latencies(subject, kind);
            try writeRow(out, result, subject, kind, &times, pool.batch);
        }
    }
    if (result.extras) |extras| try writeExtras(out, result, extras);
}

fn writeMethod(out: *Writer, result: *const Result) Writer.Error!void {
    const timer = &result.plan.timer;
    const empty = result.plan.empty;
    try out.print("\nmalloc is that of {s}\n", .{system.provider() orelse "this process"});
    try out.print("Rounds: {d}, malloc and pool in turns, each in a new process\n", .{pool.rounds});
    try out.print("Timer: {s}, {d:.1} MHz, in steps of {d:.1} ns; a pair of readings with", .{
        if (timer.source == .tsc) "time-stamp counter" else "monotonic clock",
        @as(f64, @floatFromInt(timer.ticks_per_second)) / 1e6,
        timer.nanosecondsOf(empty.step_ticks),
    });
    try out.writeAll(" nothing between:");
    for (percentiles) |entry| {
        try out.print(" {s} {d:.1}", .{ entry[0], raw(result, &empty.times, entry[1]) orelse 0 });
    }
    try out.writeAll(" ns; the p50 is subtracted\n");
}

fn writeAverages(out: *Writer, result: *const Result) Writer.Error!void {
    try out.writeAll(
        "\nAverages (ns a call, with the write of an object's first and last byte after it):\n",
    );
    try out.print("{s: <28} {s: >9} {s: >9} {s: >9}\n", .{ "", "malloc", "pool", "ratio" });
    for (std.enums.values(pool.Average)) |kind| {
        try averageLine(out, nameOf(kind), .{
            result.average(.malloc, kind), result.average(.pool, kind),
        });
        if (kind != .cold) continue;
        // malloc maps memory as it goes; the pool did before.
        try averageLine(out, "alloc, cold, pool_create in", .{
            result.average(.malloc, kind), result.average(.pool, kind) + result.createAverage(),
        });
    }
}

fn averageLine(out: *Writer, name: []const u8, values: [2]f64) Writer.Error!void {
    try out.print("{s: <28} {d: >9.1} {d: >9.1} {d: >8.1}x\n", .{
        name, values[0], values[1], values[0] / values[1],
    });
}

fn nameOf(kind: pool.Average) []const u8 {
    return switch (kind) {
        .cold => "alloc, cold",
        .warm => "alloc, warm",
        .scattered => "alloc, scattered",
        .free => "free",
        .free_scattered => "free, scattered",
        .hot_pair => "alloc and free, hot",
    };
}

fn writeHead(out: *Writer, with_raw: bool) Writer.Error!void {
    try out.print("{s: <28}", .{""});
    for (0..if (with_raw) 2 else 1) |part| {
        if (part > 0) try out.writeAll(" |");
        for (percentiles) |entry| try out.print(" {s: >9}", .{entry[0]});
    }
    try out.writeByte('\n');
}

fn writeRow(
    out: *Writer,
    result: *const Result,
    subject: pool.Subject,
    kind: pool.Latency,
    times: *const Histogram,
    group: u64,
) Writer.Error!void {
    const call = if (subject == .malloc) switch (kind) {
        .alloc_cold, .alloc_warm, .alloc_scattered, .alloc_hot, .alloc_batch => "malloc",
        .free_warm, .free_scattered, .free_hot, .free_batch => "free",
    } else switch (kind) {
        .alloc_cold, .alloc_warm, .alloc_scattered, .alloc_hot, .alloc_batch => "pool_alloc",
        .free_warm, .free_scattered, .free_hot, .free_batch => "pool_free",
    };
    const state = switch (kind) {
        .alloc_cold => "cold",
        .alloc_warm, .free_warm, .alloc_batch, .free_batch => "warm",
        .alloc_scattered, .free_scattered => "scattered",
        .alloc_hot, .free_hot => "hot",
    };
    var buffer: [40]u8 = undefined;
    const name = std.fmt.bufPrint(&buffer, "{s}, {s}", .{ call, state }) catch unreachable; // Fits.
    try latencyLine(out, result, name, times, group);
}

fn latencyLine(
    out: *Writer,
    result: *const Result,
    name: []const u8,
    times: *const Histogram,
    group: u64,
) Writer.Error!void {
    try out.print("{s: <28}", .{name});
    if (times.total == 0) return out.writeAll(" not available\n");
    for (percentiles) |entry| {
        try out.print(" {d: >9.1}", .{latency(result, times, entry[1], group).?});
    }
    if (group == 1) {
        try out.writeAll(" |");
        for (percentiles) |entry| try out.print(" {d: >9.1}", .{raw(result, times, entry[1]).?});
    }
    try out.writeByte('\n');
}

fn writeExtras(
    out: *Writer,
    result: *const Result,
    extras: *const pool_extras.Outcome,
) Writer.Error!void {
    try out.writeAll("\nArena (ns):\n");
    try out.print("{s: <28} {d: >9.1}\n", .{ "arena_alloc, cold, average", extras.arena_cold });
    try out.print("{s: <28} {d: >9.1}\n", .{ "arena_alloc, warm, average", extras.arena_warm });
    try writeHead(out, true);
    try latencyLine(out, result, "arena_alloc, warm", &extras.arena_alloc, 1);
    try latencyLine(out, result, "arena_alloc, batches", &extras.arena_batch, pool.batch);
    try latencyLine(out, result, "arena_reset", &extras.arena_reset, 1);
    try out.writeAll("\nThreads (ns a pair of alloc and free, time by pairs of all threads):\n");
    try out.print("{s: <28} {s: >9} {s: >9} {s: >9}\n", .{ "", "1 thread", "2 threads", "gain" });
    try averageLine(out, "shared pool", extras.shared_pool);
    try averageLine(out, "router (hft_alloc)", extras.router);
}

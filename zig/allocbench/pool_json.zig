//! The result of `--pool` as one JSON object.
const std = @import("std");
const json_file = @import("json.zig");
const pool = @import("pool.zig");
const pool_extras = @import("pool_extras.zig");
const pool_text = @import("pool_text.zig");
const system = @import("system.zig");
const version = @import("text.zig").version;
const Histogram = @import("histogram.zig").Histogram;
const Result = pool.Result;
const Stringify = std.json.Stringify;
const Writer = std.Io.Writer;
const Error = Writer.Error;
const field = json_file.field;
const decimal = json_file.decimal;
const histogram = json_file.histogram;

const percentiles = [_]struct { []const u8, u64 }{
    .{ "p50", 500_000 },
    .{ "p90", 900_000 },
    .{ "p99", 990_000 },
    .{ "p99.9", 999_000 },
    .{ "p99.99", 999_900 },
    .{ "max", 1_000_000 },
};

pub fn write(out: *Writer, result: *const Result, with_histograms: bool) Error!void {
    var json: Stringify = .{ .writer = out };
    const plan = result.plan;
    try json.beginObject();
    try field(&json, "benchmark", "pool");
    try field(&json, "object_size", plan.object_size);
    try field(&json, "allocations", plan.objects);
    try decimal(&json, "malloc_ns", result.average(.malloc, pool.headline));
    try decimal(&json, "pool_alloc_ns", result.average(.pool, pool.headline));
    try decimal(&json, "speedup", result.ratio(pool.headline));
    try json.objectField("pool_statistics");
    try json.write(result.stats().*);
    try decimal(&json, "overhead_pct", pool_text.overheadPercent(result));
    try field(&json, "version", version);
    try field(&json, "malloc_from", system.provider());
    try field(&json, "rounds", pool.rounds);
    try timer(&json, result, with_histograms);
    try averages(&json, result);
    for (std.enums.values(pool.Subject)) |subject| {
        try json.objectField(if (subject == .malloc) "malloc_latency_ns" else "pool_latency_ns");
        try json.beginObject();
        for (std.enums.values(pool.Latency)) |kind| {
            const times = result.latencies(subject, kind);
            const group: u64 = if (kind.isBatch()) pool.batch else 1;
            try latencies(&json, result, @tagName(kind), &times, group, with_histograms);
        }
        try json.endObject();
    }
    if (result.extras) |extras| try writeExtras(&json, result, extras, with_histograms);
    try json.endObject();
    try out.writeByte('\n');
}

fn timer(json: *Stringify, result: *const Result, with_histograms: bool) Error!void {
    const of = &result.plan.timer;
    const empty = result.plan.empty;
    try json.objectField("timer");
    try json.beginObject();
    try field(json, "source", @tagName(of.source));
    try field(json, "hz", of.ticks_per_second);
    try decimal(json, "step_ns", of.nanosecondsOf(empty.step_ticks));
    try decimal(json, "subtracted_ns", of.nanosecondsOf(empty.cost_ticks));
    try latencies(json, result, "empty_pair", &empty.times, 1, with_histograms);
    try json.endObject();
}

fn averages(json: *Stringify, result: *const Result) Error!void {
    try json.objectField("averages_ns");
    try json.beginObject();
    for (std.enums.values(pool.Average)) |kind| {
        try json.objectField(@tagName(kind));
        try json.beginObject();
        try decimal(json, "malloc", result.average(.malloc, kind));
        try decimal(json, "pool", result.average(.pool, kind));
        try decimal(json, "ratio", result.ratio(kind));
        try json.endObject();
    }
    try decimal(json, "pool_create", result.createAverage());
    try json.endObject();
}

/// What is above the timer's cost, a call; `raw` is what was read, of all calls of a group.
fn latencies(
    json: *Stringify,
    result: *const Result,
    name: []const u8,
    times: *const Histogram,
    group: u64,
    with_histogram: bool,
) Error!void {
    try json.objectField(name);
    try json.beginObject();
    try field(json, "count", times.total);
    try field(json, "calls_each", group);
    for (percentiles) |entry| {
        try decimal(json, entry[0], pool_text.latency(result, times, entry[1], group));
    }
    try json.objectField("raw");
    try json.beginObject();
    for (percentiles) |entry| try decimal(json, entry[0], pool_text.raw(result, times, entry[1]));
    try json.endObject();
    if (with_histogram) {
        // Raw: with what a reading costs.
        try histogram(json, &result.plan.timer, "histogram", times);
    }
    try json.endObject();
}

fn writeExtras(
    json: *Stringify,
    result: *const Result,
    extras: *const pool_extras.Outcome,
    with_histograms: bool,
) Error!void {
    try json.objectField("arena");
    try json.beginObject();
    try decimal(json, "cold_ns", extras.arena_cold);
    try decimal(json, "warm_ns", extras.arena_warm);
    try latencies(json, result, "alloc", &extras.arena_alloc, 1, with_histograms);
    try latencies(json, result, "alloc_batch", &extras.arena_batch, pool.batch, with_histograms);
    try latencies(json, result, "reset", &extras.arena_reset, 1, with_histograms);
    try json.endObject();
    try json.objectField("pair_ns_by_threads");
    try json.beginObject();
    try list(json, "shared_pool", &extras.shared_pool);
    try list(json, "router", &extras.router);
    try json.endObject();
}

fn list(json: *Stringify, name: []const u8, values: []const f64) Error!void {
    try json.objectField(name);
    try json.beginArray();
    for (values) |value| try json.print("{d:.2}", .{value});
    try json.endArray();
}

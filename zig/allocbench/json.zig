//! A result as one JSON object. What is not available is null.
const std = @import("std");
const allocators = @import("allocators.zig");
const profiles = @import("profiles.zig");
const result_file = @import("result.zig");
const system = @import("system.zig");
const version = @import("text.zig").version;
const Histogram = @import("histogram.zig").Histogram;
const Timer = @import("clock.zig").Timer;
const Result = result_file.Result;
const Stringify = std.json.Stringify;
const Writer = std.Io.Writer;
const Error = Writer.Error;

pub fn write(out: *Writer, result: *const Result) Error!void {
    var json: Stringify = .{ .writer = out };
    const arguments = result.arguments;
    const sequence = result.sequence;
    try json.beginObject();
    try field(&json, "profile", result.profileName());
    try field(&json, "seed", if (arguments.trace == null) arguments.seed else null);
    try field(&json, "ops", result.ops());
    try field(&json, "alloc_per_sec", result.allocationsPerSecond());
    try field(&json, "free_per_sec", result.freesPerSecond());
    try latencies(&json, result, "latency_ns", &result.latencies.allocation_times);
    try decimal(&json, "fragmentation_pct", result.fragmentation());
    try latencies(&json, result, "free_latency_ns", &result.latencies.free_times);
    try field(&json, "version", version);
    try field(&json, "allocator", arguments.choice.name);
    try field(&json, "malloc_from", system.provider());
    try field(&json, "threads", arguments.threads);
    try field(&json, "trace", arguments.trace);
    try json.objectField("digest");
    try json.print("\"{x:0>16}\"", .{sequence.digest});
    try field(&json, "touch", sequence.touch.describe());
    try field(&json, "calls", sequence.calls);
    try field(&json, "setup_calls", sequence.setup_calls);
    try field(&json, "elapsed_ns", result.rates.elapsed_ns);
    try timer(&json, result);
    try field(&json, "counters", result.rates.counts);
    try memory(&json, result);
    try phases(&json, result);
    if (arguments.histogram) {
        try json.objectField("histogram_ns");
        try json.beginObject();
        try histogram(&json, &result.timer, "malloc", &result.latencies.allocation_times);
        try histogram(&json, &result.timer, "free", &result.latencies.free_times);
        try json.endObject();
    }
    try json.endObject();
    try out.writeByte('\n');
}

pub fn field(json: *Stringify, name: []const u8, value: anytype) Error!void {
    try json.objectField(name);
    try json.write(value);
}

pub fn decimal(json: *Stringify, name: []const u8, value: ?f64) Error!void {
    try json.objectField(name);
    if (value) |known| try json.print("{d:.2}", .{known}) else try json.write(null);
}

fn latencies(
    json: *Stringify,
    result: *const Result,
    name: []const u8,
    times: *const Histogram,
) Error!void {
    try json.objectField(name);
    try json.beginObject();
    for (result_file.percentiles) |entry| {
        try field(json, entry[0], result.percentile(times, entry[1]));
    }
    try decimal(json, "mean", result.mean(times));
    try field(json, "count", times.total);
    try json.endObject();
}

fn timer(json: *Stringify, result: *const Result) Error!void {
    try json.objectField("timer");
    try json.beginObject();
    try field(json, "source", @tagName(result.timer.source));
    try field(json, "hz", result.timer.ticks_per_second);
    const cost = result.timer.nanosecondsOf(result.timer.cost_ticks);
    try decimal(json, "subtracted_ns", cost);
    try json.endObject();
}

fn memory(json: *Stringify, result: *const Result) Error!void {
    const contents = result.contents;
    const held = if (contents) |known| known.findings.held else null;
    try json.objectField("memory");
    try json.beginObject();
    try field(json, "requested_peak", if (contents) |known| known.findings.requested else null);
    try field(json, "held_at_peak", if (held) |known| known.bytes else null);
    try field(json, "metadata_at_peak", if (held) |known| known.metadata else null);
    try field(json, "resident_peak", result.rates.resident_peak);
    try field(json, "minor_faults", result.rates.minor_faults);
    try json.endObject();
}

/// Null for profiles without any.
fn phases(json: *Stringify, result: *const Result) Error!void {
    try json.objectField("phases");
    if (result.sequence.mark_names.len == 0) return json.write(null);
    try json.beginArray();
    for (result.sequence.mark_names, 0..) |name, index| {
        try json.beginObject();
        try field(json, "name", name);
        try field(json, "requested", result.sequence.requested_at[index]);
        try field(json, "resident", result.rates.findings.resident[index]);
        try json.endObject();
    }
    try json.endArray();
}

/// Triples: from, to, calls.
/// Triples: from, to, how many.
pub fn histogram(
    json: *Stringify,
    clock: *const Timer,
    name: []const u8,
    times: *const Histogram,
) Error!void {
    try json.objectField(name);
    try json.beginArray();
    var buckets = times.buckets();
    while (buckets.next()) |bucket| {
        try json.beginArray();
        try json.print("{d:.1}", .{clock.nanosecondsOf(bucket.first)});
        const last = @min(bucket.last, times.largest);
        try json.print("{d:.1}", .{clock.nanosecondsOf(last)});
        try json.write(bucket.count);
        try json.endArray();
    }
    try json.endArray();
}

pub fn list(out: *Writer) Error!void {
    var json: Stringify = .{ .writer = out };
    try json.beginObject();
    try json.objectField("profiles");
    try json.beginArray();
    for (&profiles.table) |*profile| {
        try json.beginObject();
        try field(&json, "name", profile.name);
        try field(&json, "about", profile.about);
        try field(&json, "threads_min", profile.threads_min);
        try field(&json, "threads_even", profile.threads_even);
        try field(&json, "touch", profile.touch.describe());
        try json.endObject();
    }
    try json.endArray();
    try json.objectField("allocators");
    try json.beginArray();
    for (&allocators.table) |*choice| {
        try json.beginObject();
        try field(&json, "name", choice.name);
        try field(&json, "about", choice.about);
        try field(&json, "threads", choice.threads);
        try json.endObject();
    }
    try json.endArray();
    try json.endObject();
    try out.writeByte('\n');
}

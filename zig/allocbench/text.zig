//! A result as text: seven lines, and what was asked for beyond them.
const std = @import("std");
const allocators = @import("allocators.zig");
const profiles = @import("profiles.zig");
const result_file = @import("result.zig");
const Event = @import("counters.zig").Event;
const Histogram = @import("histogram.zig").Histogram;
const Result = result_file.Result;
const Writer = std.Io.Writer;

pub const version = "1.0";
const not_available = "not available";

pub fn write(out: *Writer, result: *const Result) Writer.Error!void {
    const arguments = result.arguments;
    try out.print("allocbench {s}\n", .{version});
    try out.print("profile={s}", .{result.profileName()});
    if (arguments.trace) |path| {
        try out.print(" file={s}", .{path});
    } else {
        try out.print(" seed={d}", .{arguments.seed});
    }
    try out.print(" ops={d}", .{result.ops()});
    // Only what differs from the default.
    if (!std.mem.eql(u8, arguments.choice.name, allocators.table[0].name)) {
        try out.print(" allocator={s}", .{arguments.choice.name});
    }
    if (arguments.threads != 1) try out.print(" threads={d}", .{arguments.threads});
    try out.writeByte('\n');
    try rate(out, "alloc/s", result.allocationsPerSecond());
    try rate(out, "free/s", result.freesPerSecond());
    const times = &result.latencies.allocation_times;
    try latency(out, "p50 latency", result.percentile(times, 500_000));
    try latency(out, "p99 latency", result.percentile(times, 990_000));
    try out.writeAll("fragmentation: ");
    if (result.fragmentation()) |percent| {
        try out.print("{d:.1}%\n", .{percent});
    } else {
        try out.writeAll(not_available ++ "\n");
    }
    try marks(out, result);
    if (arguments.details) try details(out, result);
    if (arguments.histogram) {
        try histogram(out, result, "malloc latency", times);
        try histogram(out, result, "free latency", &result.latencies.free_times);
    }
}

fn rate(out: *Writer, name: []const u8, value: u64) Writer.Error!void {
    try out.print("{s}: ", .{name});
    try grouped(out, value);
    try out.writeByte('\n');
}

/// With commas between thousands.
fn grouped(out: *Writer, value: u64) Writer.Error!void {
    var buffer: [20]u8 = undefined;
    const digits = std.fmt.bufPrint(&buffer, "{d}", .{value}) catch unreachable; // 20 suffice.
    for (digits, 0..) |digit, index| {
        if (index > 0 and (digits.len - index) % 3 == 0) try out.writeByte(',');
        try out.writeByte(digit);
    }
}

fn latency(out: *Writer, name: []const u8, value: ?u64) Writer.Error!void {
    if (value) |nanoseconds| {
        try out.print("{s}: {d} ns\n", .{ name, nanoseconds });
    } else {
        try out.print("{s}: {s}\n", .{ name, not_available });
    }
}

/// Only of profiles that have some.
fn marks(out: *Writer, result: *const Result) Writer.Error!void {
    for (result.sequence.mark_names, 0..) |name, index| {
        try out.print("resident when {s}: ", .{name});
        try bytes(out, result.rates.findings.resident[index]);
    }
}

fn bytes(out: *Writer, value: ?u64) Writer.Error!void {
    const known = value orelse return out.writeAll(not_available ++ "\n");
    try grouped(out, known / 1024);
    try out.writeAll(" KiB\n");
}

fn details(out: *Writer, result: *const Result) Writer.Error!void {
    const sequence = result.sequence;
    try out.print("digest: {x:0>16}\n", .{sequence.digest});
    try out.print("blocks are written to: {s}\n", .{sequence.touch.describe()});
    try percentileLine(out, result, "malloc ns", &result.latencies.allocation_times);
    try percentileLine(out, result, "free ns", &result.latencies.free_times);
    const timer = &result.timer;
    try out.print("timer: {s}, {d:.1} MHz, its own cost of {d:.1} ns is subtracted\n", .{
        if (timer.source == .tsc) "time-stamp counter" else "monotonic clock",
        @as(f64, @floatFromInt(timer.ticks_per_second)) / 1e6,
        timer.nanosecondsOf(timer.cost_ticks),
    });
    inline for (comptime std.enums.values(Event)) |event| {
        comptime var name: [@tagName(event).len]u8 = @tagName(event)[0..].*;
        comptime std.mem.replaceScalar(u8, &name, '_', ' ');
        const shown = name;
        const count: ?u64 = @field(result.rates.counts, @tagName(event));
        if (count) |known| {
            const calls: f64 = @floatFromInt(@max(result.ops(), 1));
            const each = @as(f64, @floatFromInt(known)) / calls;
            try out.print("{s}: {d:.3} a call\n", .{ shown, each });
        } else {
            try out.print("{s}: {s}\n", .{ shown, not_available });
        }
    }
    try out.print("page faults: {d}\n", .{result.rates.minor_faults});
    try out.writeAll("most resident: ");
    try bytes(out, result.rates.resident_peak);
    const contents = result.contents;
    try out.writeAll("most requested: ");
    try bytes(out, if (contents) |known| known.findings.requested else null);
    const held = if (contents) |known| known.findings.held else null;
    try out.writeAll("held then: ");
    try bytes(out, if (held) |known| known.bytes else null);
    try out.writeAll("metadata then: ");
    try bytes(out, if (held) |known| known.metadata else null);
}

fn percentileLine(
    out: *Writer,
    result: *const Result,
    name: []const u8,
    times: *const Histogram,
) Writer.Error!void {
    try out.print("{s}:", .{name});
    for (result_file.percentiles) |entry| {
        const value = result.percentile(times, entry[1]) orelse
            return out.writeAll(" " ++ not_available ++ "\n");
        try out.print(" {s} {d}", .{ entry[0], value });
    }
    try out.writeByte('\n');
}

/// A line for each doubling, from the first to the last that holds something.
fn histogram(
    out: *Writer,
    result: *const Result,
    name: []const u8,
    times: *const Histogram,
) Writer.Error!void {
    try out.print("{s} (ns: calls, % at most as long)\n", .{name});
    if (times.total == 0) return out.writeAll("  " ++ not_available ++ "\n");
    var counts: [64]u64 = @splat(0);
    var first: usize = counts.len;
    var last: usize = 0;
    var iterator = times.buckets();
    while (iterator.next()) |bucket| {
        const nanoseconds: u64 = @trunc(result.timer.nanosecondsOf(bucket.first));
        const line = 64 - @as(usize, @clz(nanoseconds));
        counts[@min(line, 63)] += bucket.count;
        first = @min(first, line);
        last = @max(last, line);
    }
    const most = std.mem.max(u64, &counts);
    const width = 40;
    var seen: u64 = 0;
    for (counts[first .. last + 1], first..) |count, line| {
        seen += count;
        const low = if (line == 0) 0 else @as(u64, 1) << @intCast(line - 1);
        const high = (@as(u64, 1) << @intCast(line)) - 1;
        const share = 100 * @as(f64, @floatFromInt(seen)) / @as(f64, @floatFromInt(times.total));
        try out.print("{d: >10} - {d: <10} {d: >10} {d: >8.3} ", .{ low, high, count, share });
        const length = std.math.divCeil(u64, count * width, most) catch unreachable; // most > 0
        try out.splatByteAll('#', length);
        try out.writeByte('\n');
    }
}

pub fn list(out: *Writer) Writer.Error!void {
    try out.writeAll("profiles:\n");
    for (&profiles.table) |*profile| {
        try out.print("  {s: <18} {s}", .{ profile.name, profile.about });
        if (profile.threads_min > 1) try out.print(" (threads: {d}{s})", .{
            profile.threads_min,
            if (profile.threads_even) ", 4, 6 ..." else " or more",
        });
        if (profile.touch != .first) {
            try out.print(" (written: {s})", .{profile.touch.describe()});
        }
        try out.writeByte('\n');
    }
    try out.writeAll("allocators:\n");
    for (&allocators.table) |*choice| {
        try out.print("  {s: <18} {s}\n", .{ choice.name, choice.about });
    }
}

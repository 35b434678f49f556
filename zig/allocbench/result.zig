//! What the passes of a run have shown, in figures that the text and the JSON share.
const std = @import("std");
const Arguments = @import("arguments.zig").Arguments;
const Histogram = @import("histogram.zig").Histogram;
const Outcome = @import("pass.zig").Outcome;
const Sequence = @import("sequence.zig").Sequence;
const Timer = @import("clock.zig").Timer;

/// Names as in the JSON, and millionths of all values.
pub const percentiles = [_]struct { []const u8, u64 }{
    .{ "p50", 500_000 },
    .{ "p90", 900_000 },
    .{ "p99", 990_000 },
    .{ "p99.9", 999_000 },
    .{ "p99.99", 999_900 },
    .{ "max", 1_000_000 },
};

pub const Result = struct {
    arguments: *const Arguments,
    sequence: *const Sequence,
    timer: Timer,
    /// Nothing timed in it; bytes held. Null: left out.
    contents: ?*const Outcome,
    rates: *const Outcome,
    latencies: *const Outcome,

    pub fn profileName(result: *const Result) []const u8 {
        return if (result.arguments.trace != null) "trace" else result.arguments.profile.name;
    }

    /// Calls of the measured stretch.
    pub fn ops(result: *const Result) u64 {
        return result.sequence.calls.total();
    }

    pub fn perSecond(result: *const Result, count: u64) u64 {
        const elapsed = @max(result.rates.elapsed_ns, 1);
        return @intCast(@as(u128, count) * std.time.ns_per_s / elapsed);
    }

    pub fn allocationsPerSecond(result: *const Result) u64 {
        return result.perSecond(result.sequence.calls.allocating());
    }

    pub fn freesPerSecond(result: *const Result) u64 {
        return result.perSecond(result.sequence.calls.free);
    }

    /// Whole ns; null without such calls.
    pub fn percentile(
        result: *const Result,
        histogram: *const Histogram,
        millionths: u64,
    ) ?u64 {
        const ticks = histogram.percentile(millionths) orelse return null;
        return @round(result.timer.nanosecondsOf(ticks));
    }

    pub fn mean(result: *const Result, histogram: *const Histogram) ?f64 {
        if (histogram.total == 0) return null;
        const count: f64 = @floatFromInt(histogram.total);
        return result.timer.nanosecondsOf(histogram.sum) / count;
    }

    /// 100 (1 - requested / held) at the peak of what is live.
    pub fn fragmentation(result: *const Result) ?f64 {
        const contents = result.contents orelse return null;
        const held = contents.findings.held orelse return null;
        if (held.bytes == 0) return null;
        const requested: f64 = @floatFromInt(contents.findings.requested);
        return 100 * (1 - requested / @as(f64, @floatFromInt(held.bytes)));
    }
};

//! Time: the time-stamp counter for single calls, the monotonic clock for whole passes.
//!
//! A reading of the counter is fenced on both sides, so that neither the call before nor the one
//! after runs into it. What two readings with nothing between them cost at least is subtracted
//! from every latency: the least, so that never more is taken away than was there.
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;

pub const Source = enum {
    tsc,
    /// Where there is no counter that ticks at one rate at all times: the system's clock.
    monotonic,
};

const has_counter = builtin.cpu.arch == .x86_64;

pub const Timer = struct {
    source: Source,
    ticks_per_second: u64,
    cost_ticks: u64,

    /// Takes 20 ms.
    pub fn calibrate() Timer {
        if (!isInvariant()) return .{
            .source = .monotonic,
            .ticks_per_second = std.time.ns_per_s,
            .cost_ticks = leastCost(.monotonic),
        };
        const cost = leastCost(.tsc);
        const first: Moment = .now();
        while (nanoseconds() - first.ns < 20 * std.time.ns_per_ms) {}
        const last: Moment = .now();
        const ticks: u128 = last.ticks - first.ticks;
        return .{
            .source = .tsc,
            .ticks_per_second = @intCast(ticks * std.time.ns_per_s / (last.ns - first.ns)),
            .cost_ticks = cost,
        };
    }

    pub fn nanosecondsOf(timer: *const Timer, ticks: u64) f64 {
        const nanoseconds_per_tick = @as(f64, std.time.ns_per_s) /
            @as(f64, @floatFromInt(timer.ticks_per_second));
        return @as(f64, @floatFromInt(ticks)) * nanoseconds_per_tick;
    }
};

/// Both clocks read at one moment: the closest of some readings, for the scheduler may come between
/// the two, and a few milliseconds would falsify the rate by a tenth.
const Moment = struct {
    ns: u64,
    ticks: u64,

    fn now() Moment {
        var closest: Moment = undefined;
        var width_least: u64 = std.math.maxInt(u64);
        for (0..64) |_| {
            const before = nanoseconds();
            const ticks = begin(.tsc);
            const width = nanoseconds() - before;
            if (width >= width_least) continue;
            width_least = width;
            closest = .{ .ns = before + width / 2, .ticks = ticks };
        }
        return closest;
    }
};

fn leastCost(comptime source: Source) u64 {
    var least: u64 = std.math.maxInt(u64);
    for (0..20_000) |_| {
        const first = begin(source);
        least = @min(least, end(source) - first);
    }
    return least;
}

/// Read just before what is timed.
pub inline fn begin(comptime source: Source) u64 {
    if (source == .monotonic or !has_counter) return nanoseconds();
    var low: u32 = undefined;
    var high: u32 = undefined;
    asm volatile (
        \\ lfence
        \\ rdtsc
        \\ lfence
        : [low] "={eax}" (low),
          [high] "={edx}" (high),
        :
        : .{ .memory = true });
    return @as(u64, high) << 32 | low;
}

/// Read just after it.
pub inline fn end(comptime source: Source) u64 {
    if (source == .monotonic or !has_counter) return nanoseconds();
    var low: u32 = undefined;
    var high: u32 = undefined;
    asm volatile (
        \\ rdtscp
        \\ lfence
        : [low] "={eax}" (low),
          [high] "={edx}" (high),
        :
        : .{ .memory = true, .rcx = true });
    return @as(u64, high) << 32 | low;
}

/// Whether the processor promises that its counter never changes its rate, and has rdtscp.
fn isInvariant() bool {
    if (!has_counter) return false;
    if (cpuid(0x8000_0000).eax < 0x8000_0007) return false;
    const has_rdtscp = cpuid(0x8000_0001).edx >> 27 & 1 == 1;
    const invariant = cpuid(0x8000_0007).edx >> 8 & 1 == 1;
    return has_rdtscp and invariant;
}

const Leaf = struct { eax: u32, edx: u32 };

fn cpuid(leaf: u32) Leaf {
    var eax: u32 = undefined;
    var edx: u32 = undefined;
    asm volatile ("cpuid"
        : [eax] "={eax}" (eax),
          [edx] "={edx}" (edx),
        : [leaf] "{eax}" (leaf),
        : .{ .rbx = true, .rcx = true });
    return .{ .eax = eax, .edx = edx };
}

pub fn nanoseconds() u64 {
    var time: linux.timespec = undefined;
    _ = linux.clock_gettime(.MONOTONIC, &time);
    return @as(u64, @intCast(time.sec)) * std.time.ns_per_s + @as(u64, @intCast(time.nsec));
}

pub fn sleep(milliseconds: u64) void {
    var left: linux.timespec = .{
        .sec = @intCast(milliseconds / 1000),
        .nsec = @intCast(milliseconds % 1000 * std.time.ns_per_ms),
    };
    while (linux.errno(linux.nanosleep(&left, &left)) == .INTR) {}
}

test "clock: the timer runs forward at a plausible rate" {
    const timer: Timer = .calibrate();
    try std.testing.expect(timer.ticks_per_second > 10_000_000);
    const second = timer.nanosecondsOf(timer.ticks_per_second);
    try std.testing.expectApproxEqRel(@as(f64, 1e9), second, 1e-12);
    try std.testing.expect(timer.cost_ticks < timer.ticks_per_second / 10_000);
}

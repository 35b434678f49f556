//! What a stretch of this thread cost: cycles and instructions in user space by the hardware's own
//! counters, and wall time. Where the kernel or the machine gives no counters they are null.
const std = @import("std");
const linux = std.os.linux;

pub const Cost = struct {
    cycles: ?u64,
    instructions: ?u64,
    nanoseconds: ?u64,

    pub const unknown: Cost = .{ .cycles = null, .instructions = null, .nanoseconds = null };

    /// The cost of two threads together; unknown where either is.
    pub fn plus(cost: Cost, other: Cost) Cost {
        return .{
            .cycles = sum(cost.cycles, other.cycles),
            .instructions = sum(cost.instructions, other.instructions),
            .nanoseconds = sum(cost.nanoseconds, other.nanoseconds),
        };
    }

    fn sum(a: ?u64, b: ?u64) ?u64 {
        return (a orelse return null) + (b orelse return null);
    }
};

/// The counters of the thread that opened it, summed over the stretches from `start` to `stop`.
pub const Meter = struct {
    cycles: Counter,
    instructions: Counter,
    nanoseconds: u64 = 0,
    started_at: u64 = 0,

    pub fn open() Meter {
        return .{ .cycles = .open(.CPU_CYCLES), .instructions = .open(.INSTRUCTIONS) };
    }

    pub fn start(meter: *Meter) void {
        meter.started_at = now();
        meter.instructions.start();
        meter.cycles.start();
    }

    pub fn stop(meter: *Meter) void {
        meter.cycles.stop();
        meter.instructions.stop();
        meter.nanoseconds += now() - meter.started_at;
    }

    pub fn cost(meter: *const Meter) Cost {
        return .{
            .cycles = meter.cycles.total(),
            .instructions = meter.instructions.total(),
            .nanoseconds = meter.nanoseconds,
        };
    }
};

/// One hardware counter; without a file it never counts.
const Counter = struct {
    file: ?linux.fd_t,

    fn open(event: linux.PERF.COUNT.HW) Counter {
        var attributes: linux.perf_event_attr = .{
            .type = .HARDWARE,
            .config = @backingInt(event),
            .flags = .{ .disabled = true, .exclude_kernel = true, .exclude_hv = true },
        };
        const this_thread = 0;
        const any_cpu = -1;
        const no_group = -1;
        const rc = linux.perf_event_open(
            &attributes,
            this_thread,
            any_cpu,
            no_group,
            linux.PERF.FLAG.FD_CLOEXEC,
        );
        return .{ .file = if (linux.errno(rc) == .SUCCESS) @intCast(rc) else null };
    }

    fn start(counter: Counter) void {
        if (counter.file) |file| _ = linux.ioctl(file, linux.PERF.EVENT_IOC.ENABLE, 0);
    }

    fn stop(counter: Counter) void {
        if (counter.file) |file| _ = linux.ioctl(file, linux.PERF.EVENT_IOC.DISABLE, 0);
    }

    fn total(counter: Counter) ?u64 {
        const file = counter.file orelse return null;
        var value: u64 = 0;
        const length = linux.read(file, std.mem.asBytes(&value), @sizeOf(u64));
        // A counter that the machine could never schedule counts nothing: that is not a zero.
        return if (length == @sizeOf(u64) and value > 0) value else null;
    }
};

/// Nanoseconds of a clock that only moves on.
pub fn now() u64 {
    var time: linux.timespec = undefined;
    _ = linux.clock_gettime(.MONOTONIC, &time);
    return @as(u64, @intCast(time.sec)) * std.time.ns_per_s + @as(u64, @intCast(time.nsec));
}

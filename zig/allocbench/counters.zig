//! The hardware's counters of this process in user space: cycles, instructions, cache and branch
//! misses, over the threads that exist when they start and all that come later. Where the kernel or
//! the machine gives no counter its value is null.
const std = @import("std");
const linux = std.os.linux;

pub const Event = enum { cycles, instructions, cache_misses, branch_misses };

pub const Counts = std.enums.EnumFieldStruct(Event, ?u64, @as(?u64, null));

pub const Counters = struct {
    files: std.EnumArray(Event, ?linux.fd_t),

    /// Before the threads that are to be counted begin: they inherit the counters.
    pub fn open() Counters {
        var counters: Counters = .{ .files = .initFill(null) };
        for (std.enums.values(Event)) |event| counters.files.set(event, openOne(event));
        return counters;
    }

    fn openOne(event: Event) ?linux.fd_t {
        const counted: linux.PERF.COUNT.HW = switch (event) {
            .cycles => .CPU_CYCLES,
            .instructions => .INSTRUCTIONS,
            .cache_misses => .CACHE_MISSES,
            .branch_misses => .BRANCH_MISSES,
        };
        var attributes: linux.perf_event_attr = .{
            .type = .HARDWARE,
            .config = @backingInt(counted),
            .read_format = time_enabled | time_running,
            .flags = .{
                .disabled = true,
                .inherit = true,
                .exclude_kernel = true,
                .exclude_hv = true,
            },
        };
        const this_process = 0;
        const any_cpu = -1;
        const no_group = -1;
        const flags = linux.PERF.FLAG.FD_CLOEXEC;
        const rc = linux.perf_event_open(&attributes, this_process, any_cpu, no_group, flags);
        return if (linux.errno(rc) == .SUCCESS) @intCast(rc) else null;
    }

    pub fn start(counters: *const Counters) void {
        counters.control(linux.PERF.EVENT_IOC.ENABLE);
    }

    pub fn stop(counters: *const Counters) void {
        counters.control(linux.PERF.EVENT_IOC.DISABLE);
    }

    fn control(counters: *const Counters, request: u32) void {
        for (counters.files.values) |file| {
            if (file) |open_file| _ = linux.ioctl(open_file, request, 0);
        }
    }

    pub fn read(counters: *const Counters) Counts {
        var counts: Counts = .{};
        inline for (comptime std.enums.values(Event)) |event| {
            @field(counts, @tagName(event)) = readOne(counters.files.get(event));
        }
        return counts;
    }

    fn readOne(file: ?linux.fd_t) ?u64 {
        var values: Reading = undefined;
        const wanted = @sizeOf(Reading);
        const length = linux.read(file orelse return null, std.mem.asBytes(&values), wanted);
        if (length != wanted) return null;
        // A counter that the machine could never schedule counts nothing: that is not a zero.
        if (values.running == 0 or values.value == 0) return null;
        if (values.running == values.enabled) return values.value;
        // Counters in excess of the hardware's take turns.
        const whole = @as(u128, values.value) * values.enabled / values.running;
        return @intCast(whole);
    }
};

const time_enabled = 1;
const time_running = 2;
const Reading = extern struct { value: u64, enabled: u64, running: u64 };

test "counters: where there are any, work is counted" {
    const counters: Counters = .open();
    counters.start();
    var sum: u64 = 1;
    for (0..10_000) |number| {
        sum +%= number *% sum;
        std.mem.doNotOptimizeAway(sum);
    }
    counters.stop();
    if (counters.read().instructions) |count| try std.testing.expect(count > 10_000);
}

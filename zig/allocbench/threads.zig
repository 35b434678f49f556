//! Threads of libc's, so that it and the malloc in it know of them, and gates that they wait at.
const std = @import("std");
const linux = std.os.linux;
const fail = @import("failure.zig").fail;

// Not std.Thread: it allocates with the malloc that is measured.
pub const Thread = usize;
pub const Main = fn (?*anyopaque) callconv(.c) ?*anyopaque;
extern "c" fn pthread_create(*Thread, ?*const anyopaque, *const Main, ?*anyopaque) c_int;
extern "c" fn pthread_join(Thread, ?*?*anyopaque) c_int;

pub fn spawn(main: *const Main, argument: *anyopaque) Thread {
    var thread: Thread = 0;
    const code = pthread_create(&thread, null, main, argument);
    if (code != 0) fail("cannot create a thread: error {d}", .{code});
    return thread;
}

pub fn join(thread: Thread) void {
    const code = pthread_join(thread, null);
    if (code != 0) fail("cannot join a thread: error {d}", .{code});
}

/// A count that threads wait for.
pub const Gate = struct {
    /// Added to with release by who has done its part; waited for with acquire.
    passed: std.atomic.Value(u32) = .init(0),

    pub fn add(gate: *Gate) void {
        _ = gate.passed.fetchAdd(1, .release);
        _ = linux.futex_3arg(&gate.passed.raw, .{ .cmd = .WAKE, .private = true }, 1 << 30);
    }

    pub fn wait(gate: *Gate, wanted: u32) void {
        while (true) {
            const now = gate.passed.load(.acquire);
            if (now >= wanted) return;
            _ = linux.futex_4arg(&gate.passed.raw, .{ .cmd = .WAIT, .private = true }, now, null);
        }
    }

    /// Without sleep: who sleeps wakes late, and the first call is measured.
    pub fn spin(gate: *Gate, wanted: u32) void {
        while (gate.passed.load(.acquire) < wanted) _ = linux.sched_yield();
    }
};

//! A process of its own for what is measured: it begins with allocators that have done nothing yet,
//! and one that crashes takes no result but its own with it.
const std = @import("std");
const linux = std.os.linux;
const fail = @import("failure.zig").fail;

/// libc's, which lets libc and the allocators in it prepare for it.
extern "c" fn fork() linux.pid_t;

/// Runs `main` in a child and waits for its end; false when that failed, which it has said itself
/// or is said here: `what` of `who`.
pub fn run(
    comptime main: anytype,
    arguments: std.meta.ArgsTuple(@TypeOf(main)),
    who: []const u8,
    what: []const u8,
) bool {
    const child = fork();
    if (child < 0) fail("cannot create a process", .{});
    if (child == 0) {
        @call(.auto, main, arguments);
        linux.exit_group(0);
    }
    var status: i32 = 0;
    while (linux.errno(linux.wait4(child, &status, 0, null)) == .INTR) {}
    const bits: u32 = @bitCast(status);
    if (linux.W.IFEXITED(bits) and linux.W.EXITSTATUS(bits) == 0) return true;
    if (linux.W.IFSIGNALED(bits)) {
        std.debug.print("allocbench: {s}: the pass for {s} was killed by signal {d}\n", .{
            who, what, @backingInt(linux.W.TERMSIG(bits)),
        });
    }
    return false;
}

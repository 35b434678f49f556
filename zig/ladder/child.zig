//! Measuring in a child process: each measurement begins with a heap that nobody has used, the core
//! and libc's malloc too, and a crash is one missing row.
const std = @import("std");
const linux = std.os.linux;

extern "c" fn fork() c_int;
extern "c" fn waitpid(process: c_int, status: *c_int, options: c_int) c_int;
extern "c" fn _exit(status: c_int) noreturn;

/// What `body(context)` returned in a child of its own; null: it did not get to its end. The
/// result may hold pointers to constants only.
pub fn run(
    comptime Result: type,
    context: anytype,
    comptime body: fn (@TypeOf(context)) Result,
) ?Result {
    const Shared = struct { done: bool, result: Result };
    const pages = std.posix.mmap(
        null,
        std.mem.alignForward(usize, @sizeOf(Shared), std.heap.page_size_min),
        .{ .READ = true, .WRITE = true },
        .{ .TYPE = .SHARED, .ANONYMOUS = true },
        -1,
        0,
    ) catch return null;
    defer std.posix.munmap(pages);
    const shared: *Shared = @ptrCast(pages.ptr);
    shared.done = false;
    const process = fork();
    if (process < 0) return null;
    if (process == 0) {
        shared.result = body(context);
        shared.done = true;
        _exit(0);
    }
    var status: c_int = 0;
    while (waitpid(process, &status, 0) < 0) {
        if (std.c.errno(-1) != .INTR) return null;
    }
    return if (status == 0 and shared.done) shared.result else null;
}

fn twice(value: usize) usize {
    return 2 * value;
}

fn crash(_: usize) usize {
    // Silent, where abort would write a line and perhaps a core file.
    _ = linux.kill(linux.getpid(), .KILL);
    unreachable;
}

test "a child's result comes back, a child that dies gives none" {
    try std.testing.expectEqual(42, run(usize, @as(usize, 21), twice));
    try std.testing.expectEqual(null, run(usize, @as(usize, 21), crash));
}

//! One line on stderr, and the end of the process. Allocates nothing, takes no lock; any thread,
//! any state, signal handlers included.
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const Text = @import("base").Text;

/// Tests: where lines go instead of stderr.
pub var captured: if (builtin.is_test) ?*Text else void = if (builtin.is_test) null;

/// Writes `liballoc: message` and a newline to stderr in one call.
pub noinline fn warn(message: []const u8) void {
    var buffer: [512]u8 = undefined;
    var text: Text = .{ .buffer = buffer[0 .. buffer.len - 1] };
    text.string("liballoc: ");
    text.string(message);
    emit(&text, &buffer);
}

/// Text on stderr as it stands.
pub fn write(bytes: []const u8) void {
    _ = linux.write(2, bytes.ptr, bytes.len);
}

/// `liballoc: function(0xpointer): reason`, then SIGABRT.
pub noinline fn misuse(function: []const u8, pointer: usize, reason: []const u8) noreturn {
    @branchHint(.cold);
    complain(function, pointer, reason);
    abort();
}

/// The same line, and the program goes on.
pub noinline fn complain(function: []const u8, pointer: usize, reason: []const u8) void {
    @branchHint(.cold);
    var buffer: [512]u8 = undefined;
    var text: Text = .{ .buffer = buffer[0 .. buffer.len - 1] };
    text.string("liballoc: ");
    text.string(function);
    text.char('(');
    text.hex(pointer);
    text.string("): ");
    text.string(reason);
    emit(&text, &buffer);
}

fn emit(text: *Text, buffer: []u8) void {
    const length = text.slice().len;
    buffer[length] = '\n';
    if (builtin.is_test) {
        if (captured) |lines| return lines.string(buffer[0 .. length + 1]);
    }
    _ = linux.write(2, buffer.ptr, length + 1);
}

/// Ends the process by SIGABRT, also when the signal is blocked or handled.
pub noinline fn abort() noreturn {
    @branchHint(.cold);
    const pid: usize = @intCast(linux.getpid());
    const tid: usize = @intCast(linux.gettid());
    _ = linux.syscall3(.tgkill, pid, tid, 6);
    // A handler returned, or the signal is blocked: unblock it and take the default action.
    const Action = extern struct { handler: usize, flags: usize, restorer: usize, mask: usize };
    const action: Action = .{ .handler = 0, .flags = 0, .restorer = 0, .mask = 0 };
    _ = linux.syscall4(.rt_sigaction, 6, @intFromPtr(&action), 0, 8);
    const set: u64 = 1 << 5;
    const unblock = 1;
    _ = linux.syscall4(.rt_sigprocmask, unblock, @intFromPtr(&set), 0, 8);
    _ = linux.syscall3(.tgkill, pid, tid, 6);
    @trap();
}

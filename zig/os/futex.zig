//! The two system calls under the lock: sleep while a word has a value, wake who sleeps on it.
//! Wakes for no reason are normal. Any thread.
const std = @import("std");
const linux = std.os.linux;
const Word = @import("base").atomic.Value(u32);

/// Sleeps if the word is `expected`, until woken, for a signal, or at most for `period`.
pub inline fn wait(word: *const Word, expected: u32, period: ?*const linux.timespec) void {
    _ = linux.futex_4arg(&word.raw, .{ .cmd = .WAIT, .private = true }, expected, period);
}

pub inline fn wake(word: *const Word, count: u32) void {
    _ = linux.futex_3arg(&word.raw, .{ .cmd = .WAKE, .private = true }, count);
}

//! The two ends of the process: initialisation (at the first call of anything, no constructor is
//! needed) and the line of statistics at exit.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const heap = @import("heap");
const options = @import("options.zig");
const statistics = @import("statistics.zig");

/// Run by the first call, under the initialisation lock.
pub fn onInit() void {
    options.load();
    region.space.on_growth = &statistics.sample;
}

/// In .init_array of the shared library.
pub fn onLoad() callconv(.c) void {
    os.checker.detect();
}

/// Asked by AddressSanitizer at its start, which else refuses to run behind a preloaded malloc.
/// A program's own function of this name comes before it.
pub fn asanOptions() callconv(.c) [*:0]const u8 {
    return "verify_asan_link_order=0";
}

/// In .fini_array: run by exit(), after the program's own atexit handlers, and by dlclose of an
/// object that the archive is part of.
pub fn onExit() callconv(.c) void {
    heap.thread.unhook();
    if (options.stats_file[0] == 0) return;
    var buffer: [2048]u8 = undefined;
    var text: base.Text = .{ .buffer = buffer[0 .. buffer.len - 1] };
    statistics.writeJson(&text);
    const length = text.slice().len;
    buffer[length] = '\n';
    if (!os.machine.appendFile(&options.stats_file, buffer[0 .. length + 1])) {
        os.report.warn("stats_at_exit: cannot append to the file");
    }
}

//! Pointers that are not ours, by the option `foreign`: forwarded to the next allocator in link
//! order (a block of libc's own heap is freed where it belongs, junk is refused there), refused
//! here with one line, or ignored and counted. Never to `__libc_free`, which is ours.
const std = @import("std");
const os = @import("os");
const options = @import("options.zig");
const malloc_file = @import("malloc.zig");

const Free = fn (?*anyopaque) callconv(.c) void;
const Realloc = fn (?*anyopaque, usize) callconv(.c) ?*anyopaque;
const usableSizeOwn = &malloc_file.usableSize;
const UsableSize = fn (?*anyopaque) callconv(.c) usize;

/// Foreign pointers seen, a statistic.
pub var count: std.atomic.Value(u64) = .init(0);

const rtld_next: *anyopaque = @ptrFromInt(std.math.maxInt(usize));

/// The next definition of a name after this library; null where there is none.
fn next(comptime T: type, name: [*:0]const u8, own: *const T) ?*const T {
    const dlsym = os.host.dlsym() orelse return null;
    // Not a tail call: dlsym finds "next" by its return address.
    const found = dlsym(rtld_next, name);
    std.mem.doNotOptimizeAway(found);
    const function: *const T = @ptrCast(@alignCast(found orelse return null));
    return if (function == own) null else function;
}

fn note() void {
    _ = count.fetchAdd(1, .monotonic); // A statistic.
}

pub noinline fn free(address: usize) void {
    @branchHint(.cold);
    note();
    switch (options.foreign) {
        .ignore => return,
        .abort => {},
        .forward => if (next(Free, "free", &malloc_file.free)) |function| {
            return function(@ptrFromInt(address));
        } else if (os.machine.inProgramImage(address)) return,
    }
    refuse("free", address);
}

fn refuse(function: []const u8, address: usize) noreturn {
    const reason = if (address % 16 != 0) "misaligned pointer" else "foreign pointer";
    os.report.misuse(function, address, reason);
}

pub noinline fn realloc(address: usize, size: usize) ?*anyopaque {
    @branchHint(.cold);
    note();
    const own = @import("realloc.zig").realloc;
    switch (options.foreign) {
        // Its size is unknown: it cannot be copied, only left alone.
        .ignore => return malloc_file.outOfMemory(),
        .abort => {},
        .forward => if (next(Realloc, "realloc", &own)) |function| {
            return function(@ptrFromInt(address), size);
        },
    }
    refuse("realloc", address);
}

pub noinline fn usableSize(address: usize) usize {
    @branchHint(.cold);
    note();
    switch (options.foreign) {
        .ignore => return 0,
        .abort => {},
        .forward => if (next(UsableSize, "malloc_usable_size", usableSizeOwn)) |function| {
            return function(@ptrFromInt(address));
        },
    }
    refuse("malloc_usable_size", address);
}

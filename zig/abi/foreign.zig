//! Pointers that are not ours, by the option `foreign`: forwarded to the next allocator in link
//! order (a block of libc's own heap is freed where it belongs, junk is refused there), refused
//! here with one line, or ignored and counted. Never to `__libc_free`, which is ours. What points
//! to no memory at all is nobody's and refused under either of the first two.
//!
//! The library apart forwards to the process's own malloc, whose block it must be: that may come
//! before this library in link order.
const std = @import("std");
const build_options = @import("build_options");
const os = @import("os");
const region = @import("region");
const heap = @import("heap");
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
fn next(comptime T: type, comptime name: [:0]const u8, own: *const T) ?*const T {
    if (build_options.apart) return os.host.ofProcess(T, name);
    const dlsym = os.host.dlsym() orelse return null;
    // Not a tail call: dlsym finds "next" by its return address.
    const found = dlsym(rtld_next, name);
    std.mem.doNotOptimizeAway(found);
    const function: *const T = @ptrCast(@alignCast(found orelse return null));
    return if (function == own) null else function;
}

/// The next allocator's definition, when it may be its block: something must be mapped there.
fn nextFor(
    address: usize,
    comptime T: type,
    comptime name: [:0]const u8,
    own: *const T,
) ?*const T {
    return if (os.machine.isMapped(address)) next(T, name, own) else null;
}

fn note() void {
    _ = count.fetchAdd(1, .monotonic); // A statistic.
    // Beside another malloc this may be the first call of all, before options were read.
    if (build_options.apart and !heap.thread.isInitialised()) {
        malloc_file.free(malloc_file.malloc(1));
    }
}

pub noinline fn free(address: usize) void {
    @branchHint(.cold);
    note();
    switch (options.foreign) {
        .ignore => return,
        .abort => {},
        .forward => if (nextFor(address, Free, "free", &malloc_file.free)) |function| {
            return function(@ptrFromInt(address));
        } else if (os.machine.inProgramImage(address)) return,
    }
    refuse("free", address);
}

fn refuse(function: []const u8, address: usize) noreturn {
    os.report.misuse(function, address, reasonFor(address));
}

fn reasonFor(address: usize) []const u8 {
    if (address % 16 != 0) return "misaligned pointer";
    // Freed blocks above the threshold leave no memory behind that would tell.
    const gone = region.huge_block.table.wasFreed(address) and !os.machine.isMapped(address);
    return if (gone) "double free" else "foreign pointer";
}

pub noinline fn realloc(address: usize, size: usize) ?*anyopaque {
    @branchHint(.cold);
    note();
    const own = @import("realloc.zig").realloc;
    switch (options.foreign) {
        // Its size is unknown: it cannot be copied, only left alone.
        .ignore => return malloc_file.outOfMemory(),
        .abort => {},
        .forward => if (nextFor(address, Realloc, "realloc", &own)) |function| {
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
        .forward => {
            const name = "malloc_usable_size";
            if (nextFor(address, UsableSize, name, usableSizeOwn)) |function| {
                return function(@ptrFromInt(address));
            }
        },
    }
    refuse("malloc_usable_size", address);
}

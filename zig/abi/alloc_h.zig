//! The functions of alloc.h that are not malloc under another name: statistics.
const std = @import("std");
const base = @import("base");
const malloc_file = @import("malloc.zig");
const options = @import("options.zig");
const refusal = @import("refusal.zig");
const statistics = @import("statistics.zig");

/// alloc_stats_t. Grows at its end only; the caller says how much of it it knows.
const AllocStats = extern struct {
    allocations: u64,
    frees: u64,
    bytes_in_use: u64,
    bytes_mapped: u64,
    bytes_resident: u64,
    total_allocated: u64,
    total_pages: u64,
    fragmentation_pct: f64,
};

/// 0; -1 with errno EINVAL for a null pointer or a size of 0.
pub fn allocStats(out: ?*anyopaque, size: usize) callconv(.c) c_int {
    const now = statistics.current();
    const stats: AllocStats = .{
        .allocations = now.allocations,
        .frees = now.frees,
        .bytes_in_use = now.bytes_in_use,
        .bytes_mapped = now.bytes_mapped,
        .bytes_resident = statistics.residentBytes(),
        .total_allocated = now.total_allocated,
        .total_pages = statistics.pagesOf(now.bytes_mapped),
        .fragmentation_pct = @as(f64, @floatFromInt(statistics.fragmentationThousandths())) / 1000,
    };
    return refusal.fill(out, size, &stats);
}

/// Options at run time, in the words of ALLOC_CONF. 0; -1 with errno EINVAL when one of them was
/// not understood (the others hold).
pub fn allocConfig(text: ?[*:0]const u8) callconv(.c) c_int {
    const words = text orelse return refusal.invalid();
    // Whatever the environment says is read first, or it would come later and win.
    malloc_file.free(malloc_file.malloc(1));
    return if (options.parse(std.mem.span(words))) 0 else refusal.invalid();
}

/// Like snprintf: writes what fits and a zero byte, returns the length the whole needs.
pub fn allocStatsJson(buffer: ?[*]u8, size: usize) callconv(.c) c_int {
    var none: [1]u8 = undefined;
    const room: []u8 = if (buffer != null and size > 0) buffer.?[0..size] else &none;
    var text: base.Text = .{ .buffer = room[0 .. room.len - 1] };
    statistics.writeJson(&text);
    room[text.slice().len] = 0;
    return @intCast(text.length);
}

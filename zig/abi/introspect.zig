//! glibc's introspection, answered for this heap: mallinfo, mallinfo2, malloc_info, malloc_stats,
//! malloc_trim, mallopt. Any thread.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const heap = @import("heap");
const region = @import("region");
const statistics = @import("statistics.zig");
const E = std.os.linux.E;

/// struct mallinfo2 with T = usize; struct mallinfo with T = c_int.
fn Mallinfo(comptime T: type) type {
    return extern struct {
        /// Bytes held in slabs and runs.
        arena: T = 0,
        /// As with glibc at least one a heap; others are not counted.
        ordblks: T = 0,
        /// Blocks that wait for the next malloc of their size.
        smblks: T = 0,
        /// Own mappings: count and bytes.
        hblks: T = 0,
        hblkhd: T = 0,
        usmblks: T = 0,
        /// The bytes of `smblks`.
        fsmblks: T = 0,
        /// Bytes in use and free within `arena`, those of `smblks` included.
        uordblks: T = 0,
        fordblks: T = 0,
        /// What malloc_trim could give back.
        keepcost: T = 0,
    };
}

fn fill(comptime T: type) Mallinfo(T) {
    const now = statistics.current();
    const in_slabs = now.bytes_mapped - now.huge_bytes;
    const used = @min(now.bytes_in_use - now.huge_bytes, in_slabs);
    return .{
        .arena = clamp(T, in_slabs),
        .ordblks = clamp(T, now.heaps),
        .smblks = clamp(T, now.blocks_cached),
        .hblks = clamp(T, now.huge_count),
        .hblkhd = clamp(T, now.huge_bytes),
        .fsmblks = clamp(T, now.bytes_cached),
        .uordblks = clamp(T, used),
        .fordblks = clamp(T, in_slabs - used),
        .keepcost = clamp(T, now.bytes_dirty),
    };
}

/// glibc's int fields wrap; ours stop at the largest value.
fn clamp(comptime T: type, value: u64) T {
    return std.math.cast(T, value) orelse std.math.maxInt(T);
}

pub fn mallinfo() callconv(.c) Mallinfo(c_int) {
    return fill(c_int);
}

pub fn mallinfo2() callconv(.c) Mallinfo(usize) {
    return fill(usize);
}

/// Does nothing (ours are set by ALLOC_CONF) and answers as glibc does: 1, also to parameters that
/// nobody knows; 0 for an M_MXFAST beyond its largest value.
pub fn mallopt(parameter: c_int, value: c_int) callconv(.c) c_int {
    const mxfast = 1;
    const mxfast_max = 80 * @sizeOf(usize) / 4;
    return @intFromBool(parameter != mxfast or (value >= 0 and value <= mxfast_max));
}

/// 1 when memory was given back to the system, else 0. Up to `pad` bytes stay.
pub fn mallocTrim(pad: usize) callconv(.c) c_int {
    return @intFromBool(heap.slow.trim(pad) > 0);
}

/// A table on stderr, in glibc's words.
pub fn mallocStats() callconv(.c) void {
    const now = statistics.current();
    const in_slabs = now.bytes_mapped - now.huge_bytes;
    var buffer: [1024]u8 = undefined;
    var text: base.Text = .{ .buffer = &buffer };
    line(&text, "liballoc: bytes in slabs and runs = ", in_slabs);
    line(&text, "system bytes     = ", now.bytes_mapped);
    line(&text, "in use bytes     = ", now.bytes_in_use);
    line(&text, "cached bytes     = ", now.bytes_cached);
    line(&text, "dirty free bytes = ", now.bytes_dirty);
    line(&text, "metadata bytes   = ", now.bytes_metadata);
    line(&text, "mmap regions     = ", now.huge_count);
    line(&text, "mmap bytes       = ", now.huge_bytes);
    line(&text, "heaps            = ", now.heaps);
    os.report.write(text.slice());
}

noinline fn line(text: *base.Text, label: []const u8, value: u64) void {
    text.string(label);
    text.decimal(value);
    text.char('\n');
}

/// XML in glibc's schema on a FILE of the host. 0, EINVAL for options, ENOSYS without a libc. As
/// with glibc only the stream knows whether it took the text.
pub fn mallocInfo(options: c_int, stream: ?*anyopaque) callconv(.c) c_int {
    const put = os.host.fputs() orelse {
        return @intCast(@backingInt(if (options != 0) E.INVAL else E.NOSYS));
    };
    return mallocInfoThrough(options, stream, put);
}

/// The same through a function of the host that is known to be there.
pub fn mallocInfoThrough(
    options: c_int,
    stream: ?*anyopaque,
    put: *const os.host.Fputs,
) callconv(.c) c_int {
    if (options != 0) return @intCast(@backingInt(E.INVAL));
    const now = statistics.current();
    var buffer: [4096:0]u8 = @splat(0);
    var text: base.Text = .{ .buffer = &buffer };
    const in_slabs = now.bytes_mapped - now.huge_bytes;
    const used = @min(now.bytes_in_use - now.huge_bytes, in_slabs);
    text.string("<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n");
    freeTotals(&text, now, in_slabs - used);
    systemTotals(&text, now);
    text.string("</heap>\n");
    freeTotals(&text, now, in_slabs - used);
    // Mappings belong to no heap: glibc has them here alone.
    total(&text, "mmap", now.huge_count, now.huge_bytes);
    systemTotals(&text, now);
    text.string("</malloc>\n");
    _ = put(&buffer, stream);
    return 0;
}

fn freeTotals(text: *base.Text, now: statistics.Statistics, free_bytes: u64) void {
    total(text, "fast", now.blocks_cached, now.bytes_cached);
    total(text, "rest", now.heaps, free_bytes -| now.bytes_cached);
}

fn systemTotals(text: *base.Text, now: statistics.Statistics) void {
    typed(text, "system", "current", now.bytes_mapped - now.huge_bytes);
    typed(text, "system", "max", region.space.committedBytes());
    typed(text, "aspace", "total", region.space.committedBytes());
    typed(text, "aspace", "mprotect", region.space.committedBytes());
}

noinline fn total(text: *base.Text, kind: []const u8, count: u64, size: u64) void {
    text.string("<total type=\"");
    text.string(kind);
    text.string("\" count=\"");
    text.decimal(count);
    text.string("\" size=\"");
    text.decimal(size);
    text.string("\"/>\n");
}

noinline fn typed(text: *base.Text, element: []const u8, kind: []const u8, size: u64) void {
    text.char('<');
    text.string(element);
    text.string(" type=\"");
    text.string(kind);
    text.string("\" size=\"");
    text.decimal(size);
    text.string("\"/>\n");
}

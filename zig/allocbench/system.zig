//! `system`: the malloc of the process, so libc's or a preloaded one. What it holds is asked of
//! whoever provides it: alloc_stats of liballoc, mallinfo2 of glibc; others cannot say.
const std = @import("std");
const ladder = @import("ladder");

extern "c" fn malloc(size: usize) ?[*]u8;
extern "c" fn free(block: ?[*]u8) void;
extern "c" fn realloc(block: ?[*]u8, size: usize) ?[*]u8;
extern "c" fn calloc(count: usize, size: usize) ?[*]u8;
extern "c" fn posix_memalign(out: *?[*]u8, alignment: usize, size: usize) c_int;
extern "c" fn malloc_usable_size(block: ?[*]u8) usize;
extern "c" fn dlsym(handle: ?*anyopaque, name: [*:0]const u8) ?*anyopaque;
extern "c" fn dladdr(address: *const anyopaque, info: *Place) c_int;

const Place = extern struct {
    file: ?[*:0]const u8,
    base: ?*anyopaque,
    symbol: ?[*:0]const u8,
    address: ?*anyopaque,
};

pub fn open(_: ladder.source.Kind) ?ladder.Allocator {
    return .{ .name = "system", .context = &none, .calls = &calls };
}

/// The file that malloc comes from; null where the loader does not say.
pub fn provider() ?[]const u8 {
    return std.mem.span(placeOf("malloc") orelse return null);
}

/// As `core.neverPurge`, where liballoc is the provider.
pub fn neverPurge() void {
    const configure: *const fn ([*:0]const u8) callconv(.c) c_int =
        @ptrCast(@alignCast(provided("alloc_config") orelse return));
    _ = configure("decay_ms:-1");
}

var none: u8 = 0;

const calls: ladder.Allocator.Calls = .{
    .malloc = mallocOf,
    .free = freeOf,
    .realloc = reallocOf,
    .aligned = alignedOf,
    .calloc = callocOf,
    .usable = usableOf,
    .held = held,
};

fn mallocOf(_: *anyopaque, size: usize) ?[*]u8 {
    return malloc(size);
}

fn freeOf(_: *anyopaque, block: [*]u8) void {
    free(block);
}

/// To size 0 it would free the block, which is no part of the interface.
fn reallocOf(_: *anyopaque, block: [*]u8, size: usize) ?[*]u8 {
    return realloc(block, @max(size, 1));
}

fn alignedOf(_: *anyopaque, alignment: usize, size: usize) ?[*]u8 {
    var block: ?[*]u8 = null;
    return if (posix_memalign(&block, alignment, size) == 0) block else null;
}

fn callocOf(_: *anyopaque, size: usize) ?[*]u8 {
    return calloc(1, size);
}

fn usableOf(_: *anyopaque, block: [*]u8) usize {
    return malloc_usable_size(block);
}

fn held(_: *anyopaque) ?ladder.Held {
    if (provided("alloc_stats_json")) |function| {
        return heldByLiballoc(@ptrCast(@alignCast(function)));
    }
    const file = provider() orelse return null;
    if (!std.mem.startsWith(u8, std.fs.path.basename(file), "libc.so")) return null;
    const function: *const fn () callconv(.c) Mallinfo =
        @ptrCast(@alignCast(provided("mallinfo2") orelse return null));
    const info = function();
    // What the break and the arenas hold includes glibc's headers in blocks: no metadata apart.
    return .{ .bytes = info.arena + info.hblkhd, .metadata = 0, .largest_free = null };
}

const Mallinfo = extern struct {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    rest: [5]usize,
};

fn heldByLiballoc(
    write: *const fn (?[*]u8, usize) callconv(.c) c_int,
) ?ladder.Held {
    var buffer: [4096]u8 = undefined;
    const length = write(&buffer, buffer.len);
    if (length < 0 or length >= buffer.len) return null;
    const text = buffer[0..@intCast(length)];
    return .{
        .bytes = number(text, "\"bytes_mapped\":") orelse return null,
        .metadata = number(text, "\"bytes_metadata\":") orelse return null,
    };
}

fn number(text: []const u8, key: []const u8) ?usize {
    const start = (std.mem.find(u8, text, key) orelse return null) + key.len;
    var end = start;
    while (end < text.len and std.ascii.isDigit(text[end])) end += 1;
    return std.fmt.parseInt(usize, text[start..end], 10) catch null;
}

/// A function of this name from the same file as malloc: that of another allocator would speak of
/// a heap that is not used.
fn provided(name: [*:0]const u8) ?*anyopaque {
    const function = dlsym(null, name) orelse return null;
    const theirs = placeOf("malloc") orelse return null;
    const its = placeOf(name) orelse return null;
    return if (std.mem.orderZ(u8, theirs, its) == .eq) function else null;
}

fn placeOf(name: [*:0]const u8) ?[*:0]const u8 {
    var place: Place = undefined;
    if (dladdr(dlsym(null, name) orelse return null, &place) == 0) return null;
    return place.file;
}

test "system: a number of a JSON text" {
    const text = "{\"bytes_mapped\":123,\"bytes_metadata\":4}";
    try std.testing.expectEqual(123, number(text, "\"bytes_mapped\":").?);
    try std.testing.expectEqual(4, number(text, "\"bytes_metadata\":").?);
    try std.testing.expectEqual(null, number(text, "\"bytes\":"));
}

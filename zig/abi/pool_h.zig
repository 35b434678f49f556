//! The pools of alloc.h. One thread at a time.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const pools = @import("pools");
const malloc_file = @import("malloc.zig");
const refusal = @import("refusal.zig");
const Place = pools.place.Place;
const Pool = pools.Pool;

/// alloc_pool_options_t. Grows at its end only; what a caller does not know of is zero, and what
/// this library does not know of must be.
const CreateOptions = extern struct {
    object_size: usize = 0,
    capacity: usize = 0,
    alignment: usize = 0,
    policy: c_int = 0,
    flags: u32 = 0,
    node: c_int = 0,
};

/// The caller's options; a null pointer, an unknown policy, or one from the future is invalid.
pub fn optionsFrom(options: ?*const anyopaque, size: usize) !pools.pool.Options {
    const source: [*]const u8 = @ptrCast(options orelse return error.InvalidArgument);
    var known: CreateOptions = .{};
    const length = @min(size, @sizeOf(CreateOptions));
    @memcpy(std.mem.asBytes(&known)[0..length], source[0..length]);
    if (!std.mem.allEqual(u8, source[length..size], 0)) return error.InvalidArgument;
    return .{
        .object_size = known.object_size,
        .capacity = known.capacity,
        .alignment = known.alignment,
        .policy = switch (known.policy) {
            0 => .fail,
            1 => .grow,
            2 => .fall_back,
            else => return error.InvalidArgument,
        },
        .flags = @bitCast(known.flags),
        .node = known.node,
    };
}

pub fn create(options: ?*const anyopaque, size: usize) callconv(.c) ?*anyopaque {
    const known = optionsFrom(options, size) catch |reason| return refusal.of(reason);
    return Pool.create(&known) catch |reason| refusal.of(reason);
}

pub fn alloc(pool: *Pool) callconv(.c) ?*anyopaque {
    const object = pool.pop();
    if (object == 0) return allocSlow(pool);
    return @ptrFromInt(object);
}

noinline fn allocSlow(pool: *Pool) ?*anyopaque {
    return orOutOfMemory(pool.allocSlow(.unknown));
}

fn orOutOfMemory(object: usize) ?*anyopaque {
    return if (object == 0) malloc_file.outOfMemory() else @ptrFromInt(object);
}

pub fn free(pool: *Pool, object: ?*anyopaque) callconv(.c) void {
    if (!pool.push(@intFromPtr(object))) freeSlow(pool, object);
}

noinline fn freeSlow(pool: *Pool, object: ?*anyopaque) void {
    pool.freeSlow(@intFromPtr(object), .unknown);
}

pub fn allocAt(pool: *Pool, file: ?[*:0]const u8, line: c_int) callconv(.c) ?*anyopaque {
    if (!pool.is_checked) return alloc(pool);
    return orOutOfMemory(pool.allocSlow(placeOf(file, line)));
}

pub fn freeAt(
    pool: *Pool,
    object: ?*anyopaque,
    file: ?[*:0]const u8,
    line: c_int,
) callconv(.c) void {
    if (pool.push(@intFromPtr(object))) return;
    pool.freeSlow(@intFromPtr(object), placeOf(file, line));
}

fn placeOf(file: ?[*:0]const u8, line: c_int) Place {
    return .{ .file = file, .line = @intCast(@max(line, 0)) };
}

pub fn destroy(pool: ?*Pool) callconv(.c) usize {
    return if (pool) |known| known.destroy() else 0;
}

/// 0; -1 with EINVAL and a line that says what is wrong.
pub fn check(pool: ?*Pool) callconv(.c) c_int {
    const known = pool orelse return refusal.invalid();
    var buffer: [440]u8 = undefined;
    var text: base.Text = .{ .buffer = &buffer };
    const object = known.check(&text) orelse return 0;
    os.report.complain("pool_check", object, text.slice());
    return refusal.invalid();
}

pub fn stats(pool: ?*const Pool, out: ?*anyopaque, size: usize) callconv(.c) c_int {
    const known = pool orelse return refusal.invalid();
    return refusal.fill(out, size, &known.stats());
}

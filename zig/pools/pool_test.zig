//! Tests of pools: a model of live objects with verified contents for each policy, every call of
//! the system refused once, what check says of torn pools, typed pools. The unit tests are built
//! with checks, so these pools are checked ones; tests/abi has the same questions for plain ones.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const backing = @import("backing.zig");
const pool_file = @import("pool.zig");
const TypedPool = @import("typed.zig").TypedPool;
const t = base.tunables;
const Options = pool_file.Options;
const Pool = pool_file.Pool;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

fn bytesOf(object: *anyopaque, size: usize) []u8 {
    const bytes: [*]u8 = @ptrCast(object);
    return bytes[0..size];
}

fn faultIn(pool: *const Pool, buffer: []u8) []const u8 {
    var text: base.Text = .{ .buffer = buffer };
    return if (pool.check(&text) == null) "" else text.slice();
}

test "pool: random calls against a model, each policy" {
    var buffer: [440]u8 = undefined;
    for ([_]pool_file.Policy{ .fail, .grow, .fall_back }) |policy| {
        const options: Options = .{ .object_size = 40, .capacity = 100, .policy = policy };
        const pool = try Pool.create(&options);
        var held: [500]?*anyopaque = @splat(null);
        var live: usize = 0;
        var source: std.Random.DefaultPrng = .init(23);
        const random = source.random();
        for (0..40_000) |step| {
            const most: usize = if (step % 10_000 < 5000) held.len else 80;
            const which = random.uintLessThan(usize, most);
            const mark: u8 = @truncate(which);
            if (held[which]) |object| {
                try expect(std.mem.allEqual(u8, bytesOf(object, 40), mark));
                pool.free(object);
                held[which] = null;
                live -= 1;
            } else if (pool.alloc()) |object| {
                @memset(bytesOf(object, 40), mark);
                held[which] = object;
                live += 1;
            } else try expect(policy == .fail and live == 100);
            if (step % 512 == 0) try std.testing.expectEqualStrings("", faultIn(pool, &buffer));
            const stats = pool.stats();
            try expectEqual(live, stats.allocated_objects);
            const in_slabs = live - stats.fallback_objects;
            try expectEqual(stats.total_objects - in_slabs, stats.free_objects);
        }
        try expectEqual(live, pool.destroy());
    }
}

test "pool: last freed, first given" {
    const pool = try Pool.create(&.{ .object_size = 8, .capacity = 50 });
    defer _ = pool.destroy();
    var objects: [50]*anyopaque = undefined;
    for (&objects) |*object| object.* = pool.alloc().?;
    try expectEqual(@as(?*anyopaque, null), pool.alloc());
    for (objects) |object| pool.free(object);
    var index: usize = objects.len;
    while (index > 0) {
        index -= 1;
        try expectEqual(objects[index], pool.alloc().?);
    }
}

test "pool: the system refuses each call" {
    const held = backing.held_bytes.raw;
    for ([_]backing.Flags{
        .{},
        .{ .prefault = true, .huge_pages = true },
        .{ .lock = true, .on_node = true },
    }) |flags| {
        var n: u64 = 1;
        while (n < 40) : (n += 1) {
            os.fake.failCall(n);
            defer os.fake.failNone();
            use(flags) catch |refusal| try expectEqual(error.OutOfMemory, refusal);
            os.fake.failNone();
            try expectEqual(held, backing.held_bytes.raw);
        }
    }
}

/// Objects so large that each slab is asked of the system.
fn use(flags: backing.Flags) !void {
    const pool = try Pool.create(&.{
        .object_size = 4 * t.mib,
        .capacity = 9,
        .policy = .grow,
        .flags = flags,
    });
    defer _ = pool.destroy();
    var text: base.Text = .{ .buffer = &.{} };
    for (0..12) |_| {
        const object = pool.alloc() orelse {
            try expectEqual(@as(?usize, null), pool.check(&text));
            continue;
        };
        @memset(bytesOf(object, 4096), 1);
    }
    try expectEqual(@as(?usize, null), pool.check(&text));
}

test "pool: check tells what is wrong and where it was allocated" {
    var buffer: [440]u8 = undefined;
    const pool = try Pool.create(&.{ .object_size = 24, .capacity = 5 });
    defer _ = pool.destroy();
    const object = pool.allocSlow(.{ .file = "a.c", .line = 5 });
    const behind: *u8 = @ptrFromInt(object + 24);
    const was = behind.*;
    behind.* = 7;
    const overflow = "overflow, allocated at a.c:5";
    try std.testing.expectEqualStrings(overflow, faultIn(pool, &buffer));
    behind.* = was;
    const before: *u8 = @ptrFromInt(object - 1);
    before.* = 7;
    const underflow = "underflow, allocated at a.c:5";
    try std.testing.expectEqualStrings(underflow, faultIn(pool, &buffer));
    before.* = was;
    pool.freeSlow(object, .{ .file = "b.c", .line = 10 });
    const inside: *u8 = @ptrFromInt(object + 3);
    const pattern = inside.*;
    inside.* = 7;
    const written = "written after free, freed at b.c:10, allocated at a.c:5";
    try std.testing.expectEqualStrings(written, faultIn(pool, &buffer));
    inside.* = pattern;
    pool.frees += 1;
    const sums = "live and free objects do not add up: 5 free of 5, allocations less frees " ++
        "18446744073709551615";
    try std.testing.expectEqualStrings(sums, faultIn(pool, &buffer));
    pool.frees -= 1;
    try std.testing.expectEqualStrings("", faultIn(pool, &buffer));
}

test "pool: check looks at objects of the general heap too" {
    var buffer: [440]u8 = undefined;
    const pool = try Pool.create(&.{ .object_size = 24, .capacity = 1, .policy = .fall_back });
    defer _ = pool.destroy();
    var objects: [40]usize = undefined;
    for (&objects, 0..) |*object, line| {
        object.* = pool.allocSlow(.{ .file = "a.c", .line = @intCast(line) });
    }
    try std.testing.expectEqualStrings("", faultIn(pool, &buffer));
    const behind: *u8 = @ptrFromInt(objects[39] + 24);
    behind.* +%= 1;
    try std.testing.expectEqualStrings("overflow, allocated at a.c:39", faultIn(pool, &buffer));
    behind.* -%= 1;
    const before: *u8 = @ptrFromInt(objects[7] - 1);
    before.* +%= 1;
    try std.testing.expectEqualStrings("underflow, allocated at a.c:7", faultIn(pool, &buffer));
    before.* -%= 1;
    try std.testing.expectEqualStrings("", faultIn(pool, &buffer));
}

test "TypedPool: objects of a type" {
    const Order = struct { price: u64, amount: u32 };
    const orders = try TypedPool(Order).init(.{ .capacity = 3, .policy = .grow });
    var held: [10]*Order = undefined;
    for (&held, 0..) |*order, index| {
        order.* = orders.create().?;
        order.*.* = .{ .price = index, .amount = 7 };
    }
    for (held, 0..) |order, index| try expectEqual(index, order.price);
    for (held[0..4]) |order| orders.destroy(order);
    try expectEqual(held[3], orders.create().?);
    try expectEqual(@as(u64, 7), orders.deinit());
}

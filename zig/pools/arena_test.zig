//! Tests of arenas: a model of live objects with verified contents, every call of the system
//! refused once, which checkpoints are undone, memory that is used again, the standard library's
//! allocator.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const backing = @import("backing.zig");
const arena_file = @import("arena.zig");
const TypedArena = @import("typed.zig").TypedArena;
const t = base.tunables;
const Arena = arena_file.Arena;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

fn paint(object: *anyopaque, size: usize, mark: u8) void {
    const bytes: [*]u8 = @ptrCast(object);
    @memset(bytes[0..size], mark);
}

fn isPainted(object: *anyopaque, size: usize, mark: u8) bool {
    const bytes: [*]const u8 = @ptrCast(object);
    return std.mem.allEqual(u8, bytes[0..size], mark);
}

const Held = struct { object: *anyopaque, size: usize, mark: u8 };

/// A stack of checkpoints: objects beyond one are forgotten when it is rewound to.
const Moment = struct { checkpoint: arena_file.Checkpoint, count: usize };

test "arena: random calls against a model" {
    const arena = try Arena.create(1000, .{});
    var held: [4000]Held = undefined;
    var count: usize = 0;
    var moments: [64]Moment = undefined;
    var depth: usize = 0;
    var source: std.Random.DefaultPrng = .init(17);
    const random = source.random();
    for (0..60_000) |step| {
        arena.check();
        switch (random.uintLessThan(u32, 100)) {
            0 => if (random.boolean()) {
                arena.reset();
                count = 0;
                depth = 0;
            },
            1...3 => if (depth < moments.len) {
                moments[depth] = .{ .checkpoint = arena.checkpoint(), .count = count };
                depth += 1;
            },
            4...6 => if (depth > 0) {
                depth = random.uintLessThan(usize, depth);
                try expect(arena.rewind(&moments[depth].checkpoint));
                count = moments[depth].count;
            },
            7 => _ = arena.trim(),
            else => if (count < held.len) {
                const large = step % 97 == 0;
                const size = random.uintLessThan(usize, if (large) 200_000 else 300) + 1;
                const shift = random.uintLessThan(u6, if (large) 16 else 8);
                const alignment = @as(usize, 1) << shift;
                const object = if (random.boolean())
                    arena.alloc(size).?
                else
                    arena.allocAligned(size, alignment).?;
                held[count] = .{ .object = object, .size = size, .mark = @truncate(step) };
                paint(object, size, held[count].mark);
                count += 1;
            },
        }
        try expectEqual(count, arena.stats().allocations);
        if (step % 64 == 0) for (held[0..count]) |each| {
            try expect(isPainted(each.object, each.size, each.mark));
        };
    }
    try expectEqual(count, arena.destroy());
}

/// A moment that stays in the list when it is undone.
const Kept = struct { checkpoint: arena_file.Checkpoint, is_undone: bool = false };

test "arena: a checkpoint is taken exactly as long as no rewind undid it" {
    const arena = try Arena.create(1000, .{});
    defer _ = arena.destroy();
    var moments: [3000]Kept = undefined;
    var count: usize = 0;
    var refused: usize = 0;
    var source: std.Random.DefaultPrng = .init(29);
    const random = source.random();
    while (count < moments.len) {
        const choice = random.uintLessThan(u32, 1000);
        if (choice < 400) {
            moments[count] = .{ .checkpoint = arena.checkpoint() };
            count += 1;
        } else if (choice < 700) {
            _ = arena.alloc(random.uintLessThan(usize, 2000)).?;
        } else if (choice == 700) {
            arena.reset();
            for (moments[0..count]) |*moment| {
                moment.is_undone = moment.is_undone or moment.checkpoint.position > 0;
            }
        } else if (choice == 701) {
            _ = arena.trim();
        } else if (count > 0) {
            // Mostly to one of the last, so that many rewinds count.
            const near = @min(count, if (choice < 720) count else 8);
            const chosen = &moments[count - 1 - random.uintLessThan(usize, near)];
            const is_taken = arena.rewind(&chosen.checkpoint);
            try expectEqual(!chosen.is_undone, is_taken);
            refused += @intFromBool(!is_taken);
            if (!is_taken) continue;
            const position = chosen.checkpoint.position;
            for (moments[0..count]) |*moment| {
                moment.is_undone = moment.is_undone or moment.checkpoint.position > position;
            }
        }
        arena.check();
    }
    try expect(refused > 500);
    try expect(arena.rewinds.count > 1);
}

test "arena: large objects of ever other sizes use the same memory again" {
    const arena = try Arena.create(64 * t.kib, .{});
    defer _ = arena.destroy();
    var source: std.Random.DefaultPrng = .init(41);
    const random = source.random();
    for (0..400) |_| {
        var used: usize = 0;
        while (used < 32 * t.mib) {
            const is_large = random.uintLessThan(u32, 20) == 0;
            const least: usize = if (is_large) t.mib else 50_000;
            const size = least + random.uintLessThan(usize, if (is_large) 7 * t.mib else 50_000);
            _ = arena.alloc(size).?;
            used += size;
        }
        arena.check();
        arena.reset();
        const now = arena.stats();
        try expect(now.bytes_held < 2 * now.bytes_peak + 8 * t.mib);
    }
}

test "arena: what it may be asked for" {
    const refused = [_]backing.Flags{
        .{ .on_node = true },
        .{ .debug = true },
        .{ .unknown = 1 },
    };
    for (refused) |flags| try std.testing.expectError(
        error.InvalidArgument,
        Arena.create(100, flags),
    );
    try std.testing.expectError(error.InvalidArgument, Arena.create(0, .{}));
    const most = std.math.maxInt(usize);
    try std.testing.expectError(error.OutOfMemory, Arena.create(most, .{}));
}

test "arena: the system refuses each call" {
    const held = backing.held_bytes.raw;
    for ([_]backing.Flags{
        .{},
        .{ .prefault = true, .huge_pages = true },
        .{ .lock = true, .fixed = true },
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

/// Objects larger than what the heap has: each chunk is asked of the system.
fn use(flags: backing.Flags) !void {
    const arena = try Arena.create(40 * t.mib, flags);
    defer _ = arena.destroy();
    for (0..3) |_| {
        const object = arena.alloc(36 * t.mib) orelse {
            arena.check();
            continue;
        };
        paint(object, 4096, 1);
        arena.check();
    }
}

test "arena: as the standard library's allocator" {
    const arena = try Arena.create(1000, .{});
    defer _ = arena.destroy();
    const allocator = arena.allocator();
    try std.testing.expect(@TypeOf(allocator) == std.mem.Allocator);
    var list: std.ArrayList(u64) = .empty;
    defer list.deinit(allocator);
    for (0..10_000) |value| try list.append(allocator, value);
    for (list.items, 0..) |value, index| try expectEqual(index, value);
    var text = try allocator.alloc(u8, 100);
    try expect(allocator.resize(text, 50));
    text = text[0..50];
    try expect(!allocator.resize(text, 51));
    const aligned = try allocator.alignedAlloc(u8, .fromByteUnits(4096), 10);
    try expect(@intFromPtr(aligned.ptr) % 4096 == 0);
    try std.testing.expectError(error.OutOfMemory, allocator.alloc(u8, 1 << 62));
}

test "TypedArena: in order, counted" {
    const Order = struct { price: u64, amount: u32, side: u8 };
    const orders = try TypedArena(Order).init(100, .{});
    for (0..3) |_| {
        for (0..5000) |index| {
            const order = orders.create().?;
            order.* = .{ .price = index, .amount = 1, .side = 2 };
            try expect(@intFromPtr(order) % @alignOf(Order) == 0);
        }
        try expectEqual(@as(u64, 5000), orders.count());
        orders.reset();
    }
    _ = orders.create().?;
    try expectEqual(@as(u64, 1), orders.arena.stats().allocations);
    try expectEqual(@as(u64, 1), orders.deinit());
    const Line = struct { words: [3]u64 align(64) };
    const lines = try TypedArena(Line).init(10, .{ .fixed = true });
    for (0..10) |_| try expect(@intFromPtr(lines.create().?) % 64 == 0);
    try expectEqual(@as(?*Line, null), lines.create());
    try expectEqual(@as(u64, 10), lines.deinit());
}

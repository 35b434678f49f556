//! What the package promises: the standard library's tests of allocators pass on every
//! std.mem.Allocator that it offers, and resizing says the truth.
const std = @import("std");
const liballoc = @import("liballoc");
const testing = std.testing;

const pattern = 0xa5;

fn conforms(allocator: std.mem.Allocator) !void {
    try std.heap.testAllocator(allocator);
    try std.heap.testAllocatorAligned(allocator);
    try std.heap.testAllocatorLargeAlignment(allocator);
    try std.heap.testAllocatorAlignedShrink(allocator);
}

test "allocator: conforms" {
    try conforms(liballoc.allocator);
}

test "allocator: every alignment up to 1 MiB at sizes of every kind" {
    inline for (0..21) |shift| {
        const alignment: std.mem.Alignment = @fromBackingInt(shift);
        for ([_]usize{ 1, 100, 5000, 70_000, 3 << 20 }) |size| {
            const block = try liballoc.allocator.alignedAlloc(u8, alignment, size);
            try testing.expect(alignment.check(@intFromPtr(block.ptr)));
            @memset(block, pattern);
            liballoc.allocator.free(block);
        }
    }
}

/// Resizes in place and by remap, and looks at every byte that must be as it was.
fn checkSizes(allocator: std.mem.Allocator, sizes: []const usize) !void {
    var block = try allocator.alloc(u8, sizes[0]);
    @memset(block, pattern);
    for (sizes[1..]) |size| {
        const kept = @min(size, block.len);
        if (allocator.remap(block, size)) |moved| {
            block = moved;
        } else {
            block = try allocator.realloc(block, size);
        }
        try testing.expectEqual(size, block.len);
        try testing.expect(std.mem.allEqual(u8, block[0..kept], pattern));
        @memset(block, pattern);
    }
    allocator.free(block);
}

test "allocator: growing and shrinking keeps contents at every kind of size" {
    const mib = 1 << 20;
    try checkSizes(liballoc.allocator, &.{ 10, 16, 17, 1000, 40_000, 100_000, 3 * mib, 40 * mib });
    try checkSizes(liballoc.allocator, &.{ 90 * mib, 50 * mib, 5 * mib, 2 * mib, 40_000, 300, 1 });
    try checkSizes(liballoc.allocator, &.{ 3 * mib, 5 * mib, 80 * mib, 200 * mib, 1 });
}

test "allocator: two blocks side by side never overlap after a resize" {
    var blocks: [64][]u8 = undefined;
    for (&blocks, 0..) |*block, index| {
        block.* = try liballoc.allocator.alloc(u8, 64 << 10);
        @memset(block.*, @intCast(index));
    }
    for (&blocks, 0..) |*block, index| {
        for ([_]usize{ 100 << 10, 40 << 10, 300 << 10 }) |size| {
            if (!liballoc.allocator.resize(block.*, size)) continue;
            block.*.len = size;
            @memset(block.*, @intCast(index));
        }
    }
    for (&blocks, 0..) |*block, index| {
        try testing.expect(std.mem.allEqual(u8, block.*, @intCast(index)));
        liballoc.allocator.free(block.*);
    }
}

test "allocator: what is too big is refused, and the heap goes on" {
    const allocator = liballoc.allocator;
    try testing.expectError(error.OutOfMemory, allocator.alloc(u8, std.math.maxInt(usize) / 2));
    const block = try allocator.alloc(u8, 50 << 20);
    defer allocator.free(block);
    try testing.expect(allocator.remap(block, std.math.maxInt(usize) - 5) == null);
}

/// What signal ends a child that does this; 0: none.
fn signalOf(misuse: *const fn () void) !i32 {
    const linux = std.os.linux;
    const pid = linux.fork();
    if (pid == 0) {
        misuse();
        linux.exit(0);
    }
    var status: i32 = 0;
    try testing.expectEqual(pid, linux.waitpid(@intCast(pid), &status, 0));
    return status & 0x7f;
}

fn freeMore() void {
    const block = liballoc.allocator.alloc(u8, 100) catch unreachable;
    liballoc.allocator.free(block.ptr[0..200]);
}

fn freeForeign() void {
    var bytes: [64]u8 align(64) = undefined;
    liballoc.allocator.free(&bytes);
}

test "allocator: a wrong size is seen where calls are checked, a foreign pointer everywhere" {
    const abort = 6;
    const expected: i32 = if (liballoc.checks) abort else 0;
    try testing.expectEqual(expected, try signalOf(&freeMore));
    try testing.expectEqual(abort, try signalOf(&freeForeign));
}

test "allocator: a thread's blocks are freed by another, and threads leave little behind" {
    const Worker = struct {
        fn run(blocks: *[500][]u8) void {
            for (blocks, 0..) |*block, index| {
                block.* = liballoc.allocator.alloc(u8, 1 + index * 7) catch @panic("no memory");
                @memset(block.*, @truncate(index));
            }
            liballoc.threadExit();
        }
    };
    const before = liballoc.statistics();
    for (0..50) |_| {
        var blocks: [500][]u8 = undefined;
        const thread = try std.Thread.spawn(.{}, Worker.run, .{&blocks});
        thread.join();
        for (&blocks, 0..) |*block, index| {
            try testing.expect(std.mem.allEqual(u8, block.*, @truncate(index)));
            liballoc.allocator.free(block.*);
        }
    }
    const after = liballoc.statistics();
    try testing.expect(after.heaps <= before.heaps + 2);
    try testing.expect(after.orphans > 0); // The last one's: free for the next thread.
    try testing.expect(after.bytes_mapped < before.bytes_mapped + (16 << 20));
}

test "Heap: conforms, counts, and destroys what is left" {
    const heap = try liballoc.Heap.create(0);
    try conforms(heap.allocator());
    try checkSizes(heap.allocator(), &.{ 10, 1000, 100_000, 3 << 20, 40 << 20, 5 << 20, 100, 1 });
    const before = heap.statistics().live_blocks;
    const kept = try heap.allocator().create([100]u64);
    try testing.expect(heap.owns(@intFromPtr(kept)));
    try testing.expectEqual(before + 1, heap.statistics().live_blocks);
    try testing.expectEqual(before + 1, heap.destroy());
}

test "Heap: its limit is OutOfMemory" {
    const heap = try liballoc.Heap.create(1 << 20);
    defer _ = heap.destroy();
    try testing.expectError(error.OutOfMemory, heap.allocator().alloc(u8, 2 << 20));
    const block = try heap.allocator().alloc(u8, 1000);
    heap.allocator().free(block);
}

test "Arena: conforms, keeps alignment, and starts over" {
    const arena = try liballoc.Arena.create(1 << 16, .{});
    defer _ = arena.destroy();
    try conforms(arena.allocator());
    arena.reset();
    const before = arena.checkpoint();
    const block = try arena.allocator().alignedAlloc(u8, .@"64", 100);
    try testing.expect(arena.rewind(&before));
    const again = try arena.allocator().alignedAlloc(u8, .@"64", 100);
    try testing.expectEqual(block.ptr, again.ptr);
}

const Order = struct { id: u64 align(64), price: u64 };

test "TypedPool: as many as its capacity, the newest free one first" {
    const orders: *liballoc.TypedPool(Order) = try .init(.{ .capacity = 3 });
    var made: [3]*Order = undefined;
    for (&made, 0..) |*order, id| {
        order.* = orders.create().?;
        order.*.* = .{ .id = id, .price = 100 };
    }
    try testing.expectEqual(null, orders.create());
    for (made, 0..) |order, id| try testing.expectEqual(id, order.id);
    orders.destroy(made[1]);
    try testing.expectEqual(made[1], orders.create().?);
    try testing.expectEqual(3, orders.deinit());
    const refused = liballoc.TypedPool(Order).init(.{ .capacity = 0 });
    try testing.expectError(error.InvalidArgument, refused);
}

test "TypedArena: objects of one type, all gone with it" {
    const orders: *liballoc.TypedArena(Order) = try .init(10, .{});
    for (0..1000) |id| orders.create().?.* = .{ .id = id, .price = 100 };
    try testing.expectEqual(1000, orders.count());
    try testing.expectEqual(1000, orders.deinit());
}

test "Pool: objects by size" {
    const pool = try liballoc.Pool.create(&.{ .object_size = 100, .capacity = 2, .policy = .grow });
    for (0..100) |_| try testing.expect(pool.alloc() != null);
    try testing.expectEqual(100, pool.stats().allocated_objects);
    try testing.expectEqual(100, pool.destroy());
}

test "SharedPool: no object belongs to two threads" {
    const pool = try liballoc.SharedPool.create(.{ .object_size = 64, .capacity = 100 });
    const Worker = struct {
        fn run(own: liballoc.SharedPool, number: u64) void {
            for (0..20_000) |_| {
                const object: *volatile u64 = @ptrCast(@alignCast(own.alloc() orelse continue));
                object.* = number;
                std.atomic.spinLoopHint();
                if (object.* != number) @panic("an object of two threads");
                own.free(@volatileCast(object));
            }
        }
    };
    var threads: [4]std.Thread = undefined;
    for (&threads, 0..) |*thread, number| {
        thread.* = try std.Thread.spawn(.{}, Worker.run, .{ pool, number });
    }
    for (threads) |thread| thread.join();
    try testing.expectEqual(100, pool.statistics().free_objects);
    const kept = pool.alloc();
    try testing.expect(kept != null);
    try testing.expectEqual(1, pool.destroy());
}

test "containers of the standard library" {
    var map: std.AutoHashMap(u64, []const u8) = .init(liballoc.allocator);
    defer map.deinit();
    var list: std.ArrayList(u64) = .empty;
    defer list.deinit(liballoc.allocator);
    for (0..20_000) |index| {
        try map.put(index, "value");
        try list.append(liballoc.allocator, index);
    }
    for (list.items) |key| try testing.expectEqualStrings("value", map.get(key).?);
    var arena: std.heap.ArenaAllocator = .init(liballoc.allocator);
    defer arena.deinit();
    try conforms(arena.allocator());
}

test "configure says what it does not understand" {
    try liballoc.configure("decay_ms:250");
    try liballoc.configure("decay_ms:100");
    try testing.expectError(error.InvalidOption, liballoc.configure("perhaps:1")); // And a line.
}

test "the version is that of the manifest" {
    _ = try std.SemanticVersion.parse(liballoc.version);
}

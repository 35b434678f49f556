//! Tests of the heap: a model of live blocks with verified contents, one thread and several with
//! frees across threads, thread exit and adoption, refusals of the system at every point.
//!
//! Seeds are fixed and printed on failure by the test runner's own message; the random source is
//! the only input.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const t = base.tunables;
const heaps = @import("heap.zig");
const lookup = @import("lookup.zig");
const registry = @import("registry.zig");
const slow = @import("slow.zig");
const thread = @import("thread.zig");

const Held = struct { address: usize = 0, size: usize = 0, mark: u8 = 0 };

fn allocate(size: usize) ?usize {
    const block = heaps.allocate(size);
    return if (block == 0) null else block;
}

fn release(address: usize) void {
    var entry: u32 = 0;
    switch (heaps.freeFast(address, &entry)) {
        .done => {},
        .foreign_owner => slow.freeForeignOwner(address, entry, "free"),
        .slow => if (!slow.free(address, "free")) @panic("our own block is foreign"),
    }
}

/// Marks the ends of a block and a byte in each page between.
fn paint(held: Held) void {
    const bytes: [*]u8 = @ptrFromInt(held.address);
    const size = held.size;
    if (size <= 4096) return @memset(bytes[0..size], held.mark);
    @memset(bytes[0..64], held.mark);
    @memset(bytes[size - 64 .. size], held.mark);
    var offset: usize = 4096;
    while (offset < size) : (offset += 4096) bytes[offset] = held.mark;
}

fn intact(held: Held) bool {
    const bytes: [*]u8 = @ptrFromInt(held.address);
    const size = held.size;
    if (size <= 4096) return std.mem.allEqual(u8, bytes[0..size], held.mark);
    if (!std.mem.allEqual(u8, bytes[0..64], held.mark)) return false;
    if (!std.mem.allEqual(u8, bytes[size - 64 .. size], held.mark)) return false;
    var offset: usize = 4096;
    while (offset < size) : (offset += 4096) if (bytes[offset] != held.mark) return false;
    return true;
}

/// Sizes from 1 byte to 1 MiB, uniform in the logarithm, seldom up to 40 MiB.
fn randomSize(random: std.Random) usize {
    if (random.uintLessThan(u32, 5000) == 0) return random.uintLessThan(usize, 40 * t.mib);
    const exponent = random.uintLessThan(u6, 21);
    return random.uintLessThan(usize, @as(usize, 1) << exponent) + 1;
}

fn fresh(random: std.Random) !Held {
    const size = randomSize(random);
    const alignment = @as(usize, 16) << random.uintLessThan(u6, 12);
    const aligned = random.uintLessThan(u32, 10) == 0;
    const address = if (aligned)
        heaps.allocateAligned(size, alignment * 2) orelse slow.allocateAligned(size, alignment * 2)
    else
        heaps.allocate(size);
    if (address == 0) return error.OutOfMemory;
    if (address % 16 != 0) return error.Misaligned;
    if (aligned and address % (alignment * 2) != 0) return error.Misaligned;
    if (lookup.usableSize(address).? < size) return error.TooShort;
    const held: Held = .{ .address = address, .size = size, .mark = random.int(u8) };
    paint(held);
    return held;
}

fn runModel(seed: u64, operations: u32) !void {
    var prng: std.Random.DefaultPrng = .init(seed);
    const random = prng.random();
    var held: [512]Held = @splat(.{});
    for (0..operations) |step| {
        const slot = &held[random.uintLessThan(usize, held.len)];
        if (slot.address != 0) {
            if (!intact(slot.*)) return error.Corrupt;
            release(slot.address);
            slot.* = .{};
        }
        if (random.boolean()) slot.* = try fresh(random);
        if (step % 50_000 == 0) slow.check();
    }
    for (held) |slot| {
        if (slot.address == 0) continue;
        if (!intact(slot)) return error.Corrupt;
        release(slot.address);
    }
    slow.check();
}

test "model: 10^6 operations in one thread, sizes 1 B to 1 MiB" {
    try runModel(0x5eed_0001, 1_000_000);
}

const shared_slots = 2048;
var shared: [shared_slots]base.atomic.Value(?*Held) = @splat(.init(null));

/// Every block is a record of itself; threads swap blocks through the shared slots, so that most
/// are freed by another thread than the one that took them.
fn swapBlocks(seed: u64, operations: u32) void {
    var prng: std.Random.DefaultPrng = .init(seed);
    const random = prng.random();
    for (0..operations) |_| {
        var held = fresh(random) catch |reason| std.debug.panic("seed {x}: {t}", .{ seed, reason });
        if (held.size < @sizeOf(Held)) {
            release(held.address);
            continue;
        }
        const record: *Held = @ptrFromInt(held.address);
        record.* = held;
        held.address = 0;
        const slot = random.uintLessThan(usize, shared_slots);
        releaseRecord(shared[slot].swap(record, .acq_rel), seed);
    }
    thread.exit(heaps.current());
}

fn releaseRecord(record: ?*Held, seed: u64) void {
    const old = record orelse return;
    const held = old.*;
    // The record overwrote the first bytes of the painting.
    @memset(@as([*]u8, @ptrCast(old))[0..@sizeOf(Held)], held.mark);
    if (!intact(held)) std.debug.panic("seed {x}: block {x} is corrupt", .{ seed, held.address });
    release(held.address);
}

test "model: 10^6 operations in several threads, frees across threads" {
    const seed = 0x5eed_0100;
    for (0..4) |round| {
        var threads: [5]std.Thread = undefined;
        for (&threads, 0..) |*worker, index| {
            const thread_seed = seed + round * 16 + index;
            worker.* = try std.Thread.spawn(.{}, swapBlocks, .{ thread_seed, 50_000 });
        }
        for (threads) |worker| worker.join();
    }
    for (&shared) |*slot| releaseRecord(slot.swap(null, .acq_rel), seed);
    slow.check();
    registry.check();
    // Threads came and went: their heaps were adopted, not multiplied.
    try std.testing.expect(registry.end() < 16);
}

fn touchOnce(passed: usize) void {
    release(passed);
    const block = allocate(100).?;
    release(block);
    thread.exit(heaps.current());
}

test "2000 short threads whose first call frees another's block: heaps stay bounded" {
    const before = registry.end();
    for (0..2000) |_| {
        const passed = allocate(200).?;
        const worker = try std.Thread.spawn(.{}, touchOnce, .{passed});
        worker.join();
    }
    try std.testing.expect(registry.end() <= before + 2);
}

fn liveBytes() i64 {
    var sum: i64 = 0;
    for (1..registry.end()) |id| {
        const heap = registry.get(@intCast(id)) orelse continue;
        // Per heap either may be ahead: stolen slabs, runs freed by others.
        sum += @bitCast(heap.small.bytes_taken -% heap.small.bytes_returned);
        sum += @bitCast(heap.large.bytes_taken -% heap.large.bytes_returned);
    }
    return sum;
}

test "the system refuses the n-th call, for every n: nothing lost, works again" {
    _ = slow.trim(0);
    const live = liveBytes();
    for (1..60) |n| {
        try refuse(n, false, live);
        if (n < 20) try refuse(n, true, live);
    }
}

fn refuse(n: u64, forever: bool, live: i64) !void {
    const sizes = [_]usize{ 16, 100, 1000, 5000, 30_000, 100_000, 1 << 20, 3 << 20, 33 << 20 };
    var blocks: [sizes.len * 8]Held = undefined;
    var count: usize = 0;
    if (forever) os.fake.failFrom(n) else os.fake.failCall(n);
    for (0..8) |_| {
        for (sizes) |size| {
            const address = allocate(size) orelse continue;
            blocks[count] = .{ .address = address, .size = size, .mark = @truncate(count) };
            paint(blocks[count]);
            count += 1;
        }
    }
    for (blocks[0..count]) |held| {
        if (!intact(held)) return error.Corrupt;
        release(held.address);
    }
    os.fake.failNone();
    slow.check();
    _ = slow.trim(0);
    try std.testing.expectEqual(live, liveBytes());
    const again = allocate(1 << 20) orelse return error.DoesNotRecover;
    release(again);
}

test "a refused start: null, and the next call works" {
    // The very first initialisation has long happened in this process; a thread's first call has
    // not, and it takes the same way.
    const worker = try std.Thread.spawn(.{}, struct {
        fn run() void {
            os.fake.failFrom(1);
            const refused = allocate(40 << 20);
            os.fake.failNone();
            if (refused != null) @panic("memory from nowhere");
            const block = allocate(100) orelse @panic("does not recover");
            release(block);
            thread.exit(heaps.current());
        }
    }.run, .{});
    worker.join();
}

test "calloc's zero knowledge is true after purge and reuse" {
    for (0..200) |round| {
        const size = 40_000 + round * 7919;
        const block = slow.allocateZeroed(size);
        const bytes: [*]u8 = @ptrFromInt(block.address());
        if (block.zero) try std.testing.expect(std.mem.allEqual(u8, bytes[0..size], 0));
        @memset(bytes[0..size], 0xff);
        release(block.address());
        if (round % 16 == 0) _ = slow.trim(0);
    }
}

/// Takes and frees `count` blocks of a size, in order, each marked with its number.
fn passInOrder(blocks: []usize, size: usize) !void {
    for (blocks, 0..) |*block, number| {
        block.* = allocate(size) orelse return error.OutOfMemory;
        @as(*usize, @ptrFromInt(block.*)).* = number;
    }
    for (blocks, 0..) |block, number| {
        if (@as(*usize, @ptrFromInt(block)).* != number) return error.HandedOutTwice;
        release(block);
    }
}

test "magazines: the window moves up the array and down, and extensions have a bound" {
    const blocks = try std.testing.allocator.alloc(usize, 20_000);
    defer std.testing.allocator.free(blocks);
    const geometry = base.size_class.geometry;
    try passInOrder(blocks[0..1], 64);
    const heap = heaps.current();
    const bin = heap.bin(base.size_class.classOf(64));
    var rose = false;
    var fell = false;
    for (0..200) |round| {
        // Other sizes of batches each time: refills and flushes of all lengths.
        const before = bin.steps;
        try passInOrder(blocks[0 .. blocks.len - round * 90], 64);
        slow.check();
        rose = rose or bin.steps > before;
        fell = fell or bin.steps < before;
    }
    try std.testing.expect(rose and fell);
    for ([_]usize{ 200, 500, 1000, 2000, 4000 }) |size| {
        for (0..10) |_| try passInOrder(blocks[0..4000], size);
        slow.check();
    }
    try std.testing.expect(heap.extension > 0);
    try std.testing.expect(heap.extension <= t.magazines_extension_max);
    // As far as what the tests before have used of the bound lets it.
    const class = base.size_class.classOf(200);
    const left = t.magazines_extension_max - heap.extension;
    const reached = heap.bin(class).capacity == geometry[class].slots_extended;
    try std.testing.expect(reached or left < base.size_class.sizes[class]);
}

test "magazines: shrinking and growing in turn stays within the largest array" {
    const blocks = try std.testing.allocator.alloc(usize, 40_000);
    defer std.testing.allocator.free(blocks);
    try passInOrder(blocks[0..1], 16);
    const heap = heaps.current();
    const bin = heap.bin(1);
    for (0..12) |_| {
        for (0..12) |_| try passInOrder(blocks, 16);
        for (blocks) |*block| block.* = allocate(16) orelse return error.OutOfMemory;
        // As if what is live had halved; followed by as many frees as it takes.
        heap.slots_shrunk = t.magazine_slots_shrunk;
        heap.shrinkings +%= 1;
        var freed: usize = 0;
        while (bin.shrinkings != heap.shrinkings and freed < blocks.len) : (freed += 1) {
            release(blocks[freed]);
        }
        slow.check();
        for (blocks[0..freed]) |*block| block.* = allocate(16) orelse return error.OutOfMemory;
        for (blocks) |block| release(block);
        try std.testing.expect(bin.room < t.magazine_slots_max);
        slow.check();
    }
}

test "magazines of medium blocks hold little, and a part of what is live" {
    region.purge.forgetSwing(); // The reserve must not depend on the tests before.
    const medium = heaps.medium;
    const sizes = base.size_class.sizes;
    const heap = blk: {
        release(allocate(24).?);
        break :blk heaps.current();
    };
    for (base.size_class.small_count + 1..base.size_class.count) |class| {
        release(allocate(sizes[class]) orelse return error.OutOfMemory);
        const live = region.run_allocator.liveBytes();
        try std.testing.expect(medium.heldBytes(heap) <= medium.heldMax(live) + sizes[class]);
    }
    var blocks: [16]usize = undefined;
    for (&blocks) |*block| block.* = allocate(16 * t.mib) orelse return error.OutOfMemory;
    for (base.size_class.small_count + 1..base.size_class.count) |class| {
        release(allocate(sizes[class]) orelse return error.OutOfMemory);
    }
    // A program that then frees only large ones.
    try std.testing.expect(medium.heldBytes(heap) > t.medium_held_min);
    for (blocks) |block| release(block);
    const live = region.run_allocator.liveBytes();
    try std.testing.expect(medium.heldBytes(heap) <= @max(medium.heldMax(live), t.medium_size_max));
    // Nothing by what is live where the process may have no more.
    const before = region.allowance.pretend(8 * t.gib);
    defer _ = region.allowance.pretend(before);
    try std.testing.expect(medium.heldMax(t.gib) > t.medium_held_min);
    _ = region.allowance.pretend(t.gib);
    try std.testing.expectEqual(@as(usize, t.medium_held_min), medium.heldMax(t.gib));
}

test "every heap has a cold part of its own" {
    release(allocate(24).?);
    for (0..2 * t.cold_batch + 1) |_| {
        const heap = registry.create(heaps.current().id) orelse return error.OutOfMemory;
        try std.testing.expect(std.mem.allEqual(u8, std.mem.asBytes(heap.cold), 0));
        heap.cold.parked = @splat(heap.id);
        heap.state.store(.orphan, .monotonic); // One thread.
        registry.markOrphan(heap);
    }
    registry.check();
}

test "look-up is total" {
    const small = allocate(24).?;
    try std.testing.expectEqual(@as(?usize, 32), lookup.usableSize(small));
    const large = allocate(3 << 20).?;
    try std.testing.expectEqual(@as(?usize, 3 << 20), lookup.usableSize(large));
    const huge = allocate(33 << 20).?;
    try std.testing.expectEqual(@as(?usize, 33 << 20), lookup.usableSize(huge));
    const on_stack: usize = 5;
    for ([_]usize{ 0, 1, 4096, @intFromPtr(&on_stack), std.math.maxInt(usize) }) |foreign| {
        try std.testing.expectEqual(@as(?usize, null), lookup.usableSize(foreign));
    }
    for ([_]usize{ small, large, huge }) |block| release(block);
}

test "nested calls while the heap is busy: emergency memory, parked frees" {
    const heap = heaps.current();
    const block = allocate(64).?;
    heap.busy = true;
    const nested = slow.allocate(5000);
    try std.testing.expect(heaps.emergency.contains(nested));
    try std.testing.expect(slow.free(nested, "free"));
    try std.testing.expect(slow.free(block, "free"));
    try std.testing.expectEqual(@as(u32, 1), heap.parked_count);
    heap.busy = false;
    const next = slow.allocate(100_000);
    try std.testing.expectEqual(@as(u32, 0), heap.parked_count);
    release(next);
    slow.check();
}

test "what grows: past the magazine, and wherever it was before" {
    const heap = heaps.current();
    // Neither small nor without a class.
    try std.testing.expectEqual(@as(usize, 0), slow.allocateGrown(t.small_size_max));
    try std.testing.expectEqual(@as(usize, 0), slow.allocateGrown(t.medium_size_max + 1));
    const grown = slow.allocateGrown(100_000);
    try std.testing.expect(lookup.usableSize(grown).? >= 100_000);
    release(allocate(100_000).?); // Opens the magazine, and stays there.
    const bin = heap.bin(base.size_class.classOf(100_000));
    const cached = (bin.top - 1)[0];
    try std.testing.expect(cached != 0 and cached != grown);
    slow.freeGrown(grown);
    try std.testing.expectEqual(cached, (bin.top - 1)[0]);
    try std.testing.expectEqual(@as(?usize, null), lookup.usableSize(grown));
    // Small, large, huge, and emergency memory, which is in no region.
    heap.busy = true;
    const nested = slow.allocate(5000);
    heap.busy = false;
    try std.testing.expect(heaps.emergency.contains(nested));
    const small = allocate(24).?;
    for ([_]usize{ nested, small, allocate(3 << 20).?, allocate(33 << 20).? }) |block| {
        slow.freeGrown(block);
        const is_gone = lookup.usableSize(block) == null;
        try std.testing.expectEqual(block != small and block != nested, is_gone);
    }
    slow.check();
}

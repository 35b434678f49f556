//! Tests of explicit heaps.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const t = base.tunables;
const explicit_file = @import("explicit.zig");
const heaps = @import("heap.zig");
const lookup = @import("lookup.zig");
const slow = @import("slow.zig");
const testing = std.testing;
const Handle = explicit_file.Handle;
const space = region.space;

fn make(bytes_max: usize) !Handle {
    return explicit_file.create(bytes_max) orelse error.OutOfMemory;
}

fn take(explicit: Handle, size: usize) !usize {
    const block = explicit_file.allocate(explicit, size, 16).address();
    return if (block == 0) error.OutOfMemory else block;
}

fn release(block: usize) !void {
    var entry: u32 = 0;
    switch (heaps.freeFast(block, &entry)) {
        .done => return error.TakenByThread,
        .foreign_owner => slow.freeForeignOwner(block, entry, "free"),
        .slow => if (!slow.free(block, "free")) return error.Foreign,
    }
}

/// What a free reads first.
fn entryOf(block: usize) u32 {
    return space.entry(space.find(block).?).load(.monotonic);
}

fn fill(block: usize, size: usize, byte: u8) void {
    const bytes: [*]u8 = @ptrFromInt(block);
    @memset(bytes[0..size], byte);
}

fn holds(block: usize, size: usize, byte: u8) bool {
    const bytes: [*]const u8 = @ptrFromInt(block);
    return std.mem.allEqual(u8, bytes[0..size], byte);
}

test "explicit heap: blocks of all sizes, counted, freed, destroyed" {
    const live_before = region.run_allocator.liveBytes();
    const explicit = try make(0);
    var prng: std.Random.DefaultPrng = .init(11);
    const random = prng.random();
    var blocks: [400]usize = @splat(0);
    var sizes: [400]usize = @splat(0);
    for (0..6000) |step| {
        const index = random.uintLessThan(usize, blocks.len);
        if (blocks[index] != 0) {
            try testing.expect(holds(blocks[index], sizes[index], @truncate(index)));
            try testing.expect(explicit_file.owns(explicit, blocks[index]));
            try testing.expect(explicit_file.owns(explicit, blocks[index] + sizes[index] / 2));
            try release(blocks[index]);
            blocks[index] = 0;
            continue;
        }
        const shift = random.uintLessThan(u6, if (step % 50 == 0) 21 else 14);
        sizes[index] = random.uintLessThan(usize, (@as(usize, 1) << shift) + 1);
        blocks[index] = try take(explicit, sizes[index]);
        try testing.expect(blocks[index] % 16 == 0);
        try testing.expect(lookup.usableSize(blocks[index]).? >= sizes[index]);
        fill(blocks[index], sizes[index], @truncate(index));
        if (step % 500 == 0) explicit_file.check(explicit);
    }
    var live: u64 = 0;
    var usable: u64 = 0;
    for (blocks) |block| {
        if (block == 0) continue;
        live += 1;
        usable += lookup.usableSize(block).?;
    }
    const statistics = explicit_file.statistics(explicit).?;
    try testing.expectEqual(live, statistics.live_blocks);
    try testing.expectEqual(usable, statistics.bytes_in_use);
    try testing.expectEqual(live, statistics.allocations - statistics.frees);
    try testing.expect(statistics.bytes_held >= usable);
    explicit_file.check(explicit);
    try testing.expectEqual(live, explicit_file.destroy(explicit));
    try testing.expectEqual(live_before, region.run_allocator.liveBytes());
    slow.check();
}

test "explicit heap: a limit holds, and what is freed can be had again" {
    const explicit = try make(256 * t.kib);
    var count: usize = 0;
    var last: usize = 0;
    while (take(explicit, 1000)) |block| : (count += 1) {
        last = block;
    } else |_| {}
    try testing.expect(count * 1024 <= 256 * t.kib);
    try testing.expect(count * 1024 > 192 * t.kib);
    try testing.expect(explicit_file.statistics(explicit).?.bytes_held <= 256 * t.kib);
    try testing.expectEqual(@as(usize, 0), explicit_file.allocate(explicit, t.mib, 16).address());
    try release(last);
    _ = try take(explicit, 1000);
    try testing.expectEqual(@as(u64, count), explicit_file.destroy(explicit));
}

test "explicit heap: alignment, also beyond slices" {
    const explicit = try make(0);
    for ([_]usize{ 16, 32, 64, 4096, 16384, 65536, 1 << 20 }) |alignment| {
        for ([_]usize{ 0, 1, 100, 5000, 40_000, 3 << 20 }) |size| {
            const block = explicit_file.allocate(explicit, size, alignment).address();
            try testing.expect(block != 0);
            try testing.expect(block % alignment == 0);
            fill(block, size, 7);
        }
    }
    explicit_file.check(explicit);
    try testing.expectEqual(@as(u64, 42), explicit_file.destroy(explicit));
}

test "explicit heap: large blocks are resized in place and freed" {
    const explicit = try make(8 * t.mib);
    const block = try take(explicit, 400_000);
    try testing.expect(explicit_file.resizeInPlace(explicit, block, 50_000));
    try testing.expect(lookup.usableSize(block).? < 100_000);
    // What was given back lies behind it.
    try testing.expect(explicit_file.resizeInPlace(explicit, block, 200_000));
    try testing.expect(lookup.usableSize(block).? >= 200_000);
    try testing.expect(!explicit_file.resizeInPlace(explicit, block, 100));
    try testing.expect(!explicit_file.resizeInPlace(explicit, block, 9 * t.mib));
    explicit_file.check(explicit);
    const other = try take(explicit, 50_000);
    try testing.expect(explicit_file.owns(explicit, other + 49_000));
    try release(block);
    try testing.expect(!explicit_file.owns(explicit, block));
    explicit_file.check(explicit);
    try testing.expectEqual(@as(u64, 1), explicit_file.destroy(explicit));
}

test "explicit heap: a free whose heap was destroyed since does nothing" {
    const explicit = try make(0);
    const block = try take(explicit, 1000);
    const entry = entryOf(block);
    _ = explicit_file.destroy(explicit);
    const before = explicit_file.stale_frees.load(.monotonic);
    // The address has a new owner, here this thread's heap.
    var blocks: [20_000]usize = undefined;
    var count: usize = 0;
    while (count < blocks.len) : (count += 1) {
        blocks[count] = heaps.allocate(1000);
        if (blocks[count] == block) break;
    } else return error.NeverUsedAgain;
    slow.freeForeignOwner(block, entry, "free");
    try testing.expectEqual(before + 1, explicit_file.stale_frees.load(.monotonic));
    const next = heaps.allocate(1000);
    try testing.expect(next != block);
    try testing.expect(heaps.slow.free(next, "free"));
    for (blocks[0 .. count + 1]) |each| try testing.expect(heaps.slow.free(each, "free"));
}

test "explicit heap: one that is created again after others knows old frees by their bits" {
    const threads_before = heaps.registry.activeCount();
    var first = try make(0);
    const id = first.id;
    const block = try take(first, 1000);
    const entry = entryOf(block);
    _ = explicit_file.destroy(first);
    for (0..2 * t.explicit_waiting_min + 2) |_| {
        first = try make(0);
        if (first.id == id) break;
        _ = explicit_file.destroy(first);
    } else return error.NeverUsedAgain;
    // What threads share among them is not theirs to share.
    try testing.expectEqual(threads_before, heaps.registry.activeCount());
    const again = try take(first, 1000);
    slow.freeForeignOwner(block, entry, "free");
    try testing.expectEqual(@as(u64, 1), explicit_file.statistics(first).?.live_blocks);
    try testing.expect(try take(first, 1000) != again);
    try testing.expectEqual(@as(u64, 2), explicit_file.destroy(first));
}

test "explicit heap: threads free and allocate in one heap" {
    const Shared = struct {
        explicit: Handle,
        slots: [64]std.atomic.Value(usize) = @splat(.init(0)),

        fn work(shared: *@This(), seed: u64) void {
            var prng: std.Random.DefaultPrng = .init(seed);
            const random = prng.random();
            for (0..5_000) |_| {
                const slot = &shared.slots[random.uintLessThan(usize, shared.slots.len)];
                const size = random.uintLessThan(usize, 3000) + 8;
                const fresh = explicit_file.allocate(shared.explicit, size, 16).address();
                if (fresh == 0) @panic("no memory");
                fill(fresh, size, 1);
                const old = slot.swap(fresh, .acq_rel);
                if (old != 0) release(old) catch @panic("not ours");
            }
            heaps.thread.exit(heaps.current());
        }
    };
    var shared: Shared = .{ .explicit = try make(0) };
    var threads: [3]std.Thread = undefined;
    for (&threads, 1..) |*thread, seed| {
        thread.* = try std.Thread.spawn(.{}, Shared.work, .{ &shared, seed });
    }
    for (threads) |thread| thread.join();
    explicit_file.check(shared.explicit);
    var live: u64 = 0;
    for (&shared.slots) |*slot| live += @intFromBool(slot.load(.monotonic) != 0);
    try testing.expectEqual(live, explicit_file.destroy(shared.explicit));
}

test "explicit heap: refused memory loses nothing" {
    const live_before = region.run_allocator.liveBytes();
    for (1..40) |nth| {
        os.fake.failCall(nth);
        defer os.fake.failNone();
        const explicit = explicit_file.create(0) orelse continue;
        for (0..200) |index| {
            _ = explicit_file.allocate(explicit, 100 + index * 97, 16);
        }
        os.fake.failNone();
        explicit_file.check(explicit);
        _ = explicit_file.destroy(explicit);
        try testing.expectEqual(live_before, region.run_allocator.liveBytes());
    }
}

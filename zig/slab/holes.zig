//! Holes: pages of a slab that went back to the system while blocks on other pages are held.
//!
//! A hole lies wholly in free blocks. It is filled, by the first touch, when a block that overlaps
//! it is taken; nothing is known of its contents. Invariant (`check`): the head's `hole_count` is
//! the number of bits set in `holes` of the slab's slices; a full slab has none. Every function
//! needs the lock of the heap that owns the slab.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const t = base.tunables;
const assert = base.assert;
const size_class = base.size_class;
const slabs = @import("slab.zig");
const space = region.space;
const Slice = region.Slice;
const SliceId = region.SliceId;

/// How much may be purged: pieces of at least `least` bytes, in `calls` system calls. `forced`: see
/// run_allocator.punch. `refused`: set when one may not be.
pub const Budget = struct {
    least: usize,
    calls: u32,
    forced: bool = false,
    refused: bool = false,
};

fn sliceOf(head: *Slice, page: usize) *Slice {
    const all: [*]Slice = @ptrCast(head);
    return &all[page * os.machine.page_size >> t.slice_shift];
}

fn bitOf(page: usize) u8 {
    const pages_per_slice = t.slice_size / os.machine.page_size;
    return @as(u8, 1) << @intCast(page % pages_per_slice);
}

fn isHole(head: *Slice, page: usize) bool {
    return sliceOf(head, page).holes & bitOf(page) != 0;
}

/// Purges whole pages of the slab's free blocks; bytes that were no holes before.
pub noinline fn punch(id: SliceId, budget: *Budget, holder: u32) usize {
    const page = os.machine.page_size;
    if (page > t.slice_size) return 0;
    const slab = space.slice(id);
    const size = size_class.sizes[slab.class];
    var sum: usize = 0;
    var block: u32 = 0;
    while (budget.calls > 0 and !budget.refused) {
        const first = slabs.nextFree(slab, block);
        if (first == slab.block_count) break;
        block = slabs.nextHeld(slab, first);
        const from = std.mem.alignForward(usize, @as(usize, first) * size, page);
        const end = @as(usize, block) * size;
        // Behind the last block there is nothing to keep.
        const is_last = block == slab.block_count;
        const to = if (is_last) std.mem.alignForward(usize, end, page) else end & ~(page - 1);
        if (from >= to) continue;
        sum += punchRange(id, from / page, to / page, budget, holder);
    }
    return sum;
}

/// The same for the pages of one stretch of free blocks.
fn punchRange(id: SliceId, from: usize, to: usize, budget: *Budget, holder: u32) usize {
    const page = os.machine.page_size;
    const head = space.slice(id);
    var first = from;
    while (first < to and isHole(head, first)) first += 1;
    var end = to;
    while (end > first and isHole(head, end - 1)) end -= 1;
    var resident: usize = 0;
    for (first..end) |index| resident += @intFromBool(!isHole(head, index));
    if (resident * page < budget.least) return 0;
    budget.calls -= 1;
    const address = space.address(id) + first * page;
    const length = (end - first) * page;
    if (!region.run_allocator.punch(address, length, resident * page, budget.forced, holder)) {
        budget.refused = true;
        return 0;
    }
    for (first..end) |index| sliceOf(head, index).holes |= bitOf(index);
    head.hole_count += @intCast(resident);
    return resident * page;
}

/// The pages of blocks that are about to be handed out are holes no longer.
pub noinline fn fill(head: *Slice, start: usize, blocks: []const usize) void {
    @branchHint(.cold);
    const page = os.machine.page_size;
    const size = size_class.sizes[head.class];
    for (blocks) |block| {
        const offset = block - start;
        for (offset / page..(offset + size - 1) / page + 1) |index| {
            if (!isHole(head, index)) continue;
            sliceOf(head, index).holes &= ~bitOf(index);
            head.hole_count -= 1;
        }
    }
}

/// Bytes of a slab's holes.
pub inline fn bytes(head: *const Slice) usize {
    return @as(usize, head.hole_count) * os.machine.page_size;
}

/// The invariant above; a hole overlaps free blocks only.
pub fn check(id: SliceId) void {
    const head = space.slice(id);
    const size = size_class.sizes[head.class];
    const page = os.machine.page_size;
    var count: u32 = 0;
    for (0..size_class.geometry[head.class].slices) |index| {
        count += @popCount(space.slice(id + @as(u32, @intCast(index))).holes);
    }
    assert(count == head.hole_count);
    if (count == 0) return;
    assert(head.free_count > 0);
    for (0..head.block_count) |index| {
        if (slabs.nextFree(head, @intCast(index)) == index) continue;
        const offset = index * size;
        for (offset / page..(offset + size - 1) / page + 1) |held| assert(!isHole(head, held));
    }
}

comptime {
    for (1..size_class.small_count + 1) |class| {
        // hole_count and the bits of a slice, with the smallest pages there are.
        assert(size_class.geometry[class].slices * (t.slice_size / 4096) < 256);
    }
    assert(t.slice_size / 4096 <= 8);
}

test "holes: pages of free blocks read as zero, those of held blocks stay" {
    try slabs.prepare();
    const page = os.machine.page_size;
    if (page > t.slice_size) return error.SkipZigTest;
    var prng: std.Random.DefaultPrng = .init(11);
    const random = prng.random();
    var slots: [t.slab_blocks_max]usize = undefined;
    for (1..size_class.small_count + 1) |class| {
        const id = slabs.create(@intCast(class), 0x2020, 1);
        const slab = space.slice(id);
        const size = size_class.sizes[class];
        for (0..20) |_| {
            var held = slabs.take(id, &slots, slab.block_count);
            for (slots[0..held]) |block| @memset(bytesOf(block, size), 0xa5);
            random.shuffle(usize, slots[0..held]);
            const kept = random.uintAtMost(u32, held / 4);
            while (held > kept) : (held -= 1) try slabs.putAt(slots[held - 1]);
            var budget: Budget = .{ .least = page, .calls = 1000, .forced = true };
            const before = bytes(slab);
            const sum = punch(id, &budget, 1);
            try std.testing.expectEqual(before + sum, bytes(slab));
            slabs.check(id);
            budget = .{ .least = page, .calls = 1000, .forced = true };
            try std.testing.expectEqual(@as(usize, 0), punch(id, &budget, 1));
            for (slots[0..kept]) |block| {
                try std.testing.expect(std.mem.allEqual(u8, bytesOf(block, size), 0xa5));
            }
            try expectZeroHoles(id);
            for (slots[0..kept]) |block| try slabs.putAt(block);
        }
        slabs.destroy(id, 1);
    }
}

fn bytesOf(block: usize, size: usize) []u8 {
    const start: [*]u8 = @ptrFromInt(block);
    return start[0..size];
}

fn expectZeroHoles(id: SliceId) !void {
    const page = os.machine.page_size;
    const head = space.slice(id);
    for (0..size_class.geometry[head.class].slices * (t.slice_size / page)) |index| {
        if (!isHole(head, index)) continue;
        const whole = bytesOf(space.address(id) + index * page, page);
        try std.testing.expect(std.mem.allEqual(u8, whole, 0));
    }
}

test "holes: the system refuses" {
    try slabs.prepare();
    if (os.machine.page_size > t.slice_size) return error.SkipZigTest;
    const id = slabs.create(size_class.small_count, 0x2020, 1);
    defer slabs.destroy(id, 1);
    os.fake.failFrom(1);
    var budget: Budget = .{ .least = t.hole_size_min, .calls = 4, .forced = true };
    const sum = punch(id, &budget, 1);
    os.fake.failNone();
    region.purge.forgetSwing();
    try std.testing.expectEqual(@as(usize, 0), sum);
    try std.testing.expectEqual(@as(u8, 0), space.slice(id).hole_count);
    slabs.check(id);
}

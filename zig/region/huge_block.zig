//! Blocks with a mapping of their own, outside the regions: those above the mmap threshold, and
//! those that realloc grows. They return to the system in the call that frees them, unless such
//! blocks recur (huge_cache.zig).
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const assert = base.assert;
pub const cache = @import("huge_cache.zig");
pub const table = @import("huge_table.zig");
const allowance = @import("allowance.zig");
const run_allocator = @import("run_allocator.zig");

const Atomic = base.atomic.Value(usize);
const Block = table.Block;
const lookUp = table.lookUp;
const ensureRoom = table.ensureRoom;

const lock_tries_max = 10_000;

pub var lock: os.Lock = .{};
/// Bytes of all blocks now: a statistic, written under the lock.
pub var block_bytes: Atomic = .init(0);
/// Blocks and bytes since the start.
pub var total_count: Atomic = .init(0);
pub var total_bytes: Atomic = .init(0);
/// Moves by mremap instead of copying; a statistic for tests.
pub var moves: Atomic = .init(0);

/// Usable bytes of the block at this address; null when there is none. No lock.
pub fn usableSize(address: usize) ?usize {
    const block = lookUp(address) orelse return null;
    return block.length.load(.monotonic); // The caller owns the block, or gets any past value.
}

/// Whether the address lies in a freed block that is kept for reuse. For a report.
pub fn isKept(address: usize, holder: u32) bool {
    var extents: [t.huge_kept_max]Extent = undefined;
    if (!tryLock(holder)) return false;
    defer lock.release();
    for (extents[0..cache.list(&extents)]) |extent| {
        if (address >= extent.address and address - extent.address < extent.length) return true;
    }
    return false;
}

/// Tried, not waited for: a signal handler may ask while its own thread holds the lock.
fn tryLock(holder: u32) bool {
    for (0..lock_tries_max) |_| {
        if (lock.tryAcquire(holder)) return true;
        base.atomic.spinLoopHint();
    }
    return false;
}

fn register(block: Block, holder: u32) bool {
    lock.acquire(holder);
    const has_room = ensureRoom();
    if (has_room) countNew(block);
    lock.release();
    if (hasKept()) dropExcess(holder);
    return has_room;
}

/// Under the lock, with room.
fn countNew(block: Block) void {
    insertCounted(block);
    _ = total_count.fetchAdd(1, .monotonic); // Statistics.
    _ = total_bytes.fetchAdd(block.length.raw, .monotonic);
}

/// Puts a block back that `unregister` took out. Cannot fail: at most half of the table is filled.
fn reinsert(block: Block, holder: u32) void {
    lock.acquire(holder);
    defer lock.release();
    insertCounted(block);
}

fn insertCounted(block: Block) void {
    table.insert(block);
    _ = block_bytes.fetchAdd(block.length.raw, .monotonic); // A statistic.
}

pub const Extent = cache.Extent;

/// Copies up to `extents.len` blocks, those that are kept too; how many. For statistics.
pub fn list(extents: []Extent, holder: u32) usize {
    if (!tryLock(holder)) return 0;
    defer lock.release();
    return table.list(Extent, extents, cache.list(extents));
}

/// Takes the entry out; null when there is none (double free). What it described is returned.
fn unregister(address: usize, holder: u32) ?Block {
    lock.acquire(holder);
    defer lock.release();
    return remove(address);
}

/// The same under the lock.
fn remove(address: usize) ?Block {
    const block = table.remove(address) orelse return null;
    _ = block_bytes.fetchSub(block.length.raw, .monotonic); // A statistic.
    return block;
}

fn pages(size: usize) ?usize {
    const page = os.machine.page_size;
    const sum = std.math.add(usize, size, page - 1) catch return null;
    return sum & ~(page - 1);
}

/// A zeroed block of at least `size` bytes on a multiple of `alignment` (a power of two), with
/// `room` bytes (at least `size`) of address space to grow into.
pub noinline fn alloc(size: usize, alignment: usize, room: usize, holder: u32) ?usize {
    const length = pages(@max(size, 1)) orelse return null;
    const page = os.machine.page_size;
    if (room > length) {
        assert(alignment <= page);
        if (allocWithRoom(length, pages(room) orelse length, holder)) |address| return address;
    }
    const padding = if (alignment > page) alignment else 0;
    const total = std.math.add(usize, length, padding) catch return null;
    const start = os.memory.map(total) orelse return null;
    var map_address = @intFromPtr(start);
    var map_length = total;
    const address = std.mem.alignForward(usize, map_address, @max(alignment, page));
    // Trimming may fail when the mappings are used up: then the padding stays address space.
    const lead = address - map_address;
    if (lead > 0 and os.memory.unmap(start, lead)) {
        map_address = address;
        map_length -= lead;
    }
    const tail = map_address + map_length - (address + length);
    if (tail > 0 and os.memory.unmap(@ptrFromInt(address + length), tail)) map_length -= tail;
    const block: Block = .{
        .address = .init(address),
        .length = .init(length),
        .map_address = map_address,
        .map_length = map_length,
    };
    if (register(block, holder)) return address;
    _ = os.memory.unmap(@ptrFromInt(map_address), map_length);
    return null;
}

fn allocWithRoom(length: usize, room: usize, holder: u32) ?usize {
    const start = os.memory.reserve(room) orelse return null;
    const address = @intFromPtr(start);
    const block: Block = .{
        .address = .init(address),
        .length = .init(length),
        .map_address = address,
        .map_length = room,
    };
    if (os.memory.commit(start, length) and register(block, holder)) return address;
    _ = os.memory.unmap(start, room);
    return null;
}

/// A block of at least `size` bytes that was kept, with whatever it contained; null: there is none.
pub noinline fn allocKept(size: usize, alignment: usize, holder: u32) ?usize {
    const length = pages(@max(size, 1)) orelse return null;
    lock.acquire(holder);
    const kept = cache.take(length, alignment, clock());
    lock.release();
    const extent = fit(kept orelse return null, length) orelse return null;
    const block: Block = .{
        .address = .init(extent.address),
        .length = .init(extent.length),
        .map_address = extent.address,
        .map_length = extent.length,
        .origin = extent.origin,
    };
    if (register(block, holder)) return extent.address;
    release(extent.address, extent.length);
    return null;
}

/// Lengthens a mapping that is too short, which may move it. Null when that cannot be: then it has
/// gone.
fn fit(extent: Extent, length: usize) ?Extent {
    if (extent.length >= length) return extent;
    const start: [*]u8 = @ptrFromInt(extent.address);
    const grown = os.memory.resize(start, extent.length, length) orelse {
        release(extent.address, extent.length);
        return null;
    };
    return .{ .address = @intFromPtr(grown), .length = length };
}

fn clock() u32 {
    return @truncate(os.host.clockMs());
}

/// Frees the block at this address. False when there is none.
pub noinline fn free(address: usize, holder: u32) bool {
    // Out of the table first: the moment it is unmapped the address may be somebody else's.
    lock.acquire(holder);
    const block = remove(address) orelse {
        lock.release();
        return false;
    };
    const extent: Extent = .{
        .address = address,
        .length = block.length.raw,
        .origin = block.origin,
    };
    const live_bytes = liveBytes();
    const kept_max = std.math.lossyCast(usize, allowance.keptMax(live_bytes));
    const is_kept = !os.checker.isWatching() and
        cache.keep(extent, live_bytes +| extent.length, kept_max, clock());
    lock.release();
    if (is_kept) {
        releaseBeside(block, address, extent.length);
    } else release(block.map_address, block.map_length);
    if (hasKept()) dropKept(t.swing_window_ms, holder);
    return true;
}

/// Unmaps what a block's mapping has beside it: padding and room.
fn releaseBeside(block: Block, address: usize, length: usize) void {
    const lead = address - block.map_address;
    const tail = block.map_length - lead - length;
    if (lead > 0) release(block.map_address, lead);
    if (tail > 0) release(address + length, tail);
}

/// Whether blocks are kept that may have been so for too long. A hint.
pub inline fn hasKept() bool {
    return cache.count.load(.monotonic) != 0; // A hint.
}

/// Unmaps of what is kept what would make more of the process than was live lately, or than it may
/// have.
pub noinline fn dropExcess(holder: u32) void {
    while (true) {
        const live_bytes = liveBytes();
        const kept_max = std.math.lossyCast(usize, allowance.keptMax(live_bytes));
        lock.acquire(holder);
        const dropped = cache.dropExcess(live_bytes, kept_max);
        lock.release();
        const extent = dropped orelse return;
        release(extent.address, extent.length);
    }
}

/// Bytes of runs and huge blocks, a moment ago.
fn liveBytes() usize {
    return run_allocator.liveBytes() +| block_bytes.load(.monotonic);
}

/// Unmaps all that is kept, and lets blocks prove themselves again.
pub noinline fn dropAll(holder: u32) void {
    lock.acquire(holder);
    cache.forgetRecurrence();
    lock.release();
    dropKept(0, holder);
}

/// Unmaps the blocks that were kept for `age_ms` or more.
pub noinline fn dropKept(age_ms: u32, holder: u32) void {
    while (true) {
        lock.acquire(holder);
        const dropped = cache.dropAged(age_ms, clock());
        lock.release();
        const extent = dropped orelse return;
        release(extent.address, extent.length);
    }
}

/// Unmaps; where the system cannot (all mappings used up, and this one is part of a larger), the
/// memory at least goes back, and the address space is lost.
fn release(address: usize, length: usize) void {
    if (os.memory.unmap(@ptrFromInt(address), length)) return;
    _ = os.memory.purge(@ptrFromInt(address), length);
}

/// Changes the usable length to at least `size`, without copying. The address of the block now;
/// null when it cannot be done (the block is as it was).
pub noinline fn resize(address: usize, size: usize, holder: u32) ?usize {
    const length_new = pages(@max(size, 1)) orelse return null;
    const entry = lookUp(address) orelse return null;
    const length = entry.length.load(.monotonic); // The caller owns the block.
    if (length_new == length) return address;
    if (length_new < length) {
        const map_end = entry.map_address + entry.map_length;
        const tail: [*]u8 = @ptrFromInt(address + length_new);
        const unmapped = os.memory.unmap(tail, map_end - (address + length_new));
        if (!unmapped) return address; // Nothing shrank, and nothing is wrong with that.
        setLength(entry, length_new, address + length_new - entry.map_address, holder);
        return address;
    }
    const grown = grow(address, length_new, holder) orelse blk: {
        // A limit may count what is kept.
        if (!hasKept()) return null;
        dropKept(0, holder);
        break :blk grow(address, length_new, holder);
    };
    if (hasKept()) dropExcess(holder);
    return grown;
}

/// Lengthens a block: into its room, over what was kept behind it, or by moving it. Null: the
/// system refused.
fn grow(address: usize, length_new: usize, holder: u32) ?usize {
    const entry = lookUp(address).?;
    const length = entry.length.load(.monotonic); // The caller owns the block.
    const map_end = entry.map_address + entry.map_length;
    if (address + length_new <= map_end) {
        const more = length_new - length;
        if (!os.memory.commit(@ptrFromInt(address + length), more)) return null;
        setLength(entry, length_new, entry.map_length, holder);
        return address;
    }
    if (hasKept() and growOverKept(entry, length_new, map_end, holder)) return address;
    return move(address, length_new, holder);
}

/// Whether what is wanted behind a block was kept, and is its own now.
fn growOverKept(entry: *Block, length_new: usize, map_end: usize, holder: u32) bool {
    const length = entry.length.load(.monotonic); // The caller owns the block.
    const block: Extent = .{
        .address = entry.address.raw,
        .length = length,
        .origin = entry.origin,
    };
    // What lies between is room, which nobody has touched.
    if (map_end != block.address + length) return false;
    lock.acquire(holder);
    const more = cache.takeBehind(block, length_new - length);
    lock.release();
    const extent = more orelse return false;
    const sum = length + extent.length;
    setLength(entry, sum, map_end + extent.length - entry.map_address, holder);
    return true;
}

fn setLength(entry: *Block, length: usize, map_length: usize, holder: u32) void {
    lock.acquire(holder);
    defer lock.release();
    // The table may have grown since the look-up: the entry in the newest counts.
    const current = lookUp(entry.address.raw).?;
    const before = current.length.load(.monotonic); // Under the lock.
    current.length.store(length, .monotonic);
    current.map_length = map_length;
    _ = block_bytes.fetchAdd(length -% before, .monotonic); // A statistic.
}

/// Moves the block's pages to where there is doubled room, or as much as can be had. The kernel
/// chooses the place: a move onto a reservation of ours, when it fails, may or may not have
/// unmapped that, and under a limit of address space it needs both at once.
fn move(address: usize, length_new: usize, holder: u32) ?usize {
    const block = unregister(address, holder) orelse return null;
    const length = block.length.raw;
    const lead = address - block.map_address;
    const tail = block.map_length - lead - length;
    var room = pages(std.math.mul(usize, length_new, 2) catch length_new) orelse length_new;
    const start: [*]u8 = @ptrFromInt(address);
    const target = os.memory.resize(start, length, room) orelse blk: {
        room = length_new;
        break :blk os.memory.resize(start, length, room) orelse {
            reinsert(block, holder);
            return null;
        };
    };
    const place = @intFromPtr(target);
    // Not moved: what lies before it stays part of the mapping, and behind it there was nothing.
    const lead_kept = if (place == address) lead else 0;
    reinsert(.{
        .address = .init(place),
        .length = .init(length_new),
        .map_address = place - lead_kept,
        .map_length = lead_kept + room,
    }, holder);
    _ = moves.fetchAdd(1, .monotonic); // A statistic.
    if (place == address) {
        assert(tail == 0);
        return place;
    }
    releaseBeside(block, address, length); // What is left of the old mapping.
    return place;
}

/// In a child after fork: entries of the table are single stores, so where the lock's holder is
/// lost they are counted anew; what is kept may be torn.
pub fn repairAfterFork(survivor: u32) void {
    if (!lock.holderLost(survivor)) return;
    table.recount();
    cache.forget();
    lock.reset();
}

/// Checks what is kept.
pub fn check(holder: u32) void {
    lock.acquire(holder);
    defer lock.release();
    cache.check();
}

test "huge blocks: alloc, look up, resize with contents, free" {
    const mapped = os.fake.mappedBytes();
    const size = 3 * t.mib;
    var address = alloc(size, 4096, 2 * size, 1).?;
    try std.testing.expectEqual(@as(?usize, size), usableSize(address));
    try std.testing.expectEqual(@as(?usize, null), usableSize(address + 4096));
    try std.testing.expect(table.contains(address + size - 1));
    try std.testing.expect(!table.contains(address + size));
    const first: [*]u8 = @ptrFromInt(address);
    @memset(first[0..size], 0x5a);
    const same = resize(address, 2 * size, 1).?;
    try std.testing.expectEqual(address, same);
    address = resize(address, 5 * size, 1).?;
    const moved: [*]u8 = @ptrFromInt(address);
    try std.testing.expect(std.mem.allEqual(u8, moved[0..size], 0x5a));
    try std.testing.expect(std.mem.allEqual(u8, moved[2 * size .. 5 * size], 0));
    address = resize(address, size, 1).?;
    try std.testing.expect(free(address, 1));
    try std.testing.expect(!free(address, 1));
    const aligned = alloc(size, 64 * t.mib, 0, 1).?;
    try std.testing.expectEqual(@as(usize, 0), aligned % (64 * t.mib));
    try std.testing.expect(free(aligned, 1));
    // Only the table itself stays.
    const table_bytes = table.capacity_start * @sizeOf(Block);
    try std.testing.expect(os.fake.mappedBytes() <= mapped + table_bytes);
}

test "huge blocks: thousands, the table grows and reuses" {
    var addresses: [3000]usize = undefined;
    for (&addresses) |*address| address.* = alloc(4096, 4096, 0, 1).?;
    for (addresses) |address| try std.testing.expectEqual(@as(?usize, 4096), usableSize(address));
    for (addresses) |address| try std.testing.expect(free(address, 1));
    for (0..20_000) |_| {
        const address = alloc(4096, 4096, 0, 1).?;
        try std.testing.expect(free(address, 1));
    }
    // One at a time, of ever other sizes and so addresses: tombstones must not use the table up.
    var prng: std.Random.DefaultPrng = .init(3);
    for (0..150_000) |_| {
        const size = 4096 * (1 + prng.random().uintLessThan(usize, 50_000));
        const address = alloc(size, 4096, 0, 1) orelse return error.TableUsedUp;
        try std.testing.expect(free(address, 1));
    }
    try std.testing.expect(table.table_count.raw < 6);
}

test "huge blocks: none is kept where the process may have little more than is live" {
    const size = 33 * t.mib;
    const before = allowance.pretend(t.gib);
    defer _ = allowance.pretend(before);
    defer dropAll(1);
    for ([_]enum { alloc, resize_in_room, resize_by_move }{
        .alloc, .resize_in_room, .resize_by_move,
    }) |growth| {
        _ = allowance.pretend(t.gib);
        const grown = alloc(t.mib, 4096, if (growth == .resize_in_room) 2 * t.mib else 0, 1).?;
        for (0..t.huge_recurrences_min + 1) |_| {
            const address = allocKept(size, 4096, 1) orelse alloc(size, 4096, 0, 1).?;
            try std.testing.expect(free(address, 1));
        }
        try std.testing.expect(hasKept());
        _ = allowance.pretend(liveBytes());
        const other = switch (growth) {
            .alloc => alloc(2 * t.mib, 4096, 0, 1).?,
            else => resize(grown, 2 * t.mib, 1).?,
        };
        try std.testing.expect(!hasKept());
        try std.testing.expect(free(other, 1));
        if (growth == .alloc) try std.testing.expect(free(grown, 1));
    }
}

test "huge blocks: a kept one is cut or lengthened to what is wanted, or refused" {
    const before = allowance.pretend(t.gib);
    defer _ = allowance.pretend(before);
    defer dropAll(1);
    const size = 40 * t.mib;
    for ([_]usize{ size / 2, size, size + size / 2, 3 * size }) |wanted| {
        for (0..8) |n| {
            dropAll(1);
            const mapped = os.fake.mappedBytes();
            const blocks = table.count.raw;
            for (0..t.huge_recurrences_min + 1) |_| {
                // Room to grow is no part of what is kept.
                const address = allocKept(size, 4096, 1) orelse alloc(size, 4096, 2 * size, 1).?;
                @as([*]u8, @ptrFromInt(address))[size - 1] = 7;
                try std.testing.expect(free(address, 1));
            }
            try std.testing.expectEqual(mapped + size, os.fake.mappedBytes());
            if (n > 0) os.fake.failCall(n);
            const kept = allocKept(wanted, 4096, 1);
            os.fake.failNone();
            // It makes one call of the system, to lengthen what is too short.
            try std.testing.expectEqual(n == 1 and wanted > size, kept == null);
            if (kept) |address| {
                const usable = usableSize(address).?;
                try std.testing.expect(usable >= wanted);
                const bytes: [*]u8 = @ptrFromInt(address);
                bytes[0] = 1;
                bytes[usable - 1] = 1;
                const more: i64 = @intCast(usable);
                const all = @max(more, size);
                try std.testing.expectEqual(mapped + all, os.fake.mappedBytes());
                // What was left of it is there to grow into.
                if (wanted < size) {
                    try std.testing.expectEqual(address, resize(address, size, 1).?);
                    try std.testing.expectEqual(@as(?usize, size), usableSize(address));
                    bytes[size - 1] = 1;
                }
                try std.testing.expect(usable == wanted);
                // Kept or not, all of it is there.
                try std.testing.expect(free(address, 1));
            }
            dropAll(1);
            try std.testing.expectEqual(blocks, table.count.raw);
            // A refused unmap alone loses address space.
            if (n == 0 or wanted > size) try std.testing.expectEqual(mapped, os.fake.mappedBytes());
        }
    }
}

test "huge blocks: the system refuses the n-th call, for every n" {
    const size = 2 * t.mib;
    for (1..30) |n| {
        const mapped = os.fake.mappedBytes();
        const count = table.count.raw;
        const tables_before = table.table_count.raw;
        os.fake.failCall(n);
        if (alloc(size, 4096, 2 * size, 1)) |address| {
            const bytes: [*]u8 = @ptrFromInt(address);
            bytes[size - 1] = 7;
            var now = address;
            if (resize(now, 5 * size, 1)) |grown| now = grown;
            const kept: [*]u8 = @ptrFromInt(now);
            try std.testing.expectEqual(@as(u8, 7), kept[size - 1]);
            try std.testing.expect(free(now, 1));
        }
        os.fake.failNone();
        try std.testing.expectEqual(count, table.count.raw);
        // A refused unmap loses address space, nothing else can.
        if (tables_before == table.table_count.raw and n > 8) {
            try std.testing.expectEqual(mapped, os.fake.mappedBytes());
        }
    }
}

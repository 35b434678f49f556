//! The table of huge blocks: an open-addressing hash keyed by address. Readers take no lock: they
//! see an entry of a block they own, for it was inserted before they got it. Writers hold the lock
//! of `huge_block`. Old tables are kept when the table grows, for a reader may be in one; as each
//! is double the one before (but for `ensureRoom`), they are less than the newest together.
const std = @import("std");
const base = @import("base");
const os = @import("os");

const Atomic = base.atomic.Value(usize);

/// A block, as the table knows it.
pub const Block = struct {
    /// 0: never used; `removed`: tombstone. Stored with release after the rest of the entry was
    /// written; pairs with the acquire load in `lookUp`.
    address: Atomic,
    /// Usable bytes. Changed by the block's owner only, under the lock.
    length: Atomic,
    /// What is to be unmapped: starts at or before the block, ends at or after it.
    map_address: usize,
    map_length: usize,
    /// See Extent. Written with the rest of the entry.
    origin: u32 = 0,
};

const Table = struct {
    blocks: [*]Block,
    capacity: usize,
};

const removed = 1;
/// Entries of the first table; a power of two, as all of them are.
pub const capacity_start = 1024;
const home_shift = 21;
var tables: [16]Table = undefined;
/// Tables made; the last one is in use. Stored with release after the table; pairs with `table`.
pub var table_count: base.atomic.Value(u32) = .init(0);
/// Entries of the newest table that are not 0. Under the lock.
var filled: usize = 0;
/// Addresses that blocks had until lately, the oldest overwritten. monotonic:
/// they only word a report.
var former: [64]Atomic = @splat(.init(0));
var former_next: usize = 0;
/// Blocks now. monotonic: written under the lock, read by statistics.
pub var count: Atomic = .init(0);

fn table() ?Table {
    const known = table_count.load(.acquire);
    return if (known == 0) null else tables[known - 1];
}

fn home(address: usize, capacity: usize) usize {
    const mixed = (address >> 12) *% 0x9e37_79b9_7f4a_7c15;
    return (mixed >> home_shift) & (capacity - 1);
}

/// The entry of the block at this address; null when there is none. No lock.
pub fn lookUp(address: usize) ?*Block {
    if (address <= removed) return null;
    const current = table() orelse return null;
    var index = home(address, current.capacity);
    for (0..current.capacity) |_| {
        const found = current.blocks[index].address.load(.acquire);
        if (found == address) return &current.blocks[index];
        if (found == 0) return null;
        index = (index + 1) & (current.capacity - 1);
    }
    return null;
}

/// Whether the address lies in one of the blocks: for a report, walks all of them.
pub fn contains(address: usize) bool {
    const current = table() orelse return false;
    for (current.blocks[0..current.capacity]) |*block| {
        const start = block.address.load(.acquire);
        if (start <= removed) continue;
        if (address >= start and address - start < block.length.load(.monotonic)) return true;
    }
    return false;
}

/// Whether a block lay at this address not long ago. Something else may be there now.
pub fn wasFreed(address: usize) bool {
    for (&former) |*past| {
        if (past.load(.monotonic) == address) return true;
    }
    return false;
}

/// Makes room for one more entry. Under the lock.
pub fn ensureRoom() bool {
    const current = table() orelse return growTable(capacity_start);
    if (filled + 1 < current.capacity / 2) return true;
    // Few live: tombstones filled it, and the same size does. That takes one of `tables`, so it
    // must be rare: with an eighth of 1,024 cells live, 20 million replacements in random cells do
    // not fill half; with a quarter 5,000 did.
    const live = count.load(.monotonic); // Under the lock.
    return growTable(if (live * 8 < current.capacity) current.capacity else current.capacity * 2);
}

fn growTable(capacity: usize) bool {
    const known = table_count.load(.monotonic); // Under the lock.
    // Tombstones are used again; one cell must stay empty, or a probe never ends.
    if (known == tables.len) return filled + 1 < tables[known - 1].capacity or
        count.load(.monotonic) < filled;
    const memory = os.memory.map(capacity * @sizeOf(Block)) orelse return false;
    const fresh: Table = .{ .blocks = @ptrCast(@alignCast(memory)), .capacity = capacity };
    filled = 0; // A child of fork counts anew.
    if (table()) |old| {
        for (old.blocks[0..old.capacity]) |*block| {
            const address = block.address.load(.monotonic); // Under the lock.
            if (address > removed) insertInto(fresh, block.*);
        }
    }
    tables[known] = fresh;
    table_count.store(known + 1, .release);
    return true;
}

/// Puts a block in, with room for it. Under the lock.
pub fn insert(block: Block) void {
    insertInto(table().?, block);
    _ = count.fetchAdd(1, .monotonic); // A statistic.
}

fn insertInto(target: Table, block: Block) void {
    const address = block.address.raw;
    var index = home(address, target.capacity);
    while (target.blocks[index].address.load(.monotonic) > removed) {
        index = (index + 1) & (target.capacity - 1);
    }
    const entry = &target.blocks[index];
    if (entry.address.load(.monotonic) == 0) filled += 1;
    entry.length.store(block.length.raw, .monotonic); // Published by the store below.
    entry.map_address = block.map_address;
    entry.map_length = block.map_length;
    entry.origin = block.origin;
    entry.address.store(address, .release);
}

/// Copies the blocks behind the first `known` of `extents`, as many as fit; how many there are
/// then. Under the lock.
pub fn list(comptime Extent: type, extents: []Extent, known: usize) usize {
    const current = table() orelse return known;
    var sum = known;
    for (current.blocks[0..current.capacity]) |*block| {
        const address = block.address.load(.monotonic); // Under the lock.
        if (address <= removed) continue;
        if (sum == extents.len) break;
        extents[sum] = .{ .address = address, .length = block.length.raw };
        sum += 1;
    }
    return sum;
}

/// Takes the entry out; null when there is none. Under the lock.
pub fn remove(address: usize) ?Block {
    const entry = lookUp(address) orelse return null;
    const block = entry.*;
    entry.address.store(removed, .release);
    dropTombstones(entry);
    former[former_next % former.len].store(address, .monotonic);
    former_next += 1;
    _ = count.fetchSub(1, .monotonic); // A statistic.
    return block;
}

/// Turns tombstones into empty cells where no probe passes through them: those that end at an
/// empty cell. A reader that is on its way sees a cell earlier what it would see a cell later.
fn dropTombstones(last: *Block) void {
    const current = table().?;
    const mask = current.capacity - 1;
    var index = (@intFromPtr(last) - @intFromPtr(current.blocks)) / @sizeOf(Block);
    // monotonic throughout: under the lock.
    if (current.blocks[(index + 1) & mask].address.load(.monotonic) != 0) return;
    while (current.blocks[index].address.load(.monotonic) == removed) {
        current.blocks[index].address.store(0, .monotonic);
        filled -= 1;
        index = (index -% 1) & mask;
    }
}

/// In a child of fork whose parent held the lock: what is counted beside the entries, which are
/// single stores.
pub fn recount() void {
    filled = 0;
    count.store(0, .monotonic); // One thread.
    const current = table() orelse return;
    for (current.blocks[0..current.capacity]) |*block| {
        const address = block.address.load(.monotonic); // One thread.
        if (address != 0) filled += 1;
        if (address > removed) _ = count.fetchAdd(1, .monotonic);
    }
}

test "huge table: a quarter of it that comes and goes does not use tables up" {
    const saved = .{ tables, table_count.raw, filled, count.raw };
    table_count = .init(0);
    count = .init(0);
    var prng: std.Random.DefaultPrng = .init(11);
    const random = prng.random();
    var live: [capacity_start / 4]usize = undefined;
    for (&live) |*address| address.* = insertAtRandom(random);
    for (0..400_000) |_| {
        const address = &live[random.uintLessThan(usize, live.len)];
        try std.testing.expect(remove(address.*) != null);
        address.* = insertAtRandom(random);
    }
    // With the same size each time, all 16 of them by then.
    try std.testing.expectEqual(@as(u32, 2), table_count.raw);
    // What is counted is what is there.
    const counted = .{ filled, count.raw };
    recount();
    try std.testing.expectEqual(counted, .{ filled, count.raw });
    for (live) |address| try std.testing.expect(remove(address) != null);
    try std.testing.expectEqual(@as(usize, 0), filled);
    tables, table_count.raw, filled, count.raw = saved;
}

fn insertAtRandom(random: std.Random) usize {
    std.debug.assert(ensureRoom());
    const address = (1 + random.uintLessThan(usize, 1 << 34)) << 12;
    if (lookUp(address) != null) return insertAtRandom(random);
    insert(.{
        .address = .init(address),
        .length = .init(4096),
        .map_address = address,
        .map_length = 4096,
    });
    return address;
}

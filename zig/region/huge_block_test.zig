//! Huge blocks in several threads: readers of the table without a lock, what is kept, moves.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const allowance = @import("allowance.zig");
const huge = @import("huge_block.zig");

const page = 4096;
/// Blocks on their way from one thread to another; 0: none. Exchanged with acq_rel: who takes one
/// sees what was written into it.
var shared: [24]std.atomic.Value(usize) = @splat(.init(0));

/// The first and the last page of a block say which one it is, and how long.
const Label = extern struct { address: usize, length: usize };

fn first(address: usize) *Label {
    return @ptrFromInt(address);
}

fn last(address: usize, length: usize) *Label {
    return @ptrFromInt(address + length - page);
}

fn label(address: usize) void {
    const length = huge.usableSize(address).?;
    last(address, length).* = .{ .address = address, .length = length };
    first(address).* = .{ .address = address, .length = length };
}

fn expectIntact(address: usize) void {
    const known = first(address).*;
    const length = huge.usableSize(address) orelse std.debug.panic("{x} is not there", .{address});
    const end = last(address, length).*;
    if (known.address == address and known.length == length and
        end.address == address and end.length == length) return;
    std.debug.panic("{x} of {x} bytes: {}, {}", .{ address, length, known, end });
}

fn make(random: std.Random, holder: u32) usize {
    const size = page * (2 + random.uintLessThan(usize, 1000));
    if (huge.hasKept()) {
        if (huge.allocKept(size, page, holder)) |address| return address;
    }
    const room = if (random.boolean()) size * 2 else 0;
    const alignment: usize = if (room == 0 and random.boolean()) 2 * t.mib else page;
    return huge.alloc(size, alignment, room, holder).?;
}

/// The block where it is now, of another length.
fn resized(address: usize, random: std.Random, holder: u32) usize {
    const before = huge.usableSize(address).?;
    const wanted = page * (2 + random.uintLessThan(usize, 2000));
    const now = huge.resize(address, wanted, holder) orelse return address;
    const known = first(now).*;
    if (known.address != address or known.length != before)
        std.debug.panic("{x} was {x}: {}", .{ now, address, known });
    return now;
}

fn work(seed: u64, holder: u32) void {
    var prng: std.Random.DefaultPrng = .init(seed);
    const random = prng.random();
    // So many that the table grows meanwhile.
    var held: [300]usize = undefined;
    var held_count: usize = 0;
    defer for (held[0..held_count]) |address| {
        if (!huge.free(address, holder)) std.debug.panic("seed {x}: not there", .{seed});
    };
    for (0..3000) |turn| {
        if (turn % 10 == 0) {
            held[held_count] = huge.alloc(page, page, 0, holder).?;
            held_count += 1;
        }
        const slot = &shared[random.uintLessThan(usize, shared.len)];
        var address = slot.swap(0, .acq_rel);
        if (address == 0) {
            address = make(random, holder);
            label(address);
        } else expectIntact(address);
        switch (random.uintLessThan(u32, 8)) {
            0...2 => {
                if (!huge.free(address, holder)) std.debug.panic("seed {x}: not there", .{seed});
                continue;
            },
            3...4 => address = resized(address, random, holder),
            5 => if (huge.table.lookUp(address + page) != null) @panic("a block within a block"),
            6 => huge.dropExcess(holder),
            else => {},
        }
        label(address);
        const other = slot.swap(address, .acq_rel);
        if (other == 0) continue;
        expectIntact(other);
        if (!huge.free(other, holder)) std.debug.panic("seed {x}: not there", .{seed});
    }
}

test "huge blocks: threads make, resize, look up and free each other's" {
    const before = allowance.pretend(t.gib);
    defer _ = allowance.pretend(before);
    huge.dropAll(1);
    const mapped = os.fake.mappedBytes();
    const tables = huge.table.table_count.raw;
    const blocks = huge.table.count.raw;
    for (0..3) |round| {
        var threads: [4]std.Thread = undefined;
        for (&threads, 2..) |*worker, holder| {
            const seed = 0x4096_0000 + round * 16 + holder;
            worker.* = try std.Thread.spawn(.{}, work, .{ seed, @as(u32, @intCast(holder)) });
        }
        for (threads) |worker| worker.join();
        huge.check(1);
    }
    for (&shared) |*slot| {
        const address = slot.swap(0, .acq_rel);
        if (address != 0) try std.testing.expect(huge.free(address, 1));
    }
    huge.dropAll(1);
    try std.testing.expectEqual(blocks, huge.table.count.raw);
    if (tables == huge.table.table_count.raw and tables != 0)
        try std.testing.expectEqual(mapped, os.fake.mappedBytes());
}

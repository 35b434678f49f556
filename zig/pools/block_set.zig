//! The blocks that a pool with policy fall back has from the general heap: a set of addresses with
//! the place of each call, so that a free knows exactly what it may hand on. One thread at a time.
const std = @import("std");
const base = @import("base");
const assert = base.assert;
const backing = @import("backing.zig");
const Place = @import("place.zig").Place;

const capacity_start = 32;

const Entry = extern struct {
    /// 0: free.
    address: usize,
    place: Place,
};

/// count <= capacity / 2; every entry is found from its home without passing a free one.
pub const BlockSet = extern struct {
    memory: backing.Memory,
    capacity: usize,
    count: usize,

    fn entries(set: *const BlockSet) []Entry {
        const list: [*]Entry = @ptrFromInt(set.memory.address);
        return list[0..set.capacity];
    }

    fn homeOf(set: *const BlockSet, address: usize) usize {
        const hash = (address >> 4) *% 0x9e37_79b9_7f4a_7c15;
        return (hash >> 32) & (set.capacity - 1);
    }

    /// Makes sure that the next `insert` has room.
    pub fn reserve(set: *BlockSet) backing.Error!void {
        if (set.capacity != 0 and (set.count + 1) * 2 <= set.capacity) return;
        const capacity = @max(set.capacity * 2, capacity_start);
        const memory = try backing.acquire(.{ .length = capacity * @sizeOf(Entry) });
        var grown: BlockSet = .{ .memory = memory, .capacity = capacity, .count = 0 };
        @memset(grown.entries(), std.mem.zeroes(Entry));
        if (set.capacity != 0) {
            for (set.entries()) |entry| if (entry.address != 0) {
                grown.insert(entry.address, entry.place);
            };
        }
        set.deinit();
        set.* = grown;
    }

    pub fn insert(set: *BlockSet, address: usize, place: Place) void {
        assert((set.count + 1) * 2 <= set.capacity);
        var index = set.homeOf(address);
        while (set.entries()[index].address != 0) index = (index + 1) & (set.capacity - 1);
        set.entries()[index] = .{ .address = address, .place = place };
        set.count += 1;
    }

    /// Takes a block out; null when it is not in the set.
    pub fn remove(set: *BlockSet, address: usize) ?Place {
        if (set.count == 0) return null;
        const mask = set.capacity - 1;
        const list = set.entries();
        var index = set.homeOf(address);
        while (list[index].address != address) : (index = (index + 1) & mask) {
            if (list[index].address == 0) return null;
        }
        const place = list[index].place;
        set.count -= 1;
        // What follows moves up unless its home is behind the gap: no tombstones.
        var gap = index;
        var next = (index + 1) & mask;
        while (list[next].address != 0) : (next = (next + 1) & mask) {
            const home = set.homeOf(list[next].address);
            if ((next -% home) & mask < (next -% gap) & mask) continue;
            list[gap] = list[next];
            gap = next;
        }
        list[gap] = std.mem.zeroes(Entry);
        return place;
    }

    /// Any one of them; null: the set is empty.
    pub fn first(set: *const BlockSet) ?usize {
        var iterator = set.blocks();
        return (iterator.next() orelse return null).address;
    }

    pub const Iterator = struct {
        rest: []const Entry,

        pub fn next(iterator: *Iterator) ?Entry {
            while (iterator.rest.len > 0) {
                const entry = iterator.rest[0];
                iterator.rest = iterator.rest[1..];
                if (entry.address != 0) return entry;
            }
            return null;
        }
    };

    /// All of them, in no order. The set may not change meanwhile.
    pub fn blocks(set: *const BlockSet) Iterator {
        return .{ .rest = if (set.count == 0) &.{} else set.entries() };
    }

    pub fn deinit(set: *BlockSet) void {
        if (set.capacity != 0) backing.release(set.memory);
        set.* = std.mem.zeroes(BlockSet);
    }

    pub fn heldBytes(set: *const BlockSet) usize {
        return if (set.capacity == 0) 0 else set.memory.length;
    }
};

test "BlockSet: a thousand addresses come and go in random order" {
    var set = std.mem.zeroes(BlockSet);
    defer set.deinit();
    var source: std.Random.DefaultPrng = .init(7);
    const random = source.random();
    var present: [1024]bool = @splat(false);
    var count: usize = 0;
    for (0..20_000) |_| {
        const which = random.uintLessThan(usize, present.len);
        const address = (which + 1) * 48;
        if (present[which]) {
            try std.testing.expectEqual(@as(u32, @intCast(which)), set.remove(address).?.line);
            count -= 1;
        } else {
            try std.testing.expectEqual(@as(?Place, null), set.remove(address));
            try set.reserve();
            set.insert(address, .{ .line = @intCast(which) });
            count += 1;
        }
        present[which] = !present[which];
        try std.testing.expectEqual(count, set.count);
    }
    while (set.first()) |address| try std.testing.expect(set.remove(address) != null);
    try std.testing.expectEqual(@as(usize, 0), set.count);
}

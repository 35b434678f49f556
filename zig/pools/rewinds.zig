//! The rewinds that an arena remembers, so as to know which checkpoints one of them undid: those
//! made before it that lie further on. A rewind says all that earlier ones to its position or
//! beyond said, so what is left is a stack: serials and positions ascend. One thread at a time.
//!
//! The first few lie in the arena, more in a block of the heap. When that is refused the last
//! rewind stands for the new one too, at its own lower position: more checkpoints count as undone
//! than are, never fewer.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const backing = @import("backing.zig");
const t = base.tunables;
const assert = base.assert;

/// A rewind: when, and to which position.
const Rewind = extern struct { serial: u64, position: u64 };

/// All zero: none.
pub const Rewinds = extern struct {
    few: [t.arena_rewinds_inline]Rewind,
    /// Of length 0: those above.
    memory: backing.Memory,
    count: usize,

    fn entries(rewinds: *const Rewinds) []Rewind {
        if (rewinds.memory.length == 0) return @constCast(&rewinds.few);
        const list: [*]Rewind = @ptrFromInt(rewinds.memory.address);
        return list[0 .. rewinds.memory.length / @sizeOf(Rewind)];
    }

    /// How many of them went to a position below this one.
    fn countBelow(rewinds: *const Rewinds, position: u64) usize {
        const list = rewinds.entries()[0..rewinds.count];
        if (list.len == 0 or list[list.len - 1].position < position) return list.len;
        return std.sort.partitionPoint(Rewind, list, position, isBelow);
    }

    fn isBelow(position: u64, rewind: Rewind) bool {
        return rewind.position < position;
    }

    /// Whether one after the moment `serial` went below the position.
    pub fn undid(rewinds: *const Rewinds, serial: u64, position: u64) bool {
        const below = rewinds.countBelow(position);
        // The last of these is the latest.
        return below > 0 and rewinds.entries()[below - 1].serial > serial;
    }

    pub fn note(rewinds: *Rewinds, serial: u64, position: u64) void {
        rewinds.count = rewinds.countBelow(position);
        if (rewinds.count == rewinds.entries().len) rewinds.grow() catch {
            rewinds.entries()[rewinds.count - 1].serial = serial;
            return;
        };
        rewinds.entries()[rewinds.count] = .{ .serial = serial, .position = position };
        rewinds.count += 1;
    }

    noinline fn grow(rewinds: *Rewinds) backing.Error!void {
        const list = rewinds.entries();
        const grown = try backing.acquire(.{ .length = 2 * @sizeOf(Rewind) * list.len });
        const target: [*]Rewind = @ptrFromInt(grown.address);
        @memcpy(target[0..rewinds.count], list[0..rewinds.count]);
        if (rewinds.memory.length != 0) backing.release(rewinds.memory);
        rewinds.memory = grown;
    }

    /// Gives the block of the heap back if the arena has room for what is left; bytes.
    pub fn trim(rewinds: *Rewinds) usize {
        const memory = rewinds.memory;
        if (memory.length == 0 or rewinds.count > rewinds.few.len) return 0;
        @memcpy(rewinds.few[0..rewinds.count], rewinds.entries()[0..rewinds.count]);
        rewinds.memory = std.mem.zeroes(backing.Memory);
        backing.release(memory);
        return memory.length;
    }

    pub fn deinit(rewinds: *Rewinds) void {
        rewinds.count = 0;
        _ = rewinds.trim();
    }

    pub fn check(rewinds: *const Rewinds) void {
        const list = rewinds.entries();
        assert(rewinds.count <= list.len);
        for (1..@max(rewinds.count, 1)) |index| {
            assert(list[index - 1].serial < list[index].serial);
            assert(list[index - 1].position < list[index].position);
        }
    }
};

test "Rewinds: what they undid, against a list of all" {
    var source: std.Random.DefaultPrng = .init(3);
    const random = source.random();
    for (0..20) |_| {
        var rewinds = std.mem.zeroes(Rewinds);
        defer rewinds.deinit();
        var all: [2000]Rewind = undefined;
        var position: u64 = 0;
        for (&all, 1..) |*rewind, serial| {
            // Mostly less far back than before.
            position = if (random.uintLessThan(u32, 200) == 0)
                random.uintAtMost(u64, position)
            else
                position + random.uintLessThan(u64, 8);
            rewind.* = .{ .serial = serial, .position = position };
            rewinds.note(serial, position);
            rewinds.check();
            const moment = random.uintAtMost(usize, serial);
            const at = random.uintAtMost(u64, position + 8);
            var is_undone = false;
            for (all[moment..serial]) |later| is_undone = is_undone or later.position < at;
            try std.testing.expectEqual(is_undone, rewinds.undid(moment, at));
        }
    }
}

test "Rewinds: without memory for more none is forgotten" {
    const held = backing.held_bytes.raw;
    var rewinds = std.mem.zeroes(Rewinds);
    const count = 200_000;
    var blocks: [4096]usize = undefined;
    var taken: usize = 0;
    for (1..count) |serial| {
        if (serial == 50_000) {
            // Of what the heap has no megabyte is left, nor will the system give it any.
            os.fake.failFrom(1);
            while (true) : (taken += 1) {
                blocks[taken] = backing.allocateBlock(t.mib, 16);
                if (blocks[taken] == 0) break;
            }
        }
        rewinds.note(serial, serial * 16);
        if (serial % 1000 != 0) continue;
        // Made before all of them and beyond the lowest; before it; and after all of them.
        try std.testing.expect(rewinds.undid(0, 17));
        try std.testing.expect(!rewinds.undid(0, 16));
        try std.testing.expect(rewinds.undid(serial - 1, serial * 16 + 1));
        try std.testing.expect(!rewinds.undid(serial, serial * 16 + 1));
        // Undone by the last but one.
        try std.testing.expect(rewinds.undid(serial - 2, (serial - 1) * 16 + 1));
    }
    os.fake.failNone();
    for (blocks[0..taken]) |block| backing.freeBlock(block);
    rewinds.check();
    try std.testing.expect(rewinds.count > 40_000 and rewinds.count < count - 1);
    try std.testing.expectEqual(@as(usize, 0), rewinds.trim());
    rewinds.note(count, 5 * 16);
    try std.testing.expectEqual(@as(usize, 5), rewinds.count);
    try std.testing.expect(rewinds.trim() > 0);
    try std.testing.expect(rewinds.undid(2, 4 * 16) and !rewinds.undid(4, 4 * 16 + 1));
    rewinds.deinit();
    try std.testing.expectEqual(held, backing.held_bytes.raw);
}

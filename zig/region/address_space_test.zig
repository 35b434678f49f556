//! Tests of the address space: look-ups, and the rest of a reservation given back.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;
const space = @import("address_space.zig");

test "find: total for any value" {
    _ = space.reserveNext(true, 0) orelse return error.NoRegion;
    const start = space.at(0).address;
    try std.testing.expectEqual(@as(?u32, 0), space.find(start));
    try std.testing.expectEqual(@as(?u32, 1), space.find(start + t.slice_size));
    for ([_]usize{ 0, 1, start - 1, start - 16, std.math.maxInt(usize) }) |outside| {
        try std.testing.expectEqual(@as(?u32, null), space.find(outside));
    }
    try std.testing.expect(space.ensureCommitted(0, 100, true));
    const byte: *volatile u8 = @ptrFromInt(space.address(99) + t.slice_size - 1);
    byte.* = 1;
    byte.* = 0; // Never handed out: it must still read as zero.
    try std.testing.expectEqual(@as(u32, 0), space.entry(50).load(.monotonic));
    _ = space.reserveNext(true, 0) orelse return error.NoRegion;
    const further = space.find(space.at(1).address + 3 * t.slice_size).?;
    try std.testing.expectEqual(@as(u32, 1), space.regionOf(further));
    try std.testing.expectEqual(space.at(1).address + 3 * t.slice_size, space.address(further));
}

test "the rest of a reservation given back under a limit" {
    if (space.count() == 0) _ = space.reserveNext(true, 0) orelse return error.NoRegion;
    const region = space.at(0);
    const old_end = region.address + (@as(usize, region.capacity) << t.slice_shift);
    try std.testing.expect(!space.giveBackRest(space.reservedBytes()));
    const mapped = os.fake.mappedBytes();
    const limit = space.reservedBytes() / 2;
    try std.testing.expect(space.giveBackRest(limit));
    space.check();
    const returned: i64 = @intCast(region.returned);
    try std.testing.expectEqual(mapped - returned, os.fake.mappedBytes());
    try std.testing.expect(!space.giveBackRest(limit));
    try std.testing.expectEqual(@as(?u32, null), space.find(old_end - t.slice_size));
    // What is left is usable to its end.
    const last = region.address + (@as(usize, region.capacity - 1) << t.slice_shift);
    try std.testing.expect(os.machine.isMapped(last));
    try std.testing.expect(!os.machine.isMapped(last + t.slice_size));
    try std.testing.expect(space.commitMetadata(region, 0, region.capacity));
    try std.testing.expect(space.find(last) != null);
    region.slices[region.capacity - 1].length = 0;
    region.bits[region.capacity - 1][0] = 0;
    space.check();
}

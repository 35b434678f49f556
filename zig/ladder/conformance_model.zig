//! Random operations on an allocator beside a model of what every block contains: the half of the
//! conformance suite that looks for overlap and lost contents.
const std = @import("std");
const Allocator = @import("interface.zig").Allocator;
const expect = std.testing.expect;

pub const Plan = struct {
    seed: u64,
    ops: usize,
    live_bytes_max: usize,
    /// Whether running out of memory is in order.
    may_fail: bool,
    check: *const fn (Allocator) anyerror!void,
};

const slot_count = 256;

const Live = struct {
    block: [*]u8,
    size: usize,
    mark: u8,

    fn paint(live: Live) void {
        @memset(live.block[0..live.size], live.mark);
    }

    fn expectPainted(live: Live, size: usize) !void {
        try expect(isAll(live.block[0..size], live.mark));
    }
};

extern "c" fn memcmp(left: [*]const u8, right: [*]const u8, size: usize) c_int;

/// Every byte is as the one before it. Loops of our own take most of the suite's time.
fn isAll(bytes: []const u8, mark: u8) bool {
    if (bytes.len == 0) return true;
    return bytes[0] == mark and memcmp(bytes.ptr, bytes.ptr + 1, bytes.len - 1) == 0;
}

const Model = struct {
    allocator: Allocator,
    plan: Plan,
    random: std.Random,
    slots: [slot_count]?Live = @splat(null),
    live_bytes: usize = 0,
    served: usize = 0,

    /// Mostly small, up to 300 KB where there is room for it.
    fn size(model: *Model) usize {
        const doublings: u6 = if (model.plan.live_bytes_max > 1 << 20) 18 else 14;
        const power = @as(usize, 1) << model.random.intRangeAtMost(u6, 0, doublings);
        return model.random.uintLessThan(usize, power + power / 4 + 1);
    }

    fn step(model: *Model) !void {
        const slot = &model.slots[model.random.uintLessThan(usize, slot_count)];
        if (slot.*) |live| {
            try live.expectPainted(live.size);
            if (model.random.uintLessThan(u8, 4) == 0) return model.resize(slot, live);
            model.allocator.free(live.block);
            model.live_bytes -= live.size;
            slot.* = null;
            return;
        }
        try model.fill(slot);
    }

    fn fill(model: *Model, slot: *?Live) !void {
        const wanted = model.size();
        if (model.live_bytes + wanted > model.plan.live_bytes_max) return;
        const call = model.random.uintLessThan(u8, 8);
        const alignment = @as(usize, 16) << model.random.uintLessThan(u6, 6);
        const block = switch (call) {
            0 => model.allocator.calloc(wanted),
            1 => model.allocator.aligned(alignment, wanted),
            else => model.allocator.malloc(wanted),
        } orelse return expect(model.plan.may_fail);
        if (call == 0) try expect(isAll(block[0..wanted], 0));
        if (call == 1) try expect(@intFromPtr(block) % alignment == 0);
        try expect(@intFromPtr(block) % 16 == 0);
        try expect(model.allocator.usable(block) >= wanted);
        try model.expectApart(@intFromPtr(block), wanted);
        model.adopt(slot, block, wanted);
    }

    fn resize(model: *Model, slot: *?Live, live: Live) !void {
        const wanted = model.size();
        if (model.live_bytes - live.size + wanted > model.plan.live_bytes_max) return;
        const block = model.allocator.realloc(live.block, wanted) orelse {
            try live.expectPainted(live.size);
            return expect(model.plan.may_fail);
        };
        const kept: Live = .{ .block = block, .size = wanted, .mark = live.mark };
        try kept.expectPainted(@min(live.size, wanted));
        model.live_bytes -= live.size;
        slot.* = null;
        try model.expectApart(@intFromPtr(block), wanted);
        model.adopt(slot, block, wanted);
    }

    fn adopt(model: *Model, slot: *?Live, block: [*]u8, wanted: usize) void {
        const live: Live = .{ .block = block, .size = wanted, .mark = model.random.int(u8) };
        live.paint();
        slot.* = live;
        model.live_bytes += wanted;
        model.served += 1;
    }

    fn expectApart(model: *Model, start: usize, wanted: usize) !void {
        for (model.slots) |slot| {
            const live = slot orelse continue;
            const other = @intFromPtr(live.block);
            try expect(start + wanted <= other or other + live.size <= start);
            try expect(start != other);
        }
    }
};

pub fn run(allocator: Allocator, plan: Plan) !void {
    var prng: std.Random.DefaultPrng = .init(plan.seed);
    var model: Model = .{ .allocator = allocator, .plan = plan, .random = prng.random() };
    errdefer std.debug.print("{s}: seed {d}\n", .{ allocator.name, plan.seed });
    for (0..plan.ops) |op| {
        try model.step();
        if (op % 64 == 0) try plan.check(allocator);
    }
    try expect(model.served > 100);
    for (&model.slots) |*slot| {
        const live = slot.* orelse continue;
        try live.expectPainted(live.size);
        allocator.free(live.block);
    }
    try plan.check(allocator);
}

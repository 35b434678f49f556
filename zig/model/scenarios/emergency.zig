//! Emergency memory (heap/emergency.zig): the bump buffer that starts over when all is free.
const model = @import("model");
const heaps = @import("heap");

fn nothing() callconv(.c) void {}

/// Writes what it got: two threads that have the same bytes are a data race.
fn takeAndFree() callconv(.c) void {
    for (0..2) |turn| {
        const block = heaps.emergency.alloc(24, 16) orelse model.fail("no emergency memory");
        const words: *[3]u64 = @ptrFromInt(block);
        for (words) |*word| {
            model.expect(word.* == 0, "emergency memory is not zero");
            word.* = turn + 1;
        }
        model.expect(heaps.emergency.usableSize(block) == 24, "the size of another block");
        heaps.emergency.free(block);
    }
}

/// All is free: the next block is the first one again.
fn check() callconv(.c) void {
    const first = heaps.emergency.alloc(24, 16).?;
    heaps.emergency.free(first);
    model.expect(first == heaps.emergency.alloc(24, 16).?, "the buffer did not start over");
}

pub const scenarios = [_]model.Scenario{
    .{
        .name = "emergency",
        .asks = "two signal handlers use the emergency buffer: no byte has two owners",
        .setup = &nothing,
        .threads = .{ &takeAndFree, &takeAndFree, null },
        .check = &check,
    },
};

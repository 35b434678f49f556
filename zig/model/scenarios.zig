//! The instrumented half of the model: the library's layers below the C names, and the scenarios
//! that run on them.
const std = @import("std");
const model = @import("model");

const groups = [_][]const model.Scenario{
    &@import("scenarios/lock.zig").scenarios,
    &@import("scenarios/emergency.zig").scenarios,
    &@import("scenarios/inbox.zig").scenarios,
    &@import("scenarios/registry.zig").scenarios,
    &@import("scenarios/explicit.zig").scenarios,
    &@import("scenarios/shared_pool.zig").scenarios,
};

const all = blk: {
    var list: []const model.Scenario = &.{};
    for (groups) |group| list = list ++ group;
    break :blk list[0..list.len].*;
};

export const liballoc_model_scenarios: [*]const model.Scenario = &all;
export const liballoc_model_scenario_count: usize = all.len;

pub const panic = std.debug.FullPanic(onPanic);

fn onPanic(message: []const u8, _: ?usize) noreturn {
    model.fail(message);
}

//! replace-*: a working set of one size; a random block is freed and another takes its place.
const sequence = @import("../sequence.zig");
const Random = @import("../random.zig").Random;
const Task = @import("../profiles.zig").Task;
const Error = sequence.Error;
const LiveSet = sequence.LiveSet;

/// The sizes of the profiles that are about order and threads rather than size.
pub fn usualSize(random: *Random) u64 {
    return random.between(16, 511);
}

pub fn thousand(task: Task) Error!void {
    try replace(task, 1000);
}

pub fn thirtyThousand(task: Task) Error!void {
    try replace(task, 30_000);
}

pub fn fourHundredThousand(task: Task) Error!void {
    try replace(task, 400_000);
}

fn replace(task: Task, count: usize) Error!void {
    const builder = task.builder;
    const random = &builder.random;
    var live: LiveSet = .{};
    while (live.count() < count) {
        try live.add(try builder.malloc(task.index, usualSize(random)));
    }
    builder.endSetup(task.index);
    builder.measure(task.ops);
    while (true) {
        try builder.free(task.index, live.takeRandom(random));
        try live.add(try builder.malloc(task.index, usualSize(random)));
    }
}

//! small, mixed, large: a set of live blocks whose number wanders about a middle. generations:
//! blocks of two ages.
const sequence = @import("../sequence.zig");
const Random = @import("../random.zig").Random;
const Task = @import("../profiles.zig").Task;
const Error = sequence.Error;
const LiveSet = sequence.LiveSet;

/// A size and how often it comes among all of its table.
const Weighted = struct { size: u64, weight: u64 };

const small_sizes = [_]Weighted{
    .{ .size = 8, .weight = 10 },  .{ .size = 16, .weight = 20 },
    .{ .size = 24, .weight = 15 }, .{ .size = 32, .weight = 20 },
    .{ .size = 48, .weight = 12 }, .{ .size = 64, .weight = 12 },
    .{ .size = 96, .weight = 6 },  .{ .size = 128, .weight = 5 },
};

const mixed_sizes = [_]Weighted{
    .{ .size = 8, .weight = 80 },    .{ .size = 16, .weight = 180 },
    .{ .size = 24, .weight = 140 },  .{ .size = 32, .weight = 180 },
    .{ .size = 48, .weight = 80 },   .{ .size = 64, .weight = 120 },
    .{ .size = 96, .weight = 50 },   .{ .size = 128, .weight = 80 },
    .{ .size = 256, .weight = 45 },  .{ .size = 512, .weight = 20 },
    .{ .size = 1000, .weight = 8 },  .{ .size = 2048, .weight = 6 },
    .{ .size = 4096, .weight = 5 },  .{ .size = 10_000, .weight = 3 },
    .{ .size = 16384, .weight = 2 }, .{ .size = 65536, .weight = 1 },
};

fn pick(comptime sizes: []const Weighted, random: *Random) u64 {
    const whole = comptime blk: {
        var sum: u64 = 0;
        for (sizes) |entry| sum += entry.weight;
        break :blk sum;
    };
    var rest = random.below(whole);
    for (sizes) |entry| {
        if (rest < entry.weight) return entry.size;
        rest -= entry.weight;
    }
    unreachable; // rest < sum of the weights
}

fn smallSize(random: *Random) u64 {
    return pick(&small_sizes, random);
}

fn mixedSize(random: *Random) u64 {
    return pick(&mixed_sizes, random);
}

fn largeSize(random: *Random) u64 {
    return random.logUniform(15, 20);
}

pub fn small(task: Task) Error!void {
    try walk(task, smallSize, 5000, 32);
}

pub fn mixed(task: Task) Error!void {
    try walk(task, mixedSize, 5000, 32);
}

pub fn large(task: Task) Error!void {
    try walk(task, largeSize, 50, 8);
}

/// Runs of calls of one kind, as programs make them: what is measured is not how a processor
/// guesses which of the two comes next.
fn walk(
    task: Task,
    comptime draw: fn (*Random) u64,
    middle: usize,
    run_max: u64,
) Error!void {
    const builder = task.builder;
    const random = &builder.random;
    var live: LiveSet = .{};
    while (live.count() < middle) try live.add(try builder.malloc(task.index, draw(random)));
    builder.endSetup(task.index);
    builder.measure(task.ops);
    var growing = false;
    while (true) : (growing = !growing) {
        // An equal chance up and down, but never below half or above one and a half.
        const run = random.between(1, run_max);
        for (0..run) |_| {
            if (growing and live.count() < middle + middle / 2) {
                try live.add(try builder.malloc(task.index, draw(random)));
            } else if (live.count() > middle / 2) {
                try builder.free(task.index, live.takeRandom(random));
            } else {
                try live.add(try builder.malloc(task.index, draw(random)));
            }
        }
    }
}

pub fn generations(task: Task) Error!void {
    const long_count = 20_000;
    const short_count = 64;
    const builder = task.builder;
    const random = &builder.random;
    var long: LiveSet = .{};
    while (long.count() < long_count) {
        try long.add(try builder.malloc(task.index, mixedSize(random)));
    }
    var short: [short_count]u24 = undefined;
    for (&short) |*slot| slot.* = try builder.malloc(task.index, mixedSize(random));
    builder.endSetup(task.index);
    builder.measure(task.ops);
    var oldest: usize = 0;
    while (true) {
        if (random.below(16) == 0) {
            try builder.free(task.index, long.takeRandom(random));
            try long.add(try builder.malloc(task.index, mixedSize(random)));
        } else {
            try builder.free(task.index, short[oldest]);
            short[oldest] = try builder.malloc(task.index, mixedSize(random));
            oldest = (oldest + 1) % short_count;
        }
    }
}

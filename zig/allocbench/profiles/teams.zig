//! Profiles whose threads hand blocks to each other, or follow each other. The amounts handed over
//! at a time stay below `channel_length_max`.
const sequence = @import("../sequence.zig");
const Task = @import("../profiles.zig").Task;
const usualSize = @import("replacement.zig").usualSize;
const Builder = sequence.Builder;
const Error = sequence.Error;
const LiveSet = sequence.LiveSet;

const working_set = 1000;
/// Blocks that change hands at a time.
const parcel = 100;

/// Parcels that are on their way, reused from round to round.
const Parcel = struct {
    slots: [parcel]u24 = undefined,

    fn fill(made: *Parcel, builder: *Builder, maker: usize) Error!void {
        for (&made.slots) |*slot| {
            slot.* = try builder.malloc(maker, usualSize(&builder.random));
        }
    }

    fn pass(made: *Parcel, builder: *Builder, from: usize, to: usize) Error!void {
        for (&made.slots) |*slot| slot.* = try builder.handOver(from, slot.*, to);
    }

    fn release(made: *const Parcel, builder: *Builder, index: usize) Error!void {
        for (made.slots) |slot| try builder.free(index, slot);
    }
};

fn makeAndSend(builder: *Builder, maker: usize, freer: usize) Error!void {
    var made: Parcel = .{};
    try made.fill(builder, maker);
    try made.pass(builder, maker, freer);
    try made.release(builder, freer);
}

pub fn producerConsumer(task: Task) Error!void {
    const builder = task.builder;
    builder.measure(task.ops);
    while (true) {
        var first: usize = 0;
        while (first + 1 < builder.lanes.len) : (first += 2) {
            try makeAndSend(builder, first, first + 1);
        }
    }
}

pub fn fanIn(task: Task) Error!void {
    task.builder.measure(task.ops);
    while (true) {
        for (1..task.builder.lanes.len) |maker| try makeAndSend(task.builder, maker, 0);
    }
}

pub fn fanOut(task: Task) Error!void {
    task.builder.measure(task.ops);
    while (true) {
        for (1..task.builder.lanes.len) |freer| try makeAndSend(task.builder, 0, freer);
    }
}

/// All parcels go round at the same time.
pub fn ring(task: Task) Error!void {
    const builder = task.builder;
    const count = builder.lanes.len;
    builder.measure(task.ops);
    var parcels: [sequence.threads_max]Parcel = undefined;
    while (true) {
        for (parcels[0..count], 0..) |*made, maker| try made.fill(builder, maker);
        for (1..count) |step| {
            for (parcels[0..count], 0..) |*made, maker| {
                try made.pass(builder, (maker + step - 1) % count, (maker + step) % count);
            }
        }
        for (parcels[0..count], 0..) |*made, maker| {
            try made.release(builder, (maker + count - 1) % count);
        }
    }
}

/// The live blocks of every thread, made while the builder prepares.
fn workingSets(task: Task, first: usize) Error![sequence.threads_max]LiveSet {
    const builder = task.builder;
    var sets: [sequence.threads_max]LiveSet = @splat(.{});
    for (first..builder.lanes.len) |index| {
        const live = &sets[index];
        while (live.count() < working_set) {
            try live.add(try builder.malloc(index, usualSize(&builder.random)));
        }
        builder.endSetup(index);
    }
    builder.measure(task.ops);
    return sets;
}

pub fn server(task: Task) Error!void {
    const builder = task.builder;
    const random = &builder.random;
    const count = builder.lanes.len;
    var sets = try workingSets(task, 0);
    while (true) {
        for (sets[0..count], 0..) |*live, index| {
            for (0..working_set) |_| {
                try builder.free(index, live.takeRandom(random));
                try live.add(try builder.malloc(index, usualSize(random)));
            }
        }
        var leaving: [sequence.threads_max][working_set / 4]u24 = undefined;
        for (sets[0..count], leaving[0..count]) |*live, *slots| {
            for (slots) |*slot| slot.* = live.takeRandom(random);
        }
        for (leaving[0..count], 0..) |slots, from| {
            const to = (from + 1) % count;
            for (slots) |slot| try sets[to].add(try builder.handOver(from, slot, to));
        }
    }
}

pub fn freeOnly(task: Task) Error!void {
    const builder = task.builder;
    const random = &builder.random;
    const count = builder.lanes.len;
    var sets = try workingSets(task, 1);
    while (true) {
        for (sets[1..count], 1..) |*live, index| {
            for (0..parcel) |_| {
                try live.add(try builder.malloc(index, usualSize(random)));
                try builder.free(index, live.takeRandom(random));
                const slot = live.takeRandom(random);
                try live.add(try builder.malloc(index, usualSize(random)));
                try builder.free(0, try builder.handOver(index, slot, 0));
            }
        }
    }
}

/// `next_thread` ends one life; the slots go on to the successor.
pub fn churn(task: Task) Error!void {
    const builder = task.builder;
    const random = &builder.random;
    builder.measure(task.ops);
    var inherited: LiveSet = .{};
    while (true) {
        var own: LiveSet = .{};
        for (0..100) |_| try own.add(try builder.malloc(task.index, usualSize(random)));
        for (0..50) |_| try builder.free(task.index, own.takeRandom(random));
        while (inherited.count() > 0) {
            try builder.free(task.index, inherited.takeRandom(random));
        }
        inherited = own;
        try builder.nextThread(task.index);
    }
}

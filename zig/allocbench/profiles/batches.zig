//! batch-*: 1,000 blocks, then none, in three orders. bursty: 1,000 more and fewer of 60,000.
const sequence = @import("../sequence.zig");
const Task = @import("../profiles.zig").Task;
const usualSize = @import("replacement.zig").usualSize;
const Error = sequence.Error;
const LiveSet = sequence.LiveSet;

const batch_length = 1000;
const Order = enum { newest_first, oldest_first, shuffled };

pub fn newestFirst(task: Task) Error!void {
    try batches(task, .newest_first);
}

pub fn oldestFirst(task: Task) Error!void {
    try batches(task, .oldest_first);
}

pub fn shuffled(task: Task) Error!void {
    try batches(task, .shuffled);
}

fn batches(task: Task, order: Order) Error!void {
    const builder = task.builder;
    builder.measure(task.ops);
    var batch: LiveSet = .{};
    while (true) {
        for (0..batch_length) |_| {
            try batch.add(try builder.malloc(task.index, usualSize(&builder.random)));
        }
        const slots = batch.slots.items;
        switch (order) {
            .newest_first => for (0..slots.len) |age| {
                try builder.free(task.index, slots[slots.len - 1 - age]);
            },
            .shuffled, .oldest_first => {
                if (order == .shuffled) batch.shuffle(&builder.random);
                for (slots) |slot| try builder.free(task.index, slot);
            },
        }
        batch.slots.clearRetainingCapacity();
    }
}

pub fn bursts(task: Task) Error!void {
    const live_count = 60_000;
    const builder = task.builder;
    const random = &builder.random;
    var live: LiveSet = .{};
    while (live.count() < live_count) {
        try live.add(try builder.malloc(task.index, usualSize(random)));
    }
    builder.endSetup(task.index);
    builder.measure(task.ops);
    while (true) {
        for (0..batch_length) |_| {
            try live.add(try builder.malloc(task.index, usualSize(random)));
        }
        for (0..batch_length) |_| try builder.free(task.index, live.takeRandom(random));
    }
}

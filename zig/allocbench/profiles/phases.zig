//! phases, shrink: what a process holds after its needs have changed. Resident memory is read at
//! the marks.
const std = @import("std");
const sequence = @import("../sequence.zig");
const Task = @import("../profiles.zig").Task;
const usualSize = @import("replacement.zig").usualSize;
const Error = sequence.Error;
const LiveSet = sequence.LiveSet;

/// A mark with this name waits a second first, in which the program makes no call.
pub const idle = "idle";

pub const survivor_marks = [_][]const u8{ "grown", "freed", "regrown", "empty", idle };

/// As many blocks as make the whole take the calls that were asked for: n made, 0.9 n freed, 0.1 n
/// bigger ones made, 0.2 n freed.
pub fn survivors(task: Task) Error!void {
    const builder = task.builder;
    const index = task.index;
    const random = &builder.random;
    builder.measure(task.ops);
    const count = @max(task.ops * 10 / 22, 10);
    var live: LiveSet = .{};
    while (live.count() < count) try live.add(try builder.malloc(index, usualSize(random)));
    try builder.mark(index, 0);
    while (live.count() > count / 10) try builder.free(index, live.takeRandom(random));
    try builder.mark(index, 1);
    for (0..count / 10) |_| try live.add(try builder.malloc(index, random.between(600, 2000)));
    try builder.mark(index, 2);
    while (live.count() > 0) try builder.free(index, live.takeRandom(random));
    try builder.mark(index, 3);
    try builder.mark(index, 4);
    // What the division left over.
    while (true) try builder.free(index, try builder.malloc(index, usualSize(random)));
}

pub const shrink_marks = [_][]const u8{ "grown", "freed", idle, "small" };

pub fn shrink(task: Task) Error!void {
    const bytes_high = 384 << 20;
    const bytes_low = bytes_high / 100 * 15;
    const builder = task.builder;
    const index = task.index;
    const random = &builder.random;
    builder.measure(task.ops);
    var live: LiveSet = .{};
    var bytes: u64 = 0;
    while (bytes < bytes_high) {
        const size = random.logUniform(4, 16);
        try live.add(try builder.malloc(index, size));
        bytes += size;
    }
    try builder.mark(index, 0);
    while (bytes > bytes_low) {
        const slot = live.takeRandom(random);
        bytes -= builder.sizeOf(index, slot);
        try builder.free(index, slot);
    }
    try builder.mark(index, 1);
    try builder.mark(index, 2);
    var young: LiveSet = .{};
    defer builder.mark(index, 3) catch {};
    while (true) {
        if (young.count() >= 1000) try builder.free(index, young.takeRandom(random));
        try young.add(try builder.malloc(index, usualSize(random)));
    }
}

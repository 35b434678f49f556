//! realloc, aligned, calloc: the entry points beside malloc.
const sequence = @import("../sequence.zig");
const Task = @import("../profiles.zig").Task;
const Error = sequence.Error;
const LiveSet = sequence.LiveSet;

/// Vectors that grow beside each other, so that none finds room behind itself for ever.
pub fn growth(task: Task) Error!void {
    const vector_count = 64;
    const size_first = 16;
    const size_last = 1 << 20;
    const builder = task.builder;
    builder.measure(task.ops);
    var vectors: [vector_count]?u24 = @splat(null);
    while (true) {
        const vector = &vectors[@intCast(builder.random.below(vector_count))];
        const slot = vector.* orelse {
            vector.* = try builder.malloc(task.index, size_first);
            continue;
        };
        const size = builder.sizeOf(task.index, slot);
        if (size < size_last) {
            try builder.realloc(task.index, slot, @min(size + size / 2, size_last));
        } else {
            try builder.free(task.index, slot);
            vector.* = null;
        }
    }
}

const live_count = 1000;

pub fn alignments(task: Task) Error!void {
    const builder = task.builder;
    var live: LiveSet = .{};
    while (live.count() < live_count) try live.add(try alignedBlock(task));
    builder.endSetup(task.index);
    builder.measure(task.ops);
    while (true) {
        try builder.free(task.index, live.takeRandom(&builder.random));
        try live.add(try alignedBlock(task));
    }
}

fn alignedBlock(task: Task) Error!u24 {
    const random = &task.builder.random;
    const shift: u6 = @intCast(random.between(5, 12));
    // At least 8 bytes: room for the mark by which blocks are told apart.
    return task.builder.aligned(task.index, shift, random.between(8, 4096));
}

pub fn zeroed(task: Task) Error!void {
    const builder = task.builder;
    const random = &builder.random;
    var live: LiveSet = .{};
    while (live.count() < live_count) {
        try live.add(try builder.calloc(task.index, random.logUniform(4, 16)));
    }
    builder.endSetup(task.index);
    builder.measure(task.ops);
    while (true) {
        try builder.free(task.index, live.takeRandom(random));
        try live.add(try builder.calloc(task.index, random.logUniform(4, 16)));
    }
}

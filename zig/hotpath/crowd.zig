//! Cases of many threads: what a thread costs that has called malloc, what it keeps after work, and
//! how work of their own scales. The threads exist before anything is measured, and wait: their
//! stacks are no part of what they cost.
const std = @import("std");
const linux = std.os.linux;
const counters = @import("counters.zig");
const machine = @import("machine.zig");
const Random = @import("random.zig").Random;

pub const threads_max = 256;

/// What each thread does.
pub const Work = union(enum) {
    /// One malloc and one free.
    once,
    /// Replaces among so many blocks of 16 bytes to 64 KiB, all written, and frees them all.
    variety: struct { blocks: usize, ops: u64 },
    /// Replaces among so many blocks of 16 to 511 bytes, and keeps them.
    replace: struct { blocks: usize, ops: u64 },
};

pub const Outcome = struct {
    /// Wall time from the first thread's start to the last one's end.
    nanoseconds: u64,
    /// What resident memory grew by until all had finished and waited; null without /proc.
    grown_kib: ?u64,
};

const Crowd = struct {
    work: Work,
    /// Counted up by each thread once it waits. Release, acquired by `waitFor`: what the thread did
    /// before has happened.
    waiting: std.atomic.Value(u32) = .init(0),
    finished: std.atomic.Value(u32) = .init(0),
    failed: std.atomic.Value(bool) = .init(false),
    /// Stored with release when all may begin, loaded with acquire.
    go: std.atomic.Value(bool) = .init(false),

    fn body(crowd: *Crowd, number: u64) void {
        touchStack();
        _ = crowd.waiting.fetchAdd(1, .release);
        while (!crowd.go.load(.acquire)) machine.nap();
        perform(crowd.work, number) orelse crowd.failed.store(true, .release);
        _ = crowd.finished.fetchAdd(1, .release);
        // To the end of the process: a thread that ends gives its memory back.
        while (true) machine.nap();
    }

    /// As deep as malloc goes, and as that of a thread at work is.
    noinline fn touchStack() void {
        var bytes: [16 * 1024]u8 = undefined;
        @memset(&bytes, 0);
        std.mem.doNotOptimizeAway(&bytes);
    }

    fn waitFor(counter: *std.atomic.Value(u32), count: u32) void {
        while (counter.load(.acquire) < count) machine.nap();
    }
};

/// Null: no thread, or no memory.
pub fn run(count: u32, work: Work) ?Outcome {
    // The threads never end: it must outlive this call.
    const crowd = machine.pages(Crowd, 1) orelse return null;
    crowd[0] = .{ .work = work };
    for (0..count) |number| {
        const thread = std.Thread.spawn(.{}, Crowd.body, .{ &crowd[0], number }) catch return null;
        thread.detach();
    }
    Crowd.waitFor(&crowd[0].waiting, count);
    const before = machine.residentKib();
    const began = counters.now();
    crowd[0].go.store(true, .release);
    Crowd.waitFor(&crowd[0].finished, count);
    const nanoseconds = counters.now() - began;
    if (crowd[0].failed.load(.acquire)) return null;
    const after = machine.residentKib() orelse 0;
    return .{ .nanoseconds = nanoseconds, .grown_kib = after -| (before orelse return .{
        .nanoseconds = nanoseconds,
        .grown_kib = null,
    }) };
}

fn perform(work: Work, number: u64) ?void {
    var random: Random = .{};
    random.state +%= number * 7919;
    switch (work) {
        .once => machine.free(machine.touched(64) orelse return null),
        .variety => |plan| {
            const blocks = machine.pages(?[*]u8, plan.blocks) orelse return null;
            for (0..plan.ops) |_| {
                const block = &blocks[random.below(plan.blocks)];
                machine.free(block.*);
                const size = random.variedSize();
                const made = machine.malloc(size) orelse return null;
                @memset(made[0..size], 1);
                block.* = made;
            }
            for (blocks) |block| machine.free(block);
            _ = linux.munmap(@ptrCast(blocks.ptr), blocks.len * @sizeOf(?[*]u8));
        },
        .replace => |plan| {
            const blocks = machine.pages(?[*]u8, plan.blocks) orelse return null;
            for (0..plan.ops) |_| {
                const block = &blocks[random.below(plan.blocks)];
                machine.free(block.*);
                block.* = machine.touched(random.size()) orelse return null;
            }
        },
    }
}

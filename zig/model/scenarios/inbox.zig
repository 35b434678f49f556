//! Remote frees (heap/remote_free.zig, heap/message.zig): messages posted to a heap while it is
//! drained, and while its thread ends.
const model = @import("model");
const base = @import("base");
const heaps = @import("heap");
const world = @import("world.zig");
const t = base.tunables;
const Heap = heaps.Heap;

var a: *Heap = undefined;
var b: *Heap = undefined;
var c: *Heap = undefined;

/// Thread 0 has heap A. Threads 1 and 2 have collected frees of its blocks and post them with the
/// next slow call.
fn setUp() callconv(.c) void {
    a = world.enter(0);
    world.nameHeap(a, "A");
    var blocks: [4]usize = undefined;
    for (&blocks) |*block| block.* = world.watched();
    world.emptyMagazine(a);
    b = world.enter(1);
    world.nameHeap(b, "B");
    for (blocks[0..2]) |block| world.release(block);
    world.postNext(b);
    c = world.enter(2);
    world.nameHeap(c, "C");
    for (blocks[2..4]) |block| world.release(block);
    world.postNext(c);
}

/// A's inbox holds as much as it may before posters help.
fn setUpFlooded() callconv(.c) void {
    a = world.enter(0);
    world.nameHeap(a, "A");
    var blocks: [t.inbox_messages_bound + 2]usize = undefined;
    for (&blocks) |*block| block.* = world.watched();
    world.emptyMagazine(a);
    b = world.enter(1);
    world.nameHeap(b, "B");
    for (blocks[0..t.inbox_messages_bound]) |block| {
        world.release(block);
        heaps.remote_free.postAll(b, .forbidden);
    }
    world.release(blocks[t.inbox_messages_bound]);
    world.postNext(b);
    c = world.enter(2);
    world.nameHeap(c, "C");
    world.release(blocks[t.inbox_messages_bound + 1]);
    world.postNext(c);
}

/// Both have frees for each other.
fn setUpMutual() callconv(.c) void {
    a = world.enter(0);
    world.nameHeap(a, "A");
    const of_a = world.watched();
    b = world.enter(1);
    world.nameHeap(b, "B");
    const of_b = world.watched();
    world.release(of_a);
    model.become(0);
    world.release(of_b);
}

/// A is an orphan.
fn setUpOrphan() callconv(.c) void {
    setUp();
    model.become(0);
    world.exit();
}

fn post() callconv(.c) void {
    heaps.slow.settle();
}

fn refill() callconv(.c) void {
    world.held[0] = world.allocate();
}

fn refillTwice() callconv(.c) void {
    for (world.held[0..2]) |*block| block.* = world.allocate();
    world.emptyMagazine(heaps.current());
}

fn check() callconv(.c) void {
    world.account();
}

pub const scenarios = [_]model.Scenario{
    .{
        .name = "post-drain",
        .asks = "two threads post to a heap while its owner drains",
        .setup = &setUp,
        .threads = .{ &refill, &post, &post },
        .check = &check,
    },
    .{
        .name = "post-exit",
        .asks = "two threads post to a heap while its owner ends: one of the sides must drain",
        .setup = &setUp,
        .threads = .{ &world.exitThread, &post, null },
        .check = &check,
    },
    .{
        .name = "post-post-exit",
        .asks = "two threads post to a heap while its owner ends",
        .long = true,
        .setup = &setUp,
        .threads = .{ &world.exitThread, &post, &post },
        .check = &check,
    },
    .{
        .name = "exit-exit",
        .asks = "two threads end with frees for each other",
        .setup = &setUpMutual,
        .threads = .{ &world.exitThread, &world.exitThread, null },
        .check = &check,
    },
    .{
        .name = "post-orphan",
        .asks = "two threads post to an orphan: who unlocks it looks at its inbox again",
        .setup = &setUpOrphan,
        .threads = .{ null, &post, &post },
        .check = &check,
    },
    .{
        .name = "flooded",
        .asks = "a thread posts to a flooded heap and helps it while its owner drains",
        .setup = &setUpFlooded,
        .threads = .{ &refill, &post, null },
        .check = &check,
    },
    .{
        .name = "flooded-helpers",
        .asks = "two threads post to a flooded heap and both would help it",
        .setup = &setUpFlooded,
        .threads = .{ null, &post, &post },
        .check = &check,
    },
    .{
        .name = "flooded-all",
        .asks = "two threads post to a flooded heap and help it while its owner drains",
        .long = true,
        .setup = &setUpFlooded,
        .threads = .{ &refill, &post, &post },
        .check = &check,
    },
};

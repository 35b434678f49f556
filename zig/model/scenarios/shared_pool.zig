//! Pools that threads share (pools/shared_pool.zig): no object has two owners, none is lost, and
//! who is told that there is none was told so rightly.
const model = @import("model");
const pools = @import("pools");
const world = @import("world.zig");
const SharedPool = pools.SharedPool;

const size = 24;

var pool: *SharedPool = undefined;
/// How often a thread was told that there is no object.
var refusals: [3]u32 = @splat(0);

fn create(objects: usize) void {
    for (0..3) |thread| _ = world.enter(@intCast(thread));
    model.become(0);
    const options: pools.pool.Options = .{ .object_size = size, .capacity = objects };
    pool = SharedPool.create(&options) catch model.fail("no pool");
    for (&pool.shards, 0..) |*shard, index| {
        model.name(&shard.head, if (index == 0) "shard 0" else "shard 1");
    }
    model.name(&pool.fresh, "fresh");
    model.name(&pool.moving, "moving");
}

/// All objects lie in the stack of the first thread, the highest on top.
fn stack(comptime objects: usize) void {
    create(objects);
    var all: [objects]usize = undefined;
    for (&all) |*object| object.* = take();
    for (all) |object| release(object);
}

fn take() usize {
    const object = pool.alloc();
    if (object == 0) model.fail("no object, though some are free");
    return object;
}

/// What lies behind the link: two threads that write the same are a data race.
fn mark(object: usize) void {
    const words: *[2]u64 = @ptrFromInt(object + 8);
    words.* = @splat(model.current() + 1);
}

fn release(object: usize) void {
    if (!pool.free(object)) model.fail("its own object is refused");
}

fn setUpOne() callconv(.c) void {
    stack(1);
}

fn setUpTwo() callconv(.c) void {
    stack(2);
}

fn setUpThree() callconv(.c) void {
    stack(3);
}

/// Threads 0 and 2 have the same stack, thread 1 the other one.
fn setUpFresh() callconv(.c) void {
    create(3);
}

fn takeOne() callconv(.c) void {
    const object = take();
    mark(object);
    world.held[model.current()] = object;
}

/// Two are taken, the lower one goes back first: the top is the same again, what lies below is not.
fn takeTwoGiveBack() callconv(.c) void {
    const first = take();
    mark(first);
    const second = take();
    mark(second);
    release(first);
    world.held[model.current()] = second;
}

fn takeAndRelease() callconv(.c) void {
    const object = pool.alloc();
    if (object == 0) {
        refusals[model.current()] += 1;
        return;
    }
    mark(object);
    release(object);
}

fn tryOne() callconv(.c) void {
    const object = pool.alloc();
    if (object == 0) return;
    mark(object);
    world.held[model.current()] = object;
}

fn checkEach() callconv(.c) void {
    world.checkDistinct();
    var live: usize = 0;
    for (world.held) |object| live += @intFromBool(object != 0);
    const now = pool.stats();
    model.expect(now.free_objects + live == pool.total, "an object is lost, or free twice");
    // Whatever is free can be had, each once.
    for (0..now.free_objects) |index| world.held[3 + index] = take();
    world.checkDistinct();
    model.expect(pool.alloc() == 0, "more objects than there are");
}

pub const scenarios = [_]model.Scenario{
    .{
        .name = "pool-aba",
        .asks = "a thread pops while another pops two and pushes the first back",
        .setup = &setUpThree,
        .threads = .{ &takeOne, null, &takeTwoGiveBack },
        .check = &checkEach,
    },
    .{
        .name = "pool-steal",
        .asks = "a thread takes a batch from the stack of one that pops two and pushes one back",
        .setup = &setUpThree,
        .threads = .{ &takeTwoGiveBack, &takeOne, null },
        .check = &checkEach,
    },
    .{
        .name = "pool-fresh",
        .asks = "two threads take objects that were never handed out",
        .setup = &setUpFresh,
        .threads = .{ &takeOne, &takeOne, null },
        .check = &checkEach,
    },
    .{
        .name = "pool-enough",
        .asks = "two threads want one each of two objects: none is refused while a batch moves",
        .setup = &setUpTwo,
        .threads = .{ null, &takeOne, &takeOne },
        .check = &checkEach,
    },
    .{
        .name = "pool-three",
        .asks = "three threads of two stacks want and release",
        .long = true,
        .setup = &setUpTwo,
        .threads = .{ &takeAndRelease, &tryOne, &takeAndRelease },
        .check = &checkEach,
    },
    .{
        .name = "pool-one",
        .asks = "two threads of two stacks want the one object",
        .setup = &setUpOne,
        .threads = .{ &takeAndRelease, &tryOne, null },
        .check = &checkEach,
    },
};

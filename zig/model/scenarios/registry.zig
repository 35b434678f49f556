//! The registry of heaps (heap/registry.zig, heap/thread.zig): ids, adoption, stealing, the first
//! start.
const model = @import("model");
const base = @import("base");
const region = @import("region");
const heaps = @import("heap");
const world = @import("world.zig");
const Heap = heaps.Heap;
const space = region.space;

var a: *Heap = undefined;
var b: *Heap = undefined;
/// A watched block of A that nobody has freed yet.
var freed_late: usize = 0;

/// The library has been used by a thread that still lives.
fn setUpStarted() callconv(.c) void {
    _ = world.enter(2);
}

/// A is an orphan with a slab that has free blocks; thread 2 has a free for it.
fn setUpOrphan() callconv(.c) void {
    makeOrphan();
    world.held[world.held.len - 1] = freed_late;
}

fn makeOrphan() void {
    a = world.enter(0);
    world.nameHeap(a, "A");
    const posted = world.watched();
    freed_late = world.watched();
    _ = world.allocate(); // Held for good: the slab stays.
    b = world.enter(2);
    world.nameHeap(b, "B");
    world.release(posted);
    world.postNext(b);
    model.become(0);
    world.retire();
}

/// Two orphans.
fn setUpOrphans() callconv(.c) void {
    const c = world.enter(1);
    world.nameHeap(c, "C");
    setUpOrphan();
    model.become(1);
    world.retire();
}

/// As setUpOrphan, and thread 1 has a heap without a free block.
fn setUpThief() callconv(.c) void {
    const thief = world.enter(1);
    world.nameHeap(thief, "thief");
    world.exhaust(thief);
    setUpOrphan();
    model.name(space.entry(space.find(world.first()).?), "slab's entry");
}

/// And thread 0, new again, is another thief.
fn setUpThieves() callconv(.c) void {
    setUpThief();
    const thief = heaps.registry.create(1) orelse model.fail("no heap");
    world.nameHeap(thief, "other thief");
    world.give(0, thief);
}

fn start() callconv(.c) void {
    world.held[world.me()] = world.allocate();
}

fn startAndEnd() callconv(.c) void {
    _ = world.allocate();
    world.exit();
}

fn post() callconv(.c) void {
    heaps.slow.settle();
}

/// Reads the block's owner while a thief may change it.
fn freeAndPost() callconv(.c) void {
    world.held[world.held.len - 1] = 0;
    world.release(freed_late);
    heaps.slow.settle();
}

fn check() callconv(.c) void {
    world.checkOwners(3);
    world.account();
    world.checkDistinct();
}

pub const scenarios = [_]model.Scenario{
    .{
        .name = "adopt-adopt",
        .asks = "two new threads want the only orphan",
        .setup = &setUpOrphan,
        .threads = .{ &start, &start, null },
        .check = &check,
    },
    .{
        .name = "adopt-post",
        .asks = "a new thread adopts an orphan to which another one posts",
        .setup = &setUpOrphan,
        .threads = .{ &start, null, &post },
        .check = &check,
    },
    .{
        .name = "adopt-two",
        .asks = "two new threads and two orphans, to one of which is posted",
        .long = true,
        .setup = &setUpOrphans,
        .threads = .{ &start, &start, &post },
        .check = &check,
    },
    .{
        .name = "steal-post",
        .asks = "a thief takes an orphan's slab while a free of its block is posted to the orphan",
        .setup = &setUpThief,
        .threads = .{ null, &start, &post },
        .check = &check,
    },
    .{
        .name = "steal-free",
        .asks = "a thief takes an orphan's slab while a block of it is freed and posted",
        .setup = &setUpThief,
        .threads = .{ null, &start, &freeAndPost },
        .check = &check,
    },
    .{
        .name = "steal-steal",
        .asks = "two threads without a free block want the slab of the only orphan",
        .setup = &setUpThieves,
        .threads = .{ &start, &start, &post },
        .check = &check,
    },
    .{
        .name = "steal-adopt",
        .asks = "a thief takes an orphan's slab while a new thread adopts the orphan",
        .setup = &setUpThief,
        .threads = .{ &start, &start, null },
        .check = &check,
    },
    .{
        .name = "ids",
        .asks = "two threads without orphans in sight get heaps of their own",
        .setup = &setUpStarted,
        .threads = .{ &start, &start, null },
        .check = &check,
    },
    .{
        .name = "recycle",
        .asks = "threads start and end: a heap passes from one to the next",
        .long = true,
        .setup = &setUpStarted,
        .threads = .{ &startAndEnd, &startAndEnd, null },
        .check = &check,
    },
    .{
        .name = "first-start",
        .asks = "two threads make the first calls of the process",
        .setup = &nothing,
        .threads = .{ &start, &start, null },
        .check = &check,
    },
    .{
        .name = "first-start-all",
        .asks = "three threads make the first calls of the process",
        .long = true,
        .setup = &nothing,
        .threads = .{ &start, &start, &start },
        .check = &check,
    },
};

fn nothing() callconv(.c) void {
    region.purge.decay_ms = -1;
}

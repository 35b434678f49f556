//! hotpath: the small benchmark. One case a process; malloc and free are the dynamic symbols of
//! libc, so that LD_PRELOAD chooses the allocator. Prints one JSON object on stdout. Its tables are
//! mapped, and the counters are read outside the measured stretch, so that only malloc is seen.
const std = @import("std");
const linux = std.os.linux;
const counters = @import("counters.zig");
const crowd = @import("crowd.zig");
const machine = @import("machine.zig");
const Random = @import("random.zig").Random;
const malloc = machine.malloc;
const free = machine.free;
const touched = machine.touched;
const pages = machine.pages;

const usage =
    \\usage: hotpath CASE [--ops N]
    \\  pair SIZE      malloc(SIZE) and free of it, over and over
    \\  batch SIZE N   N times malloc(SIZE), then N times free, oldest first
    \\  replace N      one of N live blocks of 16-511 bytes at random is freed and made anew
    \\  remote         one thread allocates blocks of 64 bytes, another frees them
    \\  floor          one malloc in an otherwise empty program: see rss_kib
    \\  idle N         N threads that called malloc and free once: rss_kib is what a thread costs
    \\  spent N        N threads that replaced among 500 blocks of 16 bytes to 64 KiB and freed
    \\                 them all: rss_kib is what is left, a thread
    \\  threads N      N threads replace among 1,000 blocks of their own: ns_per_op is the wall
    \\                 time of all divided by the operations of all
    \\  swing MIB      blocks of 1 MiB, doubling up to MIB, and back, each touched page by page
    \\                 and freed; from the fourth such swing on, ns_per_op is for a page
    \\
;

const blocks_max = 1 << 26;
const size_max = 1 << 40;
const ops_max = 1 << 40;
const swing_max = 1 << 16; // MiB

const Case = union(enum) {
    pair: usize,
    batch: struct { size: usize, count: usize },
    replace: usize,
    remote,
    floor,
    idle: u32,
    spent: u32,
    threads: u32,
    swing: usize,
};

const Result = struct {
    ops: u64,
    cost: counters.Cost = .unknown,
    /// In place of what the process has resident at its end.
    resident_kib: ?u64 = null,
};

pub fn main(init: std.process.Init.Minimal) u8 {
    var arguments = init.args.iterate();
    _ = arguments.skip();
    var texts: [8][]const u8 = undefined;
    var count: usize = 0;
    var ops_wanted: ?u64 = null;
    while (arguments.next()) |argument| {
        if (std.mem.eql(u8, argument, "--ops")) {
            const text = arguments.next() orelse return refuse("--ops needs a number", "");
            ops_wanted = parse(text, ops_max) orelse return refuse("bad number of --ops: ", text);
        } else if (count == texts.len) {
            return refuse("too many arguments: ", argument);
        } else {
            texts[count] = argument;
            count += 1;
        }
    }
    if (count == 0) return refuse("which case?", "");
    const case = parseCase(texts[0..count]) orelse
        return refuse("no such case, or not its numbers: ", texts[0]);
    const result = run(case, ops_wanted) orelse return fail("out of memory");
    return report(texts[0..count], result);
}

fn parseCase(texts: []const []const u8) ?Case {
    if (texts.len == 0) return null;
    const tag = std.meta.stringToEnum(std.meta.Tag(Case), texts[0]) orelse return null;
    const numbers: usize = switch (tag) {
        .pair, .replace, .idle, .spent, .threads, .swing => 1,
        .batch => 2,
        .remote, .floor => 0,
    };
    if (texts.len != 1 + numbers) return null;
    return switch (tag) {
        .pair => .{ .pair = parse(texts[1], size_max) orelse return null },
        .batch => .{ .batch = .{
            .size = parse(texts[1], size_max) orelse return null,
            .count = parse(texts[2], blocks_max) orelse return null,
        } },
        .replace => .{ .replace = parse(texts[1], blocks_max) orelse return null },
        .remote => .remote,
        .floor => .floor,
        .idle => .{ .idle = parseThreads(texts[1]) orelse return null },
        .spent => .{ .spent = parseThreads(texts[1]) orelse return null },
        .threads => .{ .threads = parseThreads(texts[1]) orelse return null },
        .swing => .{ .swing = parse(texts[1], swing_max) orelse return null },
    };
}

fn parseThreads(text: []const u8) ?u32 {
    return @intCast(parse(text, crowd.threads_max) orelse return null);
}

/// A number from 1 to `high`.
fn parse(text: []const u8, high: u64) ?u64 {
    const value = std.fmt.parseInt(u64, text, 10) catch return null;
    return if (value >= 1 and value <= high) value else null;
}

/// Null when the allocator has no memory left.
fn run(case: Case, ops: ?u64) ?Result {
    return switch (case) {
        .pair => |size| runPair(size, ops orelse 20_000_000),
        .batch => |batch| runBatch(batch.size, batch.count, ops orelse 20_000_000),
        .replace => |count| runReplace(count, ops orelse 4_000_000),
        .remote => runRemote(ops orelse 4_000_000),
        .floor => runFloor(),
        .idle => |count| runCrowd(count, 1, .once),
        .spent => |count| runSpent(count, ops orelse 1_600_000),
        .threads => |count| runThreads(count, ops orelse 16_000_000),
        .swing => |mib| runSwing(mib, ops orelse 4_000_000),
    };
}

/// An operation of this case is one malloc and one free.
fn runPair(size: usize, ops: u64) ?Result {
    var meter = counters.Meter.open();
    for (0..1000) |_| pair(size) orelse return null;
    meter.start();
    for (0..ops) |_| pair(size) orelse return null;
    meter.stop();
    return .{ .ops = ops, .cost = meter.cost() };
}

inline fn pair(size: usize) ?void {
    const block = malloc(size) orelse return null;
    std.mem.doNotOptimizeAway(block);
    free(block);
}

/// An operation of this case is one malloc and one free.
fn runBatch(size: usize, count: usize, ops: u64) ?Result {
    const blocks = pages([*]u8, count) orelse return null;
    const rounds = ops / count + 1;
    var meter = counters.Meter.open();
    for (0..rounds + 1) |round| {
        if (round == 1) meter.start(); // The first round warms up.
        for (blocks) |*block| block.* = touched(size) orelse return null;
        for (blocks) |block| free(block);
    }
    meter.stop();
    return .{ .ops = rounds * count, .cost = meter.cost() };
}

/// An operation of this case is one free and one malloc at a random place among the live blocks.
fn runReplace(count: usize, ops: u64) ?Result {
    const blocks = pages([*]u8, count) orelse return null;
    var random: Random = .{};
    for (blocks) |*block| block.* = touched(random.size()) orelse return null;
    var meter = counters.Meter.open();
    const warm_up = count;
    for (0..warm_up + ops) |turn| {
        if (turn == warm_up) meter.start();
        const block = &blocks[random.below(count)];
        free(block.*);
        block.* = touched(random.size()) orelse return null;
    }
    meter.stop();
    return .{ .ops = ops, .cost = meter.cost() };
}

fn runFloor() ?Result {
    const block = malloc(1) orelse return null;
    std.mem.doNotOptimizeAway(block);
    return .{ .ops = 1 };
}

/// An operation is all that a thread does.
fn runCrowd(count: u32, ops: u64, work: crowd.Work) ?Result {
    const outcome = crowd.run(count, work) orelse return null;
    return .{
        .ops = ops * count,
        .cost = .{ .cycles = null, .instructions = null, .nanoseconds = outcome.nanoseconds },
        .resident_kib = if (outcome.grown_kib) |kib| (kib + count / 2) / count else null,
    };
}

fn runSpent(count: u32, ops: u64) ?Result {
    const each = ops / count + 1;
    return runCrowd(count, each, .{ .variety = .{ .blocks = 500, .ops = each } });
}

/// An operation is one free and one malloc of any thread.
fn runThreads(count: u32, ops: u64) ?Result {
    const each = ops / count + 1;
    return runCrowd(count, each, .{ .replace = .{ .blocks = 1000, .ops = each } });
}

/// An operation of this case is one page of 4 KiB touched, in a block that came and went for it.
fn runSwing(mib_max: usize, ops: u64) ?Result {
    const swings_to_learn = 3;
    var meter = counters.Meter.open();
    for (0..swings_to_learn) |_| _ = swing(mib_max) orelse return null;
    var touched_pages: u64 = 0;
    meter.start();
    while (touched_pages < ops) touched_pages += swing(mib_max) orelse return null;
    meter.stop();
    return .{ .ops = touched_pages, .cost = meter.cost() };
}

/// The pages that were touched.
fn swing(mib_max: usize) ?u64 {
    var mib: usize = 1;
    var count: u64 = 0;
    while (mib <= mib_max) : (mib *= 2) count += touchPages(mib << 20) orelse return null;
    while (mib > 1) {
        mib /= 2;
        count += touchPages(mib << 20) orelse return null;
    }
    return count;
}

fn touchPages(size: usize) ?u64 {
    const block = malloc(size) orelse return null;
    var offset: usize = 0;
    while (offset < size) : (offset += 4096) {
        @as(*volatile u8, @ptrCast(&block[offset])).* = 1;
    }
    free(block);
    return size / 4096;
}

/// Blocks change hands in batches, and waiting is outside the measured stretches. An operation of
/// this case is one malloc by one thread and one free by the other.
const Handover = struct {
    const batch = 1000;
    blocks: [batch][*]u8 = undefined,
    /// 0: empty, the producer's; 1: full, the consumer's. Each stores it with release once it has
    /// finished with `blocks`; the other's acquire load sees them as they were left.
    full: std.atomic.Value(u32) = .init(0),
    rounds: u64,
    cost: counters.Cost = .unknown,

    fn waitFor(handover: *Handover, full: u32) void {
        while (handover.full.load(.acquire) != full) std.Thread.yield() catch {};
    }

    fn consume(handover: *Handover) void {
        var meter = counters.Meter.open();
        for (0..handover.rounds) |_| {
            handover.waitFor(1);
            meter.start();
            for (handover.blocks) |block| free(block);
            meter.stop();
            handover.full.store(0, .release); // Pairs with the acquire load in `waitFor`.
        }
        handover.cost = meter.cost();
    }
};

fn runRemote(ops: u64) ?Result {
    var handover: Handover = .{ .rounds = ops / Handover.batch + 1 };
    const consumer = std.Thread.spawn(.{}, Handover.consume, .{&handover}) catch return null;
    var meter = counters.Meter.open();
    for (0..handover.rounds) |_| {
        handover.waitFor(0);
        meter.start();
        for (&handover.blocks) |*block| block.* = touched(64) orelse return null;
        meter.stop();
        handover.full.store(1, .release); // Pairs with the acquire load in `waitFor`.
    }
    consumer.join();
    return .{
        .ops = handover.rounds * Handover.batch,
        .cost = meter.cost().plus(handover.cost),
    };
}

fn report(texts: []const []const u8, result: Result) u8 {
    const resident = result.resident_kib orelse machine.residentKib();
    var buffer: [1024]u8 = undefined;
    var out: std.Io.Writer = .fixed(&buffer);
    print(&out, texts, result, resident) catch return fail("the case has too long a name");
    const text = out.buffered();
    const written = linux.write(1, text.ptr, text.len);
    return if (written == text.len) 0 else fail("stdout cannot be written to");
}

fn print(
    out: *std.Io.Writer,
    texts: []const []const u8,
    result: Result,
    resident: ?u64,
) std.Io.Writer.Error!void {
    try out.writeAll("{\"case\":\"");
    for (texts, 0..) |text, index| try out.print("{s}{s}", .{ if (index > 0) " " else "", text });
    try out.print("\",\"ops\":{d}", .{result.ops});
    try number(out, "cycles_per_op", perOp(result.cost.cycles, result.ops));
    try number(out, "instructions_per_op", perOp(result.cost.instructions, result.ops));
    try number(out, "ns_per_op", perOp(result.cost.nanoseconds, result.ops));
    if (resident) |kib| {
        try out.print(",\"rss_kib\":{d}}}\n", .{kib});
    } else {
        try out.writeAll(",\"rss_kib\":null}\n");
    }
}

fn perOp(total: ?u64, ops: u64) ?f64 {
    return @as(f64, @floatFromInt(total orelse return null)) / @as(f64, @floatFromInt(ops));
}

fn number(out: *std.Io.Writer, name: []const u8, value: ?f64) std.Io.Writer.Error!void {
    if (value) |known| {
        try out.print(",\"{s}\":{d:.3}", .{ name, known });
    } else {
        try out.print(",\"{s}\":null", .{name});
    }
}

fn complain(message: []const u8, detail: []const u8) void {
    for ([_][]const u8{ "hotpath: ", message, detail, "\n" }) |text| {
        _ = linux.write(2, text.ptr, text.len);
    }
}

fn refuse(message: []const u8, detail: []const u8) u8 {
    complain(message, detail);
    _ = linux.write(2, usage, usage.len);
    return 2;
}

fn fail(message: []const u8) u8 {
    complain(message, "");
    return 1;
}

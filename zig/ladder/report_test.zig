//! The report on the real rungs: what each rung must show holds, whatever the machine's speed; and
//! both forms of the report are whole.
const std = @import("std");
const ladder = @import("ladder.zig");
const evidence_file = @import("evidence.zig");
const score = @import("score.zig");
const report = @import("report.zig");
const Trace = @import("trace.zig").Trace;
const expect = std.testing.expect;

fn subjectOf(name: []const u8, kind: ladder.source.Kind) score.Subject {
    const rung = ladder.find(name).?;
    return .{ .open = rung.open, .view = rung.view, .kind = kind };
}

fn gather(name: []const u8) evidence_file.Evidence {
    return evidence_file.gather(subjectOf(name, .sbrk), 7);
}

test "bump: 1,000 rising addresses at one distance, and a heap that grows in a line" {
    const seen = gather("bump");
    try expect(seen.growth.?.rising == 999);
    try expect(seen.growth.?.distance.? == 80);
    try expect(seen.growth.?.pairs_grow == 1000 * 80);
    try expect(seen.crumbs.?.free.?.count == 0);
}

test "splitting: leftovers serve small requests" {
    try expect(gather("first-fit").leftovers.?.grown > 99 * 64);
    for ([_][]const u8{ "first-fit-split", "first-fit-coalesce", "best-fit" }) |name| {
        try expect(gather(name).leftovers.?.grown == 0);
    }
    for ([_][]const u8{ "boundary-tag", "buddy" }) |name| {
        try expect(gather(name).leftovers.?.grown == 0);
    }
}

test "coalescing: crumbs become blocks that larger requests fit into" {
    for ([_][]const u8{ "first-fit", "first-fit-split" }) |name| {
        const seen = gather(name).crumbs.?;
        try expect(seen.unusable_pct.? == 100);
        try expect(seen.free.?.count == 1960);
        try expect(seen.grown > 100 * 4096);
    }
    for ([_][]const u8{ "first-fit-coalesce", "best-fit", "boundary-tag" }) |name| {
        const seen = gather(name).crumbs.?;
        try expect(seen.unusable_pct.? < 5);
        try expect(seen.free.?.count <= 41);
        try expect(seen.grown == 0);
        try expect(seen.external_pct.? < 99);
    }
    try expect(gather("buddy").crumbs.?.unusable_pct.? < 30);
    try expect(gather("buddy").crumbs.?.grown == 0);
}

test "headers and rounding: the tag is the cheapest, powers of two the dearest" {
    const tag = gather("boundary-tag").internal.?.internal_pct;
    const header = gather("first-fit").internal.?.internal_pct;
    const list = gather("first-fit-coalesce").internal.?.internal_pct;
    const slab = gather("slab").internal.?.internal_pct;
    const buddy = gather("buddy").internal.?.internal_pct;
    try expect(tag < header);
    try expect(header < list);
    try expect(list < slab);
    try expect(slab < buddy);
    const core = gather("core").internal.?.internal_pct;
    try expect(core > 0 and core < slab + 5);
}

test "size classes: first-fit looks at many blocks where slab looks at one" {
    const slab = gather("slab").search;
    const first_fit = gather("first-fit").search;
    for (slab, first_fit, 0..) |one, many, index| {
        try expect(one.?.looked_per_malloc.? == 1);
        if (index > 0) try expect(many.?.looked_per_malloc.? > 10);
    }
    for (gather("buddy").search) |few| try expect(few.?.looked_per_malloc.? < 3);
    // Looking at all of a short list to find the best.
    try expect(gather("best-fit").search[0].?.looked_per_malloc.? >
        gather("first-fit-coalesce").search[0].?.looked_per_malloc.?);
}

test "large blocks leave the break where it was, on every rung" {
    for (ladder.rungs) |rung| {
        const seen = gather(rung.name).program_break.?;
        try expect(seen.moved == 0);
        try expect(seen.held >= 55 * 128 * 1024);
    }
}

test "what depends on layout alone repeats exactly" {
    for (ladder.rungs[0 .. ladder.rungs.len - 1]) |rung| {
        const once = gather(rung.name);
        const again = gather(rung.name);
        try std.testing.expectEqual(once.crumbs, again.crumbs);
        try std.testing.expectEqual(once.internal, again.internal);
        for (once.search, again.search) |left, right| {
            try expect(left.?.looked_per_malloc.? == right.?.looked_per_malloc.?);
        }
    }
}

test "the score: in parts, and none for a trace that was not got through" {
    try expect(score.score(1, 5, 5) == 100);
    try expect(score.score(1, 10, 5) == 100);
    try expect(score.score(0.5, 1, 2) == 50);
    const long: Trace = .{ .name = "long", .id_count = 1200, .ops = &thousand_kilobytes };
    const bump = subjectOf("bump", .fake);
    try expect(score.utilisation(bump, &long) == null);
    try expect(score.throughput(bump, &long, 1) == null);
    const fits: Trace = .{ .name = "fits", .id_count = 1200, .ops = thousand_kilobytes[0..900] };
    const utilised = score.utilisation(bump, &fits).?;
    try expect(utilised > 0.9 and utilised < 1);
    try expect(score.throughput(bump, &fits, 1).? > 0);
}

const thousand_kilobytes: [1200]@import("trace.zig").Op = blk: {
    @setEvalBranchQuota(10_000);
    var ops: [1200]@import("trace.zig").Op = undefined;
    for (&ops, 0..) |*op, id| op.* = .{ .kind = .allocate, .id = id, .size = 1000 };
    break :blk ops;
};

/// The core stands for libc's malloc here.
fn options(json: bool, fake_heap: bool) report.Options {
    return .{
        .json = json,
        .fake_heap = fake_heap,
        .libc = ladder.find("core").?.open(.sbrk).?,
        .replays = 1,
        .rounds = 1,
    };
}

test "the report as text has every rung in every table" {
    var out: std.Io.Writer.Allocating = .init(std.testing.allocator);
    defer out.deinit();
    try report.report(&out.writer, options(false, false));
    const text = out.written();
    for (ladder.rungs) |rung| {
        const least: usize = if (rung.view == null) 7 else 8;
        try expect(std.mem.count(u8, text, rung.name) >= least);
    }
    for ([_][]const u8{ "Growth:", "Splitting:", "Coalescing:", "Size classes:" }) |heading| {
        try expect(std.mem.find(u8, text, heading) != null);
    }
    try expect(std.mem.find(u8, text, report.formula) != null);
    try expect(std.mem.find(u8, text, "nan") == null);
    try expect(std.mem.find(u8, text, "inf") == null);
}

test "the report as JSON is one object with a row for each rung" {
    var out: std.Io.Writer.Allocating = .init(std.testing.allocator);
    defer out.deinit();
    try report.report(&out.writer, options(true, true));
    const Wanted = struct {
        seed: u64,
        fake_heap: bool,
        formula: []const u8,
        rungs: []const struct {
            name: []const u8,
            score: f64,
            traces: []const struct { utilisation: ?f64, score: f64 },
        },
    };
    const parsed = try std.json.parseFromSlice(Wanted, std.testing.allocator, out.written(), .{
        .ignore_unknown_fields = true,
    });
    defer parsed.deinit();
    const value = parsed.value;
    try expect(value.fake_heap);
    try expect(value.rungs.len == ladder.rungs.len - 1);
    for (value.rungs) |rung| {
        var sum: f64 = 0;
        for (rung.traces) |trace| {
            try expect(trace.score >= 0 and trace.score <= 100);
            sum += trace.score;
        }
        const mean = sum / @as(f64, @floatFromInt(rung.traces.len));
        try std.testing.expectApproxEqAbs(mean, rung.score, 0.001);
    }
}

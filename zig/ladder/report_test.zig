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

/// One field of a rung's evidence.
fn see(comptime field: []const u8, name: []const u8) @FieldType(evidence_file.Evidence, field) {
    return evidence_file.gatherOne(field, subjectOf(name, .sbrk), 7);
}

test "bump: 1,000 rising addresses at one distance, and a heap that grows in a line" {
    const seen = see("growth", "bump").?;
    try expect(seen.rising == 999);
    try expect(seen.distance.? == 80);
    try expect(seen.pairs_grow == 1000 * 80);
    try expect(see("crumbs", "bump").?.free.?.count == 0);
}

test "splitting: leftovers serve small requests" {
    try expect(see("leftovers", "first-fit").?.grown > 99 * 64);
    for ([_][]const u8{ "first-fit-split", "first-fit-coalesce", "best-fit" }) |name| {
        try expect(see("leftovers", name).?.grown == 0);
    }
    for ([_][]const u8{ "boundary-tag", "buddy" }) |name| {
        try expect(see("leftovers", name).?.grown == 0);
    }
}

test "coalescing: crumbs become blocks that larger requests fit into" {
    for ([_][]const u8{ "first-fit", "first-fit-split" }) |name| {
        const seen = see("crumbs", name).?;
        try expect(seen.unusable_pct.? == 100);
        try expect(seen.free.?.count == 1960);
        try expect(seen.grown > 100 * 4096);
    }
    for ([_][]const u8{ "first-fit-coalesce", "best-fit", "boundary-tag" }) |name| {
        const seen = see("crumbs", name).?;
        try expect(seen.unusable_pct.? < 5);
        try expect(seen.free.?.count <= 41);
        try expect(seen.grown == 0);
        try expect(seen.external_pct.? < 99);
    }
    try expect(see("crumbs", "buddy").?.unusable_pct.? < 30);
    try expect(see("crumbs", "buddy").?.grown == 0);
}

test "headers and rounding: the tag is the cheapest, powers of two the dearest" {
    const tag = see("internal", "boundary-tag").?.internal_pct;
    const header = see("internal", "first-fit").?.internal_pct;
    const list = see("internal", "first-fit-coalesce").?.internal_pct;
    const slab = see("internal", "slab").?.internal_pct;
    const buddy = see("internal", "buddy").?.internal_pct;
    try expect(tag < header);
    try expect(header < list);
    try expect(list < slab);
    try expect(slab < buddy);
    const core = see("internal", "core").?.internal_pct;
    try expect(core > 0 and core < slab + 5);
}

test "size classes: first-fit looks at many blocks where slab looks at one" {
    const slab = see("search", "slab");
    const first_fit = see("search", "first-fit");
    for (slab, first_fit, 0..) |one, many, index| {
        try expect(one.?.looked_per_malloc.? == 1);
        if (index > 0) try expect(many.?.looked_per_malloc.? > 10);
    }
    for (see("search", "buddy")) |few| try expect(few.?.looked_per_malloc.? < 3);
    // Looking at all of a short list to find the best.
    try expect(see("search", "best-fit")[0].?.looked_per_malloc.? >
        see("search", "first-fit-coalesce")[0].?.looked_per_malloc.?);
}

test "large blocks leave the break where it was, on every rung" {
    for (ladder.rungs) |rung| {
        const seen = see("program_break", rung.name).?;
        try expect(seen.moved == 0);
        try expect(seen.held >= 55 * 128 * 1024);
    }
}

test "what depends on layout alone repeats exactly" {
    for (ladder.rungs[0 .. ladder.rungs.len - 1]) |rung| {
        inline for (.{ "leftovers", "crumbs", "internal" }) |field| {
            try std.testing.expectEqual(see(field, rung.name), see(field, rung.name));
        }
    }
    const once = see("search", "first-fit")[1].?;
    const again = see("search", "first-fit")[1].?;
    try expect(once.looked_per_malloc.? == again.looked_per_malloc.?);
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

//! The ladder's report as text: a table for each thing that is shown, rungs from the lowest up.
const std = @import("std");
const free_sizes = @import("free_sizes.zig");
const report = @import("report.zig");
const Writer = std.Io.Writer;
const Report = report.Report;

pub fn write(out: *Writer, result: Report) Writer.Error!void {
    try out.print("ladder seed={d} heap={s}\n\n", .{
        result.seed, if (result.fake_heap) "fake, 1 MiB" else "sbrk",
    });
    for (result.rungs) |rung| try out.print("  {s: <18}  {s}\n", .{ rung.name, rung.idea });
    try writeGrowth(out, result);
    try writeLeftovers(out, result);
    try writeCrumbs(out, result);
    try writeInternal(out, result);
    try writeSearch(out, result);
    if (!result.fake_heap) try writeProgramBreak(out, result);
    try writeScores(out, result);
}

fn writeGrowth(out: *Writer, result: Report) Writer.Error!void {
    try out.writeAll(
        \\
        \\Growth: 1,000 mallocs of 64 bytes, then 1,000 pairs of malloc and free
        \\                    addresses rise  bytes apart  the pairs grow the heap by
        \\
    );
    for (result.rungs) |rung| {
        try out.print("  {s: <18}", .{rung.name});
        const growth = rung.evidence.growth orelse {
            try out.writeAll("  out of memory\n");
            continue;
        };
        try out.print("  {d: >3} of 999  ", .{growth.rising});
        if (growth.distance) |bytes| try out.print("    {d: >11}", .{bytes}) else {
            try out.print("    {s: >11}", .{"-"});
        }
        try out.print("  {d: >26}\n", .{growth.pairs_grow});
    }
}

fn writeLeftovers(out: *Writer, result: Report) Writer.Error!void {
    try out.writeAll(
        \\
        \\Splitting: a block of 64 KiB is freed, then 100 blocks of 64 bytes are wanted
        \\                    the heap grows by
        \\
    );
    for (result.rungs) |rung| {
        try out.print("  {s: <18}", .{rung.name});
        if (rung.evidence.leftovers) |seen| try out.print("  {d: >17}\n", .{seen.grown}) else {
            try out.writeAll("  out of memory\n");
        }
    }
}

fn writeCrumbs(out: *Writer, result: Report) Writer.Error!void {
    try out.writeAll(
        \\
        \\Coalescing: of 2,000 blocks of 16 to 511 bytes all but 40 are freed; then 100 of 4 KiB are
        \\wanted. External: free memory beside the largest block; unusable: in blocks below 4 KiB
        \\                      free   bytes  largest  external  unusable  the heap grows by
        \\
    );
    for (result.rungs) |rung| {
        try out.print("  {s: <18}", .{rung.name});
        const crumbs = rung.evidence.crumbs orelse {
            try out.writeAll("  out of memory\n");
            continue;
        };
        if (crumbs.free) |sizes| {
            try out.print("  {d: >4}  {d: >6}  {d: >7}  {d: >6.1} %  {d: >6.1} %", .{
                sizes.count,
                sizes.bytes,
                sizes.largest,
                sizes.externalPct(),
                sizes.unusablePct(),
            });
        } else {
            try out.print("  {s: >4}  {s: >6}  {s: >7}  {s: >8}  {s: >8}", .{
                "-", "-", "-", "-", "-",
            });
        }
        try out.print("  {d: >17}\n", .{crumbs.grown});
    }
    try writeDistribution(out, result);
}

const bucket_width = 6;

fn writeDistribution(out: *Writer, result: Report) Writer.Error!void {
    try out.writeAll("\n  free blocks then, by size (from)\n                    ");
    const shown = 13;
    for (0..shown) |index| {
        const from = @as(usize, 16) << @intCast(index);
        var buffer: [8]u8 = undefined;
        const label = if (from < 1024)
            std.fmt.bufPrint(&buffer, "{d}", .{from}) catch unreachable
        else
            std.fmt.bufPrint(&buffer, "{d}K", .{from / 1024}) catch unreachable;
        try out.print("{s: >[1]}", .{ label, bucket_width });
    }
    try out.writeByte('\n');
    for (result.rungs) |rung| {
        const crumbs = rung.evidence.crumbs orelse continue;
        const sizes = crumbs.free orelse continue;
        try out.print("  {s: <18}", .{rung.name});
        for (0..shown) |index| {
            var count = sizes.buckets[index];
            if (index == shown - 1) for (sizes.buckets[shown..]) |more| {
                count += more;
            };
            if (count == 0) try out.print("{s: >[1]}", .{ ".", bucket_width }) else {
                try out.print("{d: >[1]}", .{ count, bucket_width });
            }
        }
        try out.writeByte('\n');
    }
}

fn writeInternal(out: *Writer, result: Report) Writer.Error!void {
    try out.writeAll(
        \\
        \\Rounding and headers: 1,000 blocks of 1 to 1,000 bytes, nothing freed
        \\                    requested     taken  internal
        \\
    );
    for (result.rungs) |rung| {
        try out.print("  {s: <18}", .{rung.name});
        if (rung.evidence.internal) |seen| {
            try out.print("  {d: >9}  {d: >8}  {d: >6.1} %\n", .{
                seen.requested, seen.held, seen.internal_pct,
            });
        } else try out.writeAll("  out of memory\n");
    }
}

fn writeSearch(out: *Writer, result: Report) Writer.Error!void {
    try out.writeAll(
        \\
        \\Size classes: blocks of 8 to 128 bytes, replaced at random, by number of live blocks
        \\                     free blocks looked at per malloc     ns for a malloc and a free
        \\
    );
    try out.print("  {s: <18}", .{"live"});
    for (0..2) |_| {
        for (result.live_counts) |live| try out.print("  {d: >8}", .{live});
    }
    try out.writeByte('\n');
    for (result.rungs) |rung| {
        try out.print("  {s: <18}", .{rung.name});
        for (rung.evidence.search) |seen| {
            const looked = if (seen) |known| known.looked_per_malloc else null;
            try writeOptional(out, looked);
        }
        for (rung.evidence.search) |seen| {
            try writeOptional(out, if (seen) |known| known.ns_per_pair else null);
        }
        try out.writeByte('\n');
    }
    try out.print("\n  {s: <48}", .{"slab, times as fast as first-fit"});
    for (result.slab_speedup) |times| try writeOptional(out, times);
    try out.writeByte('\n');
}

fn writeOptional(out: *Writer, value: ?f64) Writer.Error!void {
    if (value) |known| return out.print("  {d: >8.1}", .{known});
    try out.print("  {s: >8}", .{"-"});
}

fn writeProgramBreak(out: *Writer, result: Report) Writer.Error!void {
    try out.writeAll(
        \\
        \\Large blocks: ten of 128 KiB to 1.25 MiB
        \\                    the program break moves by      held
        \\
    );
    for (result.rungs) |rung| {
        try out.print("  {s: <18}", .{rung.name});
        if (rung.evidence.program_break) |seen| {
            try out.print("  {d: >26}  {d: >8}\n", .{ seen.moved, seen.held });
        } else try out.writeAll("  out of memory\n");
    }
}

fn writeScores(out: *Writer, result: Report) Writer.Error!void {
    try out.print("\nmalloc-lab score: {s}\n", .{report.formula});
    try out.writeAll(
        \\(of each trace: utilisation, and throughput in % of libc's; -: did not get through)
        \\
        \\
    );
    var first: usize = 0;
    while (first < result.traces.len) : (first += traces_in_line) {
        const end = @min(first + traces_in_line, result.traces.len);
        try writeScoresOf(out, result, first, end);
    }
}

/// More would not fit into a terminal.
const traces_in_line = 6;

/// The traces from `first` to before `end`, and beside the last of all the score.
fn writeScoresOf(out: *Writer, result: Report, first: usize, end: usize) Writer.Error!void {
    const is_last = end == result.traces.len;
    if (first > 0) try out.writeByte('\n');
    try out.print("  {s: <18}", .{""});
    for (result.traces[first..end]) |trace| try out.print("  {s: >11}", .{shortened(trace.name)});
    try out.writeAll(if (is_last) "  score\n" else "\n");
    for (result.rungs) |rung| {
        try out.print("  {s: <18}", .{rung.name});
        for (rung.traces[first..end], result.traces[first..end]) |cell, trace| {
            if (cell.utilisation == null or cell.ops_per_second == null) {
                try out.print("  {s: >11}", .{"-"});
                continue;
            }
            const reference = trace.libc_ops_per_second orelse cell.ops_per_second.?;
            try out.print("  {d: >3.0} %{d: >4.0} %", .{
                100 * cell.utilisation.?, 100 * cell.ops_per_second.? / reference,
            });
        }
        if (is_last) try out.print("  {d: >5.1}", .{rung.score});
        try out.writeByte('\n');
    }
}

/// The end of a file name says more than its beginning.
fn shortened(name: []const u8) []const u8 {
    const base = std.fs.path.basename(name);
    const stem = if (std.mem.endsWith(u8, base, ".rep")) base[0 .. base.len - 4] else base;
    return stem[0..@min(stem.len, 11)];
}

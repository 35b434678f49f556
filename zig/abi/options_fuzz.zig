//! Fuzz target: any bytes as options. Nothing crashes, every setting stays one that the library
//! can work with, what was not understood is told in one line each, no control character in it.
//! Part of `zig build test` with a few inputs; `zig build test --fuzz=1M -Dtest-filter=fuzz:` for
//! as many as one likes.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const heap = @import("heap");
const log = @import("log.zig");
const options = @import("options.zig");
const t = base.tunables;

const Settings = struct {
    decay_ms: i64,
    mmap_threshold: usize,
    huge_pages: bool,
    foreign: options.Foreign,
    level: u8,

    fn get() Settings {
        return .{
            .decay_ms = region.purge.decay_ms,
            .mmap_threshold = heap.slow.mmap_threshold,
            .huge_pages = region.space.huge_pages,
            .foreign = options.foreign,
            .level = options.level,
        };
    }

    fn restore(settings: Settings) void {
        region.purge.decay_ms = settings.decay_ms;
        heap.slow.mmap_threshold = settings.mmap_threshold;
        region.space.huge_pages = settings.huge_pages;
        options.foreign = settings.foreign;
        options.level = settings.level;
        options.stats_file = @splat(0);
        log.file = @splat(0);
    }

    fn check(settings: Settings) !void {
        if (settings.decay_ms < -1 or settings.decay_ms > std.math.maxInt(i32)) return error.Decay;
        if (settings.mmap_threshold < t.medium_size_max) return error.ThresholdLow;
        if (settings.mmap_threshold > t.gib) return error.ThresholdHigh;
        if (settings.level > 3) return error.Level;
        for ([_]*const [options.path_max:0]u8{ &options.stats_file, &log.file }) |path| {
            if (path[options.path_max] != 0) return error.PathWithoutEnd;
        }
    }
};

/// Bytes alone seldom make a name: where the input has these, a word stands in the text.
const words = names ++ marks ++ values;
const names = [_][]const u8{
    "decay_ms", "foreign", "level", "log", "mmap_threshold", "stats_at_exit", "thp",
};
const marks = [_][]const u8{ ":", ",", "\n" };
const values = [_][]const u8{
    "never", "auto", "abort", "forward",    "ignore",               "-1", "0",
    "1k",    "2m",   "1g",    "2147483647", "18446744073709551616",
};
const word_first = 0x80;

fn textOf(input: []const u8, buffer: []u8) []const u8 {
    var used: usize = 0;
    for (input) |byte| {
        const index = byte -% word_first;
        const piece = if (index < words.len) words[index] else &[_]u8{byte};
        if (used + piece.len > buffer.len) break;
        @memcpy(buffer[used..][0..piece.len], piece);
        used += piece.len;
    }
    return buffer[0..used];
}

fn runInput(_: void, smith: *std.testing.Smith) !void {
    var input: [600]u8 = undefined;
    var buffer: [2048]u8 = undefined;
    const text = textOf(input[0..smith.slice(&input)], &buffer);
    var lines: [128 * 1024]u8 = undefined;
    var told: base.Text = .{ .buffer = &lines };
    const before: Settings = .get();
    defer before.restore();
    os.report.captured = &told;
    defer os.report.captured = null;
    const understood = options.parse(text);
    const after: Settings = .get();
    try after.check();
    if (!understood and told.slice().len == 0) return error.NothingTold;
    var each = std.mem.splitScalar(u8, told.slice(), '\n');
    while (each.next()) |line| {
        for (line) |byte| if (std.ascii.isControl(byte)) return error.ControlCharacter;
    }
    if (std.mem.count(u8, told.slice(), "\n") > std.mem.count(u8, text, "\n") +
        std.mem.count(u8, text, ",") + 1) return error.MoreThanALineEach;
}

test "fuzz: options" {
    var buffer: [4096]u8 = undefined;
    if (try os.fuzz_input.of("options", &buffer)) |input| {
        return std.testing.fuzz({}, runInput, .{ .corpus = &.{input} });
    }
    const seed = 0x5eed_0603;
    errdefer std.debug.print("the corpus is of seed {x}\n", .{seed});
    var corpus: base.script.Corpus(200, 60) = undefined;
    corpus.fill(seed);
    // Pairs, so that some inputs are understood; every fourth is left as it is.
    for (&corpus.storage, 0..) |*bytes, index| {
        if (index % 4 == 0) continue;
        for (bytes[4..], 0..) |*byte, place| {
            byte.* = word_first + switch (place % 4) {
                0 => byte.* % @as(u8, names.len),
                1 => @as(u8, names.len),
                2 => byte.* % @as(u8, words.len),
                else => @as(u8, names.len + 1),
            };
        }
    }
    try std.testing.fuzz({}, runInput, .{ .corpus = &corpus.inputs });
}

//! The run-time options: one table (name, type, default, what it does), parsed from ALLOC_CONF
//! and, below it, from /etc/liballoc/NAME.conf, NAME being the program's base name. README and
//! the command-line help are checked against this table.
//!
//! An unknown key or a bad value warns once on stderr and is ignored. In secure mode (set-uid
//! programs) nothing is read. Called once, from initialisation, under its lock.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const heap = @import("heap");
const log = @import("log.zig");
const t = base.tunables;

pub const Foreign = enum { forward, abort, ignore };

pub const Option = struct {
    name: []const u8,
    type: []const u8,
    default: []const u8,
    doc: []const u8,
    apply: *const fn ([]const u8) bool,
};

pub const all = [_]Option{
    .{
        .name = "decay_ms",
        .type = "milliseconds up to 2147483647, or -1",
        .default = "100",
        .doc = "age in ms at which freed memory returns to the system; -1: never",
        .apply = setDecay,
    },
    .{
        .name = "foreign",
        .type = "forward, abort or ignore",
        .default = "forward",
        .doc = "a pointer that is not ours: to the next allocator, abort with a line, or leave it",
        .apply = setForeign,
    },
    .{
        .name = "level",
        .type = "0 to 3",
        .default = "0",
        .doc = "safety level; higher levels are not there yet and count as 0",
        .apply = setLevel,
    },
    .{
        .name = "log",
        .type = "a path of 1 to 256 bytes",
        .default = "",
        .doc = "debug library only: append a line per call of the malloc family",
        .apply = setLogFile,
    },
    .{
        .name = "mmap_threshold",
        .type = "bytes from 2m to 1g",
        .default = "32m",
        .doc = "blocks above it have a mapping of their own (2m to 1g)",
        .apply = setThreshold,
    },
    .{
        .name = "stats_at_exit",
        .type = "a path of 1 to 256 bytes",
        .default = "",
        .doc = "append one JSON line of statistics when the process exits",
        .apply = setStatsFile,
    },
    .{
        .name = "thp",
        .type = "auto or never",
        .default = "auto",
        .doc = "huge pages: in heaps over 16 MiB where the system allows them, or never",
        .apply = setHugePages,
    },
};

pub var foreign: Foreign = .forward;
pub var level: u8 = 0;
pub const path_max = 256;
/// Zero-terminated; empty: none.
pub var stats_file: [path_max:0]u8 = @splat(0);

const file_size_max = 4096;
const warning_size_max = 200;

/// Reads all sources; the environment wins.
pub fn load() void {
    if (os.machine.secure()) return;
    loadFile();
    var buffer: [16 * 1024]u8 = undefined;
    if (os.machine.environment("ALLOC_CONF", &buffer)) |text| _ = parse(text);
}

fn loadFile() void {
    var path_buffer: [512]u8 = undefined;
    const program = os.machine.executable(path_buffer[0..256]);
    const slash = std.mem.findScalarLast(u8, program, '/') orelse return;
    const name = program[slash + 1 ..];
    var path: [512:0]u8 = @splat(0);
    var text: base.Text = .{ .buffer = &path };
    text.string("/etc/liballoc/");
    text.string(name);
    text.string(".conf");
    var buffer: [file_size_max]u8 = undefined;
    if (os.machine.readFile(&path, &buffer)) |contents| _ = parse(contents);
}

/// `key:value` pairs separated by commas or line ends. Whether all were understood.
pub fn parse(text: []const u8) bool {
    var understood = true;
    var pairs = std.mem.tokenizeAny(u8, text, ",\n");
    while (pairs.next()) |pair| {
        const trimmed = std.mem.trim(u8, pair, " \t\r");
        if (trimmed.len == 0 or trimmed[0] == '#') continue;
        const colon = std.mem.findScalar(u8, trimmed, ':') orelse {
            warn(&.{ "option '", trimmed, "' has no value: write option:value" });
            understood = false;
            continue;
        };
        if (!set(trimmed[0..colon], trimmed[colon + 1 ..])) understood = false;
    }
    return understood;
}

fn set(name: []const u8, value: []const u8) bool {
    for (all) |option| {
        if (!std.mem.eql(u8, option.name, name)) continue;
        if (option.apply(value)) return true;
        warn(&.{ "option ", name, ": bad value '", value, "', it takes ", option.type });
        return false;
    }
    warn(&.{ "unknown option '", name, "'" });
    return false;
}

/// One line; what is quoted is cut to what may be printed, so that it stays one.
fn warn(parts: []const []const u8) void {
    var buffer: [warning_size_max]u8 = undefined;
    var text: base.Text = .{ .buffer = &buffer };
    for (parts) |part| text.printable(part);
    os.report.warn(text.slice());
}

fn setDecay(value: []const u8) bool {
    if (std.mem.eql(u8, value, "-1")) {
        region.purge.decay_ms = -1;
        return true;
    }
    const number = base.text.parseSize(value) orelse return false;
    region.purge.decay_ms = std.math.cast(u31, number) orelse return false;
    return true;
}

fn setForeign(value: []const u8) bool {
    foreign = std.meta.stringToEnum(Foreign, value) orelse return false;
    return true;
}

fn setLevel(value: []const u8) bool {
    const number = base.text.parseSize(value) orelse return false;
    if (number > 3) return false;
    if (number > 0) os.report.warn("safety levels over 0 are not there yet: using level 0");
    return true;
}

fn setThreshold(value: []const u8) bool {
    const number = base.text.parseSize(value) orelse return false;
    if (number < t.medium_size_max or number > t.gib) return false;
    heap.slow.mmap_threshold = number;
    return true;
}

fn setHugePages(value: []const u8) bool {
    const never = std.mem.eql(u8, value, "never");
    if (!never and !std.mem.eql(u8, value, "auto")) return false;
    region.space.huge_pages = !never;
    return true;
}

fn setStatsFile(value: []const u8) bool {
    return setPath(&stats_file, value);
}

fn setLogFile(value: []const u8) bool {
    if (!log.available) {
        os.report.warn("option log needs the debug library");
        return true;
    }
    return setPath(&log.file, value);
}

fn setPath(path: *[path_max:0]u8, value: []const u8) bool {
    if (value.len == 0 or value.len > path_max) return false;
    path.* = @splat(0);
    @memcpy(path[0..value.len], value);
    return true;
}

test "options: values, and what is refused" {
    try std.testing.expect(parse("decay_ms:250, foreign:abort,\nmmap_threshold:64m"));
    try std.testing.expectEqual(@as(i64, 250), region.purge.decay_ms);
    try std.testing.expectEqual(Foreign.abort, foreign);
    try std.testing.expectEqual(@as(usize, 64 << 20), heap.slow.mmap_threshold);
    try std.testing.expect(!setThreshold("1k"));
    try std.testing.expect(!setThreshold("x"));
    try std.testing.expect(!setForeign("perhaps"));
    try std.testing.expect(!setStatsFile(""));
    try std.testing.expect(!setDecay("99999999999"));
    try std.testing.expect(parse("decay_ms:100,foreign:forward,mmap_threshold:32m"));
}

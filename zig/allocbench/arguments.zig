//! The command line: values, defaults, and what is wrong with a bad one in one line.
const std = @import("std");
const allocators = @import("allocators.zig");
const profiles = @import("profiles.zig");
const sequence = @import("sequence.zig");

pub const profile_usage = "usage: allocbench --profile {small,mixed,large}\n";

pub const usage =
    \\usage: allocbench [--profile NAME | --trace FILE | --pool | --list | --ladder] [OPTION ...]
    \\  --profile NAME    what to do: small, mixed (default), large, or another of --list
    \\  --trace FILE      replay a recording in the format of malloc-lab (.rep) instead
    \\  --seed N          of the random numbers (default 1337)
    \\  --ops N           calls that are measured, 1 to 268435456 (default 200000)
    \\  --allocator NAME  core (default: the library's own heap), system (the process's malloc,
    \\                    so whatever is preloaded), or another of --list
    \\  --threads N       1 to 64 (default 1; 2 where a profile's threads hand blocks over)
    \\  --details         more lines: percentiles, counters, memory, how it was timed
    \\  --histogram       the distribution of latencies
    \\  --brief           no pauses; contents are not checked (so no fragmentation); of one thread
    \\                    only the first 200,000 calls are timed one by one; the rates are of all
    \\  --json            one JSON object instead of text
    \\  --list            the profiles and allocators
    \\  --ladder          what each rung of the ladder of allocators shows; with --trace also there
    \\  --pool            a pool of the library beside the process's malloc: averages, latencies;
    \\                    with --ops (default 1000000), --object-size, --details, --json,
    \\                    --histogram (in the JSON)
    \\  --object-size N   bytes of an object of --pool, 1 to 1048576 (default 64)
    \\  --fake-heap       rungs of the ladder live in a heap of 1 MiB that never grows
    \\
;

const seed_default = 1337;
const ops_default = 200_000;
const pool_ops_default = 1_000_000;
const object_size_default = 64;
const object_size_max = 1 << 20;
const profile_default = "mixed";
const allocator_default = "core";

pub const Arguments = struct {
    profile: *const profiles.Profile,
    trace: ?[:0]const u8 = null,
    seed: u64 = seed_default,
    /// Null: all of a recording.
    ops: ?u64 = null,
    choice: *const allocators.Choice,
    threads: u32 = 1,
    threads_given: bool = false,
    details: bool = false,
    brief: bool = false,
    histogram: bool = false,
    json: bool = false,
    list: bool = false,
    ladder: bool = false,
    pool: bool = false,
    object_size: u64 = object_size_default,
    fake_heap: bool = false,
    help: bool = false,

    pub fn opsWanted(arguments: *const Arguments) u64 {
        return arguments.ops orelse if (arguments.pool) pool_ops_default else ops_default;
    }
};

/// One line that says what is wrong, and the usage that helps.
pub const Problem = struct {
    buffer: [512]u8 = undefined,
    text: []const u8 = "",
    usage: []const u8 = usage,

    fn say(problem: *Problem, comptime format: []const u8, values: anytype) error{Usage} {
        problem.text = std.fmt.bufPrint(&problem.buffer, format, values) catch
            "an argument is too long";
        return error.Usage;
    }
};

const Flag = enum {
    profile,
    trace,
    seed,
    ops,
    allocator,
    threads,
    details,
    histogram,
    brief,
    json,
    list,
    ladder,
    pool,
    @"object-size",
    @"fake-heap",
    help,

    fn takesValue(flag: Flag) bool {
        return switch (flag) {
            .profile, .trace, .seed, .ops, .allocator, .threads, .@"object-size" => true,
            .details, .histogram, .brief, .json, .list, .ladder, .pool => false,
            .@"fake-heap", .help => false,
        };
    }
};

pub fn parse(words: []const [:0]const u8, problem: *Problem) error{Usage}!Arguments {
    var arguments: Arguments = .{
        .profile = profiles.find(profile_default).?,
        .choice = allocators.find(allocator_default).?,
    };
    var given: std.EnumSet(Flag) = .{};
    var position: usize = 0;
    while (position < words.len) : (position += 1) {
        const word = words[position];
        if (!std.mem.startsWith(u8, word, "--")) {
            return problem.say("unexpected argument \"{s}\"", .{word});
        }
        // --name value, or --name=value.
        const split = std.mem.findScalar(u8, word, '=');
        const name = word[2 .. split orelse word.len];
        const flag = std.meta.stringToEnum(Flag, name) orelse
            return problem.say("unknown option \"{s}\"", .{word[0 .. split orelse word.len]});
        if (given.contains(flag)) return problem.say("--{t} is given twice", .{flag});
        given.insert(flag);
        var value: [:0]const u8 = "";
        if (flag.takesValue()) {
            if (split) |at| {
                value = word[at + 1 ..];
            } else {
                position += 1;
                if (position == words.len) return problem.say("--{t} needs a value", .{flag});
                value = words[position];
            }
        } else if (split != null) return problem.say("--{t} takes no value", .{flag});
        try set(&arguments, flag, value, problem);
    }
    try check(&arguments, given, problem);
    return arguments;
}

fn set(arguments: *Arguments, flag: Flag, value: [:0]const u8, problem: *Problem) !void {
    switch (flag) {
        .profile => arguments.profile = profiles.find(value) orelse {
            problem.usage = profile_usage;
            return problem.say("invalid profile \"{s}\"", .{value});
        },
        .trace => arguments.trace = value,
        .seed => arguments.seed = try number(flag, value, 0, std.math.maxInt(u64), problem),
        .ops => arguments.ops = try number(flag, value, 1, sequence.ops_max, problem),
        .allocator => arguments.choice = allocators.find(value) orelse
            return problem.say("invalid allocator \"{s}\"", .{value}),
        .threads => {
            const threads = try number(flag, value, 1, sequence.threads_max, problem);
            arguments.threads = @intCast(threads);
            arguments.threads_given = true;
        },
        .details => arguments.details = true,
        .histogram => arguments.histogram = true,
        .brief => arguments.brief = true,
        .json => arguments.json = true,
        .list => arguments.list = true,
        .ladder => arguments.ladder = true,
        .pool => arguments.pool = true,
        .@"object-size" => arguments.object_size =
            try number(flag, value, 1, object_size_max, problem),
        .@"fake-heap" => arguments.fake_heap = true,
        .help => arguments.help = true,
    }
}

fn number(flag: Flag, value: []const u8, low: u64, high: u64, problem: *Problem) !u64 {
    // parseInt would also take 1_000 and +5.
    for (value) |byte| {
        if (!std.ascii.isDigit(byte)) break;
    } else if (std.fmt.parseInt(u64, value, 10)) |result| {
        if (result >= low and result <= high) return result;
    } else |_| {}
    const text = "--{t}: \"{s}\" is not a whole number from {d} to {d}";
    return problem.say(text, .{ flag, value, low, high });
}

/// The option that each other one has no meaning beside.
fn checkTogether(given: std.EnumSet(Flag), problem: *Problem) !void {
    const ladder: std.EnumSet(Flag) = .init(.{
        .ladder = true,
        .trace = true,
        .seed = true,
        .json = true,
        .@"fake-heap" = true,
    });
    const list: std.EnumSet(Flag) = .init(.{ .list = true, .json = true });
    const pool: std.EnumSet(Flag) = .init(.{
        .pool = true,
        .ops = true,
        .@"object-size" = true,
        .details = true,
        .histogram = true,
        .json = true,
    });
    const trace = std.EnumSet(Flag).init(.{ .profile = true, .seed = true }).complement();
    for (std.enums.values(Flag)) |flag| {
        if (!given.contains(flag)) continue;
        const mode: Flag = if (given.contains(.list) and !list.contains(flag))
            .list
        else if (given.contains(.ladder) and !ladder.contains(flag))
            .ladder
        else if (given.contains(.pool) and !pool.contains(flag))
            .pool
        else if (given.contains(.trace) and !trace.contains(flag) and !given.contains(.ladder))
            .trace
        else
            continue;
        return problem.say("--{t} and --{t} exclude each other", .{ flag, mode });
    }
}

fn check(arguments: *Arguments, given: std.EnumSet(Flag), problem: *Problem) !void {
    try checkTogether(given, problem);
    if (arguments.fake_heap and !arguments.ladder and !arguments.choice.is_rung) {
        return problem.say("--fake-heap is for the rungs of the ladder", .{});
    }
    if (given.contains(.@"object-size") and !arguments.pool) {
        return problem.say("--object-size is for --pool", .{});
    }
    if (arguments.ladder or arguments.pool) return;
    if (arguments.trace == null) {
        const profile = arguments.profile;
        if (!arguments.threads_given) arguments.threads = profile.threads_min;
        if (arguments.threads < profile.threads_min) return problem.say(
            "--profile {s} needs at least {d} threads",
            .{ profile.name, profile.threads_min },
        );
        if (profile.threads_even and arguments.threads % 2 != 0) return problem.say(
            "--profile {s} needs an even number of threads",
            .{profile.name},
        );
    }
    const has_threads = arguments.threads > 1 or
        std.mem.eql(u8, arguments.profile.name, "thread-churn");
    if (has_threads and !arguments.choice.threads) return problem.say(
        "--allocator {s} is for one thread",
        .{arguments.choice.name},
    );
}

test "arguments: defaults and both ways to give a value" {
    var problem: Problem = .{};
    const plain = try parse(&.{}, &problem);
    try std.testing.expectEqualStrings("mixed", plain.profile.name);
    try std.testing.expectEqualStrings("core", plain.choice.name);
    try std.testing.expectEqual(1337, plain.seed);
    try std.testing.expectEqual(200_000, plain.opsWanted());
    try std.testing.expectEqual(1, plain.threads);
    const words = [_][:0]const u8{ "--seed=5", "--ops", "10", "--profile", "ring", "--json" };
    const other = try parse(&words, &problem);
    try std.testing.expectEqual(5, other.seed);
    try std.testing.expectEqual(10, other.opsWanted());
    try std.testing.expectEqual(2, other.threads);
    try std.testing.expect(other.json);
}

test "arguments: bad ones are refused with a line" {
    const cases = [_][]const [:0]const u8{
        &.{"mixed"},
        &.{"--sed"},
        &.{"--ops"},
        &.{ "--ops", "0" },
        &.{ "--ops", "1_000" },
        &.{ "--ops", "+5" },
        &.{ "--ops", "268435457" },
        &.{ "--seed", "18446744073709551616" },
        &.{ "--seed", "" },
        &.{ "--threads", "65" },
        &.{ "--allocator", "none" },
        &.{"--json=yes"},
        &.{ "--json", "--json" },
        &.{ "--list", "--ladder" },
        &.{ "--profile", "ring", "--threads", "1" },
        &.{ "--profile", "producer-consumer", "--threads", "3" },
        &.{ "--trace", "a.rep", "--seed", "4" },
        &.{"--fake-heap"},
        &.{ "--pool", "--profile", "small" },
        &.{ "--pool", "--list" },
        &.{ "--pool", "--ladder" },
        &.{ "--pool", "--threads", "2" },
        &.{ "--pool", "--object-size", "0" },
        &.{ "--object-size", "8" },
        &.{ "--allocator", "bump", "--threads", "2" },
    };
    for (cases) |words| {
        var problem: Problem = .{};
        try std.testing.expectError(error.Usage, parse(words, &problem));
        try std.testing.expect(problem.text.len > 0);
        try std.testing.expectEqual(null, std.mem.findScalar(u8, problem.text, '\n'));
    }
}

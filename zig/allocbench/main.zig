//! allocbench: the benchmark of allocators. Decides a sequence of calls from a seed (or reads one),
//! makes them three times in processes of their own, and prints rates, latencies and memory. Or
//! (`--pool`) allocates objects of one size from malloc and from a pool.
//!
//! Exit status: 0 fine; 1 an allocator failed (no memory, wrong contents, killed by a signal);
//! 2 bad input, with one line on stderr that says what is wrong, and the usage.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi");
const arguments_file = @import("arguments.zig");
const ladder = @import("ladder");
const json = @import("json.zig");
const pass = @import("pass.zig");
const pool = @import("pool.zig");
const pool_json = @import("pool_json.zig");
const pool_text = @import("pool_text.zig");
const profiles = @import("profiles.zig");
const sequence = @import("sequence.zig");
const system = @import("system.zig");
const text = @import("text.zig");
const trace = @import("trace.zig");
const Arguments = arguments_file.Arguments;
const Result = @import("result.zig").Result;
const Timer = @import("clock.zig").Timer;
const stamp_size = @import("contents.zig").stamp_size;
const fail = @import("failure.zig").fail;

const status_failed = 1;
const status_usage = 2;
const words_max = 64;

/// Found by the heap of `core`: it reads ALLOC_CONF there.
pub const liballocOnInit = abi.startup.onInit;

/// What is printed, all at once: a histogram of every bucket fits.
var output: [1 << 20]u8 = undefined;

pub fn main(init: std.process.Init.Minimal) u8 {
    var words: [words_max][:0]const u8 = undefined;
    var count: usize = 0;
    var iterator = init.args.iterate();
    _ = iterator.skip();
    while (iterator.next()) |word| : (count += 1) {
        if (count == words.len) return refuse("too many arguments", arguments_file.usage);
        words[count] = word;
    }
    var problem: arguments_file.Problem = .{};
    const arguments = arguments_file.parse(words[0..count], &problem) catch
        return refuse(problem.text, problem.usage);
    var out: std.Io.Writer = .fixed(&output);
    if (arguments.help) {
        out.writeAll(arguments_file.usage) catch unreachable; // It fits.
    } else if (arguments.list) {
        (if (arguments.json) json.list(&out) else text.list(&out)) catch unreachable; // It fits.
    } else if (arguments.ladder) {
        return climb(&arguments, &out);
    } else if (arguments.pool) {
        return comparePool(&arguments, &out);
    } else return measure(&arguments, &out);
    return print(out.buffered());
}

fn refuse(what: []const u8, usage: []const u8) u8 {
    std.debug.print("allocbench: {s}\n{s}", .{ what, usage });
    return status_usage;
}

/// The report of the ladder.
fn climb(arguments: *const Arguments, out: *std.Io.Writer) u8 {
    var traces: [1]ladder.trace.Trace = undefined;
    if (arguments.trace) |path| {
        var problem: trace.Problem = .{};
        traces[0] = trace.load(path, &problem) catch |err| return refuseTrace(err, path, problem);
    }
    ladder.report.report(out, .{
        .json = arguments.json,
        .fake_heap = arguments.fake_heap,
        .seed = arguments.seed,
        .libc = system.open(.sbrk).?,
        .traces = if (arguments.trace == null) &.{} else &traces,
    }) catch |err| fail("the report of the ladder: {t}", .{err});
    return print(out.buffered());
}

/// A pool beside malloc.
fn comparePool(arguments: *const Arguments, out: *std.Io.Writer) u8 {
    const timer: Timer = .calibrate();
    const empty: pool.Empty = .measure(timer.source);
    const plan: pool.Plan = .{
        .object_size = arguments.object_size,
        .objects = arguments.opsWanted(),
        .timer = timer,
        .empty = &empty,
        .thorough = arguments.details or arguments.json,
    };
    const result = pool.run(&plan) orelse return status_failed;
    (if (arguments.json)
        pool_json.write(out, &result, arguments.histogram)
    else
        pool_text.write(out, &result, arguments.details)) catch
        fail("the result is longer than {d} bytes", .{output.len});
    return print(out.buffered());
}

fn measure(arguments: *const Arguments, out: *std.Io.Writer) u8 {
    var problem: trace.Problem = .{};
    const made = prepare(arguments, &problem) catch |err|
        return refuseTrace(err, arguments.trace orelse "", problem);
    const plan: pass.Plan = .{
        .sequence = &made,
        .choice = arguments.choice,
        .heap_kind = if (arguments.fake_heap) .fake else .sbrk,
        .timer = .calibrate(),
        .timed_max = if (arguments.brief) pass.timed_when_brief else std.math.maxInt(usize),
        .stamped = made.streams.len > 1 and made.size_smallest >= stamp_size,
    };
    const result: Result = .{
        .arguments = arguments,
        .sequence = &made,
        .timer = plan.timer,
        .contents = if (arguments.brief)
            null
        else
            pass.run(&plan, .contents) orelse return status_failed,
        .rates = pass.run(&plan, .rates) orelse return status_failed,
        .latencies = pass.run(&plan, .latencies) orelse return status_failed,
    };
    const write = if (arguments.json) &json.write else &text.write;
    write(out, &result) catch fail("the result is longer than {d} bytes", .{output.len});
    return print(out.buffered());
}

fn prepare(
    arguments: *const Arguments,
    problem: *trace.Problem,
) (trace.Error || sequence.Error)!sequence.Sequence {
    const path = arguments.trace orelse return profiles.build(
        arguments.profile,
        arguments.seed,
        arguments.opsWanted(),
        arguments.threads,
    );
    const recorded = try trace.load(path, problem);
    var builder: sequence.Builder = try .init(arguments.threads);
    try trace.add(&builder, recorded, arguments.ops);
    return builder.finish(.first, &.{});
}

fn refuseTrace(
    err: (trace.Error || sequence.Error),
    path: []const u8,
    problem: trace.Problem,
) u8 {
    var buffer: [512]u8 = undefined;
    const line = switch (err) {
        error.OutOfMemory => fail("no memory for a sequence of this length", .{}),
        error.BadTrace => std.fmt.bufPrint(&buffer, "{f}", .{problem.at(path)}),
        error.TooLarge => std.fmt.bufPrint(
            &buffer,
            "{s}: a block of 1 GiB or more, or more than {d} at once",
            .{ path, sequence.slots_max },
        ),
        error.Finished => unreachable, // Handled where sequences are drawn.
    };
    return refuse(line catch "--trace: bad file", arguments_file.usage);
}

fn print(bytes: []const u8) u8 {
    var rest = bytes;
    while (rest.len > 0) {
        const length = linux.write(1, rest.ptr, rest.len);
        switch (linux.errno(length)) {
            .SUCCESS => rest = rest[length..],
            .INTR => {},
            else => |code| fail("stdout cannot be written to: {t}", .{code}),
        }
    }
    return 0;
}

test {
    _ = @import("channel.zig");
    _ = @import("contents.zig");
    _ = @import("counters.zig");
    _ = @import("histogram.zig");
    _ = @import("memory.zig");
    _ = @import("random.zig");
    _ = pool;
    _ = system;
    _ = Timer;
    _ = profiles;
    _ = sequence;
    _ = trace;
    _ = arguments_file;
}

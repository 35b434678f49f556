//! The ladder's report by itself: what `allocbench --ladder` calls.
const std = @import("std");
const ladder = @import("ladder");
const Allocator = ladder.Allocator;

/// Found by the heap layer: the core reads its options at its first call.
pub const onInit = @import("abi").startup.onInit;

extern "c" fn malloc(size: usize) ?[*]u8;
extern "c" fn free(block: ?[*]u8) void;
extern "c" fn realloc(block: ?[*]u8, size: usize) ?[*]u8;

const usage = "usage: ladder [--json] [--fake-heap] [--seed N] [TRACE.rep ...]\n";

pub fn main(init: std.process.Init.Minimal) !u8 {
    var arena: std.heap.ArenaAllocator = .init(std.heap.page_allocator);
    defer arena.deinit();
    var threaded: std.Io.Threaded = .init_single_threaded;
    const io = threaded.io();
    var options: ladder.report.Options = .{ .libc = libc };
    var traces: std.ArrayList(ladder.trace.Trace) = .empty;
    var arguments = init.args.iterate();
    _ = arguments.skip();
    while (arguments.next()) |argument| {
        if (std.mem.eql(u8, argument, "--json")) {
            options.json = true;
        } else if (std.mem.eql(u8, argument, "--fake-heap")) {
            options.fake_heap = true;
        } else if (std.mem.eql(u8, argument, "--seed")) {
            const text = arguments.next() orelse return refuse("--seed needs a number", "", true);
            options.seed = std.fmt.parseInt(u64, text, 10) catch
                return refuse("not a seed: ", text, true);
        } else if (std.mem.startsWith(u8, argument, "--")) {
            return refuse("no such option: ", argument, true);
        } else {
            var problem: ladder.trace.Problem = .{};
            const trace = ladder.trace.load(io, arena.allocator(), argument, &problem) catch {
                std.debug.print("ladder: {f}\n", .{problem.at(argument)});
                return 2;
            };
            try traces.append(arena.allocator(), trace);
        }
    }
    options.traces = traces.items;
    var buffer: [4096]u8 = undefined;
    var out: std.Io.File.Writer = .init(.stdout(), io, &buffer);
    ladder.report.report(&out.interface, options) catch |err| switch (err) {
        error.OutOfMemory => return refuse("out of memory", "", false),
        error.WriteFailed => return refuse("stdout cannot be written to", "", false),
    };
    out.interface.flush() catch return refuse("stdout cannot be written to", "", false);
    return 0;
}

fn refuse(message: []const u8, detail: []const u8, is_usage: bool) u8 {
    std.debug.print("ladder: {s}{s}\n{s}", .{ message, detail, if (is_usage) usage else "" });
    return if (is_usage) 2 else 1;
}

/// As much of libc's malloc as the score needs.
const libc: Allocator = .{ .name = "system", .context = &context, .calls = &.{
    .malloc = libcMalloc,
    .free = libcFree,
    .realloc = libcRealloc,
    .aligned = undefined,
    .calloc = undefined,
    .usable = undefined,
    .held = undefined,
} };
var context: u8 = 0;

fn libcMalloc(_: *anyopaque, size: usize) ?[*]u8 {
    return malloc(size);
}

fn libcFree(_: *anyopaque, block: [*]u8) void {
    free(block);
}

fn libcRealloc(_: *anyopaque, block: [*]u8, size: usize) ?[*]u8 {
    return realloc(block, @max(size, 1));
}

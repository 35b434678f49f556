//! What happens at the limits: the system refuses memory, or the program misuses a block. In child
//! processes, since neither can be undone.
const std = @import("std");
const ladder = @import("ladder.zig");
const child = @import("child.zig");
const expect = std.testing.expect;
const linux = std.os.linux;

const size = 5000;

/// Blocks until the system refuses, all freed, and again: how many there were each time.
const Served = struct { first: usize, second: usize, is_whole: bool };

fn fillTwice(rung: *const ladder.Rung) ?Served {
    const allocator = rung.open(.sbrk) orelse return null;
    const blocks = @import("score.zig").table([*]u8, 100_000) orelse return null;
    // 16 MiB more than now of everything that can be written to.
    const limit: linux.rlimit = .{ .cur = dataBytes() + (16 << 20), .max = linux.RLIM.INFINITY };
    if (linux.errno(linux.setrlimit(.DATA, &limit)) != .SUCCESS) return null;
    var counts: [2]usize = .{ 0, 0 };
    for (&counts) |*count| {
        while (count.* < blocks.len) : (count.* += 1) {
            const block = allocator.malloc(size) orelse break;
            @memset(block[0..size], 1);
            blocks[count.*] = block;
        }
        if (allocator.malloc(1 << 30) != null) return null;
        if (allocator.realloc(blocks[0], 1 << 30) != null) return null;
        for (blocks[0..count.*]) |block| {
            if (block[size - 1] != 1) return null;
            allocator.free(block);
        }
    }
    rung.view.?.check(allocator.context) catch return null;
    return .{ .first = counts[0], .second = counts[1], .is_whole = true };
}

/// Private memory of this process that can be written to, as RLIMIT_DATA counts it.
fn dataBytes() usize {
    var buffer: [256]u8 = undefined;
    const file = linux.open("/proc/self/statm", .{}, 0);
    const length = linux.read(@intCast(file), &buffer, buffer.len);
    _ = linux.close(@intCast(file));
    var words = std.mem.tokenizeScalar(u8, buffer[0..length], ' ');
    var last: usize = 0;
    // The sixth word: data and stack.
    for (0..6) |_| last = std.fmt.parseInt(usize, words.next().?, 10) catch 0;
    return last * std.heap.page_size_min;
}

test "out of memory by the system's limit is clean on every rung" {
    for (ladder.rungs[0 .. ladder.rungs.len - 1]) |*rung| {
        errdefer std.debug.print("{s}\n", .{rung.name});
        const served = (child.run(?Served, rung, fillTwice) orelse null) orelse
            return error.NotClean;
        try expect(served.is_whole);
        // The most that fits, less what the rung needs beside it; buddy rounds 5,000 to 8,192.
        try expect(served.first > 1800 and served.first < (17 << 20) / size);
        const is_bump = std.mem.eql(u8, rung.name, "bump");
        try expect(if (is_bump) served.second == 0 else served.second >= served.first);
    }
}

extern "c" fn pipe(ends: *[2]c_int) c_int;
extern "c" fn fork() c_int;
extern "c" fn dup2(from: c_int, to: c_int) c_int;
extern "c" fn waitpid(process: c_int, status: *c_int, options: c_int) c_int;
extern "c" fn _exit(status: c_int) noreturn;

/// What a child writes to stderr, and how it ends.
fn expectLine(
    comptime misuse: fn (ladder.Allocator) void,
    name: []const u8,
    line: []const u8,
) !void {
    var ends: [2]c_int = undefined;
    try expect(pipe(&ends) == 0);
    const process = fork();
    try expect(process >= 0);
    if (process == 0) {
        // No core file.
        _ = linux.setrlimit(.CORE, &.{ .cur = 0, .max = 0 });
        _ = dup2(ends[1], 2);
        misuse(ladder.find(name).?.open(.sbrk).?);
        _exit(0);
    }
    _ = linux.close(ends[1]);
    var buffer: [512]u8 = undefined;
    var length: usize = 0;
    while (length < buffer.len) {
        const part = linux.read(ends[0], buffer[length..].ptr, buffer.len - length);
        if (linux.errno(part) != .SUCCESS or part == 0) break;
        length += part;
    }
    _ = linux.close(ends[0]);
    var status: c_int = 0;
    _ = waitpid(process, &status, 0);
    try expect(status & 0x7f == @backingInt(linux.SIG.ABRT));
    const text = buffer[0..length];
    try expect(std.mem.count(u8, text, "\n") == 1);
    try expect(std.mem.startsWith(u8, text, name));
    errdefer std.debug.print("{s}", .{text});
    try expect(std.mem.endsWith(u8, text, line));
}

fn freeTwice(allocator: ladder.Allocator) void {
    const block = allocator.malloc(100).?;
    allocator.free(block);
    allocator.free(block);
}

fn freeLargeInterior(allocator: ladder.Allocator) void {
    allocator.free(allocator.malloc(1 << 20).? + 4096);
}

fn overflowThenRealloc(allocator: ladder.Allocator) void {
    const block = allocator.malloc(64).?;
    const next = allocator.malloc(64).?;
    @memset(block[0 .. @intFromPtr(next) - @intFromPtr(block)], 0x41);
    _ = allocator.realloc(next, 100);
}

test "misuse ends in one line that names the rung, the call and what was found" {
    for (ladder.rungs[1 .. ladder.rungs.len - 1]) |rung| {
        try expectLine(freeTwice, rung.name, "): the block is free already\n");
        try expectLine(freeLargeInterior, rung.name, "): the block's header was written over\n");
    }
    for ([_][]const u8{ "first-fit", "first-fit-coalesce", "best-fit", "boundary-tag" }) |name| {
        try expectLine(overflowThenRealloc, name, "): the block's header was written over\n");
    }
}

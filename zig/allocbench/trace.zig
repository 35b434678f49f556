//! Recordings in the format of malloc-lab: four numbers (the heap's size, how many blocks, how many
//! lines, a weight), then a line per call: `a ID SIZE`, `r ID SIZE`, `f ID`.
const std = @import("std");
const linux = std.os.linux;
const sequence = @import("sequence.zig");
const Builder = sequence.Builder;

const header_length = 4;
const file_size_max = 1 << 30;

/// What is wrong with a recording, and in which line; 0: with the file as a whole.
pub const Problem = struct { line: usize = 0, text: []const u8 = "" };

pub const Error = error{ Invalid, OutOfMemory };

/// The whole file; null with the reason in `problem`.
pub fn read(path: [*:0]const u8, problem: *Problem) Error![]const u8 {
    const opened = linux.open(path, .{ .CLOEXEC = true }, 0);
    switch (linux.errno(opened)) {
        .SUCCESS => {},
        .NOENT => return refuse(problem, 0, "no such file"),
        .ACCES => return refuse(problem, 0, "permission denied"),
        else => return refuse(problem, 0, "cannot be opened"),
    }
    const file: linux.fd_t = @intCast(opened);
    defer _ = linux.close(file);
    const gpa = std.heap.page_allocator;
    var text: std.ArrayList(u8) = .empty;
    while (true) {
        try text.ensureUnusedCapacity(gpa, 1 << 16);
        const room = text.unusedCapacitySlice();
        const length = linux.read(file, room.ptr, room.len);
        switch (linux.errno(length)) {
            .SUCCESS => {},
            .INTR => continue,
            else => return refuse(problem, 0, "cannot be read"),
        }
        if (length == 0) return text.items;
        text.items.len += length;
        if (text.items.len > file_size_max) return refuse(problem, 0, "larger than 1 GiB");
    }
}

/// Adds to the builder, for each of its streams, the calls of a recording: all, or the first `ops`.
pub fn add(builder: *Builder, text: []const u8, ops: ?u64, problem: *Problem) Error!void {
    for (0..builder.lanes.len) |index| {
        builder.measure(ops orelse std.math.maxInt(u64));
        try addOne(builder, index, text, problem);
    }
}

fn addOne(builder: *Builder, index: usize, text: []const u8, problem: *Problem) Error!void {
    const gpa = std.heap.page_allocator;
    var slots: std.AutoHashMapUnmanaged(u64, u24) = .empty;
    defer slots.deinit(gpa);
    var lines = std.mem.splitScalar(u8, text, '\n');
    var number: usize = 0;
    var seen: usize = 0;
    while (lines.next()) |line| {
        number += 1;
        var words = std.mem.tokenizeAny(u8, line, " \t\r");
        const word = words.next() orelse continue;
        seen += 1;
        if (seen <= header_length) {
            const header = std.fmt.parseInt(u64, word, 10);
            _ = header catch return refuse(problem, number, "a number of the header is expected");
            continue;
        }
        // free(NULL), which some recordings have, is no call on a block.
        if (std.mem.eql(u8, line, "f -1")) continue;
        const call = parse(word, &words) orelse
            return refuse(problem, number, "expected \"a ID SIZE\", \"r ID SIZE\" or \"f ID\"");
        if (words.next() != null) return refuse(problem, number, "more words than expected");
        apply(builder, index, &slots, call) catch |err| switch (err) {
            error.Finished => return,
            error.OutOfMemory => return error.OutOfMemory,
            error.TooLarge => return refuse(problem, number, "a block of 1 GiB or more, or " ++
                "more than 16777216 at once"),
            error.Live => return refuse(problem, number, "a block of this ID is already there"),
            error.NotLive => return refuse(problem, number, "no block of this ID is there"),
        };
    }
    if (seen < header_length) return refuse(problem, 0, "the header of four numbers is missing");
    if (seen == header_length) return refuse(problem, 0, "there are no calls in it");
}

const Call = union(enum) {
    a: struct { id: u64, size: u64 },
    r: struct { id: u64, size: u64 },
    f: struct { id: u64 },
};

fn parse(word: []const u8, words: anytype) ?Call {
    const letter = std.meta.stringToEnum(std.meta.Tag(Call), word) orelse return null;
    const id = std.fmt.parseInt(u64, words.next() orelse return null, 10) catch return null;
    if (letter == .f) return .{ .f = .{ .id = id } };
    const size = std.fmt.parseInt(u64, words.next() orelse return null, 10) catch return null;
    return if (letter == .a)
        .{ .a = .{ .id = id, .size = size } }
    else
        .{ .r = .{ .id = id, .size = size } };
}

const ApplyError = sequence.Error || error{ Live, NotLive };

fn apply(
    builder: *Builder,
    index: usize,
    slots: *std.AutoHashMapUnmanaged(u64, u24),
    call: Call,
) ApplyError!void {
    switch (call) {
        .a => |block| {
            if (slots.contains(block.id)) return error.Live;
            const slot = try builder.malloc(index, block.size);
            try slots.put(std.heap.page_allocator, block.id, slot);
        },
        .r => |block| {
            const slot = slots.get(block.id) orelse return error.NotLive;
            try builder.realloc(index, slot, block.size);
        },
        .f => |block| {
            const found = slots.fetchRemove(block.id) orelse return error.NotLive;
            try builder.free(index, found.value);
        },
    }
}

fn refuse(problem: *Problem, line: usize, text: []const u8) error{Invalid} {
    problem.* = .{ .line = line, .text = text };
    return error.Invalid;
}

fn outcomeOf(text: []const u8, problem: *Problem) !sequence.Sequence {
    var builder: Builder = try .init(1);
    try add(&builder, text, null, problem);
    return builder.finish(.first, &.{});
}

test "trace: calls become ops" {
    var problem: Problem = .{};
    const made = try outcomeOf("100\n2\n5\n1\na 0 512\na 1 128\nr 0 640\nf 1\nf -1\n", &problem);
    try std.testing.expectEqual(4, made.calls.total());
    try std.testing.expectEqual(768, made.peak.requested);
    try std.testing.expectEqual(2, made.peak.position);
}

test "trace: what is wrong is said with its line" {
    const header = "100\n2\n5\n1\n";
    const cases = [_]struct { []const u8, usize }{
        .{ "", 0 },
        .{ "1\n2\nx\n", 3 },
        .{ header, 0 },
        .{ header ++ "a 0\n", 5 },
        .{ header ++ "a 0 1\na 0 1\n", 6 },
        .{ header ++ "f 0\n", 5 },
        .{ header ++ "r 7 1\n", 5 },
        .{ header ++ "q 7 1\n", 5 },
        .{ header ++ "a 7 1 2\n", 5 },
        .{ header ++ "a 7 99999999999\n", 5 },
    };
    for (cases) |case| {
        var problem: Problem = .{};
        try std.testing.expectError(error.Invalid, outcomeOf(case[0], &problem));
        try std.testing.expectEqual(case[1], problem.line);
        try std.testing.expect(problem.text.len > 0);
    }
}

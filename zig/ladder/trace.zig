//! Traces: a sequence of malloc, realloc and free by block number. From malloc-lab's `.rep` files,
//! or made here from a seed (synthetic.zig).
//!
//! A `.rep` file: four numbers, a line each (suggested heap size, number of blocks, number of
//! operations, weight), then a line for each operation: `a ID SIZE`, `r ID SIZE`, `f ID`; `r` of a
//! block that is not live is a malloc, `f -1` is a free of null.
const std = @import("std");

pub const Kind = enum { allocate, resize, release };

pub const Op = struct { kind: Kind, id: u32, size: usize = 0 };

pub const Trace = struct {
    name: []const u8,
    /// Ids are below.
    id_count: u32,
    ops: []const Op,
};

/// What is wrong with a file, and in which line.
pub const Problem = struct {
    /// 0: it could not be read at all.
    line: usize = 0,
    message: []const u8 = "",

    /// `FILE:LINE: message`, to print with {f}.
    pub fn at(problem: Problem, name: []const u8) At {
        return .{ .problem = problem, .name = name };
    }

    const At = struct {
        problem: Problem,
        name: []const u8,

        pub fn format(where: At, out: *std.Io.Writer) std.Io.Writer.Error!void {
            try out.writeAll(where.name);
            if (where.problem.line > 0) try out.print(":{d}", .{where.problem.line});
            try out.print(": {s}", .{where.problem.message});
        }
    };
};

const file_bytes_max = 1 << 30;

/// Reads the file at `path`.
pub fn load(
    io: std.Io,
    arena: std.mem.Allocator,
    path: []const u8,
    problem: *Problem,
) error{ BadTrace, OutOfMemory }!Trace {
    const limit: std.Io.Limit = .limited(file_bytes_max);
    const text = std.Io.Dir.cwd().readFileAlloc(io, path, arena, limit) catch |err| {
        problem.* = .{ .message = switch (err) {
            error.OutOfMemory => return error.OutOfMemory,
            error.FileNotFound => "no such file",
            error.AccessDenied => "may not be read",
            error.IsDir => "is a folder",
            error.StreamTooLong => "larger than 1 GiB",
            else => "cannot be read",
        } };
        return error.BadTrace;
    };
    return parse(arena, path, text, problem);
}

const header_lines = 4;
const id_count_max = 1 << 24;
const size_max = 1 << 40;

const Parser = struct {
    problem: *Problem,
    live: []bool = &.{},

    fn refuse(parser: *Parser, message: []const u8) error{BadTrace} {
        parser.problem.message = message;
        return error.BadTrace;
    }

    fn number(parser: *Parser, text: ?[]const u8, most: usize) error{BadTrace}!usize {
        const word = text orelse return parser.refuse("a number is missing");
        const value = std.fmt.parseInt(usize, word, 10) catch
            return parser.refuse("not a number where one should be");
        if (value > most) return parser.refuse("a number is too large");
        return value;
    }

    fn op(parser: *Parser, line: []const u8) error{BadTrace}!?Op {
        var words = std.mem.tokenizeAny(u8, line, " \t\r");
        const letter = words.next().?;
        const kind: Kind = if (letter.len != 1)
            return parser.refuse("no operation (a, r or f)")
        else switch (letter[0]) {
            'a' => .allocate,
            'r' => .resize,
            'f' => .release,
            else => return parser.refuse("no operation (a, r or f)"),
        };
        const word = words.next();
        // Newer traces free null this way.
        if (kind == .release and word != null and std.mem.eql(u8, word.?, "-1")) return null;
        const id = try parser.number(word, std.math.maxInt(u32));
        if (id >= parser.live.len) return parser.refuse("a block number beyond their count");
        const size = if (kind == .release) 0 else try parser.number(words.next(), size_max);
        if (words.next() != null) return parser.refuse("more on the line than an operation");
        const is_live = parser.live[id];
        if (kind == .allocate and is_live) return parser.refuse("the block is live already");
        if (kind == .release and !is_live) return parser.refuse("the block is not live");
        parser.live[id] = kind != .release;
        // realloc of nothing is malloc.
        const done: Kind = if (kind == .resize and !is_live) .allocate else kind;
        return .{ .kind = done, .id = @intCast(id), .size = size };
    }
};

/// Reads a `.rep` file. What it refers to stays in `arena`. On error.BadTrace `problem` says why.
pub fn parse(
    arena: std.mem.Allocator,
    name: []const u8,
    text: []const u8,
    problem: *Problem,
) error{ BadTrace, OutOfMemory }!Trace {
    var parser: Parser = .{ .problem = problem };
    var ops: std.ArrayList(Op) = .empty;
    var header: [header_lines]usize = undefined;
    var header_count: usize = 0;
    var op_lines: usize = 0;
    var lines = std.mem.splitScalar(u8, text, '\n');
    problem.line = 0;
    while (lines.next()) |raw| {
        problem.line += 1;
        const line = std.mem.trim(u8, raw, " \t\r");
        if (line.len == 0) continue;
        if (header_count < header_lines) {
            header[header_count] = try parser.number(line, size_max);
            header_count += 1;
            if (header_count < header_lines) continue;
            if (header[1] > id_count_max) return parser.refuse("more than 16 million blocks");
            parser.live = try arena.alloc(bool, header[1]);
            @memset(parser.live, false);
            continue;
        }
        op_lines += 1;
        if (op_lines > header[2]) return parser.refuse("more operations than the header says");
        if (try parser.op(line)) |op| try ops.append(arena, op);
    }
    if (header_count < header_lines) {
        return parser.refuse("the four lines of the header are missing");
    }
    if (op_lines < header[2]) return parser.refuse("fewer operations than the header says");
    return .{ .name = name, .id_count = @intCast(header[1]), .ops = ops.items };
}

fn expectProblem(text: []const u8, line: usize, message: []const u8) !void {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var problem: Problem = .{};
    const result = parse(arena.allocator(), "test", text, &problem);
    try std.testing.expectError(error.BadTrace, result);
    try std.testing.expectEqualStrings(message, problem.message);
    try std.testing.expectEqual(line, problem.line);
}

test "a .rep file is read" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var problem: Problem = .{};
    const text = "20000\n2\n6\n1\na 0 512\nr 1 128\r\nr 0 640\nf 1\nf -1\nf 0\n";
    const trace = try parse(arena.allocator(), "short", text, &problem);
    try std.testing.expectEqual(2, trace.id_count);
    try std.testing.expectEqual(5, trace.ops.len);
    try std.testing.expectEqual(Op{ .kind = .allocate, .id = 1, .size = 128 }, trace.ops[1]);
    try std.testing.expectEqual(Op{ .kind = .resize, .id = 0, .size = 640 }, trace.ops[2]);
    try std.testing.expectEqual(Op{ .kind = .release, .id = 0 }, trace.ops[4]);
}

test "what is wrong with a .rep file is said with its line" {
    try expectProblem("", 1, "the four lines of the header are missing");
    try expectProblem("1\n2\nx\n", 3, "not a number where one should be");
    try expectProblem("1\n1\n1\n1\nb 0 1\n", 5, "no operation (a, r or f)");
    try expectProblem("1\n1\n1\n1\nalloc 0 1\n", 5, "no operation (a, r or f)");
    try expectProblem("1\n1\n1\n1\na 0\n", 5, "a number is missing");
    try expectProblem("1\n1\n1\n1\na 1 16\n", 5, "a block number beyond their count");
    try expectProblem("1\n1\n2\n1\na 0 16\na 0 16\n", 6, "the block is live already");
    try expectProblem("1\n1\n1\n1\nf 0\n", 5, "the block is not live");
    try expectProblem("1\n1\n1\n1\na 0 99999999999999\n", 5, "a number is too large");
    try expectProblem("1\n99999999\n1\n1\n", 4, "more than 16 million blocks");
    try expectProblem("1\n1\n1\n1\na 0 16 16\n", 5, "more on the line than an operation");
    try expectProblem("1\n1\n1\n1\na 0 16\nf 0\n", 6, "more operations than the header says");
    try expectProblem("1\n1\n3\n1\na 0 16\n", 6, "fewer operations than the header says");
}

test "fuzz: any text is a trace or a problem" {
    try std.testing.fuzz({}, parseAnything, .{});
}

fn parseAnything(_: void, smith: *std.testing.Smith) !void {
    var buffer: [512]u8 = undefined;
    const head = "1\n4\n9\n1\n";
    @memcpy(buffer[0..head.len], head);
    const rest = smith.slice(buffer[head.len..]);
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var problem: Problem = .{};
    const text = buffer[0 .. head.len + rest];
    const trace = parse(arena.allocator(), "any", text, &problem) catch |err| {
        if (err == error.OutOfMemory) return err;
        try std.testing.expect(problem.message.len > 0);
        return;
    };
    for (trace.ops) |op| try std.testing.expect(op.id < trace.id_count);
}

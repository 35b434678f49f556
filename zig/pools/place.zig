//! A place in the program's source, as debug pools remember it, and the words of their reports.
const std = @import("std");
const base = @import("base");
const os = @import("os");

/// Bytes of a file name that a report shows: three of them fit its line. The end tells more.
const name_max = 90;

pub const Place = extern struct {
    /// As the program gave it, which keeps it valid; null: unknown.
    file: ?[*:0]const u8 = null,
    line: u32 = 0,

    pub const unknown: Place = .{};

    /// `words file:line`, nothing for an unknown place.
    pub fn write(place: Place, text: *base.Text, words: []const u8) void {
        const file = place.file orelse return;
        text.string(words);
        const name = std.mem.span(file);
        if (name.len > name_max) text.string("...");
        for (name[name.len -| name_max..]) |byte| {
            text.char(if (byte < ' ' or byte == 0x7f) '?' else byte);
        }
        text.char(':');
        text.decimal(place.line);
    }
};

/// What is known of an object that is misused: the place of the call, and of those before it.
pub const History = struct {
    now: Place = .unknown,
    freed: Place = .unknown,
    allocated: Place = .unknown,

    /// `reason at b.c:12, freed at b.c:10, allocated at a.c:5`.
    pub fn write(history: History, text: *base.Text, reason: []const u8) void {
        text.string(reason);
        history.now.write(text, " at ");
        history.freed.write(text, ", freed at ");
        history.allocated.write(text, ", allocated at ");
    }

    /// One line on stderr, and the end of the process.
    pub noinline fn abort(
        history: History,
        function: []const u8,
        object: usize,
        reason: []const u8,
    ) noreturn {
        @branchHint(.cold);
        var buffer: [440]u8 = undefined;
        var text: base.Text = .{ .buffer = &buffer };
        history.write(&text, reason);
        os.report.misuse(function, object, text.slice());
    }
};

test "place: long names keep their end" {
    var buffer: [440]u8 = undefined;
    var text: base.Text = .{ .buffer = &buffer };
    const history: History = .{
        .now = .{ .file = "b.c", .line = 12 },
        .freed = .{ .file = "b.c", .line = 10 },
        .allocated = .{ .file = "a.c", .line = 5 },
    };
    history.write(&text, "double free");
    const want = "double free at b.c:12, freed at b.c:10, allocated at a.c:5";
    try std.testing.expectEqualStrings(want, text.slice());
    text.length = 0;
    const name: [200:0]u8 = @splat('n');
    (Place{ .file = &name, .line = 1 }).write(&text, " at ");
    try std.testing.expectEqual(@as(usize, 4 + 3 + name_max + 2), text.length);
    text.length = 0;
    (History{}).write(&text, "foreign pointer");
    try std.testing.expectEqualStrings("foreign pointer", text.slice());
}

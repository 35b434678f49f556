//! Numbers, text and JSON written into a caller's buffer, without allocation and without std.Io.
//! What does not fit is cut and counted, so `length` tells how much room the whole would need.
//! One writer per `Text`; no shared state.
const std = @import("std");

/// Bytes of a quotation at most.
const printable_max = 60;

pub const Text = struct {
    buffer: []u8,
    /// Bytes the whole text needs; larger than the buffer when it was cut.
    length: usize = 0,

    pub noinline fn string(text: *Text, bytes: []const u8) void {
        for (bytes) |byte| text.char(byte);
    }

    /// For quoting what somebody else wrote: one line whatever it holds, and not too long.
    pub noinline fn printable(text: *Text, bytes: []const u8) void {
        const shown = @min(bytes.len, printable_max);
        for (bytes[0..shown]) |byte| text.char(if (byte < ' ' or byte == 0x7f) '?' else byte);
        if (shown < bytes.len) text.string("...");
    }

    pub fn char(text: *Text, byte: u8) void {
        if (text.length < text.buffer.len) text.buffer[text.length] = byte;
        text.length += 1;
    }

    pub noinline fn decimal(text: *Text, value: u64) void {
        var digits: [20]u8 = undefined;
        var first: usize = digits.len;
        var rest = value;
        while (true) {
            first -= 1;
            digits[first] = '0' + @as(u8, @intCast(rest % 10));
            rest /= 10;
            if (rest == 0) break;
        }
        text.string(digits[first..]);
    }

    pub fn hex(text: *Text, value: u64) void {
        text.string("0x");
        var shift: u6 = @intCast((63 - @clz(value | 1)) / 4 * 4);
        while (true) : (shift -= 4) {
            text.char("0123456789abcdef"[@intCast((value >> shift) & 15)]);
            if (shift == 0) break;
        }
    }

    /// `thousandths` / 1000 with three decimals.
    pub fn fixed(text: *Text, thousandths: u64) void {
        text.decimal(thousandths / 1000);
        text.char('.');
        const rest = thousandths % 1000;
        text.char('0' + @as(u8, @intCast(rest / 100)));
        text.char('0' + @as(u8, @intCast(rest / 10 % 10)));
        text.char('0' + @as(u8, @intCast(rest % 10)));
    }

    /// A JSON string, quotes included. Bytes over 127 pass through.
    pub noinline fn jsonString(text: *Text, bytes: []const u8) void {
        text.char('"');
        for (bytes) |byte| switch (byte) {
            '"', '\\' => {
                text.char('\\');
                text.char(byte);
            },
            0...0x1f => {
                text.string("\\u00");
                text.char("01"[byte >> 4]);
                text.char("0123456789abcdef"[byte & 15]);
            },
            else => text.char(byte),
        };
        text.char('"');
    }

    /// `"key":value`, preceded by a comma unless it is the first.
    pub noinline fn jsonField(text: *Text, key: []const u8, value: u64) void {
        text.jsonKey(key);
        text.decimal(value);
    }

    pub noinline fn jsonKey(text: *Text, key: []const u8) void {
        if (text.length > 0 and text.last() != '{') text.char(',');
        text.jsonString(key);
        text.char(':');
    }

    fn last(text: *const Text) u8 {
        if (text.length == 0 or text.length > text.buffer.len) return 0;
        return text.buffer[text.length - 1];
    }

    /// What was written, without what was cut.
    pub fn slice(text: *const Text) []const u8 {
        return text.buffer[0..@min(text.length, text.buffer.len)];
    }
};

/// A decimal number with an optional k, m or g (binary) suffix; null when it is none.
pub fn parseSize(bytes: []const u8) ?u64 {
    if (bytes.len == 0) return null;
    const shift: u6 = switch (bytes[bytes.len - 1] | 0x20) {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        else => 0,
    };
    const digits = if (shift == 0) bytes else bytes[0 .. bytes.len - 1];
    if (digits.len == 0) return null;
    var value: u64 = 0;
    for (digits) |digit| {
        if (digit < '0' or digit > '9') return null;
        value = std.math.mul(u64, value, 10) catch return null;
        value = std.math.add(u64, value, digit - '0') catch return null;
    }
    return std.math.shlExact(u64, value, shift) catch null;
}

test "Text: numbers" {
    var buffer: [64]u8 = undefined;
    var text: Text = .{ .buffer = &buffer };
    text.decimal(0);
    text.char(' ');
    text.decimal(18446744073709551615);
    text.char(' ');
    text.hex(0);
    text.char(' ');
    text.hex(0x7fff_1234_0010);
    text.char(' ');
    text.fixed(12_045);
    const want = "0 18446744073709551615 0x0 0x7fff12340010 12.045";
    try std.testing.expectEqualStrings(want, text.slice());
}

test "Text: JSON, escapes and what does not fit" {
    var buffer: [32]u8 = undefined;
    var text: Text = .{ .buffer = &buffer };
    text.char('{');
    text.jsonField("a", 1);
    text.jsonKey("b");
    text.jsonString("x\"\n");
    text.char('}');
    try std.testing.expectEqualStrings("{\"a\":1,\"b\":\"x\\\"\\u000a\"}", text.slice());
    var short: [4]u8 = undefined;
    var cut: Text = .{ .buffer = &short };
    cut.string("abcdefgh");
    try std.testing.expectEqualStrings("abcd", cut.slice());
    try std.testing.expectEqual(@as(usize, 8), cut.length);
}

test parseSize {
    try std.testing.expectEqual(@as(?u64, 12), parseSize("12"));
    try std.testing.expectEqual(@as(?u64, 12 << 20), parseSize("12M"));
    try std.testing.expectEqual(@as(?u64, 1 << 30), parseSize("1g"));
    for ([_][]const u8{ "", "k", "-1", "1x", "99999999999999999999", "99999999999g" }) |bad| {
        try std.testing.expectEqual(@as(?u64, null), parseSize(bad));
    }
}

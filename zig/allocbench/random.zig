//! The random numbers of a sequence: splitmix64 and whole numbers only, so that a seed gives the
//! same sequence on every machine.
const std = @import("std");

pub const Random = struct {
    state: u64,

    /// `number` tells apart the generators of one run, such as those of its threads.
    pub fn init(seed: u64, number: u64) Random {
        var first: Random = .{ .state = seed };
        return .{ .state = first.next() ^ (number *% 0xd1342543de82ef95) };
    }

    pub fn next(random: *Random) u64 {
        random.state +%= 0x9e3779b97f4a7c15;
        var mixed = random.state;
        mixed = (mixed ^ (mixed >> 30)) *% 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ (mixed >> 27)) *% 0x94d049bb133111eb;
        return mixed ^ (mixed >> 31);
    }

    /// 0 to bound - 1.
    pub fn below(random: *Random, bound: u64) u64 {
        return @intCast((@as(u128, random.next()) * bound) >> 64);
    }

    /// low to high, both included.
    pub fn between(random: *Random, low: u64, high: u64) u64 {
        return low + random.below(high - low + 1);
    }

    /// 2^low to 2^high, as many below each factor as above it. Without logarithms, whose last
    /// digits differ between machines: a doubling is drawn, then a number in it is accepted with
    /// the chance that falls as 1 / number.
    pub fn logUniform(random: *Random, low: u6, high: u6) u64 {
        const first = @as(u64, 1) << @intCast(random.between(low, high - 1));
        while (true) {
            const number = first + random.below(first);
            if (random.below(number) < first) return number;
        }
    }
};

test "random: the published numbers of splitmix64" {
    var random: Random = .{ .state = 1234567 };
    try std.testing.expectEqual(6457827717110365317, random.next());
    try std.testing.expectEqual(3203168211198807973, random.next());
}

test "random: bounds hold and log-uniform halves are even" {
    var random: Random = .init(1, 0);
    var low_half: u32 = 0;
    for (0..10_000) |_| {
        const number = random.between(3, 5);
        try std.testing.expect(number >= 3 and number <= 5);
        const size = random.logUniform(4, 16);
        try std.testing.expect(size >= 16 and size < 65536);
        if (size < 1024) low_half += 1;
    }
    try std.testing.expect(low_half > 4800);
    try std.testing.expect(low_half < 5200);
}

//! A generator of numbers and sizes that is too cheap to be measured.

/// xorshift, seeded alike in every run: each allocator meets the same sequence.
pub const Random = struct {
    state: u64 = 88172645463325252,

    inline fn next(random: *Random) u64 {
        random.state ^= random.state << 13;
        random.state ^= random.state >> 7;
        random.state ^= random.state << 17;
        return random.state;
    }

    pub inline fn below(random: *Random, bound: usize) usize {
        return @intCast((@as(u128, random.next()) * bound) >> 64);
    }

    pub inline fn size(random: *Random) usize {
        return 16 + random.below(512 - 16);
    }

    /// 16 bytes to 64 KiB, each doubling as likely as any other.
    pub fn variedSize(random: *Random) usize {
        const base = @as(usize, 16) << @intCast(random.below(12));
        return base + random.below(base) + 1;
    }
};

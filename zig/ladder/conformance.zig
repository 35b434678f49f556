//! The conformance suite: the same questions to every rung and to the core, and what each rung must
//! find out about itself when somebody writes over it. Random operations print their seed.
const std = @import("std");
const ladder = @import("ladder.zig");
const Allocator = ladder.Allocator;
const Kind = ladder.source.Kind;
const model = @import("conformance_model.zig");
const expect = std.testing.expect;

test {
    inline for (ladder.strategies) |Strategy| {
        _ = Suite(Strategy.name, .sbrk);
        _ = Suite(Strategy.name, .fake);
        _ = Promises(Strategy);
    }
    _ = Suite("core", .sbrk);
}

const sizes = [_]usize{
    0,    1,    2,    8,    15,   16,   17,   24,    31,    32,    33,     48,     63,   64,   65,
    100,  127,  128,  129,  200,  255,  256,  500,   511,   512,   513,    1000,   1024, 1025, 1500,
    2000, 2047, 2048, 2049, 4095, 4096, 4097, 10000, 20000, 65536, 100000, 131072,
};

/// What holds for every allocator behind the interface.
fn Suite(comptime name: []const u8, comptime kind: Kind) type {
    return struct {
        fn open() Allocator {
            return ladder.find(name).?.open(kind).?;
        }

        fn check(allocator: Allocator) !void {
            if (ladder.find(name).?.view) |view| return view.check(allocator.context);
            ladder.core.check();
        }

        test "every pointer is aligned to 16 bytes, and as much as was asked for can be used" {
            const allocator = open();
            for (sizes) |size| {
                if (kind == .fake and size > 20000) continue;
                for (0..3) |_| {
                    const block = allocator.malloc(size).?;
                    try expect(@intFromPtr(block) % 16 == 0);
                    try expect(allocator.usable(block) >= size);
                    @memset(block[0..allocator.usable(block)], 0xa5);
                    allocator.free(block);
                }
            }
            try check(allocator);
        }

        test "blocks of no bytes are told apart" {
            const allocator = open();
            const first = allocator.malloc(0).?;
            const second = allocator.malloc(0).?;
            try expect(first != second);
            allocator.free(first);
            allocator.free(second);
            try check(allocator);
        }

        test "alignments up to 64 KiB" {
            const allocator = open();
            var alignment: usize = 1;
            while (alignment <= 65536) : (alignment *= 2) {
                const blocks = [_][*]u8{
                    allocator.aligned(alignment, 1).?,
                    allocator.aligned(alignment, 100).?,
                    allocator.aligned(alignment, 5000).?,
                };
                for (blocks, [_]usize{ 1, 100, 5000 }) |block, size| {
                    try expect(@intFromPtr(block) % @max(alignment, 16) == 0);
                    try expect(allocator.usable(block) >= size);
                    @memset(block[0..size], 0x5a);
                }
                try check(allocator);
                const grown = allocator.realloc(blocks[1], 300).?;
                for (grown[0..100]) |byte| try expect(byte == 0x5a);
                for ([_][*]u8{ blocks[0], grown, blocks[2] }) |block| allocator.free(block);
                try check(allocator);
                if (std.mem.eql(u8, name, "bump") and kind == .fake and alignment >= 4096) break;
            }
        }

        test "calloc gives zeros where others have written" {
            const allocator = open();
            for ([_]usize{ 1, 40, 3000, 40000, 200000 }) |size| {
                const dirty = allocator.malloc(size).?;
                @memset(dirty[0..size], 0xff);
                allocator.free(dirty);
                const clean = allocator.calloc(size).?;
                for (clean[0..size]) |byte| try expect(byte == 0);
                allocator.free(clean);
                if (kind == .fake and size == 40000) break;
            }
        }

        test "realloc keeps what was there, growing and shrinking" {
            const allocator = open();
            var block = allocator.malloc(1).?;
            block[0] = 0;
            var known: usize = 1;
            const steps = [_]usize{
                20, 21, 1000, 30, 5000, 40_000, 300, 100_000, 200_000, 900_000, 64,
            };
            for (steps) |size| {
                if (kind == .fake and size > 40000) continue;
                block = allocator.realloc(block, size).?;
                for (block[0..@min(known, size)], 0..) |byte, index| {
                    try expect(byte == index % 251);
                }
                for (block[0..size], 0..) |*byte, index| byte.* = @intCast(index % 251);
                known = size;
                try check(allocator);
            }
            allocator.free(block);
            try check(allocator);
        }

        test "sizes that nobody has are refused, and a refused realloc leaves the block alone" {
            const allocator = open();
            const block = allocator.malloc(64).?;
            @memset(block[0..64], 7);
            const most = std.math.maxInt(usize);
            const refused = [_]usize{
                most, most - 15, most / 2 + 1, most / 2, most / 2 - 4096, 1 << 60,
            };
            for (refused) |size| {
                try expect(allocator.malloc(size) == null);
                try expect(allocator.calloc(size) == null);
                try expect(allocator.aligned(64, size) == null);
                try expect(allocator.aligned(4096, size) == null);
                try expect(allocator.realloc(block, size) == null);
            }
            const large = allocator.malloc(if (kind == .fake) 50000 else 200000).?;
            try expect(allocator.realloc(large, most / 2) == null);
            allocator.free(large);
            for (block[0..64]) |byte| try expect(byte == 7);
            allocator.free(block);
            try check(allocator);
        }

        test "contents are kept and nothing overlaps through random operations" {
            const allocator = open();
            try model.run(allocator, .{
                .seed = std.testing.random_seed,
                .ops = if (kind == .fake) 2000 else 20_000,
                .live_bytes_max = if (kind == .fake) 200_000 else 8 << 20,
                .may_fail = kind == .fake,
                .check = check,
            });
        }

        test "out of memory is clean, and what is freed then can be had again" {
            if (kind != .fake) return;
            const allocator = open();
            var blocks: [4096][*]u8 = undefined;
            var count: usize = 0;
            while (allocator.malloc(1000)) |block| : (count += 1) {
                @memset(block[0..1000], @truncate(count));
                blocks[count] = block;
            }
            try expect(count >= 700);
            try expect(allocator.realloc(blocks[0], 50_000) == null);
            try check(allocator);
            for (blocks[0..count], 0..) |block, index| {
                for (block[0..1000]) |byte| try expect(byte == @as(u8, @truncate(index)));
                allocator.free(block);
            }
            try check(allocator);
            if (std.mem.eql(u8, name, "bump")) return;
            for (0..count) |index| {
                blocks[index] = allocator.malloc(1000) orelse return error.NotReused;
            }
            try check(allocator);
        }

        test "large blocks leave the program break where it was" {
            if (kind == .fake) return;
            const allocator = open();
            allocator.free(allocator.malloc(100).?);
            const before = ladder.source.programBreak();
            var blocks: [8][*]u8 = undefined;
            for (&blocks, 1..) |*block, times| {
                block.* = allocator.malloc(times * 128 * 1024).?;
                block.*[times * 128 * 1024 - 1] = 1;
            }
            try expect(ladder.source.programBreak() == before);
            for (blocks) |block| allocator.free(block);
            try expect(ladder.source.programBreak() == before);
        }

        test "what is held is at least what is live" {
            const allocator = open();
            const before = allocator.held().?;
            var blocks: [50][*]u8 = undefined;
            for (&blocks) |*block| block.* = allocator.malloc(5000).?;
            const with = allocator.held().?;
            try expect(with.bytes >= 50 * 5000);
            try expect(with.bytes >= before.bytes);
            for (blocks) |block| allocator.free(block);
        }
    };
}

test "which free block is taken: the newest that fits, or the smallest" {
    const searching = .{ "first-fit", "first-fit-split", "first-fit-coalesce", "boundary-tag" };
    inline for (searching ++ .{"best-fit"}) |name| {
        const allocator = ladder.find(name).?.open(.sbrk).?;
        var blocks: [4][*]u8 = undefined;
        for (&blocks, [_]usize{ 600, 3000, 1000, 100 }) |*block, size| {
            block.* = allocator.malloc(size).?;
            _ = allocator.malloc(16).?; // Or free neighbours would merge.
        }
        for (blocks) |block| allocator.free(block);
        const is_best = comptime std.mem.eql(u8, name, "best-fit");
        try expect(allocator.malloc(500).? == blocks[if (is_best) 0 else 2]);
    }
}

/// What a rung promises beyond the interface: `reuses`, `splits`, `merges`.
fn Promises(comptime Strategy: type) type {
    return struct {
        const Frame = ladder.frame.FrameType(Strategy);

        /// Bytes that `count` pairs of malloc and free take from the source.
        fn grownBy(frame: *Frame, size: usize, count: usize) usize {
            const before = frame.source.taken;
            for (0..count) |_| frame.allocator().free(frame.allocator().malloc(size).?);
            return frame.source.taken - before;
        }

        test "freed blocks are used again, or the heap grows in a line" {
            var frame: Frame = undefined;
            try expect(frame.open(.sbrk));
            defer frame.close();
            frame.allocator().free(frame.allocator().malloc(64).?);
            const hundred = grownBy(&frame, 64, 100);
            const thousand = grownBy(&frame, 64, 1000);
            if (Strategy.reuses) {
                try expect(hundred == 0 and thousand == 0);
            } else {
                try expect(hundred > 0 and thousand == 10 * hundred);
            }
        }

        test "small requests live on the leftover of a big block where the rung splits" {
            var frame: Frame = undefined;
            try expect(frame.open(.sbrk));
            defer frame.close();
            const allocator = frame.allocator();
            allocator.free(allocator.malloc(65536).?);
            const before = frame.source.taken;
            for (0..100) |_| _ = allocator.malloc(64).?;
            const grown = frame.source.taken - before;
            if (Strategy.splits) try expect(grown == 0) else try expect(grown >= 99 * 64);
            try frame.strategy.check();
        }

        test "all free is one block again where the rung merges" {
            var frame: Frame = undefined;
            try expect(frame.open(.sbrk));
            defer frame.close();
            const allocator = frame.allocator();
            var blocks: [1000][*]u8 = undefined;
            for (&blocks) |*block| block.* = allocator.malloc(80).?;
            var random: std.Random.DefaultPrng = .init(std.testing.random_seed);
            errdefer std.debug.print("seed {d}\n", .{std.testing.random_seed});
            random.random().shuffle([*]u8, &blocks);
            for (blocks) |block| {
                allocator.free(block);
                try frame.strategy.check();
            }
            const free_sizes = Frame.view.freeSizes(&frame);
            if (Strategy.merges) try expect(free_sizes.largest * 10 >= free_sizes.bytes * 5);
            if (!Strategy.merges and Strategy.reuses) try expect(free_sizes.count >= 5);
            const is_list = !std.mem.eql(u8, Strategy.name, "buddy");
            if (Strategy.merges and is_list) try expect(free_sizes.count == 1);
        }

        test "pointers that are no block, and blocks freed twice" {
            var frame: Frame = undefined;
            try expect(frame.open(.sbrk));
            defer frame.close();
            const strategy = &frame.strategy;
            const block = strategy.allocate(100).?;
            const neighbour = strategy.allocate(100).?;
            try std.testing.expectError(error.NotABlock, strategy.free(block + 1));
            try std.testing.expectError(error.NotABlock, strategy.free(16));
            try strategy.free(block);
            if (Strategy.reuses) {
                try std.testing.expectError(error.DoubleFree, strategy.free(block));
                try strategy.free(neighbour);
                try expectFreedTwice(strategy.free(block));
                try expectFreedTwice(strategy.free(neighbour));
            }
            try strategy.check();
        }

        /// A block that was merged with its neighbour is a block no more.
        fn expectFreedTwice(result: ladder.Fault!void) !void {
            if (result) return error.NotSeen else |fault| switch (fault) {
                error.DoubleFree, error.NotABlock => {},
                else => return fault,
            }
        }

        test "a header written over is found by free and by check" {
            if (!@hasDecl(Strategy, "header_bytes")) return;
            var frame: Frame = undefined;
            try expect(frame.open(.sbrk));
            defer frame.close();
            const strategy = &frame.strategy;
            const first = strategy.allocate(64).?;
            const second = strategy.allocate(64).?;
            _ = strategy.allocate(64).?;
            // One byte too many into the first, up to the whole header of the second.
            const length = second - first;
            @memset(@as([*]u8, @ptrFromInt(first))[0..length], 0x41);
            try std.testing.expectError(error.BadMagic, strategy.free(second));
        }

        test "a free block written over is found by check" {
            if (!Strategy.reuses) return;
            var frame: Frame = undefined;
            try expect(frame.open(.sbrk));
            defer frame.close();
            const strategy = &frame.strategy;
            const first = strategy.allocate(64).?;
            const second = strategy.allocate(64).?;
            const third = strategy.allocate(64).?;
            try strategy.free(second);
            try strategy.check();
            const reach = if (@hasDecl(Strategy, "header_bytes")) Strategy.header_bytes else 0;
            const victim: [*]u8 = @ptrFromInt(second - reach);
            @memset(victim[0 .. reach + 16], 0x41);
            if (strategy.check()) return error.NotSeen else |_| {}
            std.mem.doNotOptimizeAway(.{ first, third });
        }
    };
}

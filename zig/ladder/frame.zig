//! What every rung shares, so that its own file holds nothing but its idea: large blocks, realloc,
//! calloc, the table of functions, and what is done about misuse (one line, then abort). One
//! thread: nothing here is locked.
const std = @import("std");
const Allocator = @import("interface.zig").Allocator;
const Held = @import("interface.zig").Held;
const Fault = @import("fault.zig").Fault;
const FreeSizes = @import("free_sizes.zig").FreeSizes;
const source_file = @import("source.zig");
const Source = source_file.Source;
const large_block = @import("large_block.zig");
const assert = std.debug.assert;

/// No machine has so much, and below it nothing that a rung adds to a size wraps round.
const size_max = std.math.maxInt(isize) / 2;

/// What a rung can say of itself beyond the interface.
pub const View = struct {
    /// Free blocks (or lists of them) that malloc has looked at.
    looked: *const fn (*anyopaque) u64,
    /// Everything held, metadata and mappings included. Takes no time.
    footprint: *const fn (*anyopaque) usize,
    freeSizes: *const fn (*anyopaque) FreeSizes,
    check: *const fn (*anyopaque) Fault!void,
    /// Empty again, with the memory that it has.
    reset: *const fn (*anyopaque) bool,
};

/// A strategy (see ladder.zig for the list) has: name, idea, init, allocate, allocateAligned,
/// free, usable, eachFree, metadata, check, looked; growInPlace where it can, and deinit where it
/// has something to give back. Blocks are addresses there: arithmetic on them is what it is about.
pub fn FrameType(comptime Strategy: type) type {
    return struct {
        source: Source,
        strategy: Strategy,
        large: large_block.LargeBlocks,

        const Frame = @This();

        /// A frame stays where it is while it is open. False: the system gives no memory.
        pub fn open(frame: *Frame, kind: source_file.Kind) bool {
            frame.source = Source.open(kind) orelse return false;
            frame.strategy = .init(&frame.source);
            frame.large = .{};
            return true;
        }

        pub fn close(frame: *Frame) void {
            if (@hasDecl(Strategy, "deinit")) frame.strategy.deinit();
            frame.source.close();
            frame.* = undefined;
        }

        pub fn allocator(frame: *Frame) Allocator {
            return .{ .name = Strategy.name, .context = frame, .calls = &calls };
        }

        pub const view: View = .{
            .looked = looked,
            .footprint = footprint,
            .freeSizes = freeSizes,
            .check = check,
            .reset = reset,
        };

        const calls: Allocator.Calls = .{
            .malloc = malloc,
            .free = free,
            .realloc = realloc,
            .aligned = aligned,
            .calloc = calloc,
            .usable = usable,
            .held = held,
        };

        fn of(context: *anyopaque) *Frame {
            return @ptrCast(@alignCast(context));
        }

        /// The fake heap has no outside.
        inline fn isLarge(frame: *const Frame, size: usize) bool {
            return size >= large_block.threshold and frame.source.kind == .sbrk;
        }

        fn malloc(context: *anyopaque, size: usize) ?[*]u8 {
            const frame = of(context);
            if (size > size_max) return null;
            const block = if (frame.isLarge(size))
                frame.large.allocate(16, size)
            else
                frame.strategy.allocate(size);
            return @ptrFromInt(block orelse return null);
        }

        fn free(context: *anyopaque, pointer: [*]u8) void {
            const frame = of(context);
            const block = @intFromPtr(pointer);
            const result = if (frame.source.contains(block))
                frame.strategy.free(block)
            else
                frame.large.free(block);
            result catch |fault| refuse("free", block, fault);
        }

        fn usable(context: *anyopaque, pointer: [*]u8) usize {
            return of(context).usableSize("usable", @intFromPtr(pointer));
        }

        fn usableSize(frame: *Frame, call: []const u8, block: usize) usize {
            const result = if (frame.source.contains(block))
                frame.strategy.usable(block)
            else
                frame.large.usable(block);
            return result catch |fault| refuse(call, block, fault);
        }

        fn realloc(context: *anyopaque, pointer: [*]u8, size: usize) ?[*]u8 {
            const frame = of(context);
            const block = @intFromPtr(pointer);
            const usable_size = frame.usableSize("realloc", block);
            if (size > size_max) return null;
            const is_large = !frame.source.contains(block);
            if (is_large and frame.isLarge(size)) {
                const resized = frame.large.resize(block, size) catch |fault|
                    refuse("realloc", block, fault);
                return @ptrFromInt(resized orelse return null);
            }
            // A large block that has become small leaves its mapping; others stay as they are.
            if (size <= usable_size and !is_large) return pointer;
            if (@hasDecl(Strategy, "growInPlace") and !is_large and !frame.isLarge(size)) {
                if (frame.strategy.growInPlace(block, size)) return pointer;
            }
            const moved = malloc(context, size) orelse return null;
            const kept = @min(size, usable_size);
            @memcpy(moved[0..kept], pointer[0..kept]);
            free(context, pointer);
            return moved;
        }

        fn aligned(context: *anyopaque, alignment: usize, size: usize) ?[*]u8 {
            const frame = of(context);
            assert(std.math.isPowerOfTwo(alignment));
            if (alignment <= 16) return malloc(context, size);
            if (size > size_max or alignment > size_max) return null;
            const block = if (frame.isLarge(size +| alignment))
                frame.large.allocate(alignment, size)
            else
                frame.strategy.allocateAligned(alignment, size);
            return @ptrFromInt(block orelse return null);
        }

        fn calloc(context: *anyopaque, size: usize) ?[*]u8 {
            const block = malloc(context, size) orelse return null;
            // A fresh mapping is zero as it comes.
            if (!of(context).isLarge(size)) @memset(block[0..size], 0);
            return block;
        }

        fn held(context: *anyopaque) ?Held {
            const frame = of(context);
            const metadata = frame.strategy.metadata();
            return .{
                .bytes = frame.source.taken + frame.large.bytes - metadata,
                .metadata = metadata,
                .largest_free = freeSizes(context).largest,
            };
        }

        fn looked(context: *anyopaque) u64 {
            return of(context).strategy.looked;
        }

        fn footprint(context: *anyopaque) usize {
            const frame = of(context);
            return frame.source.taken + frame.large.bytes;
        }

        fn freeSizes(context: *anyopaque) FreeSizes {
            var sizes: FreeSizes = .{};
            of(context).strategy.eachFree(&sizes);
            return sizes;
        }

        fn check(context: *anyopaque) Fault!void {
            return of(context).strategy.check();
        }

        fn reset(context: *anyopaque) bool {
            const frame = of(context);
            assert(frame.large.count == 0);
            if (@hasDecl(Strategy, "deinit")) frame.strategy.deinit();
            const kind = frame.source.kind;
            if (!frame.source.rewind()) {
                frame.source.close();
                frame.source = Source.open(kind) orelse return false;
            }
            frame.strategy = .init(&frame.source);
            return true;
        }

        fn refuse(call: []const u8, block: usize, fault: Fault) noreturn {
            std.debug.print("{s}: {s}(0x{x}): {s}\n", .{
                Strategy.name, call, block,
                switch (fault) {
                    error.NotABlock => "no block begins here",
                    error.DoubleFree => "the block is free already",
                    error.BadMagic => "the block's header was written over",
                    error.Broken => "the heap contradicts itself",
                },
            });
            std.process.abort();
        }
    };
}

//! The typed faces for Zig programs: pools and arenas of one type, whose hit paths are in line: 6
//! and 4 instructions. One thread at a time.
const std = @import("std");
const base = @import("base");
const backing = @import("backing.zig");
const arena_file = @import("arena.zig");
const pool_file = @import("pool.zig");
const assert = base.assert;
const Arena = arena_file.Arena;
const Pool = pool_file.Pool;

/// A pool of T. `T` is what create returns a pointer to; contents are undefined.
pub fn TypedPool(comptime T: type) type {
    return extern struct {
        pool: Pool,

        const Typed = @This();

        pub const Options = struct {
            capacity: usize,
            policy: pool_file.Policy = .fail,
            flags: backing.Flags = .{},
            node: i32 = 0,
        };

        pub fn init(options: Options) backing.Error!*Typed {
            const pool = try Pool.create(&.{
                .object_size = @sizeOf(T),
                .capacity = options.capacity,
                .alignment = @max(@alignOf(T), pool_file.object_alignment_min),
                .policy = options.policy,
                .flags = options.flags,
                .node = options.node,
            });
            return @fieldParentPtr("pool", pool);
        }

        /// How many objects were live.
        pub fn deinit(typed: *Typed) u64 {
            return typed.pool.destroy();
        }

        pub inline fn create(typed: *Typed) ?*T {
            const object = typed.pool.popPlain();
            if (object != 0) return @ptrFromInt(object);
            return @ptrFromInt(typed.pool.allocSlow(.unknown));
        }

        pub inline fn destroy(typed: *Typed, object: *T) void {
            typed.pool.free(object);
        }
    };
}

/// An arena of T.
pub fn TypedArena(comptime T: type) type {
    return extern struct {
        arena: Arena,

        const Typed = @This();
        const stride = @max(@sizeOf(T), 1);

        comptime {
            assert(@alignOf(T) <= 64); // As chunks are.
        }

        /// Room for so many objects in the first chunk.
        pub fn init(capacity: usize, flags: backing.Flags) backing.Error!*Typed {
            const length = std.math.mul(usize, capacity, stride) catch return error.OutOfMemory;
            const arena = try Arena.create(length, flags);
            arena.object_size = stride;
            return @fieldParentPtr("arena", arena);
        }

        /// How many objects there were.
        pub fn deinit(typed: *Typed) u64 {
            return typed.arena.destroy();
        }

        pub inline fn create(typed: *Typed) ?*T {
            const arena = &typed.arena;
            const left, const borrow = @subWithOverflow(arena.left, stride);
            arena.left = left; // Before the test: one instruction does both.
            if (borrow != 0) return typed.createSlow();
            base.compilerBarrier(); // Read again, as an operand.
            return @ptrFromInt(arena.base + arena.left);
        }

        noinline fn createSlow(typed: *Typed) ?*T {
            typed.arena.left +%= stride;
            return @ptrFromInt(typed.arena.allocSlow(@sizeOf(T), @alignOf(T)));
        }

        /// Objects since the last reset: all are of one size, so that none needs counting.
        pub fn count(typed: *const Typed) u64 {
            return typed.arena.objects();
        }

        pub fn reset(typed: *Typed) void {
            typed.arena.reset();
        }
    };
}

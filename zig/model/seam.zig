//! The model's place in the library: atomics, futex, thread word and system memory that go to the
//! scheduler. The module `model` of the executable `model`; no other build contains it.
const std = @import("std");
const contract = @import("contract.zig");
pub const Scenario = contract.Scenario;
pub const threads_max = contract.threads_max;
const Order = contract.Order;
const Rmw = contract.Rmw;

extern fn liballoc_model_load(address: usize, size: u8, order: Order) u64;
extern fn liballoc_model_store(address: usize, size: u8, value: u64, order: Order) void;
extern fn liballoc_model_rmw(address: usize, size: u8, rmw: Rmw, by: u64, order: Order) u64;
extern fn liballoc_model_cas(
    address: usize,
    size: u8,
    expected: u64,
    new: u64,
    success: Order,
    failure: Order,
    weak: bool,
) contract.CasResult;
extern fn liballoc_model_futex_wait(address: usize, expected: u32) void;
extern fn liballoc_model_futex_wake(address: usize, count: u32) void;
extern fn liballoc_model_spin() void;
extern fn liballoc_model_thread_word() *usize;
extern fn liballoc_model_current() u32;
extern fn liballoc_model_become(index: u32) void;
extern fn liballoc_model_fail(text: [*]const u8, length: usize) noreturn;
extern fn liballoc_model_name(address: usize, text: [*:0]const u8) void;
extern fn liballoc_model_memory(length: *usize) [*]u8;

fn orderOf(comptime order: std.lang.AtomicOrder) Order {
    return switch (order) {
        .unordered => @compileError("unordered is not modelled"),
        inline else => |known| @field(Order, @tagName(known)),
    };
}

/// As std.atomic.Value, in name and in layout.
pub fn Value(comptime T: type) type {
    return extern struct {
        raw: T,

        const Word = @This();
        const size = @sizeOf(T);

        pub fn init(value: T) Word {
            return .{ .raw = value };
        }

        pub fn load(word: *const Word, comptime order: std.lang.AtomicOrder) T {
            return fromBits(liballoc_model_load(@intFromPtr(word), size, orderOf(order)));
        }

        pub fn store(word: *Word, value: T, comptime order: std.lang.AtomicOrder) void {
            liballoc_model_store(@intFromPtr(word), size, toBits(value), orderOf(order));
        }

        pub fn swap(word: *Word, value: T, comptime order: std.lang.AtomicOrder) T {
            return word.change(.exchange, value, order);
        }

        pub fn fetchAdd(word: *Word, value: T, comptime order: std.lang.AtomicOrder) T {
            return word.change(.add, value, order);
        }

        pub fn fetchSub(word: *Word, value: T, comptime order: std.lang.AtomicOrder) T {
            return word.change(.sub, value, order);
        }

        pub fn fetchAnd(word: *Word, value: T, comptime order: std.lang.AtomicOrder) T {
            return word.change(.bit_and, value, order);
        }

        pub fn fetchOr(word: *Word, value: T, comptime order: std.lang.AtomicOrder) T {
            return word.change(.bit_or, value, order);
        }

        fn change(word: *Word, rmw: Rmw, by: T, comptime order: std.lang.AtomicOrder) T {
            const address = @intFromPtr(word);
            return fromBits(liballoc_model_rmw(address, size, rmw, toBits(by), orderOf(order)));
        }

        pub fn cmpxchgStrong(
            word: *Word,
            expected: T,
            new: T,
            comptime success: std.lang.AtomicOrder,
            comptime failure: std.lang.AtomicOrder,
        ) ?T {
            return word.exchange(expected, new, orderOf(success), orderOf(failure), false);
        }

        pub fn cmpxchgWeak(
            word: *Word,
            expected: T,
            new: T,
            comptime success: std.lang.AtomicOrder,
            comptime failure: std.lang.AtomicOrder,
        ) ?T {
            return word.exchange(expected, new, orderOf(success), orderOf(failure), true);
        }

        fn exchange(word: *Word, old: T, new: T, success: Order, failure: Order, weak: bool) ?T {
            const address = @intFromPtr(word);
            const bits = toBits(old);
            const result =
                liballoc_model_cas(address, size, bits, toBits(new), success, failure, weak);
            return if (result.done) null else fromBits(result.old);
        }

        fn toBits(value: T) u64 {
            return switch (@typeInfo(T)) {
                .optional, .pointer => @intFromPtr(value),
                .@"enum" => @backingInt(value),
                .bool => @intFromBool(value),
                else => @as(@Int(.unsigned, @bitSizeOf(T)), @bitCast(value)),
            };
        }

        fn fromBits(bits: u64) T {
            return switch (@typeInfo(T)) {
                .optional, .pointer => @ptrFromInt(bits),
                .@"enum" => @fromBackingInt(@intCast(bits)),
                .bool => bits != 0,
                else => @bitCast(@as(@Int(.unsigned, @bitSizeOf(T)), @truncate(bits))),
            };
        }
    };
}

pub fn spinLoopHint() void {
    liballoc_model_spin();
}

/// As os/futex.zig.
pub const futex = struct {
    /// Nobody's time passes here: what only a period would mend is a fault.
    pub fn wait(word: *const Value(u32), expected: u32, _: ?*const std.os.linux.timespec) void {
        liballoc_model_futex_wait(@intFromPtr(word), expected);
    }

    pub fn wake(word: *const Value(u32), count: u32) void {
        liballoc_model_futex_wake(@intFromPtr(word), count);
    }
};

/// As os/tls.zig: a word for each thread of the model.
pub const tls = struct {
    pub fn load() usize {
        return liballoc_model_thread_word().*;
    }

    pub fn store(word: usize) void {
        liballoc_model_thread_word().* = word;
    }

    pub fn address() usize {
        return @intFromPtr(liballoc_model_thread_word());
    }
};

/// As os/linux.zig, out of one zeroed piece of memory; nothing goes back.
pub const memory = struct {
    // monotonic: the kernel orders nothing between threads either.
    var used: Value(usize) = .init(0);

    pub fn reserve(length: usize) ?[*]u8 {
        var size: usize = 0;
        const start = liballoc_model_memory(&size);
        const first = used.fetchAdd(length, .monotonic);
        if (length <= size and first <= size - length) return start + first;
        _ = used.fetchSub(length, .monotonic);
        return null;
    }

    pub const map = reserve;

    pub fn commit(_: [*]u8, _: usize) bool {
        return true;
    }

    pub fn unmap(_: [*]u8, _: usize) bool {
        return true;
    }

    pub fn decommit(_: [*]u8, _: usize) bool {
        return false;
    }

    pub fn purge(_: [*]u8, _: usize) bool {
        return false;
    }

    pub fn resize(_: [*]u8, _: usize, _: usize) ?[*]u8 {
        return null;
    }

    pub fn adviseHuge(_: [*]u8, _: usize) bool {
        return false;
    }

    pub fn adviseSmall(_: [*]u8, _: usize) bool {
        return false;
    }

    pub fn pin(_: [*]u8, _: usize) std.os.linux.E {
        return .PERM;
    }

    pub fn populate(_: [*]u8, _: usize) bool {
        return false;
    }

    pub fn bind(_: [*]u8, _: usize, _: u32) std.os.linux.E {
        return .NOSYS;
    }

    /// No child is ever made: the library does without the page.
    pub fn wipeOnFork(_: [*]u8, _: usize) bool {
        return false;
    }
};

// For the scenarios.

/// In `setup` and `check`: what follows is done as this thread.
pub fn become(index: u32) void {
    liballoc_model_become(index);
}

/// The thread that calls, from 0.
pub fn current() u32 {
    return liballoc_model_current();
}

/// The state is wrong. Prints the schedule that led here and ends.
pub fn fail(text: []const u8) noreturn {
    liballoc_model_fail(text.ptr, text.len);
}

pub fn expect(ok: bool, text: []const u8) void {
    if (!ok) fail(text);
}

/// A name for an atomic in printed schedules.
pub fn name(word: anytype, text: [*:0]const u8) void {
    liballoc_model_name(@intFromPtr(word), text);
}

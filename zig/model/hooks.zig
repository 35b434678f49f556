//! What the instrumented half calls: the functions of the seam, and those that the compiler's
//! thread sanitizer pass inserts before plain accesses. A sanitizer's runtime would provide the
//! latter; here the scheduler does.
const std = @import("std");
const contract = @import("contract.zig");
const explore = @import("explore.zig");
const histories = @import("histories.zig");
const plain = @import("plain.zig");
const Order = contract.Order;

const memory_size = 64 << 20;
var memory: ?[*]u8 = null;

fn before(address: usize, size: u8, is_write: bool, from: usize) void {
    histories.point(address, size);
    plain.atomicAccess(address, size, is_write, from);
}

export fn liballoc_model_load(address: usize, size: u8, order: Order) u64 {
    if (explore.phase != .threads) return histories.raw(address, size);
    before(address, size, false, @returnAddress());
    return histories.load(address, size, order, "load");
}

export fn liballoc_model_store(address: usize, size: u8, value: u64, order: Order) void {
    if (explore.phase != .threads) {
        plain.atomicAccess(address, size, true, 0);
        return histories.setRaw(address, size, value);
    }
    before(address, size, true, @returnAddress());
    histories.store(address, size, value, order);
}

export fn liballoc_model_rmw(
    address: usize,
    size: u8,
    rmw: contract.Rmw,
    by: u64,
    order: Order,
) u64 {
    if (explore.phase != .threads) {
        plain.atomicAccess(address, size, true, 0);
        const old = histories.raw(address, size);
        histories.setRaw(address, size, switch (rmw) {
            .exchange => by,
            .add => old +% by,
            .sub => old -% by,
            .bit_and => old & by,
            .bit_or => old | by,
        });
        return old;
    }
    before(address, size, true, @returnAddress());
    return histories.change(address, size, rmw, by, order);
}

export fn liballoc_model_cas(
    address: usize,
    size: u8,
    expected: u64,
    new: u64,
    success: Order,
    failure: Order,
    weak: bool,
) contract.CasResult {
    if (explore.phase != .threads) {
        plain.atomicAccess(address, size, true, 0);
        const old = histories.raw(address, size);
        if (old == expected) histories.setRaw(address, size, new);
        return .{ .old = old, .done = old == expected };
    }
    before(address, size, true, @returnAddress());
    if (weak and explore.failsSpuriously()) {
        return .{ .old = histories.load(address, size, failure, "failed"), .done = false };
    }
    return histories.exchange(address, size, expected, new, success, failure);
}

export fn liballoc_model_futex_wait(address: usize, expected: u32) void {
    explore.futexWait(address, expected);
}

export fn liballoc_model_futex_wake(address: usize, count: u32) void {
    explore.futexWake(address, count);
}

export fn liballoc_model_spin() void {
    explore.spin();
}

export fn liballoc_model_thread_word() *usize {
    return &explore.words[explore.current];
}

export fn liballoc_model_current() u32 {
    return explore.current;
}

export fn liballoc_model_become(index: u32) void {
    explore.current = index;
}

export fn liballoc_model_fail(text: [*]const u8, length: usize) noreturn {
    explore.fail(text[0..length]);
}

export fn liballoc_model_name(address: usize, text: [*:0]const u8) void {
    histories.name(address, text);
}

export fn liballoc_model_memory(length: *usize) [*]u8 {
    const linux = std.os.linux;
    length.* = memory_size;
    if (memory == null) {
        const prot: linux.PROT = .{ .READ = true, .WRITE = true };
        const kind: linux.MAP = .{ .TYPE = .PRIVATE, .ANONYMOUS = true, .NORESERVE = true };
        const result = linux.mmap(null, memory_size, prot, kind, -1, 0);
        if (linux.errno(result) != .SUCCESS) explore.broken("no memory");
        memory = @ptrFromInt(result);
    }
    return memory.?;
}

fn Plain(comptime size: usize, comptime is_write: bool) type {
    return struct {
        fn noted(address: usize) callconv(.c) void {
            plain.access(address, size, is_write, @returnAddress());
        }
    };
}

comptime {
    for ([_]usize{ 1, 2, 4, 8, 16 }) |size| {
        for ([_][]const u8{ "", "unaligned_" }) |alignment| {
            const text = std.fmt.comptimePrint("{d}", .{size});
            const start = "__tsan_" ++ alignment;
            @export(&Plain(size, false).noted, .{ .name = start ++ "read" ++ text });
            @export(&Plain(size, true).noted, .{ .name = start ++ "write" ++ text });
        }
    }
    // Atomics that do not go through base.atomic, and so not through the model.
    for ([_][]const u8{ "8", "16", "32", "64" }) |bits| {
        for ([_][]const u8{
            "load",     "store",     "exchange",   "fetch_add",            "fetch_sub", "fetch_and",
            "fetch_or", "fetch_xor", "fetch_nand", "compare_exchange_val",
        }) |operation| {
            @export(&unknownAtomic, .{ .name = "__tsan_atomic" ++ bits ++ "_" ++ operation });
        }
    }
    @export(&nothing, .{ .name = "__tsan_init" });
    @export(&nothing, .{ .name = "__tsan_func_entry" });
    @export(&nothing, .{ .name = "__tsan_func_exit" });
    @export(&noteSet, .{ .name = "__tsan_memset" });
    @export(&noteMove, .{ .name = "__tsan_memcpy" });
    @export(&noteMove, .{ .name = "__tsan_memmove" });
}

fn nothing() callconv(.c) void {}

fn unknownAtomic() callconv(.c) noreturn {
    explore.broken("an atomic operation goes past base.atomic");
}

fn noteSet(target: [*]u8, byte: c_int, length: usize) callconv(.c) [*]u8 {
    plain.access(@intFromPtr(target), length, true, @returnAddress());
    @memset(target[0..length], @truncate(@as(c_uint, @bitCast(byte))));
    return target;
}

fn noteMove(target: [*]u8, source: [*]const u8, length: usize) callconv(.c) [*]u8 {
    plain.access(@intFromPtr(source), length, false, @returnAddress());
    plain.access(@intFromPtr(target), length, true, @returnAddress());
    @memmove(target[0..length], source[0..length]);
    return target;
}

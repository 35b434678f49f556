//! A call that ends the C++ exceptions thrown in it: Zig cannot catch them, and the nothrow forms
//! of operator new promise NULL instead. Forced unwinding (the cancellation of a thread) and what
//! other languages throw pass through. Any thread; costs one call while nothing is thrown.
//!
//! The function is module-level assembly, since only there a frame can name its personality: the
//! routine that the unwinder asks about each frame, twice. First (search phase) whether the frame
//! ends the exception; then, for that frame, where to go on. No table of call sites is needed, for
//! the function has one call. Without a C++ runtime nobody throws and nobody asks.
const std = @import("std");
const builtin = @import("builtin");
const runtime = @import("cxx_runtime.zig");

const Guarded = fn (usize, usize) callconv(.c) ?*anyopaque;

/// function(first, second), or null when that throws a C++ exception. `function` may take fewer
/// arguments: those are in registers.
pub fn call(function: *const anyopaque, first: usize, second: usize) ?*anyopaque {
    return liballoc_guarded_call(@ptrCast(@alignCast(function)), first, second);
}

extern fn liballoc_guarded_call(*const Guarded, usize, usize) callconv(.c) ?*anyopaque;
const landing = @extern(*const anyopaque, .{
    .name = "liballoc_guard_landing",
    .visibility = .hidden,
});

comptime {
    @export(&personality, .{ .name = "liballoc_guard_personality", .visibility = .hidden });
    @export(&swallow, .{ .name = "liballoc_guard_swallow", .visibility = .hidden });
    asm (head ++ body ++ tail);
}

// 0x1b: the personality's address is stored relative to its place, four bytes, signed.
const head =
    \\.text
    \\.hidden liballoc_guarded_call
    \\.globl liballoc_guarded_call
    \\.type liballoc_guarded_call, %function
    \\.hidden liballoc_guard_landing
    \\.globl liballoc_guard_landing
    \\.hidden liballoc_guard_personality
    \\.hidden liballoc_guard_swallow
    \\.balign 16
    \\liballoc_guarded_call:
    \\ .cfi_startproc
    \\ .cfi_personality 0x1b, liballoc_guard_personality
    \\
;

const tail =
    \\
    \\ .cfi_endproc
    \\.size liballoc_guarded_call, . - liballoc_guarded_call
    \\
;

/// The landing pad is entered with the frame as it was at the call, and the exception in the
/// first register that an unwinder may set.
const body = switch (builtin.cpu.arch) {
    .x86_64 =>
    \\ subq $8, %rsp
    \\ .cfi_adjust_cfa_offset 8
    \\ movq %rdi, %rax
    \\ movq %rsi, %rdi
    \\ movq %rdx, %rsi
    \\ callq *%rax
    \\1:
    \\ addq $8, %rsp
    \\ .cfi_adjust_cfa_offset -8
    \\ retq
    \\ .cfi_adjust_cfa_offset 8
    \\liballoc_guard_landing:
    \\ movq %rax, %rdi
    \\ callq liballoc_guard_swallow
    \\ xorl %eax, %eax
    \\ jmp 1b
    ,
    .aarch64 =>
    \\ stp x29, x30, [sp, #-16]!
    \\ .cfi_def_cfa_offset 16
    \\ .cfi_offset x29, -16
    \\ .cfi_offset x30, -8
    \\ mov x29, sp
    \\ mov x16, x0
    \\ mov x0, x1
    \\ mov x1, x2
    \\ blr x16
    \\1:
    \\ ldp x29, x30, [sp], #16
    \\ .cfi_remember_state
    \\ .cfi_def_cfa_offset 0
    \\ .cfi_restore x29
    \\ .cfi_restore x30
    \\ ret
    \\ .cfi_restore_state
    \\liballoc_guard_landing:
    \\ bl liballoc_guard_swallow
    \\ mov x0, #0
    \\ b 1b
    ,
    .riscv64 =>
    \\ addi sp, sp, -16
    \\ .cfi_def_cfa_offset 16
    \\ sd ra, 8(sp)
    \\ .cfi_offset ra, -8
    \\ mv t1, a0
    \\ mv a0, a1
    \\ mv a1, a2
    \\ jalr t1
    \\1:
    \\ ld ra, 8(sp)
    \\ .cfi_remember_state
    \\ .cfi_restore ra
    \\ addi sp, sp, 16
    \\ .cfi_def_cfa_offset 0
    \\ ret
    \\ .cfi_restore_state
    \\liballoc_guard_landing:
    \\ call liballoc_guard_swallow
    \\ li a0, 0
    \\ j 1b
    ,
    else => @compileError("no guarded call for this architecture"),
};

/// DWARF's number of the register in which the landing pad finds the exception.
const exception_register: c_int = switch (builtin.cpu.arch) {
    .x86_64 => 0, // rax
    .aarch64 => 0, // x0
    .riscv64 => 10, // a0
    else => @compileError("no guarded call for this architecture"),
};

const Actions = packed struct(c_uint) {
    search: bool = false,
    cleanup: bool = false,
    handler_frame: bool = false,
    force_unwind: bool = false,
    reserved: u28 = 0,
};

const Reason = enum(c_int) {
    fatal_phase2 = 2,
    handler_found = 6,
    install_context = 7,
    continue_unwind = 8,
};

fn personality(
    version: c_int,
    actions: Actions,
    exception_class: u64,
    exception: *anyopaque,
    context: *anyopaque,
) callconv(.c) Reason {
    if (!ends(version, actions, exception_class)) return .continue_unwind;
    const names = runtime.Catch.look();
    if (actions.search) return if (names == null) .continue_unwind else .handler_found;
    // The search phase has found the names.
    const found = names orelse return .fatal_phase2;
    found.set_register(context, exception_register, @intFromPtr(exception));
    found.set_address(context, @intFromPtr(landing));
    return .install_context;
}

/// Whether this frame ends the exception that the unwinder asks about.
fn ends(version: c_int, actions: Actions, exception_class: u64) bool {
    if (version != 1 or actions.force_unwind) return false;
    if (!actions.search and !actions.handler_frame) return false;
    // Four bytes of vendor ("GNUC", "CLNG"), three of language, one that tells copies apart.
    return (exception_class >> 8) & 0xff_ff_ff == 0x43_2b_2b; // "C++"
}

/// Called by the landing pad, where the exception is still alive.
fn swallow(exception: *anyopaque) callconv(.c) void {
    const names = runtime.Catch.look().?; // As in the search phase.
    _ = names.begin(exception);
    names.end();
}

test "a guarded call passes its arguments and the result through" {
    const callee = struct {
        fn sum(first: usize, second: usize) callconv(.c) ?*anyopaque {
            return @ptrFromInt(first * 1000 + second);
        }
    };
    const result = call(&callee.sum, 41, 7);
    try std.testing.expectEqual(@as(usize, 41_007), @intFromPtr(result));
}

test "only C++ exceptions that nobody forces end here" {
    const gnu = 0x47_4e_55_43_43_2b_2b_00;
    const gnu_copy = gnu | 1;
    const rust = 0x4d_4f_5a_00_52_55_53_54;
    try std.testing.expect(ends(1, .{ .search = true }, gnu));
    try std.testing.expect(ends(1, .{ .search = true }, gnu_copy));
    try std.testing.expect(ends(1, .{ .cleanup = true, .handler_frame = true }, gnu));
    try std.testing.expect(!ends(1, .{ .cleanup = true }, gnu));
    try std.testing.expect(!ends(1, .{ .cleanup = true, .force_unwind = true }, gnu));
    try std.testing.expect(!ends(1, .{ .search = true }, rust));
    try std.testing.expect(!ends(2, .{ .search = true }, gnu));
}

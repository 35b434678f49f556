//! The one thread-local word, in the initial-exec model. Zero in every new thread.
//!
//! Guarantees: no call of `__tls_get_addr` (which may itself call malloc), one thread-pointer
//! relocation, 8 bytes of static TLS, so that dlopen works while 8 bytes of surplus are left.
//! Cause: a Zig `threadlocal` in a PIC object becomes a call of `__tls_get_addr`; Zig has no
//! switch for the TLS model. Needs the LLVM backend: the self-hosted assembler knows no
//! `@gottpoff`. Can go when Zig offers the model as an attribute (check: objdump of malloc).
const std = @import("std");
const builtin = @import("builtin");

comptime {
    asm (
        \\.section .tbss,"awT",%nobits
        \\.hidden liballoc_thread_word
        \\.globl liballoc_thread_word
        \\.type liballoc_thread_word, %tls_object
        \\.size liballoc_thread_word, 8
        \\.balign 8
        \\liballoc_thread_word: .zero 8
        \\.text
    );
}

/// The calling thread's word. Volatile, since another function may have changed it meanwhile.
pub inline fn load() usize {
    return switch (builtin.cpu.arch) {
        .x86_64 => asm volatile (
            \\ movq liballoc_thread_word@gottpoff(%%rip), %[word]
            \\ movq %%fs:(%[word]), %[word]
            : [word] "=r" (-> usize),
        ),
        else => @as(*const volatile usize, @ptrFromInt(address())).*,
    };
}

pub inline fn store(word: usize) void {
    @as(*volatile usize, @ptrFromInt(address())).* = word;
}

/// The address of the word: unlike a thread id it is the same in a child after fork.
pub inline fn address() usize {
    return switch (builtin.cpu.arch) {
        .x86_64 => asm volatile (
            \\ movq liballoc_thread_word@gottpoff(%%rip), %[result]
            \\ addq %%fs:0, %[result]
            : [result] "=r" (-> usize),
            :
            : .{ .cc = true }),
        .aarch64 => asm volatile (
            \\ mrs %[result], tpidr_el0
            \\ adrp x16, :gottprel:liballoc_thread_word
            \\ ldr x16, [x16, :gottprel_lo12:liballoc_thread_word]
            \\ add %[result], %[result], x16
            : [result] "=&r" (-> usize),
            :
            : .{ .x16 = true }),
        .riscv64 => asm volatile (
            \\ la.tls.ie %[result], liballoc_thread_word
            \\ add %[result], %[result], tp
            : [result] "=&r" (-> usize),
        ),
        else => @compileError("no initial-exec sequence for this architecture"),
    };
}

test "each thread starts from zero" {
    store(41);
    const thread = try std.Thread.spawn(.{}, struct {
        fn run() void {
            if (load() != 0) @panic("a new thread's word is not zero");
            store(7);
        }
    }.run, .{});
    thread.join();
    try std.testing.expectEqual(@as(usize, 41), load());
    store(0);
}

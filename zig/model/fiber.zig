//! Fibers: the threads of the model, each with a stack of its own, on one thread of the system.
//! x86_64 only; so is the executable.
const std = @import("std");
const linux = std.os.linux;
const contract = @import("contract.zig");

const stack_size = 256 << 10;
/// The context that starts the fibers and to which the last one returns.
pub const home = contract.threads_max;

var saved: [contract.threads_max + 1]usize = @splat(0);
var stacks: usize = 0;

comptime {
    asm (
        \\.text
        \\.type liballoc_model_switch, @function
        \\liballoc_model_switch:
        \\    pushq %rbp
        \\    pushq %rbx
        \\    pushq %r12
        \\    pushq %r13
        \\    pushq %r14
        \\    pushq %r15
        \\    movq %rsp, (%rdi)
        \\    movq %rsi, %rsp
        \\    popq %r15
        \\    popq %r14
        \\    popq %r13
        \\    popq %r12
        \\    popq %rbx
        \\    popq %rbp
        \\    ret
    );
}
extern fn liballoc_model_switch(save: *usize, target: usize) callconv(.c) void;
const registers_saved = 6;

pub fn init() void {
    const length = contract.threads_max * stack_size;
    const prot: linux.PROT = .{ .READ = true, .WRITE = true };
    const result = linux.mmap(null, length, prot, .{ .TYPE = .PRIVATE, .ANONYMOUS = true }, -1, 0);
    if (linux.errno(result) != .SUCCESS) @panic("no memory for stacks");
    stacks = result;
}

/// Whether an address lies in a fiber's stack: nobody else knows of it.
pub inline fn onStack(address: usize) bool {
    return address -% stacks < contract.threads_max * stack_size;
}

/// The fiber's next run begins at `entry`, which never returns.
pub fn prepare(index: u32, entry: *const fn () callconv(.c) noreturn) void {
    const top = stacks + (@as(usize, index) + 1) * stack_size;
    // The `ret` of the switch leaves the stack as a call would: 8 below a multiple of 16.
    const slot: *usize = @ptrFromInt(top - 32);
    slot.* = @intFromPtr(entry);
    saved[index] = top - 32 - registers_saved * @sizeOf(usize);
}

pub fn switchTo(from: u32, to: u32) void {
    liballoc_model_switch(&saved[from], saved[to]);
}

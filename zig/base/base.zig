//! The lowest layer: pure code that knows neither the operating system nor the allocator.
const std = @import("std");

pub const asserts = @import("assert.zig");
pub const assert = asserts.assert;
pub const assertHardened = asserts.assertHardened;
pub const assertExpensive = asserts.assertExpensive;
pub const verify = asserts.verify;
/// What all layers call for atomics; see the file.
pub const atomic = @import("atomic.zig");
pub const bulk = @import("bulk.zig");
pub const size_class = @import("size_class.zig");
/// Test inputs; see the file.
pub const script = @import("script.zig");
pub const tunables = @import("tunables.zig");
pub const text = @import("text.zig");
pub const Text = text.Text;

/// Where large tables lie of which little is touched: among them the small variables would be on
/// seven pages instead of five, in every process.
pub const sparse_section = ".bss.sparse";

/// Keeps the compiler from moving memory accesses across it; emits no instruction. Used where a
/// signal handler or the snapshot of a fork may look between two stores.
pub inline fn compilerBarrier() void {
    asm volatile ("" ::: .{ .memory = true });
}

test {
    _ = asserts;
    _ = atomic;
    _ = bulk;
    _ = script;
    _ = size_class;
    _ = tunables;
    _ = text;
}

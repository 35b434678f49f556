//! The atomic operations of the library, under one name: what stands behind it is a parameter of
//! the build. Normally the processor's own; in the executable that explores all interleavings
//! (`zig build model`) a scheduler's, which decides who goes on at each operation and which of the
//! values that C11 allows a load returns. What the model runs names no `std.atomic`: it would stop.
const std = @import("std");
const build_options = @import("build_options");

/// Whether this is that executable. A comptime constant: nothing of it is in the library.
pub const modelled = build_options.model;
/// The scheduler's side; see zig/model.
pub const model = if (modelled) @import("model") else struct {};

pub const Value = if (modelled) model.Value else std.atomic.Value;

/// The order of a load whose value may be any that the word ever had: the processor's is the same
/// as for monotonic, but the compiler may make it an operand of a comparison, an instruction less.
pub const weakest: std.lang.AtomicOrder = if (modelled) .monotonic else .unordered;

pub inline fn spinLoopHint() void {
    if (modelled) model.spinLoopHint() else std.atomic.spinLoopHint();
}

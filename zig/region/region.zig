//! The layer's public face: address space, the slice map, runs, own mappings, metadata memory.
pub const allowance = @import("allowance.zig");
pub const arena = @import("arena.zig");
pub const huge_block = @import("huge_block.zig");
pub const purge = @import("purge.zig");
pub const space = @import("address_space.zig");
pub const limits = @import("limits.zig");
pub const run_allocator = @import("run_allocator.zig");
pub const Slice = @import("slice.zig").Slice;
pub const SliceId = @import("slice.zig").SliceId;
pub const SlabState = @import("slice.zig").SlabState;
pub const RunState = @import("slice.zig").RunState;

test {
    _ = allowance;
    _ = arena;
    _ = @import("free_runs.zig");
    _ = huge_block;
    _ = huge_block.cache;
    _ = huge_block.table;
    _ = limits;
    _ = purge;
    _ = space;
    _ = @import("address_space_test.zig");
    _ = @import("huge_block_test.zig");
    _ = run_allocator;
    _ = @import("run_allocator_fuzz.zig");
    _ = @import("run_allocator_test.zig");
    _ = @import("slice.zig");
}

//! The interface that every allocator of the benchmark stands behind: the rungs of the ladder, the
//! library's own heap and the process's malloc. A table of functions rather than a comptime
//! parameter, so that one compiled workload measures all of them at the same price per call.
//!
//! Sizes and alignments are in bytes. No function may be called from two threads at once unless
//! the allocator is one that a process with threads may use: the rungs are for one thread.

pub const Allocator = struct {
    /// As in `--allocator NAME`.
    name: []const u8,
    context: *anyopaque,
    calls: *const Calls,

    pub const Calls = struct {
        /// Aligned to 16 bytes for every size, also for 0; null: no memory.
        malloc: *const fn (*anyopaque, usize) ?[*]u8,
        free: *const fn (*anyopaque, [*]u8) void,
        /// Null: no memory, and the old block is still there and unchanged. Size 0 frees nothing:
        /// it gives a block of 0 bytes.
        realloc: *const fn (*anyopaque, [*]u8, usize) ?[*]u8,
        /// Alignment (a power of two) and size.
        aligned: *const fn (*anyopaque, usize, usize) ?[*]u8,
        /// Filled with zero bytes.
        calloc: *const fn (*anyopaque, usize) ?[*]u8,
        /// At least the size asked for.
        usable: *const fn (*anyopaque, [*]u8) usize,
        /// Null where the allocator cannot say.
        held: *const fn (*anyopaque) ?Held,
    };

    pub fn malloc(allocator: Allocator, size: usize) ?[*]u8 {
        return allocator.calls.malloc(allocator.context, size);
    }

    pub fn free(allocator: Allocator, block: [*]u8) void {
        allocator.calls.free(allocator.context, block);
    }

    pub fn realloc(allocator: Allocator, block: [*]u8, size: usize) ?[*]u8 {
        return allocator.calls.realloc(allocator.context, block, size);
    }

    pub fn aligned(allocator: Allocator, alignment: usize, size: usize) ?[*]u8 {
        return allocator.calls.aligned(allocator.context, alignment, size);
    }

    pub fn calloc(allocator: Allocator, size: usize) ?[*]u8 {
        return allocator.calls.calloc(allocator.context, size);
    }

    pub fn usable(allocator: Allocator, block: [*]u8) usize {
        return allocator.calls.usable(allocator.context, block);
    }

    pub fn held(allocator: Allocator) ?Held {
        return allocator.calls.held(allocator.context);
    }
};

/// What an allocator has from the system at one moment, in bytes.
pub const Held = struct {
    /// Slabs, runs and mappings held, caches included, metadata apart.
    bytes: usize,
    metadata: usize,
    /// The largest request that needs no further memory from the system; null: cannot say.
    largest_free: ?usize = null,
};

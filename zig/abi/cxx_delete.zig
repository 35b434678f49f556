//! C++ operator delete: the derived forms. `delete(p)` and `delete(p, alignment)` are malloc.free
//! itself; each form here is the same code, unless the program replaced the operator that the
//! standard defines the form by, which is then called. What a form says of size and alignment is
//! a promise that is not needed. Any thread.
const chain = @import("cxx_chain.zig");
const malloc_file = @import("malloc.zig");

/// Forms that are defined by an unaligned operator.
fn Unaligned(comptime base: []const u8) type {
    return struct {
        /// (p), (p, size), (p, nothrow).
        pub fn plain(pointer: ?*anyopaque) callconv(.c) void {
            if (!chain.areOurs()) return plainUnknown(pointer);
            @call(.always_inline, malloc_file.free, .{pointer});
        }

        noinline fn plainUnknown(pointer: ?*anyopaque) void {
            if (!chain.look()) {
                if (chain.replacement(base)) |operator| return operator(pointer);
            }
            malloc_file.free(pointer);
        }
    };
}

/// Forms that are defined by an aligned operator.
fn Aligned(comptime base: []const u8) type {
    return struct {
        /// (p, alignment), (p, alignment, nothrow).
        pub fn aligned(pointer: ?*anyopaque, alignment: usize) callconv(.c) void {
            if (!chain.areOurs()) return alignedUnknown(pointer, alignment);
            @call(.always_inline, malloc_file.free, .{pointer});
        }

        /// (p, size, alignment).
        pub fn sized(pointer: ?*anyopaque, size: usize, alignment: usize) callconv(.c) void {
            _ = size;
            if (!chain.areOurs()) return alignedUnknown(pointer, alignment);
            @call(.always_inline, malloc_file.free, .{pointer});
        }

        noinline fn alignedUnknown(pointer: ?*anyopaque, alignment: usize) void {
            if (!chain.look()) {
                if (chain.replacement(base)) |operator| return operator(pointer, alignment);
            }
            malloc_file.free(pointer);
        }
    };
}

pub const to_delete = Unaligned("_ZdlPv");
pub const to_delete_array = Unaligned("_ZdaPv");
pub const to_delete_aligned = Aligned("_ZdlPvSt11align_val_t");
pub const to_delete_array_aligned = Aligned("_ZdaPvSt11align_val_t");

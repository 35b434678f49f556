//! C++ operator new, every form. Failure calls the new-handler until it gives up, then throws
//! std::bad_alloc (nothrow forms return NULL, also when the handler throws). Any thread.
//!
//! `new(n)` and `new(n, alignment)` stand for themselves; the others are the same code, unless the
//! program replaced the operator that the standard defines them by, which is then called.
const heap = @import("heap");
const base = @import("base");
const chain = @import("cxx_chain.zig");
const guard = @import("cxx_guard.zig");
const runtime = @import("cxx_runtime.zig");
const t = base.tunables;

const natural_alignment = 16;

pub fn new(size: usize) callconv(.c) ?*anyopaque {
    return hit(size) orelse newSlow(size);
}

pub fn newArray(size: usize) callconv(.c) ?*anyopaque {
    if (!chain.areOurs()) return newArrayUnknown(size);
    return hit(size) orelse newSlow(size);
}

pub fn newAligned(size: usize, alignment: usize) callconv(.c) ?*anyopaque {
    if (@popCount(alignment) == 1) {
        if (heap.allocateAligned(size, alignment)) |block| return @ptrFromInt(block);
    }
    return newAlignedSlow(size, alignment);
}

noinline fn newAlignedSlow(size: usize, alignment: usize) ?*anyopaque {
    return allocateOrHandle(size, alignment) orelse runtime.throwBadAlloc();
}

pub fn newArrayAligned(size: usize, alignment: usize) callconv(.c) ?*anyopaque {
    if (!chain.areOurs()) return newArrayAlignedUnknown(size, alignment);
    return newAligned(size, alignment);
}

pub const newNothrow = Nothrow("_Znwm").plain;
pub const newArrayNothrow = Nothrow("_Znam").plain;
pub const newAlignedNothrow = Nothrow("_ZnwmSt11align_val_t").aligned;
pub const newArrayAlignedNothrow = Nothrow("_ZnamSt11align_val_t").aligned;

/// What malloc does up to 1024 bytes; null: go slow.
inline fn hit(size: usize) ?*anyopaque {
    if (size > t.table_size_max) return null;
    return @ptrFromInt(heap.allocateSmall(size) orelse return null);
}

noinline fn newSlow(size: usize) ?*anyopaque {
    return medium(size) orelse allocateOrHandle(size, natural_alignment) orelse
        runtime.throwBadAlloc();
}

inline fn medium(size: usize) ?*anyopaque {
    if (size <= t.table_size_max or size > t.medium_size_max) return null;
    return @ptrFromInt(heap.allocateMedium(size) orelse return null);
}

noinline fn newArrayUnknown(size: usize) ?*anyopaque {
    if (!chain.look()) {
        if (chain.replacement("_Znwm")) |operator| return operator(size);
    }
    return new(size);
}

noinline fn newArrayAlignedUnknown(size: usize, alignment: usize) ?*anyopaque {
    if (!chain.look()) {
        if (chain.replacement("_ZnwmSt11align_val_t")) |operator| return operator(size, alignment);
    }
    return newAligned(size, alignment);
}

/// The nothrow forms that are defined by one throwing operator.
fn Nothrow(comptime throwing: []const u8) type {
    return struct {
        fn plain(size: usize, tag: ?*const anyopaque) callconv(.c) ?*anyopaque {
            _ = tag;
            if (!chain.areOurs()) return unknown(size, natural_alignment);
            return hit(size) orelse slow(size);
        }

        fn aligned(
            size: usize,
            alignment: usize,
            tag: ?*const anyopaque,
        ) callconv(.c) ?*anyopaque {
            _ = tag;
            return unknown(size, alignment);
        }

        noinline fn unknown(size: usize, alignment: usize) ?*anyopaque {
            if (!chain.areOurs() and !chain.look()) {
                if (chain.replacement(throwing)) |operator| {
                    return guard.call(operator, size, alignment);
                }
            }
            return guard.call(&allocateOrHandle, size, alignment);
        }
    };
}

/// Of the nothrow forms that are not aligned.
noinline fn slow(size: usize) ?*anyopaque {
    return medium(size) orelse guard.call(&allocateOrHandle, size, natural_alignment);
}

/// The loop the standard asks for; null: there is no handler (any more), or the alignment is
/// none. An exception of the handler passes through: frames have unwind tables, and no lock is
/// held here.
fn allocateOrHandle(size: usize, alignment: usize) callconv(.c) ?*anyopaque {
    if (@popCount(alignment) != 1) return null;
    while (true) {
        const block = if (alignment <= natural_alignment)
            heap.slow.allocate(size)
        else
            heap.slow.allocateAligned(size, alignment);
        if (block != 0) return @ptrFromInt(block);
        const handler = runtime.newHandler() orelse return null;
        handler();
    }
}

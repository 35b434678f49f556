//! The ladder: how an allocator is built, one idea a rung, each a small allocator behind the
//! interface that allocbench measures. Read the rungs in the order of `strategies`; docs/LADDER.md
//! walks through what each one shows.
//!
//! Rungs are for one thread, except the last, which is the library itself.
const std = @import("std");
const interface = @import("interface.zig");
pub const Allocator = interface.Allocator;
pub const Held = interface.Held;
pub const Fault = @import("fault.zig").Fault;
pub const frame = @import("frame.zig");
pub const source = @import("source.zig");
pub const core = @import("core.zig");
pub const report = @import("report.zig");
pub const trace = @import("trace.zig");

pub const strategies = .{
    @import("bump.zig").Bump,
    @import("first_fit.zig").FirstFit,
    @import("first_fit_split.zig").FirstFitSplit,
    @import("first_fit_coalesce.zig").FirstFitCoalesce,
    @import("best_fit.zig").BestFit,
    @import("boundary_tag.zig").BoundaryTag,
    @import("buddy.zig").Buddy,
    @import("slab.zig").SlabRung,
};

pub const Rung = struct {
    name: []const u8,
    idea: []const u8,
    /// Whether several threads may use it.
    threads: bool = false,
    open: *const fn (source.Kind) ?Allocator,
    /// Null: it says no more of itself than the interface has.
    view: ?*const frame.View = null,
};

/// Lowest first; the last is the library's own heap.
pub const rungs: [strategies.len + 1]Rung = blk: {
    var table: [strategies.len + 1]Rung = undefined;
    for (strategies, 0..) |Strategy, index| table[index] = .{
        .name = Strategy.name,
        .idea = Strategy.idea,
        .open = Instance(Strategy).open,
        .view = &frame.FrameType(Strategy).view,
    };
    table[strategies.len] = .{
        .name = core.name,
        .idea = core.idea,
        .threads = true,
        .open = openCore,
    };
    break :blk table;
};

/// Null: no such rung.
pub fn find(name: []const u8) ?*const Rung {
    for (&rungs) |*rung| {
        if (std.mem.eql(u8, rung.name, name)) return rung;
    }
    return null;
}

/// One of each rung in a process; opened again, it is new and all its blocks are gone.
fn Instance(comptime Strategy: type) type {
    return struct {
        var instance: frame.FrameType(Strategy) = undefined;
        var is_open = false;

        fn open(kind: source.Kind) ?Allocator {
            if (is_open) instance.close();
            is_open = instance.open(kind);
            return if (is_open) instance.allocator() else null;
        }
    };
}

var core_context: u8 = 0;

/// The same at every call. It has no fake heap: null.
fn openCore(kind: source.Kind) ?Allocator {
    if (kind == .fake) return null;
    return .{ .name = core.name, .context = &core_context, .calls = &core.calls };
}

test {
    _ = source;
    _ = trace;
    _ = report;
    _ = @import("free_sizes.zig");
    _ = @import("conformance.zig");
    _ = @import("limits_test.zig");
}

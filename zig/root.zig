//! The library's root: exports the table of the abi layer, replaces the panic machinery (the
//! library has no start code and must not pull in std.Io), hooks initialisation and exit.
const std = @import("std");
const builtin = @import("builtin");
const abi = @import("abi");
const os = @import("os");
const build_options = @import("build_options");

pub const panic = std.debug.FullPanic(onPanic);

fn onPanic(message: []const u8, return_address: ?usize) noreturn {
    @branchHint(.cold);
    _ = return_address;
    os.report.warn(message);
    os.report.abort();
}

comptime {
    @setEvalBranchQuota(10_000);
    for (abi.table) |row| {
        if (build_options.apart and !isPrefixed(row[0])) continue;
        // See malloc_info.zig: the archive has another, which goes first.
        const is_weak = in_archive and std.mem.eql(u8, row[0], "malloc_info");
        const linkage: std.lang.GlobalLinkage = if (is_weak) .weak else .strong;
        @export(abi.log.wrap(row[0], row[1]), .{ .name = row[0], .linkage = linkage });
    }
    if (in_archive) {
        @export(abi.log.wrap("malloc_info", &abi.introspect.mallocInfoThrough), .{
            .name = "liballoc_malloc_info",
            .visibility = .hidden,
        });
    }
    if (!build_options.apart) {
        for (abi.operators) |row| @export(row[1], .{ .name = row[0], .linkage = .weak });
    }
}

/// The drop-in's archive rather than its shared library.
const in_archive = builtin.link_mode == .static and !build_options.apart;

/// The names of alloc.h and hft_alloc.h, which no other malloc has.
fn isPrefixed(comptime name: []const u8) bool {
    return std.mem.startsWith(u8, name, "alloc_") or std.mem.startsWith(u8, name, "hft_");
}

comptime {
    if (build_options.steps_aside) {
        @export(&abi.startup.asanOptions, .{ .name = "__asan_default_options", .linkage = .weak });
        @export(&detect_first, .{
            .name = "liballoc_detect",
            .section = ".init_array",
            .visibility = .hidden,
        });
    }
}

/// A sanitizer linked into the program itself is met by no call: its malloc comes first.
const detect_first: *const fn () callconv(.c) void = &abi.startup.onLoad;

/// Found by the heap layer, which knows nothing of the layers above it.
pub const liballocOnInit = abi.startup.onInit;

comptime {
    @export(&at_exit, .{
        .name = "liballoc_fini",
        .section = ".fini_array",
        .visibility = .hidden,
    });
}

/// The linker collects this section; exit() calls what is in it.
const at_exit: *const fn () callconv(.c) void = &abi.startup.onExit;

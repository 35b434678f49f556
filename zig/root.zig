//! The library's root: exports the table of the abi layer, replaces the panic machinery (the
//! library has no start code and must not pull in std.Io), hooks initialisation and exit.
const std = @import("std");
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
    for (abi.table) |row| @export(abi.log.wrap(row[0], row[1]), .{ .name = row[0] });
    for (abi.operators) |row| @export(row[1], .{ .name = row[0], .linkage = .weak });
}

comptime {
    if (build_options.shared) {
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

/// The linker collects this section; exit() calls what is in it.
export const liballoc_fini: *const fn () callconv(.c) void linksection(".fini_array") =
    &abi.startup.onExit;

//! The library's root: exports the table of the abi layer, replaces the panic machinery (the
//! library has no start code and must not pull in std.Io), hooks initialisation and exit.
const std = @import("std");
const abi = @import("abi");
const os = @import("os");

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

/// Found by the heap layer, which knows nothing of the layers above it.
pub const onInit = abi.startup.onInit;

/// The linker collects this section; exit() calls what is in it.
export const liballoc_fini: *const fn () callconv(.c) void linksection(".fini_array") =
    &abi.startup.onExit;

//! What installed libraries have beside themselves: headers, files of pkg-config and of CMake.
//! All find the library relative to themselves, so that the installed folder may be moved.
const std = @import("std");

const headers = [_][]const u8{ "alloc.h", "hft_alloc.h", "alloc.hpp" };

const Template = struct { text: []const u8, place: []const u8 };

const templates = [_]Template{
    .{ .text = @embedFile("liballoc.pc.in"), .place = "lib/pkgconfig/liballoc.pc" },
    .{ .text = @embedFile("liballoc-apart.pc.in"), .place = "lib/pkgconfig/liballoc-apart.pc" },
    .{
        .text = @embedFile("liballocConfig.cmake.in"),
        .place = "lib/cmake/liballoc/liballocConfig.cmake",
    },
    .{
        .text = @embedFile("liballocConfigVersion.cmake.in"),
        .place = "lib/cmake/liballoc/liballocConfigVersion.cmake",
    },
};

pub fn addFiles(b: *std.Build, version: []const u8) void {
    for (headers) |header| {
        b.installFile(b.fmt("zig/include/{s}", .{header}), b.fmt("include/{s}", .{header}));
    }
    const written = b.addWriteFiles();
    const major = version[0..std.mem.findScalar(u8, version, '.').?];
    for (templates) |template| {
        const numbered = replaced(b, template.text, "@VERSION@", version);
        const text = replaced(b, numbered, "@MAJOR@", major);
        const file = written.add(std.fs.path.basename(template.place), text);
        b.getInstallStep().dependOn(&b.addInstallFile(file, template.place).step);
    }
}

fn replaced(b: *std.Build, text: []const u8, word: []const u8, by: []const u8) []const u8 {
    return std.mem.replaceOwned(u8, b.allocator, text, word, by) catch @panic("OOM");
}

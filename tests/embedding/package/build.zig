//! A project beside the library that depends on it by path, as its users' projects do. Runs the
//! standard library's own tests of allocators on what the package offers: `zig build test`.
const std = @import("std");

const Case = struct { name: []const u8, code: std.lang.Optimize, link_libc: bool };

/// Of safe comes the code of the debug library, of fast that of the release library.
const cases = [_]Case{
    .{ .name = "safe-with-libc", .code = .safe, .link_libc = true },
    .{ .name = "fast-with-libc", .code = .fast, .link_libc = true },
    .{ .name = "fast-without-libc", .code = .fast, .link_libc = false },
};

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const step = b.step("test", "The tests of allocators, with and without libc");
    for (cases) |case| {
        const liballoc = b.dependency("liballoc", .{ .target = target, .optimize = case.code });
        const tests = b.addTest(.{
            .name = case.name,
            .root_module = b.createModule(.{
                .root_source_file = b.path("package.zig"),
                .target = target,
                .link_libc = case.link_libc,
                .imports = &.{.{ .name = "liballoc", .module = liballoc.module("liballoc") }},
            }),
            .use_llvm = true,
        });
        b.installArtifact(tests);
        step.dependOn(&b.addRunArtifact(tests).step);
    }
}

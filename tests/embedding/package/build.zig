//! A project beside the library that depends on it by path, as its users' projects do. Runs the
//! standard library's own tests of allocators on what the package offers: `zig build test`.
const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});
    const step = b.step("test", "The tests of allocators, with and without libc");
    const liballoc = b.dependency("liballoc", .{ .target = target, .optimize = optimize });
    for ([_]bool{ false, true }) |link_libc| {
        const tests = b.addTest(.{
            .name = if (link_libc) "with-libc" else "without-libc",
            .root_module = b.createModule(.{
                .root_source_file = b.path("package.zig"),
                .target = target,
                .optimize = optimize,
                .link_libc = link_libc,
                .imports = &.{.{ .name = "liballoc", .module = liballoc.module("liballoc") }},
            }),
            .use_llvm = true,
        });
        b.installArtifact(tests);
        step.dependOn(&b.addRunArtifact(tests).step);
    }
}

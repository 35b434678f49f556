//! The build: one module per layer, the shared and static libraries in a release and a debug
//! variant and one apart from malloc, the small benchmark, the unit tests. `zig build --help` lists
//! options and steps.
const std = @import("std");
const packages = @import("zig/build/packages.zig");

comptime {
    const supported: std.SemanticVersion = .{ .major = 0, .minor = 17, .patch = 0 };
    if (@import("builtin").zig_version.order(supported) != .eq) {
        @compileError("liballoc is built with zig 0.17.0 (pip install ziglang==0.17.0)");
    }
}

/// The one place where the version stands; tests/tidy compares the packages of other languages.
const version_text = @import("build.zig.zon").version;
const version = std.SemanticVersion.parse(version_text) catch unreachable;

const Layer = struct { name: []const u8, imports: []const []const u8 };

/// The layers, lowest first. A layer may import the modules of its row and no others; the
/// compiler refuses everything else.
const layers = [_]Layer{
    .{ .name = "base", .imports = &.{} },
    .{ .name = "os", .imports = &.{"base"} },
    .{ .name = "region", .imports = &.{ "base", "os" } },
    .{ .name = "slab", .imports = &.{ "base", "os", "region" } },
    .{ .name = "heap", .imports = &.{ "base", "os", "region", "slab" } },
    .{ .name = "pools", .imports = &.{ "base", "os", "region", "slab", "heap" } },
    .{ .name = "abi", .imports = &.{ "base", "os", "region", "slab", "heap", "pools" } },
};

/// The file that is a layer's public face.
fn rootOf(b: *std.Build, layer: []const u8) std.Build.LazyPath {
    return b.path(b.fmt("zig/{s}/{s}.zig", .{ layer, layer }));
}

const Variant = struct {
    target: std.Build.ResolvedTarget,
    optimize: std.lang.Optimize,
    /// Exact misuse checks on every call, assertions.
    checks: bool,
    verify: bool,
    strip: bool,
    /// Beside a sanitizer's malloc: the shared drop-in leaves every call to it, the other forms
    /// serve and tell it of their blocks.
    steps_aside: bool = false,
    /// Only the names of alloc.h and hft_alloc.h: malloc stays the process's own.
    apart: bool = false,
    /// For unit tests; null: the machine's.
    page_size: ?usize = null,
    /// Atomics, futex and memory of the model: see zig/model.
    model: bool = false,
    /// Part of another program, whose tests are not ours: they run on the real system.
    package: bool = false,
};

pub fn build(b: *std.Build) void {
    // Never the build machine's CPU: a library is built here and run elsewhere.
    const target = b.standardTargetOptions(.{ .default_target = .{
        .cpu_arch = .x86_64,
        .os_tag = .linux,
        .abi = .gnu,
        .cpu_model = .baseline,
    } });
    const verify = b.option(bool, "verify", "Compile in checks that walk lists") orelse false;
    const keep = b.option(bool, "keep-symbols", "Do not strip the release library") orelse false;
    const page_size = b.option(usize, "page-size", "Unit tests: as if pages had this size");
    const filters = b.option([]const []const u8, "test-filter", "Only tests with this name");

    const release: Variant = .{
        .target = target,
        .optimize = .fast,
        .checks = false,
        .verify = false,
        .strip = !keep,
    };
    var debug = release;
    debug.optimize = .safe;
    debug.checks = true;
    debug.verify = verify;
    debug.strip = false;
    const shared = b.step("shared", "Only liballoc.so");
    const archive = b.step("archive", "Only liballoc.a");
    addLibraries(b, "alloc", release, .{ .shared = shared, .archive = archive });
    const install = b.getInstallStep();
    install.dependOn(shared);
    install.dependOn(archive);
    addLibraries(b, "alloc-debug", debug, .{ .shared = install, .archive = install });
    var apart = release;
    apart.apart = true;
    addLibraries(b, "alloc-apart", apart, .{ .shared = install, .archive = install });
    packages.addFiles(b, version_text);
    addPackage(b, release, debug);
    addBenchmark(b, target);
    const bench = allocbench(b, release);
    const executable = b.addExecutable(.{
        .name = "allocbench",
        .root_module = bench,
        .use_llvm = true,
    });
    executable.pie = true; // Weak names of libc are then bound by the loader.
    b.installArtifact(executable);
    debug.page_size = page_size;
    addTests(b, debug, filters orelse &.{});
    addLadder(b, debug, filters orelse &.{});
    addModel(b, debug);
    addTyped(b, release);
    addSanitized(b, debug);
}

/// The steps that the two forms of a library belong to.
const Steps = struct { shared: *std.Build.Step, archive: *std.Build.Step };

fn addLibraries(b: *std.Build, name: []const u8, variant: Variant, steps: Steps) void {
    inline for (.{ std.lang.LinkMode.dynamic, std.lang.LinkMode.static }) |linkage| {
        var linked = variant;
        linked.steps_aside = linkage == .dynamic and !variant.apart;
        const library = b.addLibrary(.{
            .linkage = linkage,
            .name = name,
            .root_module = rootModule(b, linked),
            .version = if (linkage == .dynamic) version else null,
            // The self-hosted backend cannot assemble initial-exec TLS.
            .use_llvm = true,
        });
        if (linkage == .dynamic) {
            const script = if (variant.apart) "zig/exports_apart.map" else "zig/exports.map";
            library.setVersionScript(b.path(script));
            library.link_z_relro = true;
            library.link_z_lazy = false;
        }
        if (linkage == .static) library.bundle_compiler_rt = true;
        if (linkage == .static and !variant.apart) addMallocInfo(b, library, linked);
        if (linkage == .dynamic) markNodelete(b, library, steps.shared) else {
            steps.archive.dependOn(&b.addInstallArtifact(library, .{}).step);
        }
    }
}

/// See the file for why.
fn addMallocInfo(b: *std.Build, archive: *std.Build.Step.Compile, variant: Variant) void {
    archive.root_module.addObject(b.addObject(.{
        .name = "malloc_info",
        .root_module = createModule(b, variant, b.path("zig/malloc_info.zig")),
        .use_llvm = true,
    }));
}

/// See the tool for why.
fn markNodelete(b: *std.Build, library: *std.Build.Step.Compile, step: *std.Build.Step) void {
    const tool = b.addExecutable(.{
        .name = "mark_nodelete",
        .root_module = b.createModule(.{
            .root_source_file = b.path("zig/build/mark_nodelete.zig"),
            .target = b.graph.host,
        }),
    });
    const mark = b.addRunArtifact(tool);
    mark.addFileArg(library.getEmittedBin());
    const marked = mark.addOutputFileArg(library.out_filename);
    // Three copies rather than a file and two links: the build system links only what it linked.
    const stem = library.name;
    const names = [_][]const u8{
        b.fmt("lib/lib{s}.so", .{stem}),
        b.fmt("lib/lib{s}.so.{d}", .{ stem, version.major }),
        b.fmt("lib/lib{s}.so.{f}", .{ stem, version }),
    };
    for (names) |name| {
        step.dependOn(&b.addInstallFile(marked, name).step);
    }
}

fn rootModule(b: *std.Build, variant: Variant) *std.Build.Module {
    const options_module = optionsModule(b, variant);
    const modules = layerModules(b, variant, options_module);
    const root = createModule(b, variant, b.path("zig/root.zig"));
    root.addImport("build_options", options_module);
    for (modules, layers) |module, layer| root.addImport(layer.name, module);
    return root;
}

fn optionsModule(b: *std.Build, variant: Variant) *std.Build.Module {
    const options = b.addOptions();
    options.addOption(bool, "checks", variant.checks);
    options.addOption(bool, "verify", variant.verify);
    options.addOption(bool, "steps_aside", variant.steps_aside);
    options.addOption(bool, "apart", variant.apart);
    options.addOption(?usize, "page_size", variant.page_size);
    options.addOption(bool, "model", variant.model);
    options.addOption(bool, "package", variant.package);
    options.addOption([]const u8, "version", version_text);
    return options.createModule();
}

fn layerModules(
    b: *std.Build,
    variant: Variant,
    options_module: *std.Build.Module,
) [layers.len]*std.Build.Module {
    var modules: [layers.len]*std.Build.Module = undefined;
    for (layers, &modules, 0..) |layer, *module, index| {
        module.* = createModule(b, variant, rootOf(b, layer.name));
        module.*.addImport("build_options", options_module);
        for (layer.imports) |import| {
            for (layers[0..index], modules[0..index]) |lower, lower_module| {
                if (std.mem.eql(u8, lower.name, import)) module.*.addImport(import, lower_module);
            }
        }
    }
    return modules;
}

fn createModule(b: *std.Build, variant: Variant, root: std.Build.LazyPath) *std.Build.Module {
    return b.createModule(.{
        .root_source_file = root,
        .target = variant.target,
        .optimize = variant.optimize,
        .link_libc = false,
        .pic = if (variant.package) null else true,
        .strip = if (variant.package) null else variant.strip,
        .stack_check = false,
        .stack_protector = false,
        .omit_frame_pointer = variant.optimize == .fast,
        // C++ exceptions (bad_alloc), debuggers and profilers unwind through us.
        .unwind_tables = .async,
        // Not .no_builtin: it turns @memset and @memcpy into scalar loops.
    });
}

/// The module `liballoc` for programs in Zig: the release library's code, or the debug library's
/// where the program is built with safety.
fn addPackage(b: *std.Build, release: Variant, debug: Variant) void {
    const optimize = b.option(
        std.lang.Optimize,
        "optimize",
        "The Zig package: debug and safe check every call (the libraries are always both)",
    ) orelse .fast;
    var variant = if (optimize.runtimeSafety()) debug else release;
    variant.package = true;
    const options_module = optionsModule(b, variant);
    const root = b.addModule("liballoc", .{
        .root_source_file = b.path("zig/package/liballoc.zig"),
        .target = variant.target,
        .optimize = variant.optimize,
        .unwind_tables = .async,
    });
    root.addImport("build_options", options_module);
    for (layerModules(b, variant, options_module), layers) |module, layer| {
        root.addImport(layer.name, module);
    }
}

fn addBenchmark(b: *std.Build, target: std.Build.ResolvedTarget) void {
    const hotpath = b.addExecutable(.{
        .name = "hotpath",
        .root_module = b.createModule(.{
            .root_source_file = b.path("zig/hotpath/main.zig"),
            .target = target,
            .optimize = .fast,
            // Linked dynamically, so that malloc is whatever is preloaded.
            .link_libc = true,
        }),
        .use_llvm = true,
    });
    b.installArtifact(hotpath);
}

/// The benchmark of allocators: the library's own heap linked in, libc dynamically, so that the
/// process's malloc is whatever is preloaded.
fn allocbench(b: *std.Build, variant: Variant) *std.Build.Module {
    const root = createModule(b, variant, b.path("zig/allocbench/main.zig"));
    root.link_libc = true;
    const ladder = ladderModule(b, variant);
    root.addImport("ladder", ladder);
    root.addImport("abi", ladder.import_table.get("abi").?);
    return root;
}

fn addTests(b: *std.Build, variant: Variant, filters: []const []const u8) void {
    const step = b.step("test", "Run the unit tests of every layer");
    var tested = variant;
    tested.optimize = .debug;
    tested.verify = true;
    const modules = layerModules(b, tested, optionsModule(b, tested));
    for (modules, layers) |module, layer| {
        const unit = b.addTest(.{
            .name = layer.name,
            .root_module = module,
            .filters = filters,
            .use_llvm = true,
        });
        step.dependOn(&b.addRunArtifact(unit).step);
    }
    const bench = b.addTest(.{
        .name = "allocbench",
        .root_module = allocbench(b, tested),
        .filters = filters,
        .use_llvm = true,
    });
    step.dependOn(&b.addRunArtifact(bench).step);
    // By themselves, so that one input can be run again and again: see os/fuzz_input.zig.
    const fuzz = b.step("fuzz", "Build the fuzz targets of each layer into bin/fuzz-LAYER");
    for (modules, layers) |module, layer| {
        const unit = b.addTest(.{
            .name = b.fmt("fuzz-{s}", .{layer.name}),
            .root_module = module,
            .filters = &.{"fuzz:"},
            .use_llvm = true,
        });
        const has_targets = std.mem.eql(u8, layer.name, "region") or
            std.mem.eql(u8, layer.name, "abi");
        if (has_targets) fuzz.dependOn(&b.addInstallArtifact(unit, .{}).step);
    }
}

/// The ladder on top of the library's layers, and libc for its sbrk.
fn ladderModule(b: *std.Build, variant: Variant) *std.Build.Module {
    const ladder = createModule(b, variant, b.path("zig/ladder/ladder.zig"));
    ladder.link_libc = true;
    for (layerModules(b, variant, optionsModule(b, variant)), layers) |module, layer| {
        if (std.mem.eql(u8, layer.name, "heap") or std.mem.eql(u8, layer.name, "abi")) {
            ladder.addImport(layer.name, module);
        }
    }
    return ladder;
}

fn addLadder(b: *std.Build, debug: Variant, filters: []const []const u8) void {
    var tested = debug;
    tested.optimize = .debug;
    tested.verify = true;
    const unit = b.addTest(.{
        .name = "ladder",
        .root_module = ladderModule(b, tested),
        .filters = filters,
        .use_llvm = true,
    });
    const step = b.step("test-ladder", "Run the unit tests of the ladder");
    step.dependOn(&b.addRunArtifact(unit).step);
    b.top_level_steps.get("test").?.step.dependOn(step);
}

/// The hit paths that Zig programs get in line, for counting: see the file.
fn addTyped(b: *std.Build, variant: Variant) void {
    const root = createModule(b, variant, b.path("zig/hotpath/typed.zig"));
    for (layerModules(b, variant, optionsModule(b, variant)), layers) |module, layer| {
        if (std.mem.eql(u8, layer.name, "pools")) root.addImport(layer.name, module);
    }
    const object = b.addObject(.{ .name = "typed", .root_module = root, .use_llvm = true });
    const step = b.step("typed", "Build the typed pools' hit paths into lib/typed.o");
    step.dependOn(&b.addInstallFile(object.getEmittedBin(), "lib/typed.o").step);
}

/// The executable that explores all interleavings: see zig/model/contract.zig for its two halves.
fn addModel(b: *std.Build, variant: Variant) void {
    var modelled = variant;
    modelled.checks = false;
    modelled.model = true;
    const seam = createModule(b, modelled, b.path("zig/model/seam.zig"));
    const scenarios = createModule(b, modelled, b.path("zig/model/scenarios.zig"));
    scenarios.addImport("model", seam);
    const modules = layerModules(b, modelled, optionsModule(b, modelled));
    modules[0].addImport("model", seam);
    for (modules, layers) |module, layer| {
        module.sanitize_thread = true;
        if (!std.mem.eql(u8, layer.name, "abi")) scenarios.addImport(layer.name, module);
    }
    seam.sanitize_thread = true;
    scenarios.sanitize_thread = true;
    const half = b.addObject(.{
        .name = "scenarios",
        .root_module = scenarios,
        .use_llvm = true,
    });
    var quick = variant;
    quick.optimize = .fast;
    const scheduler = b.addObject(.{
        .name = "scheduler",
        .root_module = createModule(b, quick, b.path("zig/model/command.zig")),
        .use_llvm = true,
    });
    quick.strip = false;
    const model = b.addExecutable(.{
        .name = "model",
        .root_module = createModule(b, quick, b.path("zig/model/main.zig")),
        .use_llvm = true,
    });
    model.pie = true;
    model.root_module.addObject(half);
    model.root_module.addObject(scheduler);
    const step = b.step("model", "Build the exploration of all interleavings into bin/model");
    step.dependOn(&b.addInstallArtifact(model, .{}).step);
}

/// The tests with several threads under the thread sanitizer, with the processor's own atomics.
fn addSanitized(b: *std.Build, variant: Variant) void {
    const step = b.step("tsan", "Run the tests with threads under the thread sanitizer");
    var tested = variant;
    tested.checks = false;
    const modules = layerModules(b, tested, optionsModule(b, tested));
    for (modules) |module| {
        module.sanitize_thread = true;
        module.link_libc = true; // The sanitizer's runtime needs one.
    }
    for (modules, layers) |module, layer| {
        const unit = b.addTest(.{
            .name = b.fmt("{s}-tsan", .{layer.name}),
            .root_module = module,
            .filters = &.{"threads"},
            .use_llvm = true,
        });
        unit.pie = true;
        step.dependOn(&b.addRunArtifact(unit).step);
    }
}

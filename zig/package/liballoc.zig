//! The Zig package: liballoc's heap as a std.mem.Allocator, and its explicit allocators. A program
//! gets it as the module `liballoc` of the dependency (docs/EMBEDDING.md); nothing named malloc is
//! exported, and a malloc beside it is not touched.
//!
//! With libc linked, a thread's memory is for others when it ends. Without, libc's part is missing:
//! a thread calls `threadExit` as its last call, or its memory waits for the next thread that the
//! kernel puts in its place.
const std = @import("std");
const builtin = @import("builtin");
const abi = @import("abi");
const heap = @import("heap");
const pools = @import("pools");
const build_options = @import("build_options");

comptime {
    if (builtin.zig_backend != .stage2_llvm) {
        @compileError("liballoc's thread-local word needs the LLVM backend: " ++
            "set .use_llvm = true on the executable, library or test that imports it");
    }
}

pub const allocator = @import("allocator.zig").general;
pub const Heap = @import("heap.zig").Heap;
/// Objects of all sizes, freed together; `Arena.allocator` is a std.mem.Allocator.
pub const Arena = pools.Arena;
pub const TypedArena = pools.TypedArena;
/// Objects of one size, or of one type.
pub const Pool = pools.Pool;
pub const PoolOptions = pools.pool.Options;
pub const TypedPool = pools.TypedPool;
/// The same for any number of threads.
pub const SharedPool = @import("shared_pool.zig").SharedPool;
/// How their memory is had: prefault, lock, huge pages.
pub const MemoryFlags = pools.backing.Flags;
pub const version = build_options.version;
/// Whether misuse is looked for in every call: a free with a wrong size, a double free, others.
pub const checks = build_options.checks;

pub const ConfigError = error{InvalidOption};

/// Options in the words of ALLOC_CONF ("decay_ms:500,thp:never"), which the package itself does not
/// read. A line on stderr names what was not understood; the others hold. Before other threads
/// allocate: an option is a plain variable.
pub fn configure(options: []const u8) ConfigError!void {
    heap.slow.settle();
    if (!abi.options.parse(options)) return error.InvalidOption;
}

pub const Statistics = abi.statistics.Statistics;

/// Over all threads, which are not stopped: exact when they rest.
pub fn statistics() Statistics {
    return abi.statistics.current();
}

/// Ends the calling thread's use of the heap. Where libc is linked this happens by itself.
pub fn threadExit() void {
    const own = heap.current();
    if (!own.isSentinel()) heap.thread.exit(own);
}

comptime {
    if (builtin.link_libc) @export(&unhook_last, .{
        .name = "liballoc_package_unhook",
        .section = ".fini_array",
        .visibility = .hidden,
    });
}

/// A destructor of threads must not outlive an object that is closed.
const unhook_last: *const fn () callconv(.c) void = &unhook;

fn unhook() callconv(.c) void {
    heap.thread.unhook();
}

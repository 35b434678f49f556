//! Symbols of the host process that may or may not exist: the library links no libc. Each is a
//! weak reference; absent ones are null and every caller copes. Any thread.
//!
//! The pointers live in `var`s read as volatile: a comparison of an `@extern` constant with null
//! folds to "present" and the weak reference never reaches the symbol table.
const std = @import("std");
const linux = std.os.linux;

pub const Destructor = fn (?*anyopaque) callconv(.c) void;
const KeyCreate = fn (*c_uint, ?*const Destructor) callconv(.c) c_int;
const KeyDelete = fn (c_uint) callconv(.c) c_int;
const SetSpecific = fn (c_uint, ?*const anyopaque) callconv(.c) c_int;
const ForkHook = fn () callconv(.c) void;
const RegisterAtfork =
    fn (?*const ForkHook, ?*const ForkHook, ?*const ForkHook, ?*anyopaque) callconv(.c) c_int;
const ErrnoLocation = fn () callconv(.c) *c_int;
const GetAuxval = fn (c_ulong) callconv(.c) c_ulong;
const ClockGettime = fn (c_int, *linux.timespec) callconv(.c) c_int;
pub const Fputs = fn ([*:0]const u8, ?*anyopaque) callconv(.c) c_int;
const Dlsym = fn (?*anyopaque, [*:0]const u8) callconv(.c) ?*anyopaque;
const Dlopen = fn ([*:0]const u8, c_int) callconv(.c) ?*anyopaque;
pub const NewHandler = fn () callconv(.c) void;
pub const GetNewHandler = fn () callconv(.c) ?*const NewHandler;
pub const AllocateException = fn (usize) callconv(.c) *usize;
pub const ThrowException =
    fn (*usize, *const anyopaque, *const Destructor) callconv(.c) noreturn;
pub const BeginCatch = fn (*anyopaque) callconv(.c) ?*anyopaque;
pub const EndCatch = fn () callconv(.c) void;
pub const UnwindSetRegister = fn (*anyopaque, c_int, usize) callconv(.c) void;
pub const UnwindSetAddress = fn (*anyopaque, usize) callconv(.c) void;
const Poison = fn (*const anyopaque, usize) callconv(.c) void;
const Shadow = fn (*usize, *usize) callconv(.c) void;
const Environ = [*:null]const ?[*:0]const u8;

fn Weak(comptime T: type, comptime name: []const u8) type {
    return struct {
        var symbol: ?*const T = @extern(?*const T, .{ .name = name, .linkage = .weak });

        fn get() ?*const T {
            return @as(*volatile ?*const T, &symbol).*;
        }
    };
}

pub const keyCreate = Weak(KeyCreate, "pthread_key_create").get;
pub const keyDelete = Weak(KeyDelete, "pthread_key_delete").get;
pub const setSpecific = Weak(SetSpecific, "pthread_setspecific").get;
pub const registerAtfork = Weak(RegisterAtfork, "__register_atfork").get;
pub const getauxval = Weak(GetAuxval, "getauxval").get;
pub const fputs = Weak(Fputs, "fputs").get;
pub const dlsym = Weak(Dlsym, "dlsym").get;
pub const dlopen = Weak(Dlopen, "dlopen").get;
pub const getNewHandler = Weak(GetNewHandler, "_ZSt15get_new_handlerv").get;
pub const allocateException = Weak(AllocateException, "__cxa_allocate_exception").get;
pub const throwException = Weak(ThrowException, "__cxa_throw").get;
pub const badAllocTypeInfo = Weak(anyopaque, "_ZTISt9bad_alloc").get;
pub const badAllocVtable = Weak(anyopaque, "_ZTVSt9bad_alloc").get;
pub const badAllocDestroy = Weak(Destructor, "_ZNSt9bad_allocD1Ev").get;
pub const beginCatch = Weak(BeginCatch, "__cxa_begin_catch").get;
pub const endCatch = Weak(EndCatch, "__cxa_end_catch").get;
pub const unwindSetRegister = Weak(UnwindSetRegister, "_Unwind_SetGR").get;
pub const unwindSetAddress = Weak(UnwindSetAddress, "_Unwind_SetIP").get;

pub const asanPoison = Weak(Poison, "__asan_poison_memory_region").get;
pub const asanUnpoison = Weak(Poison, "__asan_unpoison_memory_region").get;
pub const asanShadow = Weak(Shadow, "__asan_get_shadow_mapping").get;
pub const lsanRegister = Weak(Poison, "__lsan_register_root_region").get;
pub const lsanUnregister = Weak(Poison, "__lsan_unregister_root_region").get;

/// The sanitizer in this process that brings a malloc of its own.
pub fn sanitizer() ?[]const u8 {
    if (Weak(anyopaque, "__asan_init").get() != null) return "AddressSanitizer";
    if (Weak(anyopaque, "__hwasan_init").get() != null) return "HWAddressSanitizer";
    if (Weak(anyopaque, "__tsan_init").get() != null) return "ThreadSanitizer";
    if (Weak(anyopaque, "__msan_init").get() != null) return "MemorySanitizer";
    if (Weak(anyopaque, "__lsan_init").get() != null) return "LeakSanitizer";
    return null;
}

const singleThreaded = Weak(u8, "__libc_single_threaded").get;

/// Whether libc knows that no other thread exists: it clears the byte before it makes the first one
/// (glibc 2.32 and newer). False where nobody knows.
pub inline fn isSingleThreaded() bool {
    const known = singleThreaded() orelse return false;
    return @as(*const volatile u8, known).* != 0;
}

/// A function of the process's own malloc, for the library that defines none: whatever the loader
/// finds first, a preloaded one too.
pub fn ofProcess(comptime T: type, comptime name: []const u8) ?*const T {
    return Weak(T, name).get();
}

const errnoLocation = Weak(ErrnoLocation, "__errno_location").get;
const clockGettime = Weak(ClockGettime, "clock_gettime").get;
const environSymbol = Weak(Environ, "environ").get;

/// Sets the host's errno, where there is one.
pub fn setErrno(code: linux.E) void {
    const location = errnoLocation() orelse return;
    location().* = @intCast(@backingInt(code));
}

/// The process environment; null before libc has set it, or without a libc.
pub fn environ() ?Environ {
    const symbol = environSymbol() orelse return null;
    const list: *const usize = @ptrCast(symbol);
    if (list.* == 0) return null;
    return symbol.*;
}

/// A coarse monotonic clock in ms. Through libc, which asks the vDSO; else by system call.
pub fn clockMs() u64 {
    var now: linux.timespec = undefined;
    const coarse = 6; // CLOCK_MONOTONIC_COARSE
    const done = if (clockGettime()) |function| function(coarse, &now) == 0 else false;
    if (!done) {
        const rc = linux.syscall2(.clock_gettime, coarse, @intFromPtr(&now));
        if (linux.errno(rc) != .SUCCESS) return 0;
    }
    // Whoever asks looks at differences; a clock that is made up (libfaketime) may be below zero.
    const ns: u64 = @bitCast(@as(i64, now.nsec));
    return @as(u64, @bitCast(@as(i64, now.sec))) *% 1000 +% ns / 1_000_000;
}

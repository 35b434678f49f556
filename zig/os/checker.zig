//! Memory checkers in this process: Valgrind, AddressSanitizer, and every sanitizer whose runtime
//! brings a malloc of its own. Found once, at the first slow call of the process.
//!
//! The requests to Valgrind are its documented instruction sequence, which does nothing elsewhere.
//! Not std.valgrind: with it the compiler also marks every undefined variable, in all builds.
const std = @import("std");
const builtin = @import("builtin");
const build_options = @import("build_options");
const base = @import("base");
const Text = base.Text;
const host = @import("host.zig");
const machine = @import("machine.zig");
const report = @import("report.zig");

pub const Mode = enum(u8) {
    /// Nobody has looked yet.
    unknown,
    /// A sanitizer was found and its malloc is being looked up, which may call malloc.
    resolving,
    none,
    /// Run by Valgrind, which has not put its own malloc in the place of ours.
    valgrind,
    /// The archive, or the library apart, beside AddressSanitizer: accesses are checked.
    asan,
    /// The shared drop-in beside a sanitizer's own malloc: every call goes there.
    aside,
};

/// Written by `detect` alone: release, after `next`; pairs with the acquire load in `current`.
var mode: base.atomic.Value(Mode) = .init(.unknown);

pub inline fn current() Mode {
    // The model has no checker to meet, and would search twice as long.
    if (base.atomic.modelled) return .none;
    return mode.load(.acquire);
}

/// Whether blocks get redzones and exact sizes are told to a checker.
pub inline fn isWatching() bool {
    return switch (current()) {
        .valgrind, .asan => true,
        else => false,
    };
}

inline fn isAsan() bool {
    return !build_options.steps_aside and current() == .asan;
}

/// Finds out, once. Who comes meanwhile (a second thread, or malloc called by dlsym) sees
/// `resolving`.
pub noinline fn detect() void {
    @branchHint(.cold);
    if (current() != .unknown) return;
    if (build_options.steps_aside) {
        if (host.sanitizer()) |name| return stepAside(name);
    }
    const found: Mode = if (request(.running_on_valgrind, 0, 0, 0, 0) != 0)
        .valgrind
    else if (!build_options.steps_aside and host.asanShadow() != null)
        .asan
    else
        .none;
    _ = mode.cmpxchgStrong(.unknown, found, .release, .monotonic);
}

fn stepAside(sanitizer: []const u8) void {
    if (mode.cmpxchgStrong(.unknown, .resolving, .monotonic, .monotonic) != null) return;
    const resolved = resolve();
    mode.store(if (resolved) .aside else .none, .release);
    if (!resolved) return;
    var buffer: [128]u8 = undefined;
    var text: Text = .{ .buffer = &buffer };
    text.string(sanitizer);
    text.string(" is in this process: stepping aside, its malloc serves");
    report.warn(text.slice());
}

/// The malloc that a sanitizer brought. Constant once the mode is `aside`.
pub const Next = struct {
    malloc: *const fn (usize) callconv(.c) ?*anyopaque,
    memalign: *const fn (usize, usize) callconv(.c) ?*anyopaque,
    realloc: *const fn (?*anyopaque, usize) callconv(.c) ?*anyopaque,
    free: *const fn (?*anyopaque) callconv(.c) void,
    malloc_usable_size: *const fn (?*anyopaque) callconv(.c) usize,
};
pub var next: Next = undefined;

/// What each name would mean if this library were not there.
noinline fn resolve() bool {
    const dlsym = host.dlsym() orelse return false;
    const rtld_next: *anyopaque = @ptrFromInt(std.math.maxInt(usize));
    inline for (@typeInfo(Next).@"struct".field_names) |name| {
        var found = dlsym(null, name);
        // Not tail calls: dlsym finds "next" by its return address.
        if (inThisImage(found)) found = dlsym(rtld_next, name);
        std.mem.doNotOptimizeAway(found);
        @field(next, name) = @ptrCast(@alignCast(found orelse return false));
    }
    return true;
}

fn inThisImage(address: ?*anyopaque) bool {
    if (!build_options.steps_aside) return false;
    // Both are defined by the linker.
    const start = @extern(*const u8, .{ .name = "__ehdr_start", .visibility = .hidden });
    const end = @extern(*const u8, .{ .name = "_end", .visibility = .hidden });
    return @intFromPtr(address) -% @intFromPtr(start) < @intFromPtr(end) - @intFromPtr(start);
}

/// The documented numbers of valgrind.h and memcheck.h.
const Request = enum(usize) {
    running_on_valgrind = 0x1001,
    malloclike_block = 0x1301,
    freelike_block = 0x1302,
    create_mempool = 0x1303,
    destroy_mempool = 0x1304,
    mempool_alloc = 0x1305,
    mempool_free = 0x1306,
    mempool_trim = 0x1307,
    change_error_disablement = 0x1801,
    make_no_access = 0x4d43_0000,
    make_undefined = 0x4d43_0001,
};

fn request(what: Request, a: usize, b: usize, c: usize, d: usize) usize {
    const arguments = [6]usize{ @backingInt(what), a, b, c, d, 0 };
    return switch (builtin.cpu.arch) {
        .x86_64 => asm volatile (
            \\ rolq $3, %%rdi
            \\ rolq $13, %%rdi
            \\ rolq $61, %%rdi
            \\ rolq $51, %%rdi
            \\ xchgq %%rbx, %%rbx
            : [result] "={rdx}" (-> usize),
            : [arguments] "{rax}" (&arguments),
              [default] "{rdx}" (@as(usize, 0)),
            : .{ .memory = true, .cc = true }),
        .aarch64 => asm volatile (
            \\ ror x12, x12, #3
            \\ ror x12, x12, #13
            \\ ror x12, x12, #51
            \\ ror x12, x12, #61
            \\ orr x10, x10, x10
            : [result] "={x3}" (-> usize),
            : [arguments] "{x4}" (&arguments),
              [default] "{x3}" (@as(usize, 0)),
            : .{ .memory = true }),
        // Valgrind knows riscv64 from 3.25 on.
        .riscv64 => asm volatile (
            \\ .option push
            \\ .option norvc
            \\ srli zero, zero, 3
            \\ srli zero, zero, 13
            \\ srli zero, zero, 51
            \\ srli zero, zero, 61
            \\ or a0, a0, a0
            \\ .option pop
            : [result] "={a3}" (-> usize),
            : [arguments] "{a4}" (&arguments),
              [default] "{a3}" (@as(usize, 0)),
            : .{ .memory = true }),
        else => 0,
    };
}

/// Whether AddressSanitizer has mapped its shadow memory. Its own start calls malloc before that.
var shadow_mapped: base.atomic.Value(bool) = .init(false);

fn isShadowMapped(address: usize) bool {
    if (shadow_mapped.load(.monotonic)) return true; // Publishes nothing.
    var scale: usize = 0;
    var offset: usize = 0;
    host.asanShadow().?(&scale, &offset);
    const shadow = (address >> @intCast(scale)) +% offset;
    if (machine.isMapped(shadow)) shadow_mapped.store(true, .monotonic);
    return shadow_mapped.load(.monotonic);
}

fn poison(address: usize, length: usize) void {
    if (isShadowMapped(address)) host.asanPoison().?(@ptrFromInt(address), length);
}

fn unpoison(address: usize, length: usize) void {
    if (isShadowMapped(address)) host.asanUnpoison().?(@ptrFromInt(address), length);
}

/// Bytes on either side of a block that may not be touched.
pub const redzone = 16;

/// Nobody may touch this range. Only while somebody watches.
pub fn forbid(address: usize, length: usize) void {
    if (isAsan()) return poison(address, length);
    _ = request(.make_no_access, address, length, 0, 0);
}

/// The range may be written again, by us or by the system.
pub fn allow(address: usize, length: usize) void {
    if (isAsan()) return unpoison(address, length);
    _ = request(.make_undefined, address, length, 0, 0);
}

/// A block of exactly this size is handed out; a redzone lies on either side.
pub fn handOut(address: usize, size: usize) void {
    if (isAsan()) return unpoison(address, size);
    _ = request(.malloclike_block, address, size, redzone, 0);
}

/// The block is freed. Valgrind reports here what is no live block.
pub fn takeBack(address: usize, size: usize) void {
    if (isAsan()) return poison(address, size);
    _ = request(.freelike_block, address, redzone, 0, 0);
}

/// A group of objects within one block or mapping, which is forbidden but for them: what a pool or
/// an arena hands out. `group` is any address that names it.
pub fn openGroup(group: usize) void {
    if (!isAsan()) _ = request(.create_mempool, group, redzone, 0, 0);
}

pub fn closeGroup(group: usize) void {
    if (!isAsan()) _ = request(.destroy_mempool, group, 0, 0, 0);
}

/// An object of exactly this size is handed out; what lies around it stays forbidden.
pub fn handOutIn(group: usize, address: usize, size: usize) void {
    if (isAsan()) return unpoison(address, size);
    _ = request(.mempool_alloc, group, address, size, 0);
}

pub fn takeBackFrom(group: usize, address: usize, size: usize) void {
    if (isAsan()) return poison(address, size);
    _ = request(.mempool_free, group, address, 0, 0);
}

/// Takes back whatever of the group does not lie in this range. The caller forbids the rest.
pub fn keepOnly(group: usize, address: usize, size: usize) void {
    if (!isAsan()) _ = request(.mempool_trim, group, address, size, 0);
}

/// Valgrind overlooks what the calling thread does until `look`: reading in a redzone.
pub fn lookAway() void {
    if (current() == .valgrind) _ = request(.change_error_disablement, 1, 0, 0, 0);
}

pub fn look() void {
    if (current() == .valgrind) {
        _ = request(.change_error_disablement, @bitCast(@as(isize, -1)), 0, 0, 0);
    }
}

/// Memory where the leak check of AddressSanitizer looks for pointers to blocks of its own heap.
pub fn addRoots(address: usize, length: usize) void {
    if (!isAsan()) return;
    if (host.lsanRegister()) |register| register(@ptrFromInt(address), length);
}

pub fn removeRoots(address: usize, length: usize) void {
    if (!isAsan()) return;
    if (host.lsanUnregister()) |unregister| unregister(@ptrFromInt(address), length);
}

test "checker: the unit tests run without one" {
    detect();
    try std.testing.expect(current() == .none or current() == .valgrind);
}

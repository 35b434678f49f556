//! The library's pools, arenas and router behind their C names, for a benchmark that calls them as
//! a C program does.
//!
//! They are linked in, and the compiler would inline them where it knows whom it calls; malloc it
//! even removes. So every function is a pointer that is read where it says: then a call of the
//! pool and a call of malloc are both an indirect call, no more and no less.
const std = @import("std");
const abi = @import("abi");

pub const Pool = opaque {};
pub const Arena = opaque {};
pub const SharedPool = opaque {};

/// pool_stats_t of hft_alloc.h.
pub const PoolStats = extern struct {
    object_size: usize = 0,
    total_objects: usize = 0,
    allocated_objects: usize = 0,
    free_objects: usize = 0,
    allocations_count: usize = 0,
    frees_count: usize = 0,
    bytes_allocated: usize = 0,
    bytes_overhead: usize = 0,
};

/// alloc_pool_options_t of alloc.h.
pub const PoolOptions = extern struct {
    object_size: usize,
    capacity: usize,
    alignment: usize = 0,
    policy: c_int = 0,
    flags: c_uint = 0,
    node: c_int = 0,

    /// ALLOC_PREFAULT.
    pub const prefault = 1;
};

pub const Functions = struct {
    malloc: *const fn (usize) callconv(.c) ?[*]u8,
    free: *const fn (?[*]u8) callconv(.c) void,
    hft_pool_create: *const fn (usize, usize) callconv(.c) ?*Pool,
    hft_pool_destroy: *const fn (?*Pool) callconv(.c) void,
    hft_pool_alloc: *const fn (*Pool) callconv(.c) ?[*]u8,
    hft_pool_free: *const fn (*Pool, ?[*]u8) callconv(.c) void,
    hft_pool_stats: *const fn (*Pool, *PoolStats) callconv(.c) void,
    hft_arena_create: *const fn (usize) callconv(.c) ?*Arena,
    hft_arena_alloc: *const fn (*Arena, usize) callconv(.c) ?[*]u8,
    hft_arena_reset: *const fn (*Arena) callconv(.c) void,
    alloc_shared_pool_create: *const fn (*const PoolOptions, usize) callconv(.c) ?*SharedPool,
    alloc_shared_pool_alloc: *const fn (*SharedPool) callconv(.c) ?[*]u8,
    alloc_shared_pool_free: *const fn (*SharedPool, ?[*]u8) callconv(.c) void,
    hft_alloc: *const fn (usize) callconv(.c) ?[*]u8,
    hft_free: *const fn (?[*]u8) callconv(.c) void,
};

/// malloc and free are the process's, all others the library's.
pub fn functions() Functions {
    var found: Functions = undefined;
    inline for (@typeInfo(Functions).@"struct".field_names) |name| {
        const Type = @FieldType(Functions, name);
        const function: Type = if (comptime isOfProcess(name))
            @extern(Type, .{ .name = name })
        else
            @ptrCast(@alignCast(comptime exported(name)));
        @as(*volatile Type, &@field(found, name)).* = function;
    }
    return @as(*volatile Functions, &found).*;
}

fn isOfProcess(comptime name: []const u8) bool {
    return name[0] == 'm' or name[0] == 'f';
}

fn exported(comptime name: []const u8) *const anyopaque {
    @setEvalBranchQuota(100_000);
    inline for (abi.table) |row| {
        if (comptime std.mem.eql(u8, row[0], name)) return row[1];
    }
    @compileError("the library exports no " ++ name);
}

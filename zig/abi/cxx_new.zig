//! C++ operator new, every form (operator delete is free). Failure calls the new-handler until it gives up, then
//! throws std::bad_alloc (or returns NULL, nothrow forms). The C++ runtime is found weakly: a C
//! program needs none, and one that loads libstdc++ later is served by dlsym.
const std = @import("std");
const os = @import("os");
const heap = @import("heap");
const base = @import("base");
const malloc_file = @import("malloc.zig");
const t = base.tunables;

const NewHandler = os.host.NewHandler;
const GetNewHandler = fn () callconv(.c) ?*const NewHandler;
const ThrowBadAlloc = os.host.ThrowBadAlloc;

pub fn new(size: usize) callconv(.c) ?*anyopaque {
    if (size <= t.table_size_max) {
        if (heap.allocateSmall(size)) |block| return @ptrFromInt(block);
    }
    return newSlow(size);
}

noinline fn newSlow(size: usize) ?*anyopaque {
    if (size > t.table_size_max and size <= t.medium_size_max) {
        if (heap.allocateMedium(size)) |block| return @ptrFromInt(block);
    }
    return @ptrFromInt(retry(size, 16, .throws) orelse unreachable);
}

pub fn newNothrow(size: usize, tag: ?*const anyopaque) callconv(.c) ?*anyopaque {
    _ = tag;
    if (size <= t.table_size_max) {
        if (heap.allocateSmall(size)) |block| return @ptrFromInt(block);
    }
    return @ptrFromInt(retry(size, 16, .returns_null) orelse return null);
}

pub fn newAligned(size: usize, alignment: usize) callconv(.c) ?*anyopaque {
    return @ptrFromInt(retry(size, alignment, .throws) orelse unreachable);
}

pub fn newAlignedNothrow(
    size: usize,
    alignment: usize,
    tag: ?*const anyopaque,
) callconv(.c) ?*anyopaque {
    _ = tag;
    return @ptrFromInt(retry(size, alignment, .returns_null) orelse return null);
}

const Failure = enum { throws, returns_null };

/// The loop the standard asks for. An exception of the handler passes through: frames have
/// unwind tables, and no lock is held here.
noinline fn retry(size: usize, alignment: usize, failure: Failure) ?usize {
    while (true) {
        const block = if (alignment <= 16)
            heap.slow.allocate(size)
        else
            heap.slow.allocateAligned(size, alignment);
        if (block) |address| return address;
        const handler = newHandler() orelse return switch (failure) {
            .throws => throwBadAlloc(),
            .returns_null => null,
        };
        handler();
    }
}

fn newHandler() ?*const NewHandler {
    const get = os.host.getNewHandler() orelse
        find(GetNewHandler, "_ZSt15get_new_handlerv") orelse return null;
    return get();
}

fn throwBadAlloc() noreturn {
    const throw = os.host.throwBadAlloc() orelse find(ThrowBadAlloc, "_ZSt17__throw_bad_allocv");
    if (throw) |function| function();
    os.report.warn("operator new: out of memory, and no C++ runtime to throw bad_alloc");
    os.report.abort();
}

/// A name of a C++ runtime that was loaded after this library.
fn find(comptime T: type, name: [*:0]const u8) ?*const T {
    const dlsym = os.host.dlsym() orelse return null;
    if (dlsym(null, name)) |found| return @ptrCast(@alignCast(found));
    const dlopen = os.host.dlopen() orelse return null;
    const lazy_noload = 0x1 | 0x4;
    for ([_][*:0]const u8{ "libstdc++.so.6", "libc++.so.1", "libc++abi.so.1" }) |library| {
        const handle = dlopen(library, lazy_noload) orelse continue;
        if (dlsym(handle, name)) |found| return @ptrCast(@alignCast(found));
    }
    return null;
}

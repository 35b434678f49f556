//! The names of the C++ runtime that the operators use, each possibly absent: a C program has no
//! such runtime, and one that loads libstdc++ after this library is served by dlsym. Any thread;
//! allocates nothing itself. Called only when memory is short.
const os = @import("os");
const host = os.host;

pub fn newHandler() ?*const host.NewHandler {
    const get = host.getNewHandler() orelse
        find(host.GetNewHandler, "_ZSt15get_new_handlerv") orelse return null;
    return get();
}

/// As a C++ compiler writes `throw std::bad_alloc()`. Not libstdc++'s function for it: a static
/// program that catches bad_alloc contains all of these names, but not always that function.
pub fn throwBadAlloc() noreturn {
    if (Throw.look()) |names| {
        const exception = names.allocate(@sizeOf(usize));
        exception.* = @intFromPtr(names.vtable) + vtable_head;
        names.throw(exception, names.type_info, names.destroy);
    }
    os.report.warn("operator new: out of memory, and no C++ runtime to throw bad_alloc");
    os.report.abort();
}

/// An object points past the first two words of its class's table.
const vtable_head = 2 * @sizeOf(usize);

const Throw = struct {
    allocate: *const host.AllocateException,
    throw: *const host.ThrowException,
    type_info: *const anyopaque,
    vtable: *const anyopaque,
    destroy: *const host.Destructor,

    fn look() ?Throw {
        return .{
            .allocate = host.allocateException() orelse
                find(host.AllocateException, "__cxa_allocate_exception") orelse return null,
            .throw = host.throwException() orelse
                find(host.ThrowException, "__cxa_throw") orelse return null,
            .type_info = host.badAllocTypeInfo() orelse
                find(anyopaque, "_ZTISt9bad_alloc") orelse return null,
            .vtable = host.badAllocVtable() orelse
                find(anyopaque, "_ZTVSt9bad_alloc") orelse return null,
            .destroy = host.badAllocDestroy() orelse
                find(host.Destructor, "_ZNSt9bad_allocD1Ev") orelse return null,
        };
    }
};

/// What it takes to end an exception inside this library.
pub const Catch = struct {
    begin: *const host.BeginCatch,
    end: *const host.EndCatch,
    set_register: *const host.UnwindSetRegister,
    set_address: *const host.UnwindSetAddress,

    /// Null where one of the names is missing.
    pub fn look() ?Catch {
        return .{
            .begin = host.beginCatch() orelse
                find(host.BeginCatch, "__cxa_begin_catch") orelse return null,
            .end = host.endCatch() orelse
                find(host.EndCatch, "__cxa_end_catch") orelse return null,
            .set_register = host.unwindSetRegister() orelse
                find(host.UnwindSetRegister, "_Unwind_SetGR") orelse return null,
            .set_address = host.unwindSetAddress() orelse
                find(host.UnwindSetAddress, "_Unwind_SetIP") orelse return null,
        };
    }
};

/// A name of a runtime that was loaded after this library, or of one that it brought along (the
/// unwinder).
fn find(comptime T: type, name: [*:0]const u8) ?*const T {
    const dlsym = host.dlsym() orelse return null;
    if (dlsym(null, name)) |found| return @ptrCast(@alignCast(found));
    const dlopen = host.dlopen() orelse return null;
    const lazy_noload = 0x1 | 0x4;
    for ([_][*:0]const u8{ "libstdc++.so.6", "libc++.so.1", "libc++abi.so.1" }) |library| {
        const handle = dlopen(library, lazy_noload) orelse continue;
        if (dlsym(handle, name)) |found| return @ptrCast(@alignCast(found));
    }
    return null;
}

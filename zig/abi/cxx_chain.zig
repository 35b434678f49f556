//! Which C++ operators are in effect. A program may replace some of them; the others are defined
//! by what they call (new[] calls new, sized delete calls delete, ...), so ours have to reach the
//! replacement. Any thread; the answer never changes once the loader has resolved our names.
const std = @import("std");
const cxx_new = @import("cxx_new.zig");
const cxx_delete = @import("cxx_delete.zig");
const malloc_file = @import("malloc.zig");

const New = fn (usize) callconv(.c) ?*anyopaque;
const NewAligned = fn (usize, usize) callconv(.c) ?*anyopaque;
const Delete = fn (?*anyopaque) callconv(.c) void;
const DeleteAligned = fn (?*anyopaque, usize) callconv(.c) void;

/// The operators that others are defined by.
const Operators = extern struct {
    _Znwm: *const New,
    _Znam: *const New,
    _ZnwmSt11align_val_t: *const NewAligned,
    _ZnamSt11align_val_t: *const NewAligned,
    _ZdlPv: *const Delete,
    _ZdaPv: *const Delete,
    _ZdlPvSt11align_val_t: *const DeleteAligned,
    _ZdaPvSt11align_val_t: *const DeleteAligned,
};

const names = @typeInfo(Operators).@"struct".field_names;

const ours: Operators = .{
    ._Znwm = &cxx_new.new,
    ._Znam = &cxx_new.newArray,
    ._ZnwmSt11align_val_t = &cxx_new.newAligned,
    ._ZnamSt11align_val_t = &cxx_new.newArrayAligned,
    ._ZdlPv = &malloc_file.free,
    ._ZdaPv = &cxx_delete.to_delete.plain,
    ._ZdlPvSt11align_val_t = @ptrCast(&malloc_file.free),
    ._ZdaPvSt11align_val_t = &cxx_delete.to_delete_aligned.aligned,
};

// In assembly, because the compiler resolves an `@extern` of a name that it exports itself to its
// own function; here the linker fills in whichever definition comes first. The flag is here since
// it is read by most calls and written once: nothing that is written may share its cache line, and
// the optimiser drops the padding of a Zig variable.
comptime {
    var rows: []const u8 = "";
    for (names) |name| rows = rows ++ " .quad " ++ name ++ "\n";
    asm (
        \\.section .data.rel.ro,"aw",%progbits
        \\.balign 8
        \\.hidden liballoc_operators_in_effect
        \\.globl liballoc_operators_in_effect
        \\.type liballoc_operators_in_effect, %object
        \\.size liballoc_operators_in_effect, 64
        \\liballoc_operators_in_effect:
        \\
    ++ rows ++
        \\.section .bss
        \\.balign 64
        \\.hidden liballoc_operators_are_ours
        \\.globl liballoc_operators_are_ours
        \\.type liballoc_operators_are_ours, %object
        \\.size liballoc_operators_are_ours, 64
        \\liballoc_operators_are_ours: .zero 64
        \\.text
        \\
    );
    std.debug.assert(@sizeOf(Operators) == 64);
}

const in_effect: *const volatile Operators = @extern(*const volatile Operators, .{
    .name = "liballoc_operators_in_effect",
    .visibility = .hidden,
});

/// Written by `look`, read by every form that has another below it.
const known_ours = @extern(*std.atomic.Value(bool), .{
    .name = "liballoc_operators_are_ours",
    .visibility = .hidden,
});

inline fn isOurs(comptime name: []const u8) bool {
    return @field(in_effect, name) == @field(ours, name);
}

/// The program's own operator that a form defined by `name` ends up in; null: it is ours.
pub inline fn replacement(comptime name: []const u8) ?@FieldType(Operators, name) {
    if (!isOurs(name)) return @field(in_effect, name);
    const scalar = comptime scalarOf(name);
    if (scalar == null or isOurs(scalar.?)) return null;
    return @field(in_effect, scalar.?);
}

/// The array operators of a program that has none of its own are the scalar ones.
fn scalarOf(comptime name: []const u8) ?[]const u8 {
    if (std.mem.startsWith(u8, name, "_Zna")) return "_Znw" ++ name[4..];
    if (std.mem.startsWith(u8, name, "_Zda")) return "_Zdl" ++ name[4..];
    return null;
}

/// False: some are replaced, or it is not known yet. Then `look` tells, and `replacement`.
pub inline fn areOurs() bool {
    // monotonic: it guards nothing but what the loader wrote before any thread started.
    return known_ours.load(.monotonic);
}

/// Whether every operator that others are defined by is ours.
pub noinline fn look() bool {
    inline for (names) |name| {
        if (!isOurs(name)) return false;
    }
    known_ours.store(true, .monotonic); // See areOurs.
    return true;
}

//! Assertions at three prices. `assert` costs nothing in a release build and panics in debug and
//! safe builds; `assertHardened` is checked in every build; `assertExpensive` walks structures and
//! runs only in builds made with -Dverify. Any thread may call any of them.
const builtin = @import("builtin");
const options = @import("build_options");

/// True where `assert` is compiled in.
pub const enabled = builtin.mode.runtimeSafety();

// `inline`: std.debug.assert is an ordinary function whose argument is evaluated even in release
// builds, which showed as 15-20 % in hot loops of another project (STYLE notes, quirks).
pub inline fn assert(ok: bool) void {
    if (enabled) {
        if (!ok) @panic("assertion failed");
    }
}

/// Checked in release builds too: for what would otherwise corrupt the heap, off the hot path.
pub inline fn assertHardened(ok: bool) void {
    if (!ok) {
        @branchHint(.cold);
        @panic("internal invariant broken");
    }
}

/// True where checks that walk structures run at layer boundaries: the unit tests, and builds made
/// with -Dverify.
pub const verify = options.verify;

/// For checks that walk lists or bitmaps.
pub inline fn assertExpensive(ok: bool) void {
    if (verify) assert(ok);
}

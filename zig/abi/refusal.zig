//! What the functions of alloc.h and hft_alloc.h return when they refuse, with errno set.
const std = @import("std");
const os = @import("os");
const pools = @import("pools");

/// NULL.
pub fn of(refusal: pools.backing.Error) ?*anyopaque {
    @branchHint(.cold);
    os.host.setErrno(switch (refusal) {
        error.OutOfMemory => .NOMEM,
        error.InvalidArgument => .INVAL,
        error.PermissionDenied => .PERM,
        error.TryAgain => .AGAIN,
    });
    return null;
}

/// -1 and EINVAL.
pub fn invalid() c_int {
    @branchHint(.cold);
    os.host.setErrno(.INVAL);
    return -1;
}

/// Fills the first `size` bytes of what the caller knows of a structure: 0; -1 and EINVAL. What a
/// caller from the future knows more of reads as zero.
pub fn fill(out: ?*anyopaque, size: usize, structure: anytype) c_int {
    const target: [*]u8 = @ptrCast(out orelse return invalid());
    if (size == 0) return invalid();
    const bytes = std.mem.asBytes(structure);
    const known = @min(size, bytes.len);
    @memcpy(target[0..known], bytes[0..known]);
    @memset(target[known..size], 0);
    return 0;
}

//! How much memory the process may have: the machine's, or what its control group allows if that is
//! less. Nobody is refused what goes beyond it: the system ends the process. So no idle runs are
//! kept when what is live comes near it.
//!
//! Live is what was handed out, touched or not. Other processes are not counted, and a limit that
//! is changed later is not seen: to ask again a sandbox may kill for.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const t = base.tunables;

/// Bytes of physical memory, and those of them that the process may have. Written by `ask` alone,
/// before there is any heap: every reader has one, and with it an acquire of what was before.
var machine_bytes: u64 = 0;
var allowed_bytes: u64 = 0;

/// Asks the system, at the first reservation, under the lock that it is made under. Again only when
/// that one fails.
pub fn ask() void {
    machine_bytes = os.machine.memorySize() orelse 4 * t.gib;
    allowed_bytes = @min(machine_bytes, os.machine.groupLimit() orelse machine_bytes);
}

/// Bytes of physical memory; 0 before `ask`.
pub fn ofMachine() u64 {
    return machine_bytes;
}

/// Bytes that may lie idle beside so many live ones.
pub fn idleBeside(live_bytes: usize) u64 {
    return (allowed_bytes - allowed_bytes / t.allowance_margin_share) -| live_bytes;
}

/// Bytes of huge blocks that may be kept beside so many live ones.
pub fn keptMax(live_bytes: usize) u64 {
    return @min(allowed_bytes / t.huge_kept_share, idleBeside(live_bytes));
}

/// For tests: as if the process might have so much. What it was before.
pub fn pretend(bytes: u64) u64 {
    defer allowed_bytes = bytes;
    return allowed_bytes;
}

test "idle memory ends where what is live comes near what may be had" {
    const before = pretend(160 * t.mib);
    defer _ = pretend(before);
    try std.testing.expectEqual(@as(u64, 50 * t.mib), idleBeside(100 * t.mib));
    try std.testing.expectEqual(@as(u64, 0), idleBeside(150 * t.mib));
    try std.testing.expectEqual(@as(u64, 0), idleBeside(std.math.maxInt(usize)));
    try std.testing.expectEqual(@as(u64, 20 * t.mib), keptMax(100 * t.mib));
    try std.testing.expectEqual(@as(u64, 10 * t.mib), keptMax(140 * t.mib));
}

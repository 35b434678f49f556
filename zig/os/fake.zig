//! The port used by tests: passes through to Linux, counts every call and can fail the n-th one,
//! so that each slow path is seen with the system refusing at each point. Mappings are counted
//! in bytes, so that a test can ask whether one was lost. Counters are atomic: tests use threads.
const std = @import("std");
const build_options = @import("build_options");
const linux = @import("linux.zig");
const machine = @import("machine.zig");

/// The call (counted from 1) that fails; 0: none. `fail_after`: every call from this one on.
var fail_at: std.atomic.Value(u64) = .init(0);
var fail_from: std.atomic.Value(u64) = .init(0);
var calls: std.atomic.Value(u64) = .init(0);
/// Bytes mapped or reserved through this port and not unmapped.
var mapped_bytes: std.atomic.Value(i64) = .init(0);

/// Fails call `n` from now, counted from 1.
pub fn failCall(n: u64) void {
    calls.store(0, .seq_cst);
    fail_from.store(0, .seq_cst);
    fail_at.store(n, .seq_cst);
}

/// Fails every call from the n-th on.
pub fn failFrom(n: u64) void {
    calls.store(0, .seq_cst);
    fail_at.store(0, .seq_cst);
    fail_from.store(n, .seq_cst);
}

pub fn failNone() void {
    fail_at.store(0, .seq_cst);
    fail_from.store(0, .seq_cst);
}

pub fn callCount() u64 {
    return calls.load(.seq_cst);
}

pub fn mappedBytes() i64 {
    return mapped_bytes.load(.seq_cst);
}

fn refused() bool {
    const n = calls.fetchAdd(1, .seq_cst) + 1;
    const from = fail_from.load(.seq_cst);
    return n == fail_at.load(.seq_cst) or (from != 0 and n >= from);
}

/// What a kernel with pages of this size refuses, or does to more memory than was meant.
fn expectWholePages(address: [*]u8, length: usize) void {
    const page = machine.page_size;
    if (@intFromPtr(address) % page != 0) @panic("an address that is no page's");
    if (length == 0 or length % page != 0) @panic("a length of no whole pages");
}

/// Address space on a page boundary, also where the machine's own pages are smaller.
fn reserveAligned(length: usize) ?[*]u8 {
    const page = machine.page_size;
    if (build_options.page_size == null) return linux.reserve(length);
    const whole = std.mem.alignForward(usize, length, page);
    const start = linux.reserve(whole + page) orelse return null;
    const lead = std.mem.alignForward(usize, @intFromPtr(start), page) - @intFromPtr(start);
    if (lead > 0) _ = linux.unmap(start, lead);
    if (lead < page) _ = linux.unmap(start + lead + whole, page - lead);
    return start + lead;
}

fn account(change: i64) void {
    _ = mapped_bytes.fetchAdd(change, .seq_cst);
}

pub fn reserve(length: usize) ?[*]u8 {
    if (refused()) return null;
    const address = reserveAligned(length) orelse return null;
    account(@intCast(length));
    return address;
}

pub fn commit(address: [*]u8, length: usize) bool {
    expectWholePages(address, length);
    return !refused() and linux.commit(address, length);
}

pub fn decommit(address: [*]u8, length: usize) bool {
    expectWholePages(address, length);
    return !refused() and linux.decommit(address, length);
}

pub fn map(length: usize) ?[*]u8 {
    if (refused()) return null;
    const address = if (build_options.page_size == null)
        linux.map(length) orelse return null
    else
        reserveAligned(length) orelse return null;
    if (build_options.page_size != null and !linux.commit(address, length)) return null;
    account(@intCast(length));
    return address;
}

pub fn unmap(address: [*]u8, length: usize) bool {
    expectWholePages(address, length);
    if (refused() or !linux.unmap(address, length)) return false;
    account(-@as(i64, @intCast(length)));
    return true;
}

pub fn purge(address: [*]u8, length: usize) bool {
    expectWholePages(address, length);
    return !refused() and linux.purge(address, length);
}

pub fn resize(address: [*]u8, length: usize, length_new: usize) ?[*]u8 {
    expectWholePages(address, length);
    expectWholePages(address, length_new);
    if (refused()) return null;
    const moved = linux.resize(address, length, length_new) orelse return null;
    account(@as(i64, @intCast(length_new)) - @as(i64, @intCast(length)));
    return moved;
}

pub fn adviseHuge(address: [*]u8, length: usize) bool {
    expectWholePages(address, length);
    return !refused() and linux.adviseHuge(address, length);
}

pub fn adviseSmall(address: [*]u8, length: usize) bool {
    expectWholePages(address, length);
    return !refused() and linux.adviseSmall(address, length);
}

pub fn wipeOnFork(address: [*]u8, length: usize) bool {
    expectWholePages(address, length);
    return !refused() and linux.wipeOnFork(address, length);
}

pub fn pin(address: [*]u8, length: usize) std.os.linux.E {
    expectWholePages(address, length);
    return if (refused()) .NOMEM else linux.pin(address, length);
}

pub fn populate(address: [*]u8, length: usize) bool {
    expectWholePages(address, length);
    return !refused() and linux.populate(address, length);
}

pub fn bind(address: [*]u8, length: usize, node: u32) std.os.linux.E {
    expectWholePages(address, length);
    return if (refused()) .PERM else linux.bind(address, length, node);
}

test "fail the n-th call and no other" {
    const before = mappedBytes();
    failCall(2);
    defer failNone();
    const page = machine.page_size;
    const first = map(page) orelse return error.FirstCallFailed;
    try std.testing.expectEqual(@as(?[*]u8, null), map(page));
    try std.testing.expect(unmap(first, page));
    try std.testing.expectEqual(before, mappedBytes());
}

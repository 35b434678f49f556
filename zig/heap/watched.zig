//! Allocation under a memory checker. Each block then lies in a larger one of the heap, between
//! two redzones, with a header in front; Valgrind or AddressSanitizer is told its exact size. What
//! is freed waits in a quarantine before it is used again. And allocation beside a sanitizer that
//! brought a malloc of its own: that one is called.
//!
//! No hit path knows of this: magazines get no slots and the first region is not published to
//! them, so that every call comes here. Any thread, signal handlers as in `slow`.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const t = base.tunables;
const space = region.space;
const checker = os.checker;
const emergency = @import("emergency.zig");
const explicit_file = @import("explicit.zig");
const Explicit = explicit_file.Explicit;
const lookup = @import("lookup.zig");
const slow = @import("slow.zig");
const thread = @import("thread.zig");

const Header = extern struct {
    /// `live` or `freed`, mixed with the block's address.
    state: usize,
    size: usize,
    /// The heap's block, `whole` bytes from there.
    start: usize,
    whole: usize,
    /// The explicit heap that the block is of, and its other blocks. Under that heap's lock.
    owner: ?*Explicit,
    previous: usize,
    next: usize,
    unused: usize = 0,
};
const live = 0x6c69_7665_626c_6f63;
const freed = 0x6672_6565_6462_6c6b;

/// Freed blocks that are not used again yet. Slots are exchanged: no lock.
var quarantine: [t.quarantine_blocks]base.atomic.Value(usize) linksection(base.sparse_section) =
    @splat(.init(0));
var quarantine_next: base.atomic.Value(usize) = .init(0);

/// Whether calls belong here. Finds it out at the first slow call of the process.
pub inline fn isOn() bool {
    return checker.current() != .none and isOnNow();
}

noinline fn isOnNow() bool {
    @branchHint(.cold);
    checker.detect();
    return checker.current() != .none;
}

pub fn isAside() bool {
    return checker.current() == .aside;
}

/// A block of exactly `size` bytes; 0 when the system refuses.
pub noinline fn allocate(size: usize, alignment: usize) usize {
    switch (checker.current()) {
        .aside => return @intFromPtr(allocateAside(size, alignment)),
        .resolving => return emergency.alloc(size, alignment) orelse 0,
        else => {},
    }
    if (size > std.math.maxInt(isize) or alignment > std.math.maxInt(isize)) return 0;
    const lead = @max(@sizeOf(Header), checker.redzone, alignment);
    const total = std.math.add(usize, size, lead + checker.redzone) catch return 0;
    const start = if (alignment <= 16)
        slow.allocatePlain(total)
    else
        slow.allocateAlignedPlain(total, alignment);
    if (start == 0) return 0;
    const whole = lookup.usableOfBlock(start).?;
    const address = start + lead;
    // Whoever had this memory before left it forbidden.
    checker.allow(start, lead);
    headerOf(address).* = .{
        .state = live ^ address,
        .size = size,
        .start = start,
        .whole = whole,
        .owner = null,
        .previous = 0,
        .next = 0,
    };
    checker.forbid(start, lead);
    checker.forbid(address + size, whole - lead - size);
    checker.handOut(address, size);
    if (isMapping(start)) checker.addRoots(start, whole);
    return address;
}

/// The same in an explicit heap, whose limit here counts what was asked for.
pub noinline fn allocateIn(handle: explicit_file.Handle, size: usize, alignment: usize) usize {
    const explicit = explicit_file.find(handle) orelse return 0;
    explicit.lock.acquire(thread.holder());
    defer explicit.lock.release();
    if (!explicit.isCurrent(handle) or !explicit.hasRoom(size)) return 0;
    const address = allocate(size, alignment);
    if (address == 0) return 0;
    checker.lookAway();
    defer checker.look();
    const header = headerOf(address);
    header.owner = explicit;
    header.next = explicit.watched_first;
    if (header.next != 0) headerOf(header.next).previous = address;
    explicit.watched_first = address;
    explicit.allocations += 1;
    explicit.bytes_in_use += size;
    explicit.bytes_held += size;
    return address;
}

/// Takes a block out of its explicit heap's account.
fn leave(address: usize) void {
    checker.lookAway();
    defer checker.look();
    const header = headerOf(address);
    const explicit = header.owner orelse return;
    explicit.lock.acquire(thread.holder());
    defer explicit.lock.release();
    if (header.next != 0) headerOf(header.next).previous = header.previous;
    if (header.previous != 0) {
        headerOf(header.previous).next = header.next;
    } else explicit.watched_first = header.next;
    explicit.frees += 1;
    explicit.bytes_in_use -= header.size;
    explicit.bytes_held -= header.size;
}

/// Frees every block of an explicit heap; how many. The account stays as it was.
pub fn freeAll(explicit: *Explicit) void {
    while (explicit.watched_first != 0) {
        const frees = explicit.frees;
        _ = free(explicit.watched_first, "alloc_heap_destroy");
        explicit.frees = frees;
    }
}

/// The explicit heap of a live block; null: it has none.
pub fn heapOf(address: usize) ?*Explicit {
    const header = find(address) orelse return null;
    return if (header.state == live ^ address) header.owner else null;
}

fn allocateAside(size: usize, alignment: usize) ?*anyopaque {
    if (alignment <= 16) return checker.next.malloc(size);
    return checker.next.memalign(alignment, size);
}

fn headerOf(address: usize) *Header {
    return @ptrFromInt(address - @sizeOf(Header));
}

fn isMapping(start: usize) bool {
    return space.find(start) == null and !emergency.contains(start);
}

fn isHuge(address: usize) bool {
    return region.huge_block.table.contains(address);
}

/// What stands before the block. Null: not memory of this allocator. The state may say anything.
fn find(address: usize) ?Header {
    if (space.find(address)) |id| {
        // Beyond the frontier nothing was ever handed out, nor need it be readable.
        const known = space.at(space.regionOf(id)).frontier;
        if (space.indexOf(id) == 0 or space.indexOf(id) >= known) return std.mem.zeroes(Header);
    } else if (!emergency.contains(address) and !isHuge(address)) return null;
    if (address % 16 != 0) return std.mem.zeroes(Header);
    checker.lookAway();
    defer checker.look();
    return headerOf(address).*;
}

/// Frees any pointer but NULL; false: it is foreign.
pub noinline fn free(address: usize, function: []const u8) bool {
    if (isAside() or checker.current() == .resolving) {
        if (emergency.contains(address)) {
            emergency.free(address);
        } else if (space.find(address) != null) {
            // Of an explicit heap: those are ours also beside another malloc.
            return slow.freePlain(address, function);
        } else if (isAside()) checker.next.free(@ptrFromInt(address));
        return true;
    }
    const header = find(address) orelse return false;
    const is_live = header.state == live ^ address and takeState(address);
    // Valgrind first, also for what is no live block: its report has the stacks.
    if (is_live or checker.current() == .valgrind) checker.takeBack(address, header.size);
    if (is_live) leave(address);
    if (!is_live) {
        if (checker.current() == .asan) {
            os.report.misuse(function, address, reason(address, header));
        }
        return true;
    }
    // The emergency buffer starts over when all its blocks are free: none of them may linger.
    if (header.whole <= t.quarantine_size_max and !emergency.contains(header.start)) {
        const slot = quarantine_next.fetchAdd(1, .monotonic) % quarantine.len;
        // acq_rel: the block goes from thread to thread.
        const oldest = quarantine[slot].swap(header.start, .acq_rel);
        if (oldest != 0) _ = slow.freePlain(oldest, function);
        return true;
    }
    if (isMapping(header.start)) {
        checker.removeRoots(header.start, header.whole);
        checker.allow(header.start, header.whole);
    }
    return slow.freePlain(header.start, function);
}

/// Of two threads that free the same block, one does.
fn takeState(address: usize) bool {
    checker.lookAway();
    defer checker.look();
    const state = &headerOf(address).state;
    const was = @cmpxchgStrong(usize, state, live ^ address, freed ^ address, .acq_rel, .monotonic);
    return was == null;
}

fn reason(address: usize, header: Header) []const u8 {
    if (address % 16 != 0) return "misaligned pointer";
    return if (header.state == freed ^ address) "double free" else "interior pointer";
}

/// The size that was asked for; null: not a live block.
pub fn usableSize(address: usize) ?usize {
    if (isAside()) {
        if (space.find(address) != null) return lookup.usableOfBlock(address);
        return checker.next.malloc_usable_size(@ptrFromInt(address));
    }
    const header = find(address) orelse return null;
    return if (header.state == live ^ address) header.size else null;
}

/// realloc where another malloc serves.
pub fn resizeAside(address: usize, size: usize) ?*anyopaque {
    const ours = emergency.contains(address) or space.find(address) != null;
    if (!ours) return checker.next.realloc(@ptrFromInt(address), size);
    const usable = lookup.usableOfBlock(address) orelse return null;
    const block = checker.next.malloc(size) orelse return null;
    base.bulk.copy(@intFromPtr(block), address, @min(usable, size));
    _ = free(address, "realloc");
    return block;
}

comptime {
    base.assert(@sizeOf(Header) % 16 == 0);
}

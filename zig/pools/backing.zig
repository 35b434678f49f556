//! Memory for pools and arenas. Without special wishes a block of the general heap, which counts
//! and caches it as any other; locked memory, huge pages and memory of a NUMA node are mappings of
//! their own. Any thread.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const heap = @import("heap");
const t = base.tunables;
const assert = base.assert;

/// What pools and arenas refuse for; the C face has an errno for each.
pub const Error = error{
    /// ENOMEM.
    OutOfMemory,
    /// EINVAL: a bad option, or no such node.
    InvalidArgument,
    /// EPERM, EAGAIN: what the system says of locking.
    PermissionDenied,
    TryAgain,
};

/// The flags of alloc.h.
pub const Flags = packed struct(u32) {
    prefault: bool = false,
    lock: bool = false,
    huge_pages: bool = false,
    on_node: bool = false,
    /// Arenas: one chunk only.
    fixed: bool = false,
    /// Pools: guards and places.
    debug: bool = false,
    unknown: u26 = 0,
};

pub const Request = struct {
    length: usize,
    /// A power of two.
    alignment: usize = 64,
    flags: Flags = .{},
    node: i32 = 0,
};

pub const Memory = extern struct {
    address: usize,
    /// Bytes that are held, at least those that were asked for.
    length: usize,
    /// The mapping around it; 0: a block of the heap.
    map_address: usize = 0,
    map_length: usize = 0,
};

/// Bytes of own mappings: they are in no statistic of the heap. monotonic: a statistic, as all are.
pub var mapped_bytes: base.atomic.Value(usize) = .init(0);
/// Bytes held by pools and arenas, wherever they come from, their own structures included.
pub var held_bytes: base.atomic.Value(usize) = .init(0);

/// Own mappings, for counting resident pages. An entry is claimed by its length and seen by its
/// address, stored after it; who finds none is missing in that count. monotonic: a statistic.
const Mapping = struct {
    address: base.atomic.Value(usize) = .init(0),
    length: base.atomic.Value(usize) = .init(0),
};
var mappings: [if (base.atomic.modelled) 1 else 256]Mapping = @splat(.{});

/// Whether a memory checker watches this process. Asked before the first call of the heap may be.
pub fn isWatched() bool {
    return heap.watched.isOn() and os.checker.isWatching();
}

pub fn acquire(request: Request) Error!Memory {
    assert(request.length > 0);
    assert(std.math.isPowerOfTwo(request.alignment));
    const flags = request.flags;
    const memory = if (flags.lock or flags.huge_pages or flags.on_node)
        try mapOwn(request)
    else
        try fromHeap(request.length, request.alignment);
    if (flags.prefault) prefault(memory.address, request.length);
    _ = held_bytes.fetchAdd(memory.length, .monotonic);
    return memory;
}

pub fn release(memory: Memory) void {
    _ = held_bytes.fetchSub(memory.length, .monotonic);
    if (memory.map_address == 0) return freeBlock(memory.address);
    forget(memory.address);
    _ = mapped_bytes.fetchSub(memory.map_length, .monotonic);
    if (os.checker.isWatching()) {
        os.checker.removeRoots(memory.address, memory.length);
        os.checker.allow(memory.address, memory.length);
    }
    _ = os.memory.unmap(@ptrFromInt(memory.map_address), memory.map_length);
}

/// A zeroed structure, on a cache line of its own.
pub fn create(comptime T: type) Error!*T {
    const alignment = @max(@alignOf(T), 64);
    const memory = try acquire(.{ .length = @sizeOf(T), .alignment = alignment });
    const structure: *T = @ptrFromInt(memory.address);
    @memset(std.mem.asBytes(structure), 0);
    return structure;
}

pub fn destroy(structure: anytype) void {
    const address = @intFromPtr(structure);
    release(.{ .address = address, .length = bytesOf(structure) });
}

/// Bytes that such a structure holds.
pub fn bytesOf(structure: anytype) usize {
    const T = @typeInfo(@TypeOf(structure)).pointer.child;
    return usable(@intFromPtr(structure), @sizeOf(T));
}

fn fromHeap(length: usize, alignment: usize) Error!Memory {
    const block = allocateBlock(length, alignment);
    if (block == 0) return error.OutOfMemory;
    return .{ .address = block, .length = usable(block, length) };
}

/// A block of the general heap; 0: refused.
pub fn allocateBlock(length: usize, alignment: usize) usize {
    if (alignment <= 16) return heap.allocate(length);
    return heap.allocateAligned(length, alignment) orelse
        heap.slow.allocateAligned(length, alignment);
}

pub fn freeBlock(address: usize) void {
    var entry: u32 = 0;
    switch (heap.freeFast(address, &entry)) {
        .done => {},
        .foreign_owner => heap.slow.freeForeignOwner(address, entry, "free"),
        .slow => _ = heap.slow.free(address, "free"),
    }
}

/// Under a memory checker, or beside another malloc, exactly what was asked for.
fn usable(block: usize, length: usize) usize {
    if (heap.watched.isOn()) return length;
    return heap.lookup.usableOfBlock(block) orelse length;
}

fn mapOwn(request: Request) Error!Memory {
    heap.slow.settle(); // The page size is known then, and a child of fork repaired.
    const flags = request.flags;
    const page = os.machine.page_size;
    var length = try roundUp(request.length, page);
    // A huge page at least; the end of a longer piece is in ordinary ones.
    if (flags.huge_pages) length = @max(length, t.huge_page_size);
    const alignment_wanted = if (flags.huge_pages) t.huge_page_size else page;
    const alignment = @max(request.alignment, alignment_wanted);
    const padding = if (alignment > page) alignment else 0;
    const total = std.math.add(usize, length, padding) catch return error.OutOfMemory;
    if (total > std.math.maxInt(isize)) return error.OutOfMemory;
    var memory = mapAligned(length, alignment, total) orelse return error.OutOfMemory;
    const start: [*]u8 = @ptrFromInt(memory.address);
    if (flags.huge_pages) _ = os.memory.adviseHuge(start, length);
    equip(start, length, request) catch |refusal| {
        _ = os.memory.unmap(@ptrFromInt(memory.map_address), memory.map_length);
        return refusal;
    };
    _ = mapped_bytes.fetchAdd(memory.map_length, .monotonic);
    remember(memory.address, length);
    if (os.checker.isWatching()) os.checker.addRoots(memory.address, length);
    memory.length = length;
    return memory;
}

fn roundUp(length: usize, alignment: usize) Error!usize {
    const sum = std.math.add(usize, length, alignment - 1) catch return error.OutOfMemory;
    return sum & ~(alignment - 1);
}

fn mapAligned(length: usize, alignment: usize, total: usize) ?Memory {
    const start = os.memory.map(total) orelse return null;
    var map_address = @intFromPtr(start);
    var map_length = total;
    const address = std.mem.alignForward(usize, map_address, alignment);
    // Trimming may fail when the mappings are used up: then the padding stays address space.
    const lead = address - map_address;
    if (lead > 0 and os.memory.unmap(start, lead)) {
        map_address = address;
        map_length -= lead;
    }
    const tail = map_address + map_length - (address + length);
    if (tail > 0 and os.memory.unmap(@ptrFromInt(address + length), tail)) map_length -= tail;
    return .{
        .address = address,
        .length = length,
        .map_address = map_address,
        .map_length = map_length,
    };
}

fn equip(start: [*]u8, length: usize, request: Request) Error!void {
    if (request.flags.on_node) {
        const node = std.math.cast(u32, request.node) orelse return error.InvalidArgument;
        switch (os.memory.bind(start, length, node)) {
            .SUCCESS => {},
            // Not to be asked, in a container: memory from anywhere is better than none.
            .NOSYS, .PERM => if (!os.machine.hasNode(node)) return error.InvalidArgument,
            .NOMEM => return error.OutOfMemory,
            else => return error.InvalidArgument,
        }
    }
    if (request.flags.lock) switch (os.memory.pin(start, length)) {
        .SUCCESS => {},
        .PERM => return error.PermissionDenied,
        .AGAIN => return error.TryAgain,
        else => return error.OutOfMemory,
    };
}

/// Writes to every page, or lets the system do so. Contents stay.
fn prefault(address: usize, length: usize) void {
    const page = os.machine.page_size;
    const first = std.mem.alignForward(usize, address, page);
    const end = std.mem.alignBackward(usize, address + length, page);
    touch(address);
    touch(address + length - 1);
    if (first >= end) return;
    if (os.memory.populate(@ptrFromInt(first), end - first)) return;
    var at = first;
    while (at < end) : (at += page) touch(at);
}

/// Writes to a byte, which stays as it is.
pub fn touch(address: usize) void {
    const byte: *volatile u8 = @ptrFromInt(address);
    byte.* = byte.*;
}

fn remember(address: usize, length: usize) void {
    for (&mappings) |*each| {
        if (each.length.load(.monotonic) != 0) continue;
        if (each.length.cmpxchgStrong(0, length, .monotonic, .monotonic) != null) continue;
        return each.address.store(address, .monotonic);
    }
}

fn forget(address: usize) void {
    for (&mappings) |*each| {
        if (each.address.load(.monotonic) != address) continue;
        each.address.store(0, .monotonic);
        return each.length.store(0, .monotonic);
    }
}

/// Bytes of own mappings in physical memory, as the kernel counts them.
pub fn residentBytes() u64 {
    var sum: u64 = 0;
    for (&mappings) |*each| {
        const address = each.address.load(.monotonic);
        if (address == 0) continue;
        sum += os.machine.residentIn(@ptrFromInt(address), each.length.load(.monotonic));
    }
    return sum;
}

test "backing: heap blocks and own mappings come and go" {
    const mapped = mapped_bytes.raw;
    for ([_]Flags{
        .{},
        .{ .prefault = true },
        .{ .huge_pages = true, .prefault = true },
    }) |flags| {
        const memory = try acquire(.{ .length = 3 * t.mib, .flags = flags });
        const bytes: [*]u8 = @ptrFromInt(memory.address);
        @memset(bytes[0 .. 3 * t.mib], 7);
        if (flags.huge_pages) {
            try std.testing.expect(memory.address % t.huge_page_size == 0);
            try std.testing.expectEqual(mapped + memory.map_length, mapped_bytes.raw);
            try std.testing.expect(residentBytes() >= 3 * t.mib);
        }
        release(memory);
        try std.testing.expectEqual(mapped, mapped_bytes.raw);
    }
}

test "backing: the system refuses each call" {
    heap.slow.settle();
    for ([_]Flags{
        .{ .huge_pages = true, .prefault = true },
        .{ .on_node = true, .lock = true, .prefault = true },
    }) |flags| {
        var n: u64 = 1;
        while (n < 12) : (n += 1) {
            const before = os.fake.mappedBytes();
            os.fake.failCall(n);
            defer os.fake.failNone();
            const memory = acquire(.{ .length = 64 * t.kib, .flags = flags }) catch |refusal| {
                os.fake.failNone();
                try std.testing.expectEqual(error.OutOfMemory, refusal);
                try std.testing.expectEqual(before, os.fake.mappedBytes());
                continue;
            };
            os.fake.failNone();
            const bytes: [*]u8 = @ptrFromInt(memory.address);
            @memset(bytes[0 .. 64 * t.kib], 1);
            release(memory);
            try std.testing.expectEqual(before, os.fake.mappedBytes());
        }
    }
}

test "backing: no such node" {
    for ([_]i32{ -1, 999, 1 << 20, std.math.minInt(i32) }) |node| {
        const request: Request = .{ .length = 4096, .flags = .{ .on_node = true }, .node = node };
        try std.testing.expectError(error.InvalidArgument, acquire(request));
        os.fake.failCall(2); // The system may not be asked.
        defer os.fake.failNone();
        try std.testing.expectError(error.InvalidArgument, acquire(request));
    }
}

//! Where the rungs have their memory from: the end of the program (libc's sbrk), or one fake heap
//! of 1 MiB that never grows. One thread.
//!
//! sbrk moves the program break, the end of the data segment, and returns where it was: what lies
//! between is new memory. Always libc's function and never the raw system call: libc's own malloc
//! uses the same break, and takes notice of its own calls only. It may call in between, so what
//! comes next need not touch what came before.
const std = @import("std");
const assert = std.debug.assert;

extern "c" fn sbrk(increment: isize) usize;
const refused = std.math.maxInt(usize);

/// Asked of the system at once: one system call a block would drown everything else.
const step = 64 * 1024;
/// Memory begins on a multiple of this, so that a rung lays out its blocks alike in every run. The
/// gap before is address space that nobody touches.
pub const boundary = 256 * 1024;
pub const fake_size = 1 << 20;

pub const Kind = enum { sbrk, fake };

pub const Source = struct {
    kind: Kind,
    /// The first byte that ever came from here; 0: none yet.
    low: usize = 0,
    /// What is at hand: the next byte to be given out and the end.
    next: usize = 0,
    end: usize = 0,
    /// Bytes given out, with what alignment skipped.
    taken: usize = 0,
    /// The break before the stretch that ends at `end`.
    before: usize = 0,
    /// How often somebody else had moved the break.
    gaps: usize = 0,

    /// Null: the system has no 1 MiB to spare.
    pub fn open(kind: Kind) ?Source {
        var source: Source = .{ .kind = kind };
        if (kind == .fake) {
            // Twice as much, so that it holds a megabyte on a multiple of a megabyte.
            source.before = mapPages(2 * fake_size) orelse return null;
            source.low = std.mem.alignForward(usize, source.before, fake_size);
            source.next = source.low;
            source.end = source.low + fake_size;
        }
        return source;
    }

    /// Gives back to the system what can be given back. All blocks are gone then.
    pub fn close(source: *Source) void {
        switch (source.kind) {
            .fake => unmapPages(source.before, 2 * fake_size),
            .sbrk => if (source.end > 0 and programBreak() == source.end) {
                _ = sbrk(-@as(isize, @intCast(source.end - source.before)));
            },
        }
        source.* = undefined;
    }

    /// `size` bytes, a multiple of 16, aligned to `alignment`, a power of two up to `boundary`;
    /// null: there is no more. Never given back before `close`.
    pub fn take(source: *Source, size: usize, alignment: usize) ?usize {
        assert(size % 16 == 0);
        assert(std.math.isPowerOfTwo(alignment));
        assert(alignment <= boundary);
        var address = std.mem.alignForward(usize, source.next, alignment);
        if (source.low == 0 or address > source.end or source.end - address < size) {
            if (!source.grow(size, alignment)) return null;
            address = std.mem.alignForward(usize, source.next, alignment);
        }
        assert(address + size <= source.end);
        source.taken += address + size - source.next;
        source.next = address + size;
        return address;
    }

    /// Starts from the beginning with the same memory. False where that is not in one piece.
    pub fn rewind(source: *Source) bool {
        if (source.gaps > 0) return false;
        source.next = source.low;
        source.taken = 0;
        return true;
    }

    fn grow(source: *Source, size: usize, alignment: usize) bool {
        if (source.kind == .fake) return false;
        const bytes = std.mem.alignForward(usize, size + alignment, step);
        const before = sbrk(@intCast(bytes));
        if (before == refused) return false;
        if (before != source.end) {
            // The first time, or somebody else has moved the break since: a new stretch.
            const start = std.mem.alignForward(usize, before, boundary);
            const gap = start - before;
            if (gap > 0 and sbrk(@intCast(gap)) == refused) {
                _ = sbrk(-@as(isize, @intCast(bytes)));
                return false;
            }
            if (source.low != 0) source.gaps += 1;
            source.before = before;
            source.next = start;
            source.end = start;
        }
        if (source.low == 0) source.low = source.next;
        source.end += bytes;
        return true;
    }

    /// Whether an address lies in what was given out: the break only rises, so it is one range.
    pub fn contains(source: *const Source, address: usize) bool {
        return address >= source.low and address < source.next;
    }
};

/// Where the data segment ends.
pub fn programBreak() usize {
    return sbrk(0);
}

/// Pages of their own, zero-filled; null: none.
pub fn mapPages(size: usize) ?usize {
    const pages = std.posix.mmap(
        null,
        size,
        .{ .READ = true, .WRITE = true },
        .{ .TYPE = .PRIVATE, .ANONYMOUS = true },
        -1,
        0,
    ) catch return null;
    return @intFromPtr(pages.ptr);
}

pub fn unmapPages(address: usize, size: usize) void {
    const pages: [*]align(std.heap.page_size_min) const u8 = @ptrFromInt(address);
    std.posix.munmap(pages[0..size]);
}

test "sbrk moves the break only when the step is used up" {
    var source = Source.open(.sbrk).?;
    defer source.close();
    const first = source.take(16, 16).?;
    try std.testing.expectEqual(0, first % boundary);
    const end = programBreak();
    for (1..step / 16) |index| {
        try std.testing.expectEqual(first + 16 * index, source.take(16, 16).?);
    }
    try std.testing.expect(programBreak() - end <= step);
    try std.testing.expectEqual(step, source.taken);
}

test "somebody else's sbrk between two of ours" {
    var source = Source.open(.sbrk).?;
    const first = source.take(step, 16).?;
    _ = sbrk(4096);
    const second = source.take(2 * step, 16).?;
    try std.testing.expect(second >= first + step + 4096);
    @memset(@as([*]u8, @ptrFromInt(second))[0 .. 2 * step], 1);
    try std.testing.expect(source.contains(first) and source.contains(second));
    source.close();
    _ = sbrk(-4096);
}

test "the fake heap ends after a megabyte" {
    var source = Source.open(.fake).?;
    defer source.close();
    const end = programBreak();
    for (0..16) |_| try std.testing.expect(source.take(step, 16) != null);
    try std.testing.expectEqual(null, source.take(16, 16));
    try std.testing.expectEqual(end, programBreak());
}

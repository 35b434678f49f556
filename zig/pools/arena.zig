//! Arenas: objects that are freed together, for one thread at a time. An allocation subtracts from
//! what is left of the current chunk; the borrow of that subtraction is the only test. Chunks form
//! one list in the order of their use; those behind the current one hold nothing and are kept.
//!
//! Invariant: left <= capacity of the current chunk; the bytes in use are those before the current
//! chunk and what is taken of it. Under a memory checker `left` stays 0, so that every call goes
//! slow, and `hidden` is what is left.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const backing = @import("backing.zig");
const counts = @import("counts.zig");
const Chunk = @import("chunk.zig").Chunk;
const t = base.tunables;
const assert = base.assert;
const Error = backing.Error;

/// alloc_arena_checkpoint_t.
pub const Checkpoint = extern struct {
    chunk: ?*anyopaque,
    left: usize,
    position: u64,
    allocations: u64,
    serial: u64,
};

pub const Stats = extern struct {
    allocations: u64,
    bytes_in_use: u64,
    bytes_held: u64,
    bytes_peak: u64,
    chunks: u64,
    resets: u64,
    bytes_overhead: u64,
};

/// A rewind: when, and to which position.
const Rewind = extern struct { serial: u64, position: u64 };

const natural_alignment = 16;

pub const Arena = extern struct {
    /// Bytes left of the current chunk, and where that begins: a multiple of 64.
    left: usize,
    base: usize,
    /// Objects since the last reset.
    allocations: u64,
    current: *Chunk,
    hidden: usize,
    first: Chunk,
    flags: backing.Flags,
    is_watched: bool,
    chunk_count: u64,
    held: u64,
    /// Bytes of chunks that their capacity leaves out.
    unused: u64,
    /// Of the newest chunk but those that one object needed: what the next one doubles.
    step: usize,
    peak: u64,
    resets: u64,
    /// Rewinds, resets and trims so far, and how many there were when chunks were last given back.
    serial: u64,
    trimmed_at: u64,
    /// The last rewinds that no later one went behind: positions ascend.
    rewinds: [t.arena_rewinds_max]Rewind,
    rewind_count: u64,

    pub fn create(capacity: usize, flags: backing.Flags) Error!*Arena {
        const unknown = flags.unknown != 0 or flags.on_node or flags.debug;
        if (capacity == 0 or unknown) return error.InvalidArgument;
        if (capacity > std.math.maxInt(isize)) return error.OutOfMemory;
        const length = std.mem.alignForward(usize, capacity, natural_alignment);
        const arena = try backing.create(Arena);
        errdefer backing.destroy(arena);
        arena.flags = flags;
        arena.is_watched = backing.isWatched();
        try arena.first.fill(length, true, flags);
        arena.countIn(&arena.first);
        arena.step = length;
        arena.use(&arena.first, arena.first.capacity);
        counts.add(&counts.arenas, 1);
        return arena;
    }

    /// The arena with everything in it; how many objects there were.
    pub fn destroy(arena: *Arena) u64 {
        const lost = arena.allocations;
        var next: ?*Chunk = arena.first.next;
        while (next) |chunk| {
            next = chunk.next;
            chunk.release();
            backing.destroy(chunk);
        }
        arena.first.release();
        backing.destroy(arena);
        counts.less(&counts.arenas);
        counts.add(&counts.arena_objects_lost, lost);
        return lost;
    }

    fn countIn(arena: *Arena, chunk: *const Chunk) void {
        arena.chunk_count += 1;
        arena.held += chunk.capacity;
        arena.unused += chunk.memory.length - chunk.capacity;
    }

    fn countOut(arena: *Arena, chunk: *const Chunk) void {
        arena.chunk_count -= 1;
        arena.held -= chunk.capacity;
        arena.unused -= chunk.memory.length - chunk.capacity;
    }

    /// Makes a chunk the current one, with so much of it left.
    fn use(arena: *Arena, chunk: *Chunk, left: usize) void {
        arena.current = chunk;
        arena.base = chunk.memory.address;
        arena.setLeft(left);
    }

    fn setLeft(arena: *Arena, left: usize) void {
        if (arena.is_watched) arena.hidden = left else arena.left = left;
    }

    fn leftNow(arena: *const Arena) usize {
        return arena.left + arena.hidden;
    }

    fn takenOfCurrent(arena: *const Arena) usize {
        return arena.current.capacity - arena.leftNow();
    }

    /// The hit path: `size` bytes on a multiple of 16; null: go slow.
    pub inline fn take(arena: *Arena, size: usize) ?usize {
        const rest, const borrow = @subWithOverflow(arena.left, size);
        if (borrow != 0) return null;
        // The base is a multiple of 16, so this rounds the address.
        const left = rest & ~@as(usize, natural_alignment - 1);
        arena.left = left;
        arena.allocations += 1;
        return arena.base + left;
    }

    /// The same on a multiple of any alignment, a power of two.
    pub inline fn takeAligned(arena: *Arena, size: usize, alignment: usize) ?usize {
        assert(std.math.isPowerOfTwo(alignment));
        const rest, const borrow = @subWithOverflow(arena.left, size);
        if (borrow != 0) return null;
        const address = (arena.base + rest) & ~(alignment - 1);
        if (address < arena.base) return null;
        arena.left = address - arena.base;
        arena.allocations += 1;
        return address;
    }

    /// `size` bytes on a multiple of 16; null: no memory.
    pub inline fn alloc(arena: *Arena, size: usize) ?*anyopaque {
        if (arena.take(size)) |address| return @ptrFromInt(address);
        return @ptrFromInt(arena.allocSlow(size, natural_alignment));
    }

    pub inline fn allocAligned(arena: *Arena, size: usize, alignment: usize) ?*anyopaque {
        if (arena.takeAligned(size, alignment)) |address| return @ptrFromInt(address);
        return @ptrFromInt(arena.allocSlow(size, alignment));
    }

    /// The whole of an allocation; 0: no memory.
    pub noinline fn allocSlow(arena: *Arena, size: usize, alignment: usize) usize {
        if (arena.carve(size, alignment)) |address| return address;
        // Chunks begin on multiples of 64.
        const slack = if (alignment > 64) alignment else 0;
        const redzones = if (arena.is_watched) natural_alignment + alignment else 0;
        const wanted = size +| slack +| redzones +| (natural_alignment - 1);
        if (wanted > std.math.maxInt(isize)) return 0;
        const chunk = arena.nextChunk(wanted & ~@as(usize, natural_alignment - 1)) orelse return 0;
        arena.enter(chunk);
        return arena.carve(size, alignment).?;
    }

    fn carve(arena: *Arena, size: usize, alignment: usize) ?usize {
        if (!arena.is_watched) return arena.takeAligned(size, alignment);
        // A redzone behind the object; the one before is that of the next object.
        const whole = size +| natural_alignment;
        if (whole > arena.hidden) return null;
        const mask = ~(@max(alignment, natural_alignment) - 1);
        const address = (arena.base + arena.hidden - whole) & mask;
        if (address < arena.base + natural_alignment) return null;
        arena.hidden = address - arena.base;
        arena.allocations += 1;
        if (size > 0) os.checker.handOutIn(@intFromPtr(arena.current), address, size);
        return address;
    }

    /// A chunk with so much room, which stands behind the current one then.
    fn nextChunk(arena: *Arena, wanted: usize) ?*Chunk {
        var before = arena.current;
        for (0..t.arena_chunk_probes_max) |_| {
            const chunk = before.next orelse break;
            if (chunk.capacity >= wanted) {
                before.next = chunk.next;
                arena.insert(chunk);
                return chunk;
            }
            before = chunk;
        }
        if (arena.flags.fixed) return null;
        const step = std.math.clamp(arena.step *| 2, t.arena_chunk_min, t.arena_chunk_max);
        const chunk = arena.newChunk(@max(step, wanted)) orelse arena.newChunk(wanted) orelse
            return null;
        arena.step = step;
        arena.insert(chunk);
        return chunk;
    }

    fn insert(arena: *Arena, chunk: *Chunk) void {
        chunk.next = arena.current.next;
        arena.current.next = chunk;
    }

    fn newChunk(arena: *Arena, length: usize) ?*Chunk {
        const chunk = backing.create(Chunk) catch return null;
        chunk.fill(length, false, arena.flags) catch {
            backing.destroy(chunk);
            return null;
        };
        arena.countIn(chunk);
        return chunk;
    }

    fn enter(arena: *Arena, chunk: *Chunk) void {
        const last = arena.current;
        assert(last.next == chunk);
        arena.notePeak();
        last.left = arena.leftNow();
        chunk.before = last.before + arena.takenOfCurrent();
        // One more: the end of a chunk is not the beginning of the next.
        chunk.offset = last.offset + last.capacity + 1;
        arena.use(chunk, chunk.capacity);
    }

    pub fn bytesInUse(arena: *const Arena) u64 {
        return arena.current.before + arena.takenOfCurrent();
    }

    fn notePeak(arena: *Arena) void {
        arena.peak = @max(arena.peak, arena.bytesInUse());
    }

    fn position(arena: *const Arena) u64 {
        return arena.current.offset + arena.takenOfCurrent();
    }

    pub fn checkpoint(arena: *const Arena) Checkpoint {
        return .{
            .chunk = arena.current,
            .left = arena.leftNow(),
            .position = arena.position(),
            .allocations = arena.allocations,
            .serial = arena.serial,
        };
    }

    /// Frees everything allocated since. False: the arena was rewound past the checkpoint.
    pub fn rewind(arena: *Arena, moment: *const Checkpoint) bool {
        if (arena.isUndone(moment)) return false;
        const target: *Chunk = @ptrCast(@alignCast(moment.chunk orelse return false));
        if (arena.trimmed_at > moment.serial and !arena.isInUse(target)) return false;
        if (moment.left > target.capacity) return false;
        if (target.offset + (target.capacity - moment.left) != moment.position) return false;
        arena.goBack(target, moment.left);
        arena.allocations = moment.allocations;
        return true;
    }

    fn isUndone(arena: *const Arena, moment: *const Checkpoint) bool {
        if (moment.serial > arena.serial or moment.position > arena.position()) return true;
        for (arena.rewinds[0..arena.rewind_count]) |each| {
            if (each.serial > moment.serial and each.position < moment.position) return true;
        }
        return false;
    }

    /// Whether a chunk is the current one or before it. Only after a trim: the chunk may be gone.
    fn isInUse(arena: *const Arena, wanted: *const Chunk) bool {
        var chunk: *const Chunk = &arena.first;
        while (chunk != wanted) {
            if (chunk == arena.current) return false;
            chunk = chunk.next orelse return false;
        }
        return true;
    }

    fn goBack(arena: *Arena, target: *Chunk, left: usize) void {
        arena.notePeak();
        if (arena.is_watched) {
            var chunk = target;
            chunk.forbidBelow(left);
            while (chunk != arena.current) {
                chunk = chunk.next.?;
                chunk.forbidBelow(chunk.capacity);
            }
        }
        arena.use(target, left);
        arena.noteRewind();
    }

    /// Earlier rewinds to here or further on say nothing that this one does not.
    fn noteRewind(arena: *Arena) void {
        const now = arena.position();
        arena.serial += 1;
        while (arena.rewind_count > 0) : (arena.rewind_count -= 1) {
            if (arena.rewinds[arena.rewind_count - 1].position < now) break;
        }
        if (arena.rewind_count == arena.rewinds.len) {
            const rest = arena.rewinds.len - 1;
            @memmove(arena.rewinds[0..rest], arena.rewinds[1..]);
            arena.rewind_count = rest;
        }
        arena.rewinds[arena.rewind_count] = .{ .serial = arena.serial, .position = now };
        arena.rewind_count += 1;
    }

    /// Frees everything, keeps all chunks.
    pub fn reset(arena: *Arena) void {
        arena.goBack(&arena.first, arena.first.capacity);
        arena.allocations = 0;
        arena.resets += 1;
    }

    /// Gives the chunks behind the current one back; bytes.
    pub fn trim(arena: *Arena) usize {
        var bytes: usize = 0;
        while (arena.current.next) |chunk| {
            arena.current.next = chunk.next;
            bytes += chunk.memory.length;
            arena.countOut(chunk);
            chunk.release();
            backing.destroy(chunk);
        }
        arena.serial += 1;
        arena.trimmed_at = arena.serial;
        return bytes;
    }

    pub fn stats(arena: *const Arena) Stats {
        const in_use = arena.bytesInUse();
        const others = arena.chunk_count - 1;
        const structures = backing.bytesOf(arena) + others * backing.bytesOf(&arena.first);
        return .{
            .allocations = arena.allocations,
            .bytes_in_use = in_use,
            .bytes_held = arena.held,
            .bytes_peak = @max(arena.peak, in_use),
            .chunks = arena.chunk_count,
            .resets = arena.resets,
            .bytes_overhead = structures + arena.unused,
        };
    }

    /// The invariant, and that the sums are those of the chunks.
    pub fn check(arena: *const Arena) void {
        assert(arena.leftNow() <= arena.current.capacity);
        assert(arena.base == arena.current.memory.address);
        assert(arena.base % natural_alignment == 0);
        var held: u64 = 0;
        var chunk_count: u64 = 0;
        var is_current_seen = false;
        var next: ?*const Chunk = &arena.first;
        while (next) |chunk| : (next = chunk.next) {
            held += chunk.capacity;
            chunk_count += 1;
            is_current_seen = is_current_seen or chunk == arena.current;
        }
        assert(is_current_seen);
        assert(held == arena.held);
        assert(chunk_count == arena.chunk_count);
    }

    /// The arena as the standard library's allocator. Only what was allocated last grows smaller
    /// in place; nothing is freed one by one.
    pub fn allocator(arena: *Arena) std.mem.Allocator {
        return .{ .ptr = arena, .vtable = &vtable };
    }

    const vtable: std.mem.Allocator.VTable = .{
        .alloc = &allocAny,
        .resize = &resize,
        .remap = &remap,
        .free = &freeNothing,
    };

    fn allocAny(at: *anyopaque, length: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
        const arena: *Arena = @ptrCast(@alignCast(at));
        return @ptrCast(arena.allocAligned(length, alignment.toByteUnits()));
    }

    fn resize(_: *anyopaque, memory: []u8, _: std.mem.Alignment, length: usize, _: usize) bool {
        return length <= memory.len;
    }

    fn remap(
        _: *anyopaque,
        memory: []u8,
        _: std.mem.Alignment,
        length: usize,
        _: usize,
    ) ?[*]u8 {
        return if (length <= memory.len) memory.ptr else null;
    }

    fn freeNothing(_: *anyopaque, _: []u8, _: std.mem.Alignment, _: usize) void {}
};

comptime {
    assert(@offsetOf(Arena, "current") < 64);
}

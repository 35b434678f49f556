//! Arenas: objects that are freed together, for one thread at a time. An allocation subtracts from
//! what is left of the current chunk; the borrow of that subtraction is the only test. Chunks that
//! hold nothing any more are kept. Those that single large objects needed are in a list of their
//! own, so that small objects do not use them up; both are in the order of their use.
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
const ChunkList = @import("chunk_list.zig").ChunkList;
const Rewinds = @import("rewinds.zig").Rewinds;
const t = base.tunables;
const assert = base.assert;
const Error = backing.Error;

/// alloc_arena_checkpoint_t.
pub const Checkpoint = extern struct {
    chunk: ?*anyopaque,
    /// Which arena: no two of a process have the same number.
    arena: u64,
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

/// Arenas of the process so far. monotonic: only different numbers are wanted.
var last_id: base.atomic.Value(u64) = .init(0);

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
    /// Chunks that the arena grows by, the first before them; and those of large objects.
    regular: ChunkList,
    large: ChunkList,
    flags: backing.Flags,
    is_watched: bool,
    /// Of a typed arena: what each object takes. `allocations` is not counted then; else 0.
    object_size: usize,
    chunk_count: u64,
    held: u64,
    /// Bytes of chunks that their capacity leaves out, and of the structures of all but the first.
    unused: u64,
    /// Of the newest regular chunk: what the next one doubles.
    step: usize,
    peak: u64,
    resets: u64,
    id: u64,
    /// Rewinds and resets so far.
    serial: u64,
    rewinds: Rewinds,

    pub fn create(capacity: usize, flags: backing.Flags) Error!*Arena {
        const unknown = flags.unknown != 0 or flags.on_node or flags.debug;
        if (capacity == 0 or unknown) return error.InvalidArgument;
        if (capacity > std.math.maxInt(isize)) return error.OutOfMemory;
        const length = std.mem.alignForward(usize, capacity, natural_alignment);
        const arena = try backing.create(Arena);
        errdefer backing.destroy(arena);
        arena.flags = flags;
        arena.is_watched = backing.isWatched();
        arena.id = last_id.fetchAdd(1, .monotonic) + 1;
        try arena.first.fill(length, true, flags);
        arena.countIn(&arena.first);
        arena.regular = .{ .first = &arena.first, .last = &arena.first };
        arena.step = length;
        arena.use(&arena.first, arena.first.capacity);
        counts.add(&counts.arenas, 1);
        return arena;
    }

    /// The arena with everything in it; how many objects there were.
    pub fn destroy(arena: *Arena) u64 {
        const lost = arena.objects();
        arena.use(&arena.first, 0);
        _ = arena.dropFree();
        arena.rewinds.deinit();
        arena.first.release();
        backing.destroy(arena);
        counts.less(&counts.arenas);
        counts.add(&counts.arena_objects_lost, lost);
        return lost;
    }

    fn countIn(arena: *Arena, chunk: *const Chunk) void {
        arena.chunk_count += 1;
        arena.held += chunk.capacity;
        arena.unused += chunk.own_length + chunk.memory.length - chunk.capacity;
    }

    fn countOut(arena: *Arena, chunk: *const Chunk) void {
        arena.chunk_count -= 1;
        arena.held -= chunk.capacity;
        arena.unused -= chunk.own_length + chunk.memory.length - chunk.capacity;
    }

    /// Gives a chunk back that is in no list; bytes.
    fn drop(arena: *Arena, chunk: *Chunk) usize {
        const bytes = chunk.memory.length;
        arena.countOut(chunk);
        chunk.release();
        backing.destroy(chunk);
        return bytes;
    }

    fn dropFree(arena: *Arena) usize {
        var bytes: usize = 0;
        while (arena.regular.takeAny()) |chunk| bytes += arena.drop(chunk);
        while (arena.large.takeAny()) |chunk| bytes += arena.drop(chunk);
        return bytes;
    }

    /// Makes a chunk the current one, with so much of it left. Those used after it are free.
    fn use(arena: *Arena, chunk: *Chunk, left: usize) void {
        arena.listOf(chunk.is_large).last = chunk;
        arena.listOf(!chunk.is_large).last = chunk.other_last;
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

    fn listOf(arena: *Arena, is_large: bool) *ChunkList {
        return if (is_large) &arena.large else &arena.regular;
    }

    /// A chunk with so much room: a free one, which stands where the next to be used does, or new.
    fn nextChunk(arena: *Arena, wanted: usize) ?*Chunk {
        if (arena.flags.fixed) return null;
        const is_large = wanted > t.arena_chunk_max;
        const list = arena.listOf(is_large);
        const chunk = list.take(wanted) orelse if (is_large)
            arena.newLarge(wanted) orelse return null
        else
            arena.newRegular(wanted) orelse return null;
        list.insert(chunk);
        return chunk;
    }

    /// At most 2 MiB. All but a few free chunks are as large as any such wish.
    fn newRegular(arena: *Arena, wanted: usize) ?*Chunk {
        const step = std.math.clamp(arena.step *| 2, t.arena_chunk_min, t.arena_chunk_max);
        const chunk = arena.newChunk(@max(step, wanted)) orelse arena.newChunk(wanted) orelse
            return null;
        arena.step = step;
        return chunk;
    }

    /// In the place of free ones that are too small: an arena whose large objects have a new size
    /// each time would hold ever more chunks.
    fn newLarge(arena: *Arena, wanted: usize) ?*Chunk {
        var bytes: usize = 0;
        for (0..t.arena_chunk_probes_max) |_| {
            if (bytes >= wanted) break;
            bytes += arena.drop(arena.large.takeAny() orelse break);
        }
        const chunk = arena.newChunk(wanted) orelse return null;
        chunk.is_large = true;
        return chunk;
    }

    fn newChunk(arena: *Arena, length: usize) ?*Chunk {
        const chunk = backing.create(Chunk) catch return null;
        chunk.fill(length, false, arena.flags) catch {
            backing.destroy(chunk);
            return null;
        };
        chunk.own_length = backing.bytesOf(chunk);
        arena.countIn(chunk);
        return chunk;
    }

    fn enter(arena: *Arena, chunk: *Chunk) void {
        const last = arena.current;
        arena.notePeak();
        chunk.previous = last;
        chunk.other_last = arena.listOf(!chunk.is_large).last;
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
            .arena = arena.id,
            .position = arena.position(),
            .allocations = arena.allocations,
            .serial = arena.serial,
        };
    }

    /// Frees everything allocated since. False: the arena was rewound past the checkpoint, or it is
    /// of another arena.
    pub fn rewind(arena: *Arena, moment: *const Checkpoint) bool {
        if (moment.arena != arena.id) return false;
        if (moment.serial > arena.serial or moment.position > arena.position()) return false;
        if (arena.rewinds.undid(moment.serial, moment.position)) return false;
        // No rewind since went below it, so its chunk has been in use ever since.
        const target: *Chunk = @ptrCast(@alignCast(moment.chunk orelse return false));
        const taken = moment.position -% target.offset;
        if (taken > target.capacity) return false;
        arena.goBack(target, target.capacity - taken);
        // Objects of no size leave the position as it is: there may be fewer since.
        arena.allocations = @min(arena.allocations, moment.allocations);
        return true;
    }

    fn goBack(arena: *Arena, target: *Chunk, left: usize) void {
        arena.notePeak();
        if (arena.is_watched) {
            var chunk = arena.current;
            while (chunk != target) : (chunk = chunk.previous.?) chunk.forbidBelow(chunk.capacity);
            target.forbidBelow(left);
        }
        arena.use(target, left);
        arena.serial += 1;
        arena.rewinds.note(arena.serial, arena.position());
    }

    /// Frees everything, keeps all chunks.
    pub fn reset(arena: *Arena) void {
        arena.goBack(&arena.first, arena.first.capacity);
        arena.allocations = 0;
        arena.resets += 1;
    }

    /// Gives the chunks that hold nothing back; bytes.
    pub fn trim(arena: *Arena) usize {
        return arena.dropFree() + arena.rewinds.trim();
    }

    /// Objects since the last reset.
    pub fn objects(arena: *const Arena) u64 {
        // Under a checker there are redzones between them, and every call is counted.
        const is_counted = arena.object_size == 0 or arena.is_watched;
        return if (is_counted) arena.allocations else arena.bytesInUse() / arena.object_size;
    }

    pub fn stats(arena: *const Arena) Stats {
        const in_use = arena.bytesInUse();
        const structures = backing.bytesOf(arena) + arena.rewinds.memory.length;
        return .{
            .allocations = arena.objects(),
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
        for ([_]*const ChunkList{ &arena.regular, &arena.large }) |list| {
            var is_last_seen = list.last == null;
            var next = list.first;
            while (next) |chunk| : (next = chunk.next) {
                held += chunk.capacity;
                chunk_count += 1;
                is_last_seen = is_last_seen or chunk == list.last;
                assert(chunk.is_large == (list == &arena.large));
            }
            assert(is_last_seen);
        }
        assert(held == arena.held);
        assert(chunk_count == arena.chunk_count);
        const last = if (arena.current.is_large) arena.large.last else arena.regular.last;
        assert(last == arena.current);
        arena.rewinds.check();
    }

    /// The arena as the standard library's allocator. Every block may become smaller in place, none
    /// larger, and that gains nothing: memory comes back when the arena is reset or rewound.
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

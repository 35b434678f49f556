//! Chunks of an arena of one kind, in the order of their use: those up to `last` hold something,
//! those behind it are free. Going back is a store. One thread at a time.
const base = @import("base");
const Chunk = @import("chunk.zig").Chunk;
const t = base.tunables;

pub const ChunkList = extern struct {
    first: ?*Chunk,
    /// Null: all are free.
    last: ?*Chunk,

    fn firstFree(list: *ChunkList) *?*Chunk {
        return if (list.last) |last| &last.next else &list.first;
    }

    /// A free chunk becomes the next to be used.
    pub fn insert(list: *ChunkList, chunk: *Chunk) void {
        const slot = list.firstFree();
        chunk.next = slot.*;
        slot.* = chunk;
    }

    /// Takes a free chunk with so much room out, of those that are looked at.
    pub fn take(list: *ChunkList, wanted: usize) ?*Chunk {
        var slot = list.firstFree();
        for (0..t.arena_chunk_probes_max) |_| {
            const chunk = slot.* orelse return null;
            if (chunk.capacity >= wanted) {
                slot.* = chunk.next;
                return chunk;
            }
            slot = &chunk.next;
        }
        return null;
    }

    /// Takes the free chunk that would be used next out; null: none is free.
    pub fn takeAny(list: *ChunkList) ?*Chunk {
        return list.take(0);
    }
};

//! The metadata of one slice: 64 bytes, out of line, in an array parallel to the slices. The first
//! slice of a run or slab describes the whole; the last one carries the boundary tag. All zero
//! bytes mean "never handed out".
//!
//! Who may touch what: `run_state`, `length`, and the links and `age` of free runs belong to the
//! run allocator's lock. Of a slab, everything else belongs to the lock of the heap that owns it.
//! `back` of a slab's slices is written when the slab is cut and constant until it is given back.
const base = @import("base");
const assert = base.assert;

/// A slice by number: region in the upper bits, index in the region below. 0 is "none": index 0
/// of every region is never handed out.
pub const SliceId = u32;

pub const RunState = enum(u8) {
    /// Not the edge of any run.
    none = 0,
    /// Free, its memory may be resident and holds old contents.
    dirty = 1,
    /// Free, reads as zero.
    clean = 2,
    /// Handed out: a slab, a block.
    used = 3,
    /// In the hands of a purge.
    purging = 4,
};

pub const SlabState = enum(u8) {
    /// No free block that a refill could take, in no list.
    full = 0,
    /// The one its heap refills from, in no list.
    current = 1,
    /// In a bucket list of its heap.
    partial = 2,
};

pub const Slice = extern struct {
    /// Slab: free_count = set live bits + (block_count - fresh), see slab.check.
    free_count: u16,
    block_count: u16,
    /// Blocks at and after this index were never handed out; their bits are clear.
    fresh: u16,
    /// No set bit lies in a word before this one.
    hint: u16,
    class: u8,
    run_state: RunState,
    slab_state: SlabState,
    bucket: u8,
    /// Slices of the run; valid in its first slice.
    length: u32,
    next: SliceId,
    prev: SliceId,
    /// Slices from the first slice of the run to this one.
    back: u32,
    /// Free blocks at which a put has more to do: none in the current slab, 0 in a full one, in a
    /// partial one where the next bucket begins or the slab is empty.
    threshold: u16,
    /// Slab: its pages that are holes (see slab/holes.zig); 0 in a full one.
    hole_count: u8,
    /// Bit p: page p of this very slice is a hole. Of every slice of a slab.
    holes: u8,
    state: extern union {
        /// Slab of up to 256 blocks: bit k set = block k is free (and below `fresh`).
        bits: [4]u64,
        /// Slab of more: where its bits lie.
        external_bits: [*]u64,
        /// Dirty run: its place in the list by age. Of a clean one only the stamp counts, see
        /// FreeRuns.insert.
        age: extern struct { next: SliceId, prev: SliceId, stamp_ms: u32 },
    },
};

comptime {
    assert(@sizeOf(Slice) == 64);
    assert(@alignOf(Slice) == 8);
}

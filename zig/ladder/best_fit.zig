//! Rung 5, best-fit: as first-fit-coalesce, but malloc takes the smallest free block that is large
//! enough, not the first one that it meets.
//!
//! What it shows: large blocks are kept for large requests, so the heap grows less; and what that
//! costs: every free block has to be looked at, unless one fits exactly. A search tree or lists by
//! size would make it cheap. The next-but-one rung, buddy, has lists by size; the slab has a list
//! for each size and need not search at all.
const Block = @import("first_fit_coalesce.zig").Block;
const CoalescingType = @import("first_fit_coalesce.zig").CoalescingType;

pub const BestFit = CoalescingType("best-fit", findBest);

fn findBest(newest: ?*Block, size: usize, looked: *u64) ?*Block {
    var best: ?*Block = null;
    var next = newest;
    while (next) |block| : (next = block.links().older) {
        looked.* += 1;
        if (block.size < size) continue;
        if (block.size == size) return block;
        if (best == null or block.size < best.?.size) best = block;
    }
    return best;
}

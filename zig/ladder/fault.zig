//! What a rung can find to be wrong: with a pointer that it is given back, or with itself.

pub const Fault = error{
    /// No block of this allocator begins here.
    NotABlock,
    /// The block is free already.
    DoubleFree,
    /// The header before the block does not carry the magic number: somebody wrote over it.
    BadMagic,
    /// The allocator's own structure contradicts itself.
    Broken,
};

/// One condition of a rung's `check`.
pub fn ensure(holds: bool) Fault!void {
    if (!holds) return error.Broken;
}

//! A slab of a pool: objects of one size side by side, each `stride` bytes from the next, and
//! where an address lies in it. What is out of line of an object in a checked pool is its record.
const std = @import("std");
const base = @import("base");
const backing = @import("backing.zig");
const Place = @import("place.zig").Place;

pub const State = enum(u32) { fresh, live, freed };

/// What a checked pool knows of an object.
pub const Record = extern struct {
    allocated: Place,
    freed: Place,
    /// The next object of the free list; 0: the last. Out of line, so that an overflow of the
    /// object before cannot reach it.
    next: usize,
    state: State,
};

/// How objects lie in their slabs: at `lead` from the beginning of their stride.
pub const Shape = extern struct {
    /// As asked for, at least 8.
    size: usize,
    stride: usize,
    lead: usize,
    alignment: usize,
};

pub const PoolSlab = extern struct {
    memory: backing.Memory,
    /// Older ones; null: this is the pool's first, which lies in the pool itself.
    next: ?*PoolSlab,
    count: usize,
    /// Objects that were linked into the free list so far, from the beginning.
    linked: usize,
    /// A record for each object; only in checked pools.
    records: backing.Memory,

    pub fn contains(slab: *const PoolSlab, shape: *const Shape, address: usize) bool {
        return address -% slab.memory.address < slab.count * shape.stride;
    }

    pub fn object(slab: *const PoolSlab, shape: *const Shape, index: usize) usize {
        return slab.memory.address + index * shape.stride + shape.lead;
    }

    /// Of the object whose stride the address lies in.
    pub fn indexOf(slab: *const PoolSlab, shape: *const Shape, address: usize) usize {
        return (address - slab.memory.address) / shape.stride;
    }

    pub fn isObject(slab: *const PoolSlab, shape: *const Shape, address: usize) bool {
        return slab.object(shape, slab.indexOf(shape, address)) == address;
    }

    pub fn record(slab: *const PoolSlab, index: usize) *Record {
        const first: [*]Record = @ptrFromInt(slab.records.address);
        return &first[index];
    }

    /// Bytes held, the descriptor's own excepted.
    pub fn heldBytes(slab: *const PoolSlab) usize {
        return slab.memory.length + slab.records.length;
    }
};

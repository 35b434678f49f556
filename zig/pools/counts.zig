//! What all pools and arenas of the process add up to: for alloc_stats_json. Any thread; monotonic
//! throughout, for these are statistics.
const base = @import("base");

pub const Count = base.atomic.Value(u64);

pub var arenas: Count = .init(0);
pub var pools: Count = .init(0);
pub var shared_pools: Count = .init(0);
/// Objects that were live when their pool, or arena, was destroyed, added up.
pub var pool_objects_lost: Count = .init(0);
pub var arena_objects_lost: Count = .init(0);

pub fn add(count: *Count, change: u64) void {
    _ = count.fetchAdd(change, .monotonic);
}

pub fn less(count: *Count) void {
    _ = count.fetchSub(1, .monotonic);
}

//! What the heap holds, added up over all threads without stopping them. Exact at rest; while
//! other threads run, each term is a moment old. No counter is ever negative.
//!
//! allocations and frees count blocks that left slabs or runs and came back. A malloc and free
//! served by a magazine alone moves neither: counting those would cost an instruction on the hit
//! path. Their difference is the number of live blocks plus those in messages on their way home.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const build_options = @import("build_options");
const region = @import("region");
const heap = @import("heap");
const pools = @import("pools");
const foreign = @import("foreign.zig");
const options = @import("options.zig");
const t = base.tunables;
const size_class = base.size_class;

pub const Statistics = struct {
    allocations: u64 = 0,
    frees: u64 = 0,
    /// Bytes of live blocks, class sizes, own mappings included.
    bytes_in_use: u64 = 0,
    /// Bytes of slabs, runs and own mappings held, free ones that are resident included.
    bytes_mapped: u64 = 0,
    /// Cumulative bytes handed out, counted like `allocations`.
    total_allocated: u64 = 0,
    /// In magazines, and huge blocks that are kept: how many, and their bytes.
    blocks_cached: u64 = 0,
    bytes_cached: u64 = 0,
    /// Bytes of free runs that may be resident.
    bytes_dirty: u64 = 0,
    bytes_metadata: u64 = 0,
    huge_count: u64 = 0,
    huge_bytes: u64 = 0,
    heaps: u64 = 0,
    orphans: u64 = 0,
};

/// The sample with the most live bytes: what fragmentation is computed from.
const Peak = struct { in_use: u64 = 0, mapped: u64 = 0 };
var peak: Peak = .{};
/// monotonic everywhere: a try-lock around the two words of `peak`, losing a sample is harmless.
var peak_busy: std.atomic.Value(bool) = .init(false);

/// For whoever asks from outside a slow call: a child after fork is repaired first.
pub fn current() Statistics {
    heap.slow.settle();
    return collect();
}

fn collect() Statistics {
    var sum: Statistics = .{};
    var taken: u64 = 0;
    var returned: u64 = 0;
    for (1..heap.registry.end()) |id| {
        const one = heap.registry.get(@intCast(id)) orelse continue;
        sum.heaps += 1;
        for ([_]*const heap.Traffic{ &one.small, &one.large }) |traffic| {
            sum.allocations +%= traffic.blocks_taken;
            sum.frees +%= traffic.blocks_returned;
            taken +%= traffic.bytes_taken;
            returned +%= traffic.bytes_returned;
        }
        const cached = cachedIn(one);
        sum.blocks_cached += cached.blocks;
        sum.bytes_cached += cached.bytes;
        sum.frees +%= cached.blocks;
    }
    sum.huge_count = region.huge_block.table.count.load(.monotonic);
    sum.huge_bytes = region.huge_block.block_bytes.load(.monotonic);
    const huge_total = region.huge_block.total_count.load(.monotonic);
    sum.allocations +%= huge_total;
    sum.frees +%= huge_total -| sum.huge_count;
    sum.frees = @min(sum.frees, sum.allocations);
    sum.bytes_in_use = (taken -| returned -| sum.bytes_cached) + sum.huge_bytes;
    const kept = region.huge_block.cache.bytes.load(.monotonic);
    sum.blocks_cached += region.huge_block.cache.count.load(.monotonic);
    sum.bytes_cached += kept;
    sum.total_allocated = taken + region.huge_block.total_bytes.load(.monotonic);
    const runs = &region.run_allocator;
    sum.bytes_dirty = @as(u64, runs.runs.dirty_slices) << t.slice_shift;
    const live = @as(u64, runs.liveBytes());
    const of_pools = pools.backing.mapped_bytes.load(.monotonic);
    sum.bytes_mapped = live + sum.bytes_dirty + sum.huge_bytes + kept + of_pools;
    sum.bytes_in_use += of_pools;
    sum.bytes_metadata = region.arena.usedBytes();
    sum.orphans = heap.registry.orphanCount();
    return sum;
}

const Cached = struct { bytes: u64, blocks: u64 };

/// What a heap's magazines hold, read while its owner may use them.
fn cachedIn(one: *const heap.Heap) Cached {
    var cached: Cached = .{ .bytes = 0, .blocks = 0 };
    for (1..size_class.count) |class| {
        const bin: *const volatile heap.Bin = &one.bins[class];
        const filled = (@intFromPtr(bin.top) -| @intFromPtr(bin.base)) / @sizeOf(usize);
        const blocks = @min(filled, bin.capacity);
        cached.blocks += blocks;
        cached.bytes += blocks * size_class.sizes[class];
    }
    return cached;
}

/// Takes a sample for the peak. Called when memory grows and when somebody asks.
pub fn sample() void {
    if (peak_busy.swap(true, .acquire)) return;
    defer peak_busy.store(false, .release);
    const now = collect();
    if (now.bytes_in_use > peak.in_use) {
        peak = .{ .in_use = now.bytes_in_use, .mapped = now.bytes_mapped };
    }
}

/// 100 (1 - live / held) at the peak of live bytes, in thousandths of a percent.
pub fn fragmentationThousandths() u64 {
    sample();
    if (peak.mapped == 0) return 0;
    const live = @min(peak.in_use, peak.mapped);
    return (peak.mapped - live) * 100_000 / peak.mapped;
}

/// Bytes of the heap that are in physical memory, as the kernel counts them: walks the page
/// tables, so it takes its time.
pub fn residentBytes() u64 {
    var sum: u64 = 0;
    for (0..region.space.count()) |number| {
        const area = region.space.at(@intCast(number));
        const length = @as(usize, area.frontier) << t.slice_shift;
        const committed = @as(usize, area.committed) << t.slice_shift;
        sum += os.machine.residentIn(@ptrFromInt(area.address), @min(length, committed));
    }
    var extents: [256]region.huge_block.Extent = undefined;
    const count = region.huge_block.list(&extents, heap.thread.holder());
    for (extents[0..count]) |extent| {
        sum += os.machine.residentIn(@ptrFromInt(extent.address), extent.length);
    }
    return sum + pools.backing.residentBytes();
}

/// Pages of the operating system that hold so many bytes.
pub fn pagesOf(bytes: u64) u64 {
    return (bytes + os.machine.page_size - 1) / os.machine.page_size;
}

/// One JSON object, no newline.
pub fn writeJson(text: *base.Text) void {
    const now = current();
    var path: [256]u8 = undefined;
    text.char('{');
    text.jsonKey("liballoc");
    text.jsonString(build_options.version);
    text.jsonField("pid", os.machine.processId());
    text.jsonKey("exe");
    text.jsonString(os.machine.executable(&path));
    text.jsonField("level", options.level);
    text.jsonField("allocations", now.allocations);
    text.jsonField("frees", now.frees);
    text.jsonField("bytes_in_use", now.bytes_in_use);
    text.jsonField("bytes_mapped", now.bytes_mapped);
    text.jsonField("bytes_resident", residentBytes());
    text.jsonField("bytes_cached", now.bytes_cached);
    text.jsonField("bytes_dirty", now.bytes_dirty);
    text.jsonField("bytes_metadata", now.bytes_metadata);
    text.jsonKey("fragmentation_pct");
    text.fixed(fragmentationThousandths());
    text.jsonField("total_allocated", now.total_allocated);
    text.jsonField("total_pages", pagesOf(now.bytes_mapped));
    text.jsonField("huge_blocks", now.huge_count);
    text.jsonField("heaps", now.heaps);
    text.jsonField("orphans", now.orphans);
    const explicit = &heap.explicit; // Statistics, read without order.
    text.jsonField("explicit_heaps", explicit.live_count.load(.monotonic));
    text.jsonField("explicit_heaps_destroyed", explicit.destroyed_count.load(.monotonic));
    text.jsonField("explicit_heap_blocks_dropped", explicit.dropped_blocks.load(.monotonic));
    text.jsonField("explicit_heap_stale_frees", explicit.stale_frees.load(.monotonic));
    text.jsonField("foreign_frees", foreign.count.load(.monotonic));
    writePools(text);
    text.char('}');
}

fn writePools(text: *base.Text) void {
    const counts = &pools.counts;
    text.jsonKey("pools");
    text.char('{');
    text.jsonField("arenas", counts.arenas.load(.monotonic));
    text.jsonField("pools", counts.pools.load(.monotonic));
    text.jsonField("shared_pools", counts.shared_pools.load(.monotonic));
    text.jsonField("bytes_held", pools.backing.held_bytes.load(.monotonic));
    text.jsonField("bytes_mapped", pools.backing.mapped_bytes.load(.monotonic));
    text.jsonField("arena_objects_lost", counts.arena_objects_lost.load(.monotonic));
    text.jsonField("pool_objects_lost", counts.pool_objects_lost.load(.monotonic));
    text.char('}');
}

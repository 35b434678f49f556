//! The evidence for each idea of the ladder: small experiments, each on a heap that nobody has used
//! (in a child process), the same for every rung. Null: the allocator cannot say, or ran out of
//! memory on the way.
const std = @import("std");
const ladder = @import("ladder.zig");
const child = @import("child.zig");
const score = @import("score.zig");
const FreeSizes = @import("free_sizes.zig").FreeSizes;
const Subject = score.Subject;
const Allocator = ladder.Allocator;

pub const Evidence = struct {
    growth: ?Growth,
    leftovers: ?Leftovers,
    crumbs: ?Crumbs,
    internal: ?Internal,
    /// For each of `live_counts`.
    search: [live_counts.len]?Search,
    program_break: ?ProgramBreak,
};

/// 1,000 blocks of 64 bytes, then 1,000 pairs of malloc and free.
pub const Growth = struct {
    /// How many of the 1,000 addresses lie above the one before.
    rising: usize,
    /// From one address to the next, where that is always the same.
    distance: ?usize,
    first: usize,
    last: usize,
    /// Bytes by which the 1,000 pairs made the heap grow.
    pairs_grow: usize,
};

/// A block of 64 KiB is freed, and then there are 100 requests of 64 bytes.
pub const Leftovers = struct { grown: usize };

/// 2,000 blocks of 16 to 511 bytes are freed in random order, but for one in 50; then 100 times 4
/// KiB are asked for.
pub const Crumbs = struct {
    free: ?FreeSizes,
    /// 100 (1 - largest / all free bytes), and 100 (too small for 4 KiB / all free bytes).
    external_pct: ?f64,
    unusable_pct: ?f64,
    /// Bytes that the heap has to grow for them, where it had enough.
    grown: usize,
    held_before: usize,
};

/// Live blocks of 1 to 1,000 bytes, nothing ever freed: what rounding and headers cost.
pub const Internal = struct {
    requested: usize,
    held: usize,
    /// 100 (1 - requested / held).
    internal_pct: f64,
};

pub const live_counts = [_]usize{ 100, 1000, 10_000 };

/// Random replacement of blocks of 8 to 128 bytes.
pub const Search = struct {
    live: usize,
    ns_per_pair: f64,
    /// Free blocks (for buddy: lists of them) looked at in one malloc.
    looked_per_malloc: ?f64,
};

/// Ten blocks of 128 KiB to 1.25 MiB, written to.
pub const ProgramBreak = struct { moved: usize, held: usize };

pub fn gather(subject: Subject, seed: u64) Evidence {
    var evidence: Evidence = undefined;
    inline for (comptime std.meta.fieldNames(Evidence)) |field| {
        @field(evidence, field) = gatherOne(field, subject, seed);
    }
    return evidence;
}

/// One field of the evidence.
pub fn gatherOne(
    comptime field: []const u8,
    subject: Subject,
    seed: u64,
) @FieldType(Evidence, field) {
    var job: Job = .{ .subject = subject, .seed = seed };
    if (comptime std.mem.eql(u8, field, "search")) {
        var found: @FieldType(Evidence, field) = undefined;
        for (live_counts, &found) |live, *one| {
            job.live = live;
            one.* = fastest(job);
        }
        return found;
    }
    const body = @field(experiments, field);
    return child.run(@FieldType(Evidence, field), job, body) orelse null;
}

/// The same work three times over: what the machine does meanwhile can only slow it down.
fn fastest(job: Job) ?Search {
    var best: ?Search = null;
    for (0..3) |_| {
        const seen = (child.run(?Search, job, measureSearch) orelse null) orelse return null;
        if (best == null or seen.ns_per_pair < best.?.ns_per_pair) best = seen;
    }
    return best;
}

const experiments = struct {
    const growth = measureGrowth;
    const leftovers = measureLeftovers;
    const crumbs = measureCrumbs;
    const internal = measureInternal;
    const program_break = measureBreak;
};

const Job = struct {
    subject: Subject,
    seed: u64,
    live: usize = 0,

    fn open(job: Job) ?Allocator {
        return job.subject.open(job.subject.kind);
    }

    fn held(job: Job, allocator: Allocator) ?usize {
        return score.heldBytes(allocator, job.subject.view);
    }
};

fn measureGrowth(job: Job) ?Growth {
    const allocator = job.open() orelse return null;
    var result: Growth = .{
        .rising = 0,
        .distance = null,
        .first = 0,
        .last = 0,
        .pairs_grow = 0,
    };
    var is_even = true;
    for (0..1000) |index| {
        const address = @intFromPtr(allocator.malloc(64) orelse return null);
        if (index == 0) {
            result.first = address;
        } else {
            result.rising += @intFromBool(address > result.last);
            const distance = address -% result.last;
            if (index == 1) result.distance = distance;
            if (distance != result.distance) is_even = false;
        }
        result.last = address;
    }
    if (!is_even) result.distance = null;
    const before = job.held(allocator) orelse return null;
    for (0..1000) |_| allocator.free(allocator.malloc(64) orelse return null);
    result.pairs_grow = job.held(allocator).? -| before;
    return result;
}

fn measureLeftovers(job: Job) ?Leftovers {
    const allocator = job.open() orelse return null;
    allocator.free(allocator.malloc(65536) orelse return null);
    const before = job.held(allocator) orelse return null;
    for (0..100) |_| _ = allocator.malloc(64) orelse return null;
    return .{ .grown = job.held(allocator).? -| before };
}

fn measureCrumbs(job: Job) ?Crumbs {
    const allocator = job.open() orelse return null;
    const count = 2000;
    const blocks = score.table([*]u8, count) orelse return null;
    var prng: std.Random.DefaultPrng = .init(job.seed);
    const random = prng.random();
    for (blocks) |*block| {
        block.* = allocator.malloc(random.intRangeAtMost(usize, 16, 511)) orelse return null;
    }
    // The survivors stand at even distances, so that they are in the way everywhere.
    var freed = score.table([*]u8, count) orelse return null;
    var freed_count: usize = 0;
    for (blocks, 0..) |block, index| {
        if (index % 50 == 0) continue;
        freed[freed_count] = block;
        freed_count += 1;
    }
    random.shuffle([*]u8, freed[0..freed_count]);
    for (freed[0..freed_count]) |block| allocator.free(block);
    const free = if (job.subject.view) |view| view.freeSizes(allocator.context) else null;
    const before = job.held(allocator) orelse return null;
    for (0..100) |_| _ = allocator.malloc(4096) orelse return null;
    return .{
        .free = free,
        .unusable_pct = if (free) |sizes| sizes.unusablePct() else null,
        .external_pct = if (free) |sizes| sizes.externalPct() else null,
        .grown = job.held(allocator).? -| before,
        .held_before = before,
    };
}

fn measureInternal(job: Job) ?Internal {
    const allocator = job.open() orelse return null;
    var prng: std.Random.DefaultPrng = .init(job.seed);
    var requested: usize = 0;
    var usable: usize = 0;
    for (0..1000) |_| {
        const size = prng.random().intRangeAtMost(usize, 1, 1000);
        usable += allocator.usable(allocator.malloc(size) orelse return null);
        requested += size;
    }
    const held = job.held(allocator) orelse return null;
    // What is free inside is not lost: a slab or an area that is not full yet. Who cannot say
    // how much that is, is asked for the size of each block.
    const used = if (job.subject.view) |view|
        held - view.freeSizes(allocator.context).bytes
    else
        usable;
    return .{
        .requested = requested,
        .held = used,
        .internal_pct = 100 * (1 - score.ratio(requested, used)),
    };
}

fn measureSearch(job: Job) ?Search {
    const allocator = job.open() orelse return null;
    const live = job.live;
    const pairs = 10_000;
    const blocks = score.table([*]u8, live) orelse return null;
    var prng: std.Random.DefaultPrng = .init(job.seed);
    const random = prng.random();
    for (blocks) |*block| block.* = someSmall(allocator, random) orelse return null;
    // Half of them go at once and come back one by one: now there is a list to search.
    random.shuffle([*]u8, blocks);
    for (blocks[0 .. live / 2]) |block| allocator.free(block);
    for (blocks[0 .. live / 2]) |*block| block.* = someSmall(allocator, random) orelse return null;
    const turns = score.table(Turn, pairs) orelse return null;
    for (turns) |*turn| turn.* = .{
        .place = random.uintLessThan(u32, @intCast(live)),
        .size = smallSize(random),
    };
    const looked_before = looked(job, allocator);
    const start = score.nanoseconds();
    for (turns) |turn| {
        allocator.free(blocks[turn.place]);
        const block = allocator.malloc(turn.size) orelse return null;
        block[0] = 1;
        blocks[turn.place] = block;
    }
    const taken = score.nanoseconds() - start;
    return .{
        .live = live,
        .ns_per_pair = score.ratio(taken, pairs),
        .looked_per_malloc = if (looked(job, allocator)) |total|
            score.ratio(total - looked_before.?, pairs)
        else
            null,
    };
}

/// Drawn before the clock starts.
const Turn = struct { place: u32, size: u32 };

fn smallSize(random: std.Random) u32 {
    return random.intRangeAtMost(u32, 8, 128);
}

fn someSmall(allocator: Allocator, random: std.Random) ?[*]u8 {
    return allocator.malloc(smallSize(random));
}

fn looked(job: Job, allocator: Allocator) ?u64 {
    const view = job.subject.view orelse return null;
    return view.looked(allocator.context);
}

fn measureBreak(job: Job) ?ProgramBreak {
    const allocator = job.open() orelse return null;
    // Whatever a rung sets up at its first block is not what is asked here.
    allocator.free(allocator.malloc(100) orelse return null);
    const before = ladder.source.programBreak();
    for (1..11) |times| {
        const block = allocator.malloc(times * 128 * 1024) orelse return null;
        @memset(block[0 .. times * 128 * 1024], 1);
    }
    return .{
        .moved = ladder.source.programBreak() -% before,
        .held = job.held(allocator) orelse return null,
    };
}

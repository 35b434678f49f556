//! What is looked at between the calls of a run: the bytes held at the moment when the most is
//! live, and resident memory at the marks. The time that this takes is taken off.
const std = @import("std");
const allocators = @import("allocators.zig");
const clock = @import("clock.zig");
const memory = @import("memory.zig");
const idle = @import("profiles/phases.zig").idle;
const Counters = @import("counters.zig").Counters;
const Held = allocators.Held;

pub const marks_max = 8;
const idle_ms = 1000;

/// What a parent reads of it.
pub const Findings = struct {
    /// At the peak of live bytes.
    requested: u64 = 0,
    held: ?Held = null,
    /// Resident bytes by mark, above those of before the first call; null: not reached.
    resident: [marks_max]?u64 = @splat(null),
};

pub const Watch = struct {
    findings: *Findings,
    kind: Kind,
    /// Bytes that are live now, by several threads.
    live: std.atomic.Value(u64) = .init(0),
    lock: std.atomic.Value(bool) = .init(false),
    /// Time spent at marks.
    paused_ns: u64 = 0,
    /// Page faults of the measured stretch that needed no disk.
    faults: u64 = 0,
    baseline: u64 = 0,
    mark_names: []const []const u8 = &.{},
    /// Without, a mark after a pause is not reached.
    pauses: bool = true,
    counters: ?*const Counters = null,

    pub const Kind = union(enum) {
        nothing,
        /// Resident memory at marks; one thread.
        marks,
        /// Held bytes at this position; one thread.
        peak_at: usize,
        /// Held bytes whenever the live ones have grown by a 64th beyond those of last time.
        peak_around,
    };

    pub fn mark(watch: *Watch, number: u6) void {
        if (watch.kind != .marks) return;
        const is_idle = std.mem.eql(u8, watch.mark_names[number], idle);
        if (is_idle and !watch.pauses) return;
        const began = clock.nanoseconds();
        if (watch.counters) |counters| counters.stop();
        if (is_idle) clock.sleep(idle_ms);
        if (memory.resident()) |bytes| {
            watch.findings.resident[number] = bytes -| watch.baseline;
        }
        if (watch.counters) |counters| counters.start();
        watch.paused_ns += clock.nanoseconds() - began;
    }

    pub fn shrank(watch: *Watch, size: usize) void {
        _ = watch.live.fetchSub(size, .monotonic); // A number that orders nothing else.
    }

    pub fn grew(
        watch: *Watch,
        allocator: allocators.Allocator,
        size: usize,
        position: usize,
    ) void {
        const live = watch.live.fetchAdd(size, .monotonic) + size; // As above.
        switch (watch.kind) {
            .nothing, .marks => {},
            .peak_at => |wanted| if (position == wanted) {
                watch.findings.requested = live;
                watch.findings.held = allocator.held();
            },
            .peak_around => watch.sample(allocator, live),
        }
    }

    fn sample(watch: *Watch, allocator: allocators.Allocator, live: u64) void {
        // Whoever finds it taken may leave: the other samples about the same.
        if (watch.lock.swap(true, .acquire)) return;
        defer watch.lock.store(false, .release);
        const last = watch.findings.requested;
        if (live <= last + last / 64) return;
        watch.findings.requested = live;
        watch.findings.held = allocator.held();
    }
};

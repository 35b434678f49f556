//! The table of profiles, and how one becomes a sequence. What each does stands in the files of
//! the folder beside this one.
const std = @import("std");
const sequence = @import("sequence.zig");
const Random = @import("random.zig").Random;
const batches = @import("profiles/batches.zig");
const entries = @import("profiles/entries.zig");
const phases = @import("profiles/phases.zig");
const replacement = @import("profiles/replacement.zig");
const teams = @import("profiles/teams.zig");
const walks = @import("profiles/walks.zig");
const Builder = sequence.Builder;
const Error = sequence.Error;
const Sequence = sequence.Sequence;

/// What a profile is told: its stream, and the measured calls that it may make.
pub const Task = struct { builder: *Builder, index: usize, ops: u64 };

pub const Work = union(enum) {
    /// Every thread has a stream of its own, drawn for itself; they never meet.
    each: *const fn (Task) Error!void,
    /// The streams of all threads are drawn together: blocks change hands.
    together: *const fn (Task) Error!void,
};

pub const Profile = struct {
    name: []const u8,
    about: []const u8,
    work: Work,
    touch: sequence.Touch = .first,
    threads_min: u32 = 1,
    threads_even: bool = false,
    mark_names: []const []const u8 = &.{},
};

pub const table = [_]Profile{
    .{
        .name = "small",
        .about = "8 to 128 bytes, about 5,000 live, made and freed in runs of 1 to 32",
        .work = .{ .each = walks.small },
    },
    .{
        .name = "mixed",
        .about = "mostly 8 to 256 bytes, some to 64 KiB, about 5,000 live, in runs of 1 to 32",
        .work = .{ .each = walks.mixed },
    },
    .{
        .name = "large",
        .about = "32 KiB to 1 MiB (log-uniform), about 50 live, in runs of 1 to 8",
        .work = .{ .each = walks.large },
        .touch = .ends,
    },
    .{
        .name = "replace-1k",
        .about = "a random one of 1,000 live blocks of 16 to 511 bytes is freed and made anew",
        .work = .{ .each = replacement.thousand },
    },
    .{
        .name = "replace-30k",
        .about = "the same among 30,000",
        .work = .{ .each = replacement.thirtyThousand },
    },
    .{
        .name = "replace-400k",
        .about = "the same among 400,000",
        .work = .{ .each = replacement.fourHundredThousand },
    },
    .{
        .name = "batch-lifo",
        .about = "1,000 blocks of 16 to 511 bytes are made, then freed newest first",
        .work = .{ .each = batches.newestFirst },
    },
    .{
        .name = "batch-fifo",
        .about = "the same, oldest first",
        .work = .{ .each = batches.oldestFirst },
    },
    .{
        .name = "batch-shuffled",
        .about = "the same, in random order",
        .work = .{ .each = batches.shuffled },
    },
    .{
        .name = "bursty",
        .about = "60,000 live blocks of 16 to 511 bytes; bursts of 1,000 more, then 1,000 fewer",
        .work = .{ .each = batches.bursts },
    },
    .{
        .name = "generations",
        .about = "mixed sizes; one in 16 lives long (20,000 of them), the rest for 64 calls",
        .work = .{ .each = walks.generations },
    },
    .{
        .name = "realloc",
        .about = "64 blocks grow by half at a time from 16 bytes to 1 MiB, then start again",
        .work = .{ .each = entries.growth },
        .touch = .ends,
    },
    .{
        .name = "aligned",
        .about = "aligned to 32 to 4,096 bytes, 1 to 4,096 bytes, 1,000 live",
        .work = .{ .each = entries.alignments },
    },
    .{
        .name = "calloc",
        .about = "zeroed, 16 bytes to 64 KiB (log-uniform), 1,000 live",
        .work = .{ .each = entries.zeroed },
    },
    .{
        .name = "phases",
        .about = "16 to 511 bytes; 90 % freed at random; 600 to 2,000 bytes; all freed",
        .work = .{ .each = phases.survivors },
        .touch = .all,
        .mark_names = &phases.survivor_marks,
    },
    .{
        .name = "shrink",
        .about = "384 MiB of 16 bytes to 64 KiB (log-uniform), freed at random to 15 %; then small",
        .work = .{ .each = phases.shrink },
        .touch = .all,
        .mark_names = &phases.shrink_marks,
    },
    .{
        .name = "server",
        .about = "each replaces in its 1,000 blocks, and hands a quarter of them to the next",
        .work = .{ .together = teams.server },
        .threads_min = 2,
    },
    .{
        .name = "producer-consumer",
        .about = "in each pair one makes blocks of 16 to 511 bytes, the other frees them",
        .work = .{ .together = teams.producerConsumer },
        .threads_min = 2,
        .threads_even = true,
    },
    .{
        .name = "fan-in",
        .about = "all but one make blocks, the one frees them",
        .work = .{ .together = teams.fanIn },
        .threads_min = 3,
    },
    .{
        .name = "fan-out",
        .about = "one makes blocks, all others free them",
        .work = .{ .together = teams.fanOut },
        .threads_min = 3,
    },
    .{
        .name = "ring",
        .about = "blocks go once round all threads; the last frees them",
        .work = .{ .together = teams.ring },
        .threads_min = 2,
    },
    .{
        .name = "free-only",
        .about = "all but one replace among 1,000 blocks; half of the frees are left to the one",
        .work = .{ .together = teams.freeOnly },
        .threads_min = 2,
    },
    .{
        .name = "thread-churn",
        .about = "a thread makes 100 blocks, frees 50 of them and 50 of the last one's, and ends",
        .work = .{ .each = teams.churn },
    },
};

pub fn find(name: []const u8) ?*const Profile {
    for (&table) |*profile| {
        if (std.mem.eql(u8, profile.name, name)) return profile;
    }
    return null;
}

/// The sequence of a profile depends on these numbers alone.
pub fn build(profile: *const Profile, seed: u64, ops: u64, threads: u32) Error!Sequence {
    var builder: Builder = try .init(threads);
    switch (profile.work) {
        .together => |draw| {
            builder.random = .init(seed, 0);
            try drawn(draw(.{ .builder = &builder, .index = 0, .ops = ops }));
        },
        .each => |draw| for (0..threads) |index| {
            builder.random = .init(seed, index);
            builder.measuring = false;
            const rest = @intFromBool(index < ops % threads);
            const share = ops / threads + rest;
            try drawn(draw(.{ .builder = &builder, .index = index, .ops = share }));
        },
    }
    return builder.finish(profile.touch, profile.mark_names);
}

/// A profile ends when all calls are there; one that ends sooner has no more to do.
fn drawn(outcome: Error!void) Error!void {
    outcome catch |err| if (err != error.Finished) return err;
}

test "profiles: the same seed gives the same digest, another seed another" {
    for (&table) |*profile| {
        const threads = profile.threads_min;
        const first = try build(profile, 7, 3000, threads);
        const second = try build(profile, 7, 3000, threads);
        const other = try build(profile, 8, 3000, threads);
        try std.testing.expectEqual(first.digest, second.digest);
        try std.testing.expect(first.digest != other.digest);
        try std.testing.expectEqual(3000, first.calls.total());
    }
}

test "profiles: streams use live slots only and receive what was sent" {
    for (&table) |*profile| {
        const made = try build(profile, 1, 20_000, @max(profile.threads_min, 4));
        var sent: u64 = 0;
        for (made.streams) |stream| {
            const live = try std.testing.allocator.alloc(bool, stream.slot_count);
            defer std.testing.allocator.free(live);
            @memset(live, false);
            for (stream.ops) |op| switch (op.kind) {
                .malloc, .aligned, .calloc => {
                    try std.testing.expect(!live[op.slot]);
                    live[op.slot] = true;
                },
                .receive => {
                    try std.testing.expect(!live[op.slot]);
                    live[op.slot] = true;
                    sent -%= 1;
                },
                .realloc => try std.testing.expect(live[op.slot]),
                .free => {
                    try std.testing.expect(live[op.slot]);
                    live[op.slot] = false;
                },
                .send => {
                    try std.testing.expect(live[op.slot]);
                    live[op.slot] = false;
                    sent +%= 1;
                },
                .mark => try std.testing.expect(op.extra < profile.mark_names.len),
                .next_thread => {},
            };
        }
        try std.testing.expectEqual(0, sent);
    }
}

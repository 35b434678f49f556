//! How blocks go from one thread to another: a ring for each pair, written by one and read by one.
//! What was put in is shown to the other side in batches, so that the ring's own traffic stays
//! small beside that of the blocks.
const std = @import("std");
const linux = std.os.linux;
const sequence = @import("sequence.zig");
const Content = @import("contents.zig").Content;

pub const Item = struct { block: [*]u8, content: Content };

const capacity = sequence.channel_length_max;
const batch_length = 32;
const cache_line = 64;

/// written - taken items are on their way, never more than `capacity`.
const Channel = struct {
    /// The sender's: items put in. `shown` is how many of them the reader may see.
    written: usize align(cache_line),
    /// Stored by the sender with release after the items; loaded by the reader with acquire.
    shown: std.atomic.Value(usize),
    /// The reader's: items taken out.
    taken: usize align(cache_line),
    /// The last `shown` it saw.
    seen: usize,
    /// Stored by the reader with release after it has read the items; loaded by the sender with
    /// acquire before it writes over them.
    emptied: std.atomic.Value(usize),
    items: [capacity]Item align(cache_line),

    fn show(channel: *Channel) void {
        // monotonic: the sender's own store.
        if (channel.shown.load(.monotonic) == channel.written) return;
        channel.shown.store(channel.written, .release);
    }
};

/// All channels of a run, zero at the start. Those of a pair that never meets take no memory.
pub const Channels = struct {
    threads: usize,
    all: []Channel,

    pub const none: Channels = .{ .threads = 0, .all = &.{} };
    pub const Unit = Channel;

    fn between(channels: Channels, from: usize, to: usize) *Channel {
        return &channels.all[from * channels.threads + to];
    }

    pub fn send(channels: Channels, from: usize, to: usize, item: Item) void {
        const channel = channels.between(from, to);
        while (channel.written - channel.emptied.load(.acquire) == capacity) {
            channels.wait(from);
        }
        channel.items[channel.written % capacity] = item;
        channel.written += 1;
        if (channel.written % batch_length == 0) channel.show();
    }

    pub fn receive(channels: Channels, from: usize, to: usize) Item {
        const channel = channels.between(from, to);
        while (channel.taken == channel.seen) {
            channel.seen = channel.shown.load(.acquire);
            if (channel.taken == channel.seen) channels.wait(to);
        }
        const item = channel.items[channel.taken % capacity];
        channel.taken += 1;
        if (channel.taken % batch_length == 0) channel.emptied.store(channel.taken, .release);
        return item;
    }

    /// Nothing of a thread's own may be held back while it waits, or when it ends.
    pub fn showAll(channels: Channels, index: usize) void {
        for (0..channels.threads) |other| {
            const outgoing = channels.between(index, other);
            if (outgoing.written != 0) outgoing.show();
            const incoming = channels.between(other, index);
            if (incoming.taken != 0) incoming.emptied.store(incoming.taken, .release);
        }
    }

    noinline fn wait(channels: Channels, index: usize) void {
        channels.showAll(index);
        for (0..32) |_| std.atomic.spinLoopHint();
        _ = linux.sched_yield();
    }
};

test "channel: items arrive in order through a ring smaller than their number" {
    const gpa = std.testing.allocator;
    const all = try gpa.alloc(Channel, 4);
    defer gpa.free(all);
    @memset(std.mem.sliceAsBytes(all), 0);
    const channels: Channels = .{ .threads = 2, .all = all };
    const count = 3 * capacity + 7;
    const sender = try std.Thread.spawn(.{}, struct {
        fn run(to_use: Channels) void {
            for (1..count + 1) |number| {
                const item: Item = .{ .block = @ptrFromInt(number), .content = .{} };
                to_use.send(0, 1, item);
            }
            to_use.showAll(0);
        }
    }.run, .{channels});
    for (1..count + 1) |number| {
        try std.testing.expectEqual(number, @intFromPtr(channels.receive(0, 1).block));
    }
    sender.join();
}

//! Messages: pointers freed by one thread on their way to the heap that owns them, 62 at a time,
//! in memory of their own so that no freed block is touched. And the inbox they arrive in.
const std = @import("std");
const base = @import("base");
const region = @import("region");
const t = base.tunables;
const assert = base.assert;
const Heap = @import("heap.zig").Heap;

pub const Message = extern struct {
    next: ?*Message,
    count: u32,
    reserved: u32,
    blocks: [t.message_blocks_max]usize,
};

comptime {
    assert(@sizeOf(Message) == 512);
}

/// A stack that any thread pushes to and that only the holder of the heap's lock pops from. With
/// one popper at a time a popped message cannot come back under a pop's feet: no ABA.
pub const Inbox = extern struct {
    /// Push: seq_cst, publishes the message's fields, and comes before the poster's load of the
    /// heap's state in the one order of all seq_cst operations. Pop: acquire, pairs with push.
    head: std.atomic.Value(?*Message),
    /// Messages pushed and not popped, a hint for helpers; monotonic everywhere.
    queued: std.atomic.Value(u32),

    pub fn push(inbox: *Inbox, message: *Message) void {
        // monotonic: the exchange below orders; a stale head only costs a round.
        var head = inbox.head.load(.monotonic);
        while (true) {
            message.next = head;
            head = inbox.head.cmpxchgWeak(head, message, .seq_cst, .monotonic) orelse break;
        }
        _ = inbox.queued.fetchAdd(1, .monotonic);
    }

    pub inline fn isEmpty(inbox: *const Inbox) bool {
        return inbox.head.load(.monotonic) == null; // A hint; who acts on it pops.
    }

    /// Under the heap's lock.
    pub fn pop(inbox: *Inbox) ?*Message {
        var head = inbox.head.load(.acquire);
        while (head) |message| {
            head = inbox.head.cmpxchgWeak(head, message.next, .acquire, .acquire) orelse {
                _ = inbox.queued.fetchSub(1, .monotonic);
                return message;
            };
        }
        return null;
    }
};

/// An empty message for this heap's thread; null when the system refuses memory.
pub fn get(heap: *Heap) ?*Message {
    if (heap.messages) |message| {
        heap.messages = message.next;
        heap.message_count -= 1;
        message.count = 0;
        return message;
    }
    return create(heap.id);
}

/// An empty message for a thread without a heap of its own.
pub fn create(holder: u32) ?*Message {
    const memory = region.arena.alloc(@sizeOf(Message), holder) orelse return null;
    const message: *Message = @ptrCast(memory);
    message.count = 0;
    return message;
}

/// Takes a drained message back, into the heap's own store or to everybody's.
pub fn put(heap: *Heap, message: *Message) void {
    if (heap.message_count >= t.message_cache_max) return destroy(message, heap.id);
    message.next = heap.messages;
    heap.messages = message;
    heap.message_count += 1;
}

pub fn destroy(message: *Message, holder: u32) void {
    region.arena.free(@ptrCast(@alignCast(message)), @sizeOf(Message), holder);
}

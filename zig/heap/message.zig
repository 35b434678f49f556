//! Messages: pointers freed by one thread on their way to the heap that owns them, 62 at a time,
//! in memory of their own so that no freed block is touched. And the inbox they arrive in.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const t = base.tunables;
const assert = base.assert;
const Heap = @import("heap.zig").Heap;

pub const Message = extern struct {
    next: ?*Message,
    count: u32,
    /// Messages in the inbox when this one was pushed, it included. Monotonic: a hint.
    depth: base.atomic.Value(u32),
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
    head: base.atomic.Value(?*Message),

    /// How many messages the inbox holds now, roughly: for helpers.
    pub fn push(inbox: *Inbox, message: *Message) u32 {
        // acquire: the message under the new one is looked at. Should it be popped meanwhile, its
        // memory stays readable (arenas are never unmapped) and the exchange below fails.
        var head = inbox.head.load(.acquire);
        while (true) {
            const depth = 1 + if (head) |below| below.depth.load(.monotonic) else 0;
            message.depth.store(depth, .monotonic);
            message.next = head;
            head = inbox.head.cmpxchgWeak(head, message, .seq_cst, .acquire) orelse return depth;
        }
    }

    pub inline fn isEmpty(inbox: *const Inbox) bool {
        return inbox.head.load(.monotonic) == null; // A hint; who acts on it pops.
    }

    /// The same as a part of the one order of all seq_cst operations, for the last look at an
    /// orphan's inbox: a poster that found the lock taken, or the heap active, is not missed.
    pub inline fn isEmptySeqCst(inbox: *const Inbox) bool {
        return inbox.head.load(.seq_cst) == null;
    }

    /// Under the heap's lock.
    pub fn pop(inbox: *Inbox) ?*Message {
        var head = inbox.head.load(.acquire);
        while (head) |message| {
            head = inbox.head.cmpxchgWeak(head, message.next, .acquire, .acquire) orelse
                return message;
        }
        return null;
    }
};

// Empty messages wander from the threads that drain to the threads that free: a heap keeps some
// and hands them on by the batch, so that neither side takes a lock for every message.

var lock: os.Lock = .{};
/// Under the lock: chains of message_batch empty messages.
var batches: [t.message_batches_max]*Message = undefined;
var batch_count: u32 = 0;

/// An empty message for this heap's thread; null when the system refuses memory.
pub fn get(heap: *Heap) ?*Message {
    if (heap.messages == null) takeBatch(heap);
    const message = heap.messages orelse return create(heap.id);
    heap.messages = message.next;
    heap.message_count -= 1;
    message.count = 0;
    return message;
}

noinline fn takeBatch(heap: *Heap) void {
    assert(heap.message_count == 0);
    lock.acquire(heap.id);
    defer lock.release();
    if (batch_count == 0) return;
    heap.messages = batches[batch_count - 1];
    heap.message_count = t.message_batch;
    batch_count -= 1;
}

/// An empty message for a thread without a heap of its own.
fn create(holder: u32) ?*Message {
    const memory = region.arena.alloc(@sizeOf(Message), holder) orelse return null;
    const message: *Message = @ptrCast(memory);
    message.count = 0;
    return message;
}

/// Takes a drained message back, into the heap's own store or to everybody's.
pub fn put(heap: *Heap, message: *Message) void {
    message.next = heap.messages;
    heap.messages = message;
    heap.message_count += 1;
    if (heap.message_count == 2 * t.message_batch) giveBatch(heap);
}

noinline fn giveBatch(heap: *Heap) void {
    const first = heap.messages.?;
    var last = first;
    for (1..t.message_batch) |_| last = last.next.?;
    heap.messages = last.next;
    heap.message_count -= t.message_batch;
    last.next = null;
    if (!offer(first, heap.id)) destroyAll(first, heap.id);
}

fn offer(batch: *Message, holder: u32) bool {
    lock.acquire(holder);
    defer lock.release();
    if (batch_count == t.message_batches_max) return false;
    batches[batch_count] = batch;
    batch_count += 1;
    return true;
}

fn destroyAll(batch: *Message, holder: u32) void {
    var left: ?*Message = batch;
    while (left) |message| {
        left = message.next;
        destroy(message, holder);
    }
}

pub fn destroy(message: *Message, holder: u32) void {
    region.arena.free(@ptrCast(@alignCast(message)), @sizeOf(Message), holder);
}

/// The heap's own store has as many messages as it counts, fewer than two batches; the shared one
/// whole batches. Only the heap's owner, in a slow call.
pub fn check(heap: *const Heap) void {
    assert(heap.message_count < 2 * t.message_batch);
    assert(lengthOf(heap.messages) == heap.message_count);
    lock.acquire(heap.id);
    defer lock.release();
    assert(batch_count <= t.message_batches_max);
    for (batches[0..batch_count]) |batch| assert(lengthOf(batch) == t.message_batch);
}

fn lengthOf(first: ?*const Message) u32 {
    var length: u32 = 0;
    var message = first;
    while (message) |one| : (message = one.next) {
        length += 1;
        assert(length <= 2 * t.message_batch);
    }
    return length;
}

/// In a child after fork, which has one thread: torn by one that does not exist here, the shared
/// store is forgotten.
pub fn repairAfterFork(survivor: u32) void {
    if (!lock.holderLost(survivor)) return;
    batch_count = 0;
    lock.reset();
}

//! A futex lock that knows its holder, for the shared structures of the allocator.
//!
//! Guarantees: mutual exclusion; no lock is held across fork by design, so a child finds out
//! which locks belonged to threads that do not exist there (`holderLost`) and resets them. The
//! zero word is an unlocked lock. Any thread may call anything, but `release` only the holder.
//!
//! The word: 0 free, else the holder's heap id (never 0), bit 31 set when somebody may sleep.
//!
//! While the process has one thread, the word is read and written without a locked instruction,
//! which would wait for every store before it that missed the caches: blocks of 32 KiB to 1 MiB
//! that are made, touched and freed took 204 ns with them, 188 without. The thread that ends this
//! state does so itself, between two calls of the allocator, and making a thread orders all that
//! was before. A signal handler that makes a thread while it interrupts a lock is outside the
//! promise, and so are threads that libc does not know of (a raw clone): glibc's malloc fails with
//! them too.
const std = @import("std");
const linux = std.os.linux;
const base = @import("base");
const atomic = base.atomic;
const futex = if (atomic.modelled) atomic.model.futex else @import("futex.zig");
const host = @import("host.zig");
const assert = base.assert;

const contended: u32 = 1 << 31;
// In the model one turn shows what all do.
const spins_max = if (atomic.modelled) 1 else 60;
/// A sleeper looks this often whether it still is in the process it went to sleep in: a handler
/// may fork while its thread sleeps here, and the kernel restarts the wait in the child too, where
/// nobody is left to end it.
const look_period: linux.timespec = .{ .sec = 0, .nsec = 100_000_000 };

inline fn isAlone() bool {
    return !atomic.modelled and host.isSingleThreaded();
}

pub const Lock = extern struct {
    // Written by every thread that takes or releases the lock. `acquire` orders on taking pair
    // with the `release` swap in `release` and publish everything the lock guards.
    word: atomic.Value(u32) = .init(0),

    /// Called before every sleep, by the thread that waits; set once, at initialisation. It opens
    /// the locks of threads that do not exist in this process.
    /// Two threads may set it at once. monotonic: it is code, nothing is published with it.
    pub var before_sleep: atomic.Value(?*const fn (holder: u32) void) = .init(null);

    pub inline fn tryAcquire(lock: *Lock, holder: u32) bool {
        assert(holder != 0);
        assert(holder & contended == 0);
        if (isAlone()) return lock.tryAcquireAlone(holder);
        return lock.word.cmpxchgStrong(0, holder, .acquire, .monotonic) == null;
    }

    /// The same as a part of the one order of all seq_cst operations, also when it fails: for who
    /// has just published what the holder looks for after `releaseSeqCst`.
    pub inline fn tryAcquireSeqCst(lock: *Lock, holder: u32) bool {
        assert(holder != 0);
        assert(holder & contended == 0);
        if (isAlone()) return lock.tryAcquireAlone(holder);
        return lock.word.cmpxchgStrong(0, holder, .seq_cst, .seq_cst) == null;
    }

    /// No other thread: nothing to order but what this one's handlers and children may see.
    inline fn tryAcquireAlone(lock: *Lock, holder: u32) bool {
        if (lock.word.load(.monotonic) != 0) return false;
        lock.word.store(holder, .monotonic);
        base.compilerBarrier();
        return true;
    }

    inline fn releaseAlone(lock: *Lock) void {
        base.compilerBarrier();
        lock.word.store(0, .monotonic);
    }

    pub inline fn acquire(lock: *Lock, holder: u32) void {
        if (!lock.tryAcquire(holder)) lock.acquireSlow(holder);
    }

    fn acquireSlow(lock: *Lock, holder: u32) void {
        @branchHint(.cold);
        for (0..spins_max) |_| {
            // monotonic: only a hint whether to try; tryAcquire orders.
            if (lock.word.load(.monotonic) == 0 and lock.tryAcquire(holder)) return;
            atomic.spinLoopHint();
        }
        while (true) {
            if (Lock.before_sleep.load(.monotonic)) |look| look(holder);
            // monotonic: the value is only compared and passed to the kernel.
            const word = lock.word.load(.monotonic);
            if (word == 0) {
                // Taken with the bit set: others may still sleep, and release must wake them.
                const taken = holder | contended;
                if (lock.word.cmpxchgStrong(0, taken, .acquire, .monotonic) == null) return;
                continue;
            }
            const marked = word | contended;
            if (word != marked and
                lock.word.cmpxchgStrong(word, marked, .monotonic, .monotonic) != null) continue;
            futex.wait(&lock.word, marked, &look_period);
        }
    }

    pub inline fn release(lock: *Lock) void {
        if (isAlone()) return lock.releaseAlone();
        const word = lock.word.swap(0, .release);
        assert(word != 0);
        if (word & contended != 0) lock.wake();
    }

    /// The same as a part of the one order of all seq_cst operations: see `tryAcquireSeqCst`.
    pub inline fn releaseSeqCst(lock: *Lock) void {
        if (isAlone()) return lock.releaseAlone();
        const word = lock.word.swap(0, .seq_cst);
        assert(word != 0);
        if (word & contended != 0) lock.wake();
    }

    fn wake(lock: *Lock) void {
        @branchHint(.cold);
        futex.wake(&lock.word, 1);
    }

    /// Who holds the lock, for work done under it; 0: nobody.
    pub fn heldBy(lock: *const Lock) u32 {
        return lock.word.load(.monotonic) & ~contended; // The caller holds it: stable.
    }

    /// In a child after fork: is the lock held by another thread than the one with this heap id,
    /// which is to say by nobody who exists here? (The only thread of a new child calls this.)
    pub fn holderLost(lock: *const Lock, survivor: u32) bool {
        const word = lock.word.load(.monotonic); // One thread; nothing to order.
        return word != 0 and word & ~contended != survivor;
    }

    /// In a child after fork, on a lock whose holder is lost.
    pub fn reset(lock: *Lock) void {
        lock.word.store(0, .monotonic); // One thread; nothing to order.
    }
};

test "Lock: four threads never lose an increment" {
    const Shared = struct {
        lock: Lock = .{},
        total: u64 = 0,

        fn work(shared: *@This(), id: u32) void {
            for (0..20_000) |_| {
                shared.lock.acquire(id);
                defer shared.lock.release();
                shared.total += 1;
            }
        }
    };
    var shared: Shared = .{};
    var threads: [4]std.Thread = undefined;
    for (&threads, 1..) |*thread, id| {
        thread.* = try std.Thread.spawn(.{}, Shared.work, .{ &shared, @as(u32, @intCast(id)) });
    }
    for (threads) |thread| thread.join();
    try std.testing.expectEqual(@as(u64, 80_000), shared.total);
    try std.testing.expectEqual(@as(u32, 0), shared.lock.word.raw);
}

test "Lock: tryAcquire fails while held; the holder is known" {
    var lock: Lock = .{};
    try std.testing.expect(lock.tryAcquire(5));
    try std.testing.expect(!lock.tryAcquire(6));
    try std.testing.expect(lock.holderLost(6));
    try std.testing.expect(!lock.holderLost(5));
    lock.reset();
    try std.testing.expect(!lock.holderLost(6));
}

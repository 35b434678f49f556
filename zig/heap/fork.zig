//! Fork without a prefork handler: nothing is locked before a fork, the child finds out at its
//! first slow call that it is one, and repairs what threads that do not exist here left torn.
//!
//! Detection: a page that reads as zero in a child (MADV_WIPEONFORK). Never a process or thread
//! id, since a vfork or CLONE_VM child has another id and this memory. Where the kernel has no
//! such page (before 4.14) a child-side hook of `__register_atfork` clears the word.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const heaps = @import("heap.zig");
const lookup = @import("lookup.zig");
const registry = @import("registry.zig");
const thread = @import("thread.zig");
const Heap = heaps.Heap;

const Word = base.atomic.Value(u32);
const child = 0;
const repairing = 1;
const settled = 2;
/// Whole pages on every machine. Not machine.page_size: another thread may just be setting it.
const page_length = 64 * 1024;

/// Before initialisation, and where no page can be had: a word that says "no fork".
var fallback: Word = .init(settled);
/// Published once by `init`, with what it points to.
var place: base.atomic.Value(*Word) = .init(&fallback);
/// Whether the hook for old kernels is registered.
var hooked: base.atomic.Value(bool) = .init(false);
/// Forks this process descends from, counted from the program's start. A statistic.
var generation: u32 = 0;

/// Called by every thread that may wait for the initialisation lock, before it does: a child made
/// while another thread held that lock must be able to tell. False: no memory for the page.
pub fn init() bool {
    os.Lock.before_sleep.store(&repairWaiting, .monotonic); // See there.
    if (place.load(.acquire) != &fallback) return true;
    const page = os.memory.map(page_length) orelse return false;
    const word: *Word = @ptrCast(@alignCast(page));
    word.store(settled, .monotonic); // Published with the place.
    if (os.memory.wipeOnFork(page, page_length)) {
        // seq_cst: before the initialisation lock is taken, for the snapshot of a fork.
        if (place.cmpxchgStrong(&fallback, word, .seq_cst, .acquire) == null) return true;
        _ = os.memory.unmap(page, page_length); // Another thread was first.
        return true;
    }
    _ = os.memory.unmap(page, page_length);
    if (hooked.swap(true, .monotonic)) return true; // It guards nothing else.
    if (os.host.registerAtfork()) |register| _ = register(null, null, &childHook, null);
    return true;
}

inline fn state() *Word {
    return place.load(.acquire);
}

fn childHook() callconv(.c) void {
    state().store(child, .monotonic); // The only thread of a new child.
}

/// Whether this process is a child that has not been repaired. In every slow path.
pub inline fn happened() bool {
    // acquire: pairs with the release in `repair`, for threads the child starts meanwhile.
    return state().load(.acquire) != settled;
}

/// Repairs, once per child, at the beginning of a slow call. `own`: the calling thread's heap, null
/// when it has none.
pub noinline fn repair(own: ?*Heap, holder: u32) void {
    @branchHint(.cold);
    repairAll(own, holder, .between_calls);
}

/// A thread that is about to wait for a lock: did a signal handler fork while it was inside a slow
/// call, and is this the child? Then the holder may not exist here.
fn repairWaiting(holder: u32) void {
    if (happened()) repairAll(registry.get(holder), holder, .inside_call);
}

fn repairAll(own: ?*Heap, holder: u32, moment: region.run_allocator.Moment) void {
    if (state().cmpxchgStrong(child, repairing, .acquire, .acquire) != null) {
        // Another thread of the child is at it: it makes no system call that could block.
        while (happened()) base.atomic.spinLoopHint();
        return;
    }
    generation += 1;
    region.arena.repairAfterFork(holder);
    region.run_allocator.repairAfterFork(holder, lookup.lengthOfRun, moment);
    region.space.repairAfterFork();
    region.huge_block.repairAfterFork(holder);
    // A thread with a heap is the one that forked. One without may also have been started since,
    // by a forking thread that needed no slow path: then nobody's heap may be touched.
    heaps.explicit.repairAfterFork(holder);
    registry.repairAfterFork(own, holder, own == null);
    thread.repairAfterFork(holder);
    state().store(settled, .release);
}

pub fn generationCount() u32 {
    return generation;
}

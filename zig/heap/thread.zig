//! A thread's way through the allocator: first call (attach), the exit hook, exit, and the calls
//! it makes after that. One word of thread-local storage holds its heap.
//!
//! States of the word: `empty` (never called) -> `booting` -> a heap -> `exited`. An exited
//! thread, and one that gets no heap, uses one shared heap under a lock.
const root = @import("root");
const std = @import("std");
const base = @import("base");
const os = @import("os");
const region = @import("region");
const t = base.tunables;
const assert = base.assert;
const heaps = @import("heap.zig");
const fork = @import("fork.zig");
const magazine = @import("magazine.zig");
const medium = @import("medium.zig");
const partial_slabs = @import("partial_slabs.zig");
const registry = @import("registry.zig");
const remote_free = @import("remote_free.zig");
const Heap = heaps.Heap;

var init_lock: os.Lock = .{};
/// Stored with release after everything `initialise` sets; loaded with acquire by `attach`.
var initialised: base.atomic.Value(bool) = .init(false);
/// Called once at initialisation, when the root file of the program declares it: the library
/// reads its options there.
const on_init: ?fn () void = if (@hasDecl(root, "liballocOnInit")) root.liballocOnInit else null;

const KeyState = enum(u8) { none, creating, ready, absent };
/// Stored with release after `key`; loaded with acquire by `hook`.
var key_state: base.atomic.Value(KeyState) = .init(.none);
var key: c_uint = 0;
/// glibc calls destructors in up to 4 rounds. Ours waits for the second that it sees, not for the
/// last: a thread whose first call is made by a destructor is only seen from round 2 or 3 on.
const destructor_rounds = 2;

var shared_lock: os.Lock = .{};
/// Under shared_lock. Never an orphan.
var shared_heap: ?*Heap = null;

fn setWord(heap: *const Heap) void {
    os.tls.store(@intFromPtr(heap) -% @intFromPtr(heaps.sentinelOf(.empty)));
}

fn setPlace(place: heaps.Sentinel) void {
    setWord(heaps.sentinelOf(place));
}

pub fn isBooting(heap: *const Heap) bool {
    return heap == heaps.sentinelOf(.booting);
}

/// Who the calling thread is as the holder of locks while it has no heap: unlike its thread id
/// this is the same after a fork. Heap ids are below bit 29.
pub fn holder() u32 {
    return 1 << 29 | @as(u32, @truncate(os.tls.address() >> 6)) & ((1 << 29) - 1);
}

/// Gives the calling thread a heap: an orphan or a new one. Null when the system refuses memory;
/// the next call tries again.
pub fn attach() ?*Heap {
    setPlace(.booting);
    const me = holder();
    if (!initialise(me)) {
        setPlace(.empty);
        return null;
    }
    if (fork.happened()) fork.repair(null, me);
    const heap = inherit() orelse registry.adopt(me) orelse createHeap(me) orelse {
        setPlace(.empty);
        return null;
    };
    bequeath(heap);
    heap.hooked = false;
    heap.exit_rounds = 0;
    setWord(heap);
    return heap;
}

/// A new heap; where memory is refused, a limit may count what is kept.
fn createHeap(me: u32) ?*Heap {
    if (registry.create(me)) |heap| return heap;
    if (!region.huge_block.hasKept()) return null;
    region.huge_block.dropKept(0, me);
    return registry.create(me);
}

/// The heap last attached to by a thread with its word at an address of this hash: a hint.
var heirs: [4096]base.atomic.Value(u32) linksection(base.sparse_section) = @splat(.init(0));

fn heirOf(address: usize) usize {
    return ((address >> 6) *% 0x9e37_79b9_7f4a_7c15) >> (64 - 12);
}

/// monotonic: the successor is another thread at the same address, whom libc orders after this one.
/// Not in the model, where no thread has a successor: it would only add points to its searches.
fn bequeath(heap: *Heap) void {
    if (base.atomic.modelled) return;
    const address = os.tls.address();
    heap.word_address.store(address, .monotonic);
    heirs[heirOf(address)].store(heap.id, .monotonic);
}

/// The heap of a thread that ended without a word: libc does not call a destructor that a thread
/// sets in the last of its rounds, nor any for a thread that is not libc's. This thread has got its
/// thread-local storage, so it is gone, and the heap is as it left it.
fn inherit() ?*Heap {
    if (base.atomic.modelled) return null;
    const address = os.tls.address();
    const id = heirs[heirOf(address)].load(.monotonic);
    const heap = registry.get(id) orelse return null;
    if (heap.word_address.load(.monotonic) != address) return null;
    // Cancelled inside a slow call, against all rules: what it held is torn.
    if (heap.busy) return null;
    return if (heap.state.load(.monotonic) == .active) heap else null;
}

/// Whether options have been read.
pub fn isInitialised() bool {
    return initialised.load(.acquire);
}

fn initialise(me: u32) bool {
    if (initialised.load(.acquire)) return true;
    if (!fork.init()) return false;
    if (fork.happened()) fork.repair(null, me);
    init_lock.acquire(me);
    defer init_lock.release();
    if (initialised.load(.monotonic)) return true; // Under the lock.
    os.checker.detect();
    os.machine.init();
    if (on_init) |callback| callback();
    if (region.space.count() == 0) {
        const segment = region.space.reserveNext(true, 0) orelse return false;
        region.arena.add(segment, me);
    }
    initialised.store(true, .release);
    return true;
}

/// Asks libc to tell when the thread ends. Called at the end of slow calls, with no lock held and
/// the heap usable: both functions may call malloc.
pub fn hook(heap: *Heap) void {
    @branchHint(.cold);
    const set = os.host.setSpecific() orelse return markHooked(heap);
    const create = os.host.keyCreate() orelse return markHooked(heap);
    switch (key_state.load(.acquire)) {
        .none => {
            if (key_state.cmpxchgStrong(.none, .creating, .acquire, .monotonic) != null) return;
            const made = create(&key, &onThreadExit) == 0;
            key_state.store(if (made) .ready else .absent, .release);
        },
        .creating => return, // The next slow call tries again.
        .ready, .absent => {},
    }
    heap.hooked = true; // Before the call, which may come here again.
    if (key_state.load(.acquire) == .ready) _ = set(key, heap);
}

fn markHooked(heap: *Heap) void {
    heap.hooked = true;
}

/// The destructor of the key. Sets itself again once, so that the destructors of others in the
/// first round still find a heap; later ones use the shared one.
fn onThreadExit(value: ?*anyopaque) callconv(.c) void {
    const heap: *Heap = @ptrCast(@alignCast(value orelse return));
    if (heaps.current() != heap) return;
    heap.exit_rounds += 1;
    if (heap.exit_rounds < destructor_rounds) {
        if (os.host.setSpecific()) |set| {
            if (set(key, heap) == 0) return;
        }
    }
    exit(heap);
}

/// Takes the key back, for threads that end later: at exit, and where a copy of the library is part
/// of an object that dlclose is about to unmap, with the destructor in it. Their heaps stay theirs.
pub fn unhook() void {
    // acquire: pairs with the release in `hook`.
    if (key_state.cmpxchgStrong(.ready, .absent, .acquire, .monotonic) != null) return;
    if (os.host.keyDelete()) |delete| _ = delete(key);
}

/// Ends the calling thread's use of its heap: all its blocks go back to slabs and owners, the
/// heap becomes an orphan. The order matters: drain, flush, free empty slabs, post, detach,
/// publish; then the inbox again, for posters who saw it active.
pub fn exit(heap: *Heap) void {
    assert(heaps.current() == heap);
    heap.busy = true;
    base.compilerBarrier();
    if (fork.happened()) fork.repair(heap, heap.id);
    heap.lock.acquire(heap.id);
    while (!heap.inbox.isEmpty()) {
        remote_free.drain(heap, heap, t.drain_messages_max, false);
    }
    heap.lock.release();
    magazine.flushAll(heap);
    medium.releaseAll(heap);
    heap.lock.acquire(heap.id);
    partial_slabs.releaseEmpty(heap);
    heap.lock.release();
    postEverything(heap);
    // Nested calls get emergency memory until the last lock is released.
    setPlace(.booting);
    if (!base.atomic.modelled) heap.word_address.store(0, .monotonic); // Before it is another's.
    heap.busy = false;
    heap.lock.acquire(heap.id);
    // seq_cst: before the look at the inbox below; see Heap.state.
    heap.state.store(.orphan, .seq_cst);
    registry.markOrphan(heap);
    if (!heap.inbox.isEmpty()) remote_free.drainHelped(heap, heap);
    remote_free.releaseHelped(heap, heap);
    if (region.run_allocator.isPurgeDue()) region.run_allocator.purgeDue(holder());
    setPlace(.exited);
}

/// Posts all outgoing messages. Helping an orphan may collect new ones: those are only posted.
pub fn postEverything(heap: *Heap) void {
    remote_free.postAll(heap, .allowed);
    remote_free.postAll(heap, .forbidden);
}

/// The shared heap for a thread without one, with its lock held; null when the system refuses.
pub fn enterShared(place: *const Heap) ?*Heap {
    setPlace(.booting);
    const me = holder();
    if (initialise(me)) {
        if (fork.happened()) fork.repair(null, me);
        shared_lock.acquire(me);
        if (shared_heap == null) shared_heap = createHeap(me);
        if (shared_heap) |heap| {
            heap.hooked = true;
            return heap;
        }
        shared_lock.release();
    }
    setWord(place);
    return null;
}

pub fn isShared(heap: *const Heap) bool {
    return @as(*volatile ?*Heap, &shared_heap).* == heap;
}

/// Gives the shared heap back; the thread returns to the state it was in.
pub fn leaveShared(place: *const Heap) void {
    shared_lock.release();
    setWord(place);
}

/// In a child after fork.
pub fn repairAfterFork(survivor: u32) void {
    if (init_lock.holderLost(survivor) and init_lock.holderLost(holder())) init_lock.reset();
    // The shared heap's user holds it by its own name and all else by that of the heap.
    const lost = shared_lock.holderLost(survivor) and shared_lock.holderLost(holder());
    if (lost) shared_lock.reset();
    // The registry has made it an orphan like the others, or set it aside.
    shared_heap = null;
    if (key_state.load(.monotonic) == .creating) key_state.store(.none, .monotonic);
}

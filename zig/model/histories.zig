//! The memory model: of every atomic, all values it had in this execution, and of every thread
//! what it must have seen of them. A load may return any value that C11 allows:
//!
//! - not one older than the thread has seen or must know of (coherence, happens-before);
//! - a seq_cst load none older than the last seq_cst store;
//! - a read-modify-write changes the newest; one that fails is a load.
//!
//! An acquire load of a value takes over what its release store (or the read-modify-writes that
//! follow that in a row) knew. Two simplifications make this stronger than C11: stores to one
//! atomic take effect in the order in which they are executed, and no load returns a value
//! that is stored later (no load buffering).
const std = @import("std");
const contract = @import("contract.zig");
const print = @import("output.zig").print;
const explore = @import("explore.zig");
const plain = @import("plain.zig");
const Order = contract.Order;
const threads_max = contract.threads_max;

pub const Clock = [threads_max]u16;
const atomics_max = 128;
const stores_max = 128;
/// By atomic: the oldest store that may still be read.
const View = [atomics_max]u16;
/// What a store hands to those who acquire it.
const Knowledge = struct { view: View, clock: Clock };
const knowledge_max = 2048;
const knows_nothing = 0;

const Store = struct { value: u64, knowledge: u16 };

const Atomic = struct {
    address: usize,
    size: u8,
    /// Others use it too, as executions so far have shown: a switch of threads here matters.
    is_shared: bool,
    /// Plain code wrote into it: its history begins again at the next access.
    is_stale: bool,
    count: u16,
    seq_cst: u16,
    readers: u8,
    writers: u8,
    stores: [stores_max]Store,
};

var atomics: [atomics_max]Atomic = undefined;
var atomic_count: u32 = 0;
var known: [threads_max]Knowledge = undefined;
var handed: [knowledge_max]Knowledge = undefined;
var handed_count: u16 = 1;

/// Addresses of atomics that two threads use and one writes. Grows from execution to execution.
var shared: [atomics_max]usize = undefined;
var shared_count: u32 = 0;

const Name = struct { address: usize, text: [*:0]const u8 };
var names: [64]Name = undefined;
var name_count: u32 = 0;

pub fn begin() void {
    atomic_count = 0;
    handed_count = 1;
    for (&known, 0..) |*thread, index| {
        thread.view = @splat(0);
        thread.clock = @splat(0);
        thread.clock[index] = 1;
    }
}

pub inline fn clockOf(thread: u32) *const Clock {
    return &known[thread].clock;
}

pub fn name(address: usize, text: [*:0]const u8) void {
    names[name_count] = .{ .address = address, .text = text };
    name_count += 1;
}

fn isShared(address: usize) bool {
    return std.mem.findScalar(usize, shared[0..shared_count], address) != null;
}

/// After an execution: learns which atomics are shared. True: there are more than before.
pub fn learnShared() bool {
    var grew = false;
    for (atomics[0..atomic_count]) |*atomic| {
        const users = @popCount(atomic.readers | atomic.writers);
        if (atomic.is_shared or users < 2 or atomic.writers == 0) continue;
        if (isShared(atomic.address)) continue;
        shared[shared_count] = atomic.address;
        shared_count += 1;
        grew = true;
    }
    return grew;
}

pub fn sharedCount() u32 {
    return shared_count;
}

fn find(address: usize, size: u8) u32 {
    for (atomics[0..atomic_count], 0..) |*atomic, index| {
        if (atomic.address != address) continue;
        if (atomic.is_stale) startAgain(atomic, @intCast(index));
        return @intCast(index);
    }
    if (atomic_count == atomics_max) explore.broken("too many atomics");
    const atomic = &atomics[atomic_count];
    atomic.address = address;
    atomic.size = size;
    atomic.is_shared = isShared(address);
    atomic.is_stale = false;
    atomic.count = 1;
    atomic.seq_cst = 0;
    atomic.readers = 0;
    atomic.writers = 0;
    atomic.stores[0] = .{ .value = raw(address, size), .knowledge = knows_nothing };
    atomic_count += 1;
    return atomic_count - 1;
}

fn startAgain(atomic: *Atomic, index: u32) void {
    atomic.is_stale = false;
    append(atomic, raw(atomic.address, atomic.size), knows_nothing);
    for (&known) |*thread| thread.view[index] = atomic.count - 1;
}

/// Plain code writes here: a structure is set up in memory that was another one.
pub fn overwritten(address: usize, size: usize) void {
    for (atomics[0..atomic_count]) |*atomic| {
        if (atomic.address + atomic.size <= address or address + size <= atomic.address) continue;
        atomic.is_stale = true;
    }
}

pub fn raw(address: usize, size: u8) u64 {
    return switch (size) {
        1 => @as(*const u8, @ptrFromInt(address)).*,
        2 => @as(*const u16, @ptrFromInt(address)).*,
        4 => @as(*const u32, @ptrFromInt(address)).*,
        8 => @as(*const u64, @ptrFromInt(address)).*,
        else => unreachable,
    };
}

pub fn setRaw(address: usize, size: u8, value: u64) void {
    switch (size) {
        1 => @as(*u8, @ptrFromInt(address)).* = @truncate(value),
        2 => @as(*u16, @ptrFromInt(address)).* = @truncate(value),
        4 => @as(*u32, @ptrFromInt(address)).* = @truncate(value),
        8 => @as(*u64, @ptrFromInt(address)).* = value,
        else => unreachable,
    }
}

fn append(atomic: *Atomic, value: u64, knowledge: u16) void {
    if (atomic.count == stores_max) explore.broken("too many stores to one atomic");
    atomic.stores[atomic.count] = .{ .value = value, .knowledge = knowledge };
    atomic.count += 1;
}

fn acquires(order: Order) bool {
    return order == .acquire or order == .acq_rel or order == .seq_cst;
}

fn releases(order: Order) bool {
    return order == .release or order == .acq_rel or order == .seq_cst;
}

fn join(into: *Knowledge, from: *const Knowledge) void {
    for (into.view[0..atomic_count], from.view[0..atomic_count]) |*a, b| a.* = @max(a.*, b);
    for (&into.clock, from.clock) |*a, b| a.* = @max(a.*, b);
}

/// A point at which other threads may come first, if the atomic is theirs too.
pub fn point(address: usize, size: u8) void {
    if (atomics[find(address, size)].is_shared) explore.point();
}

pub fn load(address: usize, size: u8, order: Order, what: []const u8) u64 {
    const index = find(address, size);
    const atomic = &atomics[index];
    const me = &known[explore.current];
    atomic.readers |= bitOf(explore.current);
    const oldest = oldestOf(index, order);
    const newest = atomic.count - 1;
    const back: u16 = @intCast(explore.chooseStale(newest - oldest + 1));
    const read = newest - back;
    const store_read = atomic.stores[read];
    me.view[index] = read;
    if (acquires(order)) join(me, &handed[store_read.knowledge]);
    trace(what, address, order, store_read.value, back);
    return store_read.value;
}

/// The oldest store that the current thread may still read.
fn oldestOf(index: u32, order: Order) u16 {
    const seen = known[explore.current].view[index];
    return if (order == .seq_cst) @max(seen, atomics[index].seq_cst) else seen;
}

pub fn store(address: usize, size: u8, value: u64, order: Order) void {
    const index = find(address, size);
    write(index, value, knows_nothing, order);
    setRaw(address, size, value);
    trace("store", address, order, value, 0);
}

fn write(index: u32, value: u64, sequence: u16, order: Order) void {
    const atomic = &atomics[index];
    const me = &known[explore.current];
    atomic.writers |= bitOf(explore.current);
    me.view[index] = atomic.count;
    var knowledge = sequence;
    if (releases(order)) {
        if (handed_count == knowledge_max) explore.broken("too many release stores");
        knowledge = handed_count;
        handed[knowledge] = me.*;
        if (sequence != knows_nothing) join(&handed[knowledge], &handed[sequence]);
        handed_count += 1;
        if (me.clock[explore.current] == plain.clock_max) explore.broken("the clock is too short");
        me.clock[explore.current] += 1;
    }
    append(atomic, value, knowledge);
    if (order == .seq_cst) atomic.seq_cst = atomic.count - 1;
}

pub fn change(address: usize, size: u8, rmw: contract.Rmw, by: u64, order: Order) u64 {
    const index = find(address, size);
    const atomic = &atomics[index];
    const old = takeNewest(index, order);
    const mask = if (size == 8) std.math.maxInt(u64) else (@as(u64, 1) << @intCast(8 * size)) - 1;
    const new = switch (rmw) {
        .exchange => by,
        .add => old.value +% by,
        .sub => old.value -% by,
        .bit_and => old.value & by,
        .bit_or => old.value | by,
    } & mask;
    atomic.readers |= bitOf(explore.current);
    write(index, new, old.knowledge, order);
    setRaw(address, size, new);
    trace(@tagName(rmw), address, order, new, 0);
    return old.value;
}

fn takeNewest(index: u32, order: Order) Store {
    const atomic = &atomics[index];
    const newest = atomic.stores[atomic.count - 1];
    known[explore.current].view[index] = atomic.count - 1;
    if (acquires(order)) join(&known[explore.current], &handed[newest.knowledge]);
    return newest;
}

/// The newest value: what a successful exchange would see, and the kernel.
pub fn newestOf(address: usize, size: u8) u64 {
    const atomic = &atomics[find(address, size)];
    return atomic.stores[atomic.count - 1].value;
}

pub fn exchange(
    address: usize,
    size: u8,
    expected: u64,
    new: u64,
    success: Order,
    failure: Order,
) contract.CasResult {
    const index = find(address, size);
    const atomic = &atomics[index];
    const newest = atomic.stores[atomic.count - 1].value;
    if (newest != expected or failsOnStale(index, expected, failure)) {
        const seen = loadOther(index, expected, failure);
        return .{ .old = seen, .done = false };
    }
    atomic.readers |= bitOf(explore.current);
    const old = takeNewest(index, success);
    write(index, new, old.knowledge, success);
    setRaw(address, size, new);
    trace("exchanged", address, success, new, 0);
    return .{ .old = expected, .done = true };
}

/// A failing exchange is a load, which may return an older value: it may fail although the newest
/// value is the expected one.
fn failsOnStale(index: u32, expected: u64, order: Order) bool {
    const atomic = &atomics[index];
    const oldest = oldestOf(index, order);
    for (atomic.stores[oldest .. atomic.count - 1]) |old| {
        if (old.value != expected) return explore.chooseStale(2) == 1;
    }
    return false;
}

fn loadOther(index: u32, expected: u64, order: Order) u64 {
    const atomic = &atomics[index];
    const me = &known[explore.current];
    atomic.readers |= bitOf(explore.current);
    // The newest that differs: older ones would be as many more loads.
    var read = atomic.count - 1;
    while (atomic.stores[read].value == expected) read -= 1;
    me.view[index] = @max(read, me.view[index]);
    if (acquires(order)) join(me, &handed[atomic.stores[read].knowledge]);
    const back = atomic.count - 1 - read;
    trace("not exchanged", atomic.address, order, atomic.stores[read].value, back);
    return atomic.stores[read].value;
}

fn bitOf(thread: u32) u8 {
    return @as(u8, 1) << @intCast(thread);
}

fn trace(what: []const u8, address: usize, order: Order, value: u64, back: u16) void {
    if (!explore.tracing) return;
    var text: [*:0]const u8 = "";
    for (names[0..name_count]) |entry| {
        if (entry.address == address) text = entry.text;
    }
    const age = if (back == 0) "" else " (stale)";
    const place = if (isShared(address)) "" else " (nobody else's)";
    print("    thread {d}: {s} {x} {s}{s} {t}: {x}{s}\n", .{
        explore.current, what, address, text, place, order, value, age,
    });
}

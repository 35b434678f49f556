//! Checked pools: debug pools, every pool of the debug library, and every pool under a memory
//! checker. All calls come here. State, places and links are out of line; objects lie between
//! guard bytes that no overflow passes unseen, or between redzones of the checker; freed objects
//! hold a pattern that is looked at before they are handed out again.
const std = @import("std");
const base = @import("base");
const os = @import("os");
const backing = @import("backing.zig");
const place_file = @import("place.zig");
const pool_file = @import("pool.zig");
const slab_file = @import("pool_slab.zig");
const History = place_file.History;
const Place = place_file.Place;
const Pool = pool_file.Pool;
const PoolSlab = slab_file.PoolSlab;
const Record = slab_file.Record;

const guard_byte = 0xfd;
const freed_byte = 0xdd;
/// Of an object that was never written by its owner.
const unwritten_byte = 0xcd;

fn bytesAt(address: usize, length: usize) []u8 {
    const first: [*]u8 = @ptrFromInt(address);
    return first[0..length];
}

/// Records of a new slab, guards and patterns of its objects, which become the free list.
pub fn prepare(pool: *Pool, slab: *PoolSlab) backing.Error!void {
    const length = std.math.mul(usize, slab.count, @sizeOf(Record)) catch
        return error.OutOfMemory;
    slab.records = try backing.acquire(.{ .length = length });
    slab.linked = slab.count;
    var index = slab.count;
    while (index > 0) {
        index -= 1;
        const object = slab.object(&pool.shape, index);
        slab.record(index).* = std.mem.zeroes(Record);
        slab.record(index).next = pool.checked_head;
        pool.checked_head = object;
        if (!pool.has_guards) continue;
        setGuards(pool, object);
        @memset(bytesAt(object, pool.shape.size), freed_byte);
    }
    if (pool.has_guards) return;
    os.checker.openGroup(@intFromPtr(slab));
    os.checker.forbid(slab.memory.address, slab.memory.length);
}

/// Before the slab's memory goes back.
pub fn forget(pool: *Pool, slab: *PoolSlab) void {
    if (!pool.has_guards) {
        os.checker.closeGroup(@intFromPtr(slab));
        os.checker.allow(slab.memory.address, slab.memory.length);
    }
    backing.release(slab.records);
}

/// The bytes of an object's stride before and behind it.
fn before(pool: *const Pool, object: usize) []u8 {
    return bytesAt(object - pool.shape.lead, pool.shape.lead);
}

fn behind(pool: *const Pool, object: usize) []u8 {
    const shape = &pool.shape;
    return bytesAt(object + shape.size, shape.stride - shape.lead - shape.size);
}

pub fn setGuards(pool: *const Pool, object: usize) void {
    @memset(before(pool, object), guard_byte);
    @memset(behind(pool, object), guard_byte);
    @memset(bytesAt(object, pool.shape.size), unwritten_byte);
}

/// Null: the guards are whole.
fn overflow(pool: *const Pool, object: usize) ?[]const u8 {
    if (!std.mem.allEqual(u8, behind(pool, object), guard_byte)) return "overflow";
    if (!std.mem.allEqual(u8, before(pool, object), guard_byte)) return "underflow";
    return null;
}

pub fn refuseOverflow(pool: *const Pool, object: usize, history: History) void {
    const reason = overflow(pool, object) orelse return;
    pool_file.refuse(object, reason, history);
}

fn isUntouched(pool: *const Pool, object: usize) bool {
    return std.mem.allEqual(u8, bytesAt(object, pool.shape.size), freed_byte);
}

fn historyOf(record: *const Record, now: Place) History {
    const is_freed = record.state == .freed;
    return .{
        .now = now,
        .freed = if (is_freed) record.freed else .unknown,
        .allocated = if (record.state == .fresh) .unknown else record.allocated,
    };
}

/// 0: there is none.
pub fn alloc(pool: *Pool, place: Place) usize {
    const object = pool.checked_head;
    if (object == 0) return 0;
    const slab = pool.slabOf(object).?;
    const record = slab.record(slab.indexOf(&pool.shape, object));
    if (pool.has_guards) {
        const history = historyOf(record, place);
        if (overflow(pool, object)) |reason| history.abort("pool_alloc", object, reason);
        if (!isUntouched(pool, object)) {
            history.abort("pool_alloc", object, "written after free, found");
        }
        @memset(bytesAt(object, pool.shape.size), unwritten_byte);
    } else os.checker.handOutIn(@intFromPtr(slab), object, pool.shape.size);
    pool.checked_head = record.next;
    record.state = .live;
    record.allocated = place;
    record.freed = .unknown;
    pool.allocations += 1;
    return object;
}

pub fn free(pool: *Pool, slab: *PoolSlab, object: usize, place: Place) void {
    const record = slab.record(slab.indexOf(&pool.shape, object));
    const history = historyOf(record, place);
    if (!slab.isObject(&pool.shape, object)) {
        pool_file.refuse(object, pool_file.reasonNoObject(object), history);
    }
    switch (record.state) {
        .fresh => pool_file.refuse(object, "never allocated", history),
        .freed => pool_file.refuse(object, "double free", history),
        .live => {},
    }
    if (pool.has_guards) {
        refuseOverflow(pool, object, history);
        @memset(bytesAt(object, pool.shape.size), freed_byte);
    } else os.checker.takeBackFrom(@intFromPtr(slab), object, pool.shape.size);
    record.state = .freed;
    record.freed = place;
    record.next = pool.checked_head;
    pool.checked_head = object;
    pool.frees += 1;
}

/// See Pool.check. Objects of the general heap have guards too.
pub fn check(pool: *const Pool, text: *base.Text) ?usize {
    var free_objects: usize = 0;
    var next_slab: ?*PoolSlab = pool.newest;
    while (next_slab) |slab| : (next_slab = slab.next) {
        for (0..slab.count) |index| {
            const object = slab.object(&pool.shape, index);
            const record = slab.record(index);
            free_objects += @intFromBool(record.state != .live);
            const reason = faultOf(pool, object, record) orelse continue;
            historyOf(record, .unknown).write(text, reason);
            return object;
        }
    }
    if (pool.has_guards) {
        var blocks = pool.fallback.blocks();
        while (blocks.next()) |entry| {
            const reason = overflow(pool, entry.address) orelse continue;
            (History{ .allocated = entry.place }).write(text, reason);
            return entry.address;
        }
    }
    return checkList(pool, free_objects, text);
}

fn faultOf(pool: *const Pool, object: usize, record: *const Record) ?[]const u8 {
    if (!pool.has_guards) return null;
    if (overflow(pool, object)) |reason| return reason;
    if (record.state != .live and !isUntouched(pool, object)) return "written after free";
    return null;
}

/// The free list has each free object once.
fn checkList(pool: *const Pool, free_objects: usize, text: *base.Text) ?usize {
    var listed: usize = 0;
    var next = pool.checked_head;
    while (next != 0 and listed <= free_objects) : (listed += 1) {
        const slab = pool.slabOf(next) orelse break;
        next = slab.record(slab.indexOf(&pool.shape, next)).next;
    }
    if (next != 0 or listed != free_objects) {
        text.string("the free list is torn");
        return next;
    }
    return pool.checkCounts(free_objects, text);
}

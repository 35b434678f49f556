//! Plain memory: every access by the instrumented half is noted here. Two of different threads to
//! the same byte, one of them a write, without a happens-before between them, are a data race.
//! And every first write of an execution keeps the old contents, so that the next execution can
//! begin from the same state.
//!
//! A cell covers 8 bytes of memory and keeps, for each byte, when it was last written and by whom,
//! and when each thread last read it: the thread's own clock, which grows with every atomic
//! operation that others can learn from.
const std = @import("std");
const contract = @import("contract.zig");
const explore = @import("explore.zig");
const fiber = @import("fiber.zig");
const histories = @import("histories.zig");
const threads_max = contract.threads_max;

const Epoch = u16;
const clock_bits = 14;
pub const clock_max = (1 << clock_bits) - 1;

const Cell = struct {
    granule: usize,
    execution: u32,
    saved: bool,
    /// There is an atomic in these 8 bytes.
    atomic: bool,
    /// Thread and clock of each byte's last write; 0: none in this execution.
    written: [8]Epoch,
    read: [threads_max][8]Epoch,
    /// Where in the program: for reports.
    written_from: usize,
    read_from: [threads_max]usize,
};

const cells_max = 1 << 15;
var cells: [cells_max]Cell = undefined;
var used: u32 = 0;
var execution: u32 = 0;

const Saved = struct { address: usize, value: u64 };
var undo: [cells_max]Saved = undefined;
var undo_count: u32 = 0;

pub fn init() void {
    for (&cells) |*cell| cell.execution = 0;
}

pub fn begin() void {
    execution += 1;
    used = 0;
    undo_count = 0;
}

/// Puts all memory back to what it was at `begin`.
pub fn rollback() void {
    while (undo_count > 0) {
        undo_count -= 1;
        const entry = undo[undo_count];
        @as(*u64, @ptrFromInt(entry.address)).* = entry.value;
    }
}

fn cellOf(granule: usize) *Cell {
    var index = (granule *% 0x9e37_79b9_7f4a_7c15) >> (64 - 15);
    while (true) : (index = (index + 1) % cells_max) {
        const cell = &cells[index];
        if (cell.execution != execution) {
            used += 1;
            if (used > cells_max / 2) explore.broken("an execution touches too much memory");
            cell.* = .{
                .granule = granule,
                .execution = execution,
                .saved = false,
                .atomic = false,
                .written = @splat(0),
                .read = @splat(@splat(0)),
                .written_from = 0,
                .read_from = @splat(0),
            };
            return cell;
        }
        if (cell.granule == granule) return cell;
    }
}

fn save(cell: *Cell) void {
    if (cell.saved) return;
    cell.saved = true;
    const address = cell.granule << 3;
    undo[undo_count] = .{ .address = address, .value = @as(*u64, @ptrFromInt(address)).* };
    undo_count += 1;
}

/// Called before an access by the instrumented half.
pub inline fn access(address: usize, size: usize, is_write: bool, from: usize) void {
    if (explore.phase == .setup or fiber.onStack(address)) return;
    note(address, size, is_write, from);
}

fn note(address: usize, size: usize, is_write: bool, from: usize) void {
    var at = address;
    var left = size;
    while (left > 0) {
        const offset = at & 7;
        const here = @min(8 - offset, left);
        const cell = cellOf(at >> 3);
        if (is_write) {
            save(cell);
            if (cell.atomic) histories.overwritten(at, here);
        }
        if (explore.phase == .threads) order(cell, offset, here, is_write, from);
        at += here;
        left -= here;
    }
}

fn order(cell: *Cell, offset: usize, size: usize, is_write: bool, from: usize) void {
    const me = explore.current;
    const clock = histories.clockOf(me);
    for (offset..offset + size) |byte| {
        const written = cell.written[byte];
        const writer = written >> clock_bits;
        if (writer != me and written & clock_max > clock[writer]) {
            race(cell, byte, is_write, from, writer, "write", cell.written_from);
        }
        if (is_write) for (0..threads_max) |reader| {
            if (reader == me or cell.read[reader][byte] <= clock[reader]) continue;
            race(cell, byte, is_write, from, reader, "read", cell.read_from[reader]);
        };
    }
    const epoch = @as(Epoch, @intCast(me)) << clock_bits | clock[me];
    if (is_write) {
        @memset(cell.written[offset .. offset + size], epoch);
        cell.written_from = from;
    } else {
        @memset(cell.read[me][offset .. offset + size], clock[me]);
        cell.read_from[me] = from;
    }
}

extern const __ehdr_start: u8;

fn race(
    cell: *const Cell,
    byte: usize,
    is_write: bool,
    from: usize,
    other: usize,
    did: []const u8,
    other_from: usize,
) noreturn {
    const image = @intFromPtr(&__ehdr_start);
    var buffer: [256]u8 = undefined;
    const text = std.fmt.bufPrint(
        &buffer,
        "data race at {x}: thread {d} makes a {s} (code at {x}), nothing orders it after the" ++
            " {s} of thread {d} (code at {x})",
        .{
            (cell.granule << 3) + byte,        explore.current,
            if (is_write) "write" else "read", from -% image,
            did,                               other,
            other_from -% image,
        },
    ) catch "data race";
    explore.fail(text);
}

/// An atomic operation on these bytes: it races with plain accesses too. Saves what it changes.
pub fn atomicAccess(address: usize, size: usize, is_write: bool, from: usize) void {
    if (explore.phase == .setup) return;
    const cell = cellOf(address >> 3);
    cell.atomic = true;
    if (is_write) save(cell);
    if (explore.phase != .threads) return;
    const me = explore.current;
    const clock = histories.clockOf(me);
    for (address & 7..(address & 7) + size) |byte| {
        const written = cell.written[byte];
        const writer = written >> clock_bits;
        if (writer != me and written & clock_max > clock[writer]) {
            race(cell, byte, is_write, from, writer, "write", cell.written_from);
        }
        if (is_write) for (0..threads_max) |reader| {
            if (reader == me or cell.read[reader][byte] <= clock[reader]) continue;
            race(cell, byte, is_write, from, reader, "read", cell.read_from[reader]);
        };
    }
}

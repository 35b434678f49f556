//! Rung 3, first-fit-split: as first-fit, but a block that is larger than asked for is cut, and
//! the rest stays free.
//!
//!     | header | 4096 bytes, free                                  |
//!     | header | 64 bytes, in use | header | 4016 bytes, free       |
//!
//! What it shows: small requests live on the leftovers of big ones and the heap grows less. The
//! price comes later: what is cut is never made whole again. After a while the heap is full of
//! small pieces, more than enough bytes for a big request and no piece large enough (external
//! fragmentation), and the list that malloc has to walk gets longer.
const std = @import("std");
const Fault = @import("fault.zig").Fault;
const Source = @import("source.zig").Source;
const first_fit = @import("first_fit.zig");
const Header = first_fit.Header;

/// A rest smaller than a header and the smallest payload cannot stand alone.
const rest_min = Header.bytes + 16;

pub const FirstFitSplit = struct {
    source: *Source,
    first: ?*Header = null,
    free_count: usize = 0,
    looked: u64 = 0,

    pub const name = "first-fit-split";
    pub const idea = "larger blocks are cut";
    pub const reuses = true;
    pub const splits = true;
    pub const merges = false;
    pub const header_bytes = Header.bytes;

    pub fn init(source: *Source) FirstFitSplit {
        return .{ .source = source };
    }

    pub fn allocate(rung: *FirstFitSplit, size: usize) ?usize {
        const payload = first_fit.payloadFor(size);
        const header = rung.find(payload) orelse first_fit.extend(rung.source, payload) orelse
            return null;
        rung.split(header, payload);
        header.magic = Header.magic_used;
        return header.payload();
    }

    fn find(rung: *FirstFitSplit, payload: usize) ?*Header {
        var link: *?*Header = &rung.first;
        var looked: u64 = 0;
        defer rung.looked += looked;
        while (link.*) |header| : (link = header.next()) {
            looked += 1;
            if (header.size < payload) continue;
            link.* = header.next().*;
            rung.free_count -= 1;
            return header;
        }
        return null;
    }

    /// The one new thing: what is left over gets a header of its own and goes into the list.
    fn split(rung: *FirstFitSplit, header: *Header, payload: usize) void {
        if (header.size - payload < rest_min) return;
        const rest: *Header = @ptrFromInt(header.payload() + payload);
        rest.size = header.size - payload - Header.bytes;
        header.size = payload;
        rung.push(rest);
    }

    fn push(rung: *FirstFitSplit, header: *Header) void {
        header.magic = Header.magic_free;
        header.next().* = rung.first;
        rung.first = header;
        rung.free_count += 1;
    }

    pub fn allocateAligned(rung: *FirstFitSplit, alignment: usize, size: usize) ?usize {
        return first_fit.alignBlock(rung.allocate(size + alignment) orelse return null, alignment);
    }

    pub fn free(rung: *FirstFitSplit, block: usize) Fault!void {
        rung.push(try first_fit.headerInUse(rung.source, block));
    }

    pub fn usable(rung: *FirstFitSplit, block: usize) Fault!usize {
        const header = try first_fit.headerInUse(rung.source, block);
        return header.payload() + header.size - block;
    }

    pub fn eachFree(rung: *FirstFitSplit, visitor: anytype) void {
        var next = rung.first;
        while (next) |header| : (next = header.next().*) visitor.see(header.size);
    }

    pub fn metadata(_: *FirstFitSplit) usize {
        return 0;
    }

    pub fn check(rung: *FirstFitSplit) Fault!void {
        try first_fit.checkList(rung.source, rung.first, rung.free_count);
    }
};

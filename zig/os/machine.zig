//! Facts about the machine and the process, read at run time and without libc where need be:
//! page size, memory, address-space limit, secure mode, environment, small files. Called at
//! initialisation and from slow diagnostics only.
const std = @import("std");
const linux = std.os.linux;
const base = @import("base");
const build_options = @import("build_options");
const host = @import("host.zig");

const at_phdr = 3;
const at_phnum = 5;
const at_pagesz = 6;
const at_base = 7;
const at_secure = 23;

/// Bytes of a page of the operating system. Written once by `init`, read by all.
pub var page_size: usize = build_options.page_size orelse 4096;

/// Call before the first use of `page_size` other than as 4096.
pub fn init() void {
    if (build_options.page_size != null) return;
    if (auxiliary(at_pagesz)) |size| page_size = size;
}

/// True for set-uid programs and wherever it cannot be known: then no configuration is read.
pub fn secure() bool {
    return (auxiliary(at_secure) orelse 1) != 0;
}

fn auxiliary(key: usize) ?usize {
    if (host.getauxval()) |function| {
        // A libc that has not started yet knows no value: AT_PAGESZ, always there, tells.
        if (function(at_pagesz) != 0) return function(key);
    }
    var entries: [64][2]usize = undefined;
    const bytes = readFile("/proc/self/auxv", std.mem.asBytes(&entries)) orelse return null;
    for (entries[0 .. bytes.len / @sizeOf([2]usize)]) |entry| {
        if (entry[0] == key) return entry[1];
    }
    return null;
}

/// Reads a small file into the buffer; null when it cannot be opened or read.
pub noinline fn readFile(path: [*:0]const u8, buffer: []u8) ?[]u8 {
    const opened = linux.open(path, .{ .CLOEXEC = true }, 0);
    if (linux.errno(opened) != .SUCCESS) return null;
    const file: linux.fd_t = @intCast(opened);
    defer _ = linux.close(file);
    var length: usize = 0;
    while (length < buffer.len) {
        const got = linux.read(file, buffer.ptr + length, buffer.len - length);
        switch (linux.errno(got)) {
            .SUCCESS => if (got == 0) break,
            .INTR => continue,
            else => return null,
        }
        length += got;
    }
    return buffer[0..length];
}

/// Appends in one write; whether all of it was written.
pub fn appendFile(path: [*:0]const u8, bytes: []const u8) bool {
    const flags: linux.O = .{
        .ACCMODE = .WRONLY,
        .CREAT = true,
        .APPEND = true,
        .CLOEXEC = true,
    };
    const opened = linux.open(path, flags, 0o644);
    if (linux.errno(opened) != .SUCCESS) return false;
    const file: linux.fd_t = @intCast(opened);
    defer _ = linux.close(file);
    return linux.write(file, bytes.ptr, bytes.len) == bytes.len;
}

/// Whether an address lies in the program's own image or the dynamic loader's: memory that was
/// never allocated, or by the loader before any malloc was up. False where it cannot be known.
pub fn inProgramImage(address: usize) bool {
    const headers = auxiliary(at_phdr) orelse return false;
    const number = auxiliary(at_phnum) orelse return false;
    if (inImage(headers, number, address)) return true;
    const loader = auxiliary(at_base) orelse return false;
    if (loader == 0) return false;
    const header: *const std.elf.Elf64_Ehdr = @ptrFromInt(loader);
    return inImage(loader + header.e_phoff, header.e_phnum, address);
}

fn inImage(headers: usize, number: usize, address: usize) bool {
    const list: [*]const std.elf.Elf64.Phdr = @ptrFromInt(headers);
    var load_bias: ?usize = null;
    for (list[0..number]) |segment| {
        // The headers lie in the first loaded segment: that tells where the image was put.
        if (segment.type != .LOAD) continue;
        const bias = load_bias orelse (headers & ~(page_size - 1)) -%
            std.mem.alignBackward(usize, segment.vaddr, page_size);
        load_bias = bias;
        if (address -% (bias +% segment.vaddr) < segment.memsz) return true;
    }
    return false;
}

/// Physical memory of the machine, bytes; null where it cannot be read.
pub fn memorySize() ?u64 {
    var info: Sysinfo = undefined;
    const rc = linux.syscall1(.sysinfo, @intFromPtr(&info));
    if (linux.errno(rc) != .SUCCESS) return null;
    return info.total_ram * @max(info.unit, 1);
}

/// Bytes of memory that the control group allows whose files are the root of /sys/fs/cgroup: in a
/// container its own. Null when there is no limit or none can be read. The group of a process
/// outside containers is told by /proc/self/cgroup alone: 6 % of the time of a small process.
pub noinline fn groupLimit() ?u64 {
    // Version 2 has one hierarchy, version 1 one for memory.
    return readLimit("/sys/fs/cgroup/memory.max") orelse
        readLimit("/sys/fs/cgroup/memory/memory.limit_in_bytes");
}

fn readLimit(path: [*:0]const u8) ?u64 {
    var buffer: [32]u8 = undefined;
    return limitIn(readFile(path, &buffer) orelse return null);
}

/// The number that a file of limits holds; null for "max", for nothing, and for 0, with which no
/// process could run.
fn limitIn(bytes: []const u8) ?u64 {
    const found = base.text.parseSize(std.mem.trimEnd(u8, bytes, "\n")) orelse return null;
    return if (found == 0) null else found;
}

const Sysinfo = extern struct {
    uptime: i64,
    loads: [3]u64,
    total_ram: u64,
    rest: [5]u64,
    procs: u16,
    pad: u16,
    high: [2]u64,
    unit: u32,
    tail: [64]u8,
};

/// Bytes of address space the process may still take; null when there is no limit.
pub fn addressSpaceLeft() ?u64 {
    const limit = addressSpaceLimit() orelse return null;
    return limit -| statm(0) * page_size;
}

/// Bytes of address space the process may have; null when there is no limit.
pub fn addressSpaceLimit() ?u64 {
    var limit: linux.rlimit = undefined;
    const rc = linux.prlimit(0, .AS, null, &limit);
    if (linux.errno(rc) != .SUCCESS or limit.cur == std.math.maxInt(u64)) return null;
    return limit.cur;
}

/// Resident memory of the process, bytes.
pub fn residentSize() u64 {
    return statm(1) * page_size;
}

/// A column of /proc/self/statm, in pages; 0 where it cannot be read.
fn statm(column: usize) u64 {
    var buffer: [128]u8 = undefined;
    const bytes = readFile("/proc/self/statm", &buffer) orelse return 0;
    var columns = std.mem.tokenizeScalar(u8, bytes, ' ');
    for (0..column) |_| _ = columns.next();
    return base.text.parseSize(columns.next() orelse return 0) orelse 0;
}

/// Resident bytes within a range, counted by the kernel.
pub fn residentIn(address: [*]u8, length: usize) u64 {
    var present: [4096]u8 = undefined;
    var pages: u64 = 0;
    var offset: usize = 0;
    while (offset < length) {
        const chunk = @min(length - offset, present.len * page_size);
        const rc = linux.mincore(address + offset, chunk, &present);
        if (linux.errno(rc) != .SUCCESS) return pages * page_size;
        for (present[0 .. (chunk + page_size - 1) / page_size]) |byte| pages += byte & 1;
        offset += chunk;
    }
    return pages * page_size;
}

/// Whether something is mapped at this address; true where the system does not say.
pub fn isMapped(address: usize) bool {
    var present: u8 = undefined;
    const page: usize = address & ~(page_size - 1);
    // Raw: the address may be any junk, the null page included.
    const rc = linux.syscall3(.mincore, page, 1, @intFromPtr(&present));
    return linux.errno(rc) != .NOMEM;
}

/// Whether the system says that there is such a NUMA node. Where it says nothing there is one.
pub fn hasNode(node: u32) bool {
    var buffer: [64]u8 = undefined;
    var text: base.Text = .{ .buffer = buffer[0 .. buffer.len - 1] };
    text.string("/sys/devices/system/node/node");
    text.decimal(node);
    buffer[text.slice().len] = 0;
    const path: [*:0]const u8 = @ptrCast(&buffer);
    const exists = 0;
    return node == 0 or linux.errno(linux.access(path, exists)) == .SUCCESS;
}

/// The value of an environment variable. Before libc is up it is read from /proc into `buffer`.
pub fn environment(name: []const u8, buffer: []u8) ?[]const u8 {
    if (host.environ()) |list| {
        var index: usize = 0;
        while (list[index]) |entry| : (index += 1) {
            if (valueOf(std.mem.span(entry), name)) |value| return value;
        }
        return null;
    }
    const bytes = readFile("/proc/self/environ", buffer) orelse return null;
    var entries = std.mem.splitScalar(u8, bytes, 0);
    while (entries.next()) |entry| {
        if (valueOf(entry, name)) |value| return value;
    }
    return null;
}

fn valueOf(entry: []const u8, name: []const u8) ?[]const u8 {
    if (entry.len <= name.len or entry[name.len] != '=') return null;
    if (!std.mem.eql(u8, entry[0..name.len], name)) return null;
    return entry[name.len + 1 ..];
}

/// Lets another thread run.
pub fn yield() void {
    _ = linux.sched_yield();
}

pub fn processId() u64 {
    return @intCast(linux.getpid());
}

/// The path of the running program.
pub noinline fn executable(buffer: []u8) []const u8 {
    const length = linux.readlink("/proc/self/exe", buffer.ptr, buffer.len);
    if (linux.errno(length) != .SUCCESS) return "";
    return buffer[0..length];
}

test "machine: plausible values" {
    init();
    try std.testing.expect(std.math.isPowerOfTwo(page_size));
    try std.testing.expect(memorySize().? > 1 << 20);
    try std.testing.expect(residentSize() > page_size);
    try std.testing.expect(!secure());
    var buffer: [4096]u8 = undefined;
    try std.testing.expect(executable(&buffer).len > 1);
    const page: [*]u8 = @ptrFromInt(@intFromPtr(&buffer) & ~(page_size - 1));
    try std.testing.expect(residentIn(page, page_size) == page_size);
    try std.testing.expect(isMapped(@intFromPtr(&buffer)));
    try std.testing.expect(!isMapped(16));
    try std.testing.expect(!isMapped(std.math.maxInt(usize) - 15));
}

test "machine: NUMA nodes" {
    try std.testing.expect(hasNode(0));
    try std.testing.expect(!hasNode(1000));
}

test "machine: the program's own image" {
    init();
    try std.testing.expect(inProgramImage(@intFromPtr(&page_size)));
    var on_stack: u8 = 0;
    try std.testing.expect(!inProgramImage(@intFromPtr(&on_stack)));
}

test "machine: the environment without libc" {
    var buffer: [65536]u8 = undefined;
    try std.testing.expect(environment("PATH", &buffer) != null);
    try std.testing.expect(environment("PAT", &buffer) == null);
    try std.testing.expect(environment("LIBALLOC_SURELY_NOT_SET", &buffer) == null);
}

test "machine: what a file of limits says" {
    try std.testing.expectEqual(@as(?u64, 130_859_008), limitIn("130859008\n"));
    const unlimited = "9223372036854771712\n"; // Version 1.
    try std.testing.expectEqual(@as(?u64, 9_223_372_036_854_771_712), limitIn(unlimited));
    for ([_][]const u8{ "max\n", "", "\n", "0\n", "-1\n", "12 34\n" }) |other| {
        try std.testing.expectEqual(@as(?u64, null), limitIn(other));
    }
    if (groupLimit()) |bytes| try std.testing.expect(bytes > 1 << 20);
}

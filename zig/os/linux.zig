//! The Linux port: the system calls the allocator makes, each with its precondition. Raw system
//! calls only; errno of the host is never touched. Every function may be called from any thread.
//! All addresses and lengths are multiples of the page size, lengths are greater than zero.
const std = @import("std");
const linux = std.os.linux;

// Not in std's MADV namespace.
/// No advice of any kernel.
const madv_nonsense = 0x7fff_fff0;
const madv_nohugepage = 15;
const madv_hugepage = 14;
/// Linux 5.14 and newer.
const madv_populate_write = 23;

/// From that node while it has free memory: a node that is full is no reason to be killed.
const mpol_preferred = 1;
/// Nodes that a kernel may have.
const nodes_max = 1024;

// std's MAP lacks NORESERVE for riscv64; the values are those of all our architectures.
const prot_read = 1;
const prot_write = 2;
const map_private_anonymous = 0x22;
const map_noreserve = 0x4000;
const map_fixed = 0x10;

fn mapAnonymous(length: usize, protection: usize, extra_flags: usize) ?[*]u8 {
    const flags = map_private_anonymous | extra_flags;
    const no_file: usize = @bitCast(@as(isize, -1));
    return pointer(linux.syscall6(.mmap, 0, length, protection, flags, no_file, 0));
}

fn pointer(result: usize) ?[*]u8 {
    return if (linux.errno(result) == .SUCCESS) @ptrFromInt(result) else null;
}

fn succeeded(result: usize) bool {
    return linux.errno(result) == .SUCCESS;
}

/// Reserves address space without access. Costs no memory and no overcommit charge.
pub fn reserve(length: usize) ?[*]u8 {
    return mapAnonymous(length, 0, map_noreserve);
}

/// Makes a part of a reservation readable and writable. On failure nothing has changed.
pub fn commit(address: [*]u8, length: usize) bool {
    const prot: linux.PROT = .{ .READ = true, .WRITE = true };
    return succeeded(linux.mprotect(address, length, prot));
}

/// Makes a committed part of a reservation inaccessible again and gives its memory back, with what
/// it counts against limits. On failure it may be all as before, or no longer mapped.
pub fn decommit(address: [*]u8, length: usize) bool {
    const flags = map_private_anonymous | map_noreserve | map_fixed;
    const no_file: usize = @bitCast(@as(isize, -1));
    const start = @intFromPtr(address);
    return succeeded(linux.syscall6(.mmap, start, length, 0, flags, no_file, 0));
}

/// A zeroed private mapping of its own.
pub fn map(length: usize) ?[*]u8 {
    return mapAnonymous(length, prot_read | prot_write, 0);
}

pub fn unmap(address: [*]u8, length: usize) bool {
    return succeeded(linux.munmap(address, length));
}

/// Gives the memory back to the system; on success the range reads as zero. Fails for memory
/// that is locked (mlock).
pub fn purge(address: [*]u8, length: usize) bool {
    return succeeded(linux.madvise(address, length, linux.MADV.DONTNEED));
}

/// Changes the length of a mapping, which may move it. The old one stays as it was on failure.
pub fn resize(address: [*]u8, length: usize, length_new: usize) ?[*]u8 {
    return pointer(linux.mremap(address, length, length_new, .{ .MAYMOVE = true }, null));
}

/// Asks for huge pages in this range.
pub fn adviseHuge(address: [*]u8, length: usize) bool {
    return succeeded(linux.madvise(address, length, madv_hugepage));
}

/// Keeps huge pages out of this range, also where the system gives them to everybody.
pub fn adviseSmall(address: [*]u8, length: usize) bool {
    return succeeded(linux.madvise(address, length, madv_nohugepage));
}

/// The range reads as zero in a child made by fork. Linux 4.14 and newer. Emulators (qemu-user 7)
/// answer every advice with 0 and take none: not believed where nonsense is welcome too.
pub fn wipeOnFork(address: [*]u8, length: usize) bool {
    return succeeded(linux.madvise(address, length, linux.MADV.WIPEONFORK)) and
        !succeeded(linux.madvise(address, length, madv_nonsense));
}

/// Keeps the range in physical memory, with every page there. What the system says.
pub fn pin(address: [*]u8, length: usize) linux.E {
    return linux.errno(linux.mlock(address, length));
}

/// Every page of the range is there to be written, without a fault. False also where the system
/// does not know how: the caller can write to each page.
pub fn populate(address: [*]u8, length: usize) bool {
    return succeeded(linux.madvise(address, length, madv_populate_write));
}

/// Pages of the range that are not there yet come from this NUMA node. What the system says: INVAL
/// when there is no such node, NOSYS or PERM where it may not be asked.
pub fn bind(address: [*]u8, length: usize, node: u32) linux.E {
    if (node >= nodes_max) return .INVAL;
    var nodes: [nodes_max / 64]u64 = @splat(0);
    nodes[node / 64] = @as(u64, 1) << @intCast(node % 64);
    const start = @intFromPtr(address);
    // One more than there are: the kernel takes one off.
    const bits = nodes_max + 1;
    const rc = linux.syscall6(.mbind, start, length, mpol_preferred, @intFromPtr(&nodes), bits, 0);
    return linux.errno(rc);
}

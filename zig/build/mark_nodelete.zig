//! Build tool: sets DF_1_NODELETE in the dynamic section of shared libraries, copy.
//!
//! Cause: a malloc must never be unloaded (blocks and thread hooks outlive any dlclose), and
//! std.Build 0.17 has no field for the linker's `-z nodelete`. Can go when it has one (check:
//! grep nodelete in std/Build/Step/Compile.zig). Usage: mark_nodelete SOURCE TARGET
const std = @import("std");
const elf = std.elf;

const df_1_nodelete = 0x8;

pub fn main(init: std.process.Init) !u8 {
    const arena = init.arena.allocator();
    const arguments = try init.minimal.args.toSlice(arena);
    const cwd = std.Io.Dir.cwd();
    const bytes = try cwd.readFileAlloc(init.io, arguments[1], arena, .limited(1 << 28));
    const flags = try findFlags(bytes);
    flags.* |= df_1_nodelete;
    try cwd.writeFile(init.io, .{ .sub_path = arguments[2], .data = bytes });
    return 0;
}

/// The value of the entry DT_FLAGS_1, within the bytes of the file.
fn findFlags(bytes: []u8) !*align(1) u64 {
    const header: *align(1) elf.Elf64_Ehdr = @ptrCast(bytes.ptr);
    if (!std.mem.eql(u8, bytes[0..4], elf.MAGIC)) return error.NotAnElfFile;
    for (0..header.e_phnum) |index| {
        const at = header.e_phoff + index * header.e_phentsize;
        const segment: *align(1) elf.Elf64.Phdr = @ptrCast(bytes[at..].ptr);
        if (segment.type != .DYNAMIC) continue;
        var offset = segment.offset;
        while (offset < segment.offset + segment.filesz) : (offset += 16) {
            const entry: *align(1) [2]u64 = @ptrCast(bytes[offset..].ptr);
            if (entry[0] == elf.DT_FLAGS_1) return &entry[1];
        }
    }
    return error.NoFlagsEntry;
}

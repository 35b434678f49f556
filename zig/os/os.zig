//! The operating system as the allocator sees it: memory, locks, the thread word, facts about the
//! machine, symbols of the host. Only this layer makes system calls.
const builtin = @import("builtin");
const build_options = @import("build_options");
const atomic = @import("base").atomic;

pub const linux = @import("linux.zig");
pub const fake = @import("fake.zig");
/// What the layers above call: the real thing, or in our own tests the port that can refuse.
pub const memory =
    if (atomic.modelled) atomic.model.memory else if (in_tests) fake else linux;
const in_tests = builtin.is_test and !build_options.package;
pub const checker = @import("checker.zig");
/// Test inputs; see the file.
pub const fuzz_input = @import("fuzz_input.zig");
pub const host = @import("host.zig");
pub const machine = @import("machine.zig");
pub const tls = if (atomic.modelled) atomic.model.tls else @import("tls.zig");
pub const Lock = @import("lock.zig").Lock;
pub const report = @import("report.zig");

test {
    _ = checker;
    _ = fake;
    _ = host;
    _ = machine;
    _ = tls;
    _ = @import("lock.zig");
    _ = report;
}

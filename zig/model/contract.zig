//! What the two halves of the model's executable say to each other. The one half is the library
//! and the scenarios, compiled with the thread sanitizer's instrumentation, so that every plain
//! access is a call; the other one is the scheduler, compiled without, which takes the calls.

pub const threads_max = 3;

/// One question to the scheduler: these threads, from the state that `setup` makes.
pub const Scenario = extern struct {
    name: [*:0]const u8,
    /// What is asked, in one sentence.
    asks: [*:0]const u8,
    /// Millions of executions: only on demand.
    long: bool = false,
    setup: *const fn () callconv(.c) void,
    threads: [threads_max]?*const fn () callconv(.c) void,
    /// Called when all threads are done, with nobody else running.
    check: *const fn () callconv(.c) void,
};

/// C11 orders, numbered as std.lang.AtomicOrder names them from monotonic on.
pub const Order = enum(u8) { monotonic, acquire, release, acq_rel, seq_cst };

pub const Rmw = enum(u8) { exchange, add, sub, bit_and, bit_or };

pub const CasResult = extern struct { old: u64, done: bool };

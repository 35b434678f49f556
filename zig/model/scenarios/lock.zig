//! The futex lock (os/lock.zig): mutual exclusion, no lost wake-up.
const model = @import("model");
const os = @import("os");

var lock: os.Lock = .{};
/// Plain data that the lock guards: the model reports every unordered pair of accesses.
var guarded: u32 = 0;
var taken: u32 = 0;

fn setUp() callconv(.c) void {
    model.name(&lock.word, "lock");
}

fn Take(comptime holder: u32, comptime turns: u32) type {
    return struct {
        fn run() callconv(.c) void {
            for (0..turns) |_| {
                lock.acquire(holder);
                guarded += 1;
                taken += 1;
                lock.release();
            }
        }
    };
}

fn Try(comptime holder: u32) type {
    return struct {
        fn run() callconv(.c) void {
            if (!lock.tryAcquire(holder)) return;
            guarded += 1;
            lock.release();
        }
    };
}

fn checkFree() callconv(.c) void {
    model.expect(lock.word.raw == 0, "the lock is left locked");
    model.expect(guarded >= taken, "an increment under the lock was lost");
}

pub const scenarios = [_]model.Scenario{
    .{
        .name = "lock",
        .asks = "three threads take the lock: one at a time, and none sleeps for ever",
        .setup = &setUp,
        .threads = .{ &Take(1, 1).run, &Take(2, 1).run, &Take(3, 1).run },
        .check = &checkFree,
    },
    .{
        .name = "lock-again",
        .asks = "two threads take the lock twice each, a third one only tries",
        .setup = &setUp,
        .threads = .{ &Take(1, 2).run, &Take(2, 2).run, &Try(3).run },
        .check = &checkFree,
    },
};

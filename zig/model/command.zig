//! The model's command line: explores every interleaving of small scenarios on the real code.
//!
//!     model [SCENARIO...] [--long] [--preemptions N] [--stale N] [--spurious N]
//!           [--executions N]
//!     model SCENARIO --replay SCHEDULE
//!     model --list
//!
//! Exit status: 0 every search was complete and found nothing; 1 a fault was found, or a search
//! was given up at its number of executions; 2 bad arguments, or the model itself is broken.
const std = @import("std");
const linux = std.os.linux;
const contract = @import("contract.zig");
const print = @import("output.zig").print;
const explore = @import("explore.zig");
const fiber = @import("fiber.zig");
const plain = @import("plain.zig");
comptime {
    _ = @import("hooks.zig");
}

pub const panic = std.debug.FullPanic(onPanic);

fn onPanic(message: []const u8, _: ?usize) noreturn {
    explore.broken(message);
}

extern const liballoc_model_scenarios: [*]const contract.Scenario;
extern const liballoc_model_scenario_count: usize;

const usage =
    \\usage: model [SCENARIO...] [--long] [--preemptions N] [--stale N] [--spurious N]
    \\             [--executions N]
    \\       model SCENARIO --replay SCHEDULE
    \\       model --list
    \\
;

const Request = struct {
    names: [64][]const u8 = undefined,
    name_count: usize = 0,
    limits: explore.Limits = .{},
    replay: ?explore.Schedule = null,
    list: bool = false,
    long: bool = false,
};

export fn liballoc_model_main(words: [*]const [*:0]const u8, count: usize) u8 {
    const request = parse(words[1..count]) orelse {
        print("{s}", .{usage});
        return 2;
    };
    const scenarios = liballoc_model_scenarios[0..liballoc_model_scenario_count];
    if (request.list) {
        for (scenarios) |*each| print("{s}: {s}\n", .{ each.name, each.asks });
        return 0;
    }
    for (request.names[0..request.name_count]) |wanted| {
        if (find(scenarios, wanted) == null) {
            print("model: no scenario {s}; --list shows all\n", .{wanted});
            return 2;
        }
    }
    fiber.init();
    plain.init();
    catchSignals();
    if (request.replay) |*schedule| {
        explore.replay(find(scenarios, request.names[0]).?, request.limits, schedule);
        print("  {s}: this schedule is fine\n", .{request.names[0]});
        return 0;
    }
    var worst: u8 = 0;
    for (scenarios) |*each| {
        if (isWanted(each, &request)) worst = @max(worst, runApart(each, &request));
    }
    return worst;
}

fn parse(argv: []const [*:0]const u8) ?Request {
    var request: Request = .{};
    var index: usize = 0;
    while (index < argv.len) : (index += 1) {
        const word = std.mem.span(argv[index]);
        if (std.mem.eql(u8, word, "--list")) {
            request.list = true;
        } else if (std.mem.eql(u8, word, "--long")) {
            request.long = true;
        } else if (std.mem.startsWith(u8, word, "--")) {
            index += 1;
            if (index == argv.len or !setOption(&request, word[2..], std.mem.span(argv[index]))) {
                return null;
            }
        } else {
            if (request.name_count == request.names.len) return null;
            request.names[request.name_count] = word;
            request.name_count += 1;
        }
    }
    if (request.replay != null and request.name_count != 1) return null;
    return request;
}

fn setOption(request: *Request, name: []const u8, text: []const u8) bool {
    if (std.mem.eql(u8, name, "replay")) {
        request.replay = scheduleOf(text) catch return false;
        return true;
    }
    inline for (@typeInfo(explore.Limits).@"struct".field_names) |field| {
        if (std.mem.eql(u8, name, field)) {
            const T = @FieldType(explore.Limits, field);
            @field(request.limits, field) = std.fmt.parseInt(T, text, 10) catch return false;
            return true;
        }
    }
    return false;
}

/// The number of shared atomics, a colon, and a letter a choice.
fn scheduleOf(text: []const u8) !explore.Schedule {
    const shared, const letters = std.mem.cutScalar(u8, text, ':') orelse return error.NoColon;
    var schedule: explore.Schedule = undefined;
    if (letters.len > schedule.choices.len) return error.TooLong;
    schedule.shared = try std.fmt.parseInt(u32, shared, 10);
    schedule.length = @intCast(letters.len);
    for (schedule.choices[0..letters.len], letters) |*choice, letter| {
        choice.* = try std.fmt.charToDigit(letter, 36);
    }
    return schedule;
}

fn find(scenarios: []const contract.Scenario, name: []const u8) ?*const contract.Scenario {
    for (scenarios) |*each| if (std.mem.eql(u8, std.mem.span(each.name), name)) return each;
    return null;
}

fn isWanted(scenario: *const contract.Scenario, request: *const Request) bool {
    if (request.name_count == 0) return request.long or !scenario.long;
    for (request.names[0..request.name_count]) |wanted| {
        if (std.mem.eql(u8, std.mem.span(scenario.name), wanted)) return true;
    }
    return false;
}

/// A scenario in a process of its own: each begins from the library as it was loaded. A schedule
/// that fails is run again and printed.
fn runApart(scenario: *const contract.Scenario, request: *const Request) u8 {
    const prot: linux.PROT = .{ .READ = true, .WRITE = true };
    const kind: linux.MAP = .{ .TYPE = .SHARED, .ANONYMOUS = true };
    const page = linux.mmap(null, @sizeOf(explore.Schedule), prot, kind, -1, 0);
    if (linux.errno(page) != .SUCCESS) return 2;
    const schedule: *explore.Schedule = @ptrFromInt(page);
    schedule.failed = false;
    const status = inChild(scenario, request, schedule);
    if (status != 1) return status;
    if (!schedule.failed) return 1;
    var letters: [4096]u8 = undefined;
    const choices = schedule.choices[0..schedule.length];
    for (letters[0..choices.len], choices) |*letter, choice| {
        letter.* = "0123456789abcdefghijklmnopqrstuvwxyz"[choice];
    }
    print("  repeat with: model {s} --replay {d}:{s} --preemptions {d} --stale {d}" ++
        " --spurious {d}\n", .{
        scenario.name,           schedule.shared,
        letters[0..choices.len], request.limits.preemptions,
        request.limits.stale,    request.limits.spurious,
    });
    var again = request.*;
    again.replay = schedule.*;
    _ = inChild(scenario, &again, schedule);
    return 1;
}

fn inChild(
    scenario: *const contract.Scenario,
    request: *const Request,
    schedule: *explore.Schedule,
) u8 {
    const child = linux.fork();
    if (linux.errno(child) != .SUCCESS) return 2;
    if (child == 0) {
        explore.schedule_out = schedule;
        if (request.replay) |*again| {
            explore.replay(scenario, request.limits, again);
            linux.exit_group(0);
        }
        const outcome = explore.search(scenario, request.limits);
        print("{s}: {d} executions of at most {d} points on {d} shared atomics, {s}" ++
            " within {d} preemptions, {d} stale loads, {d} spurious events\n", .{
            scenario.name,                                        outcome.executions,
            outcome.longest,                                      outcome.shared,
            if (outcome.complete) "complete" else "NOT COMPLETE", request.limits.preemptions,
            request.limits.stale,                                 request.limits.spurious,
        });
        linux.exit_group(if (outcome.complete) 0 else 1);
    }
    var status: i32 = 0;
    _ = linux.waitpid(@intCast(child), &status, 0);
    const ended: u32 = @bitCast(status);
    return if (linux.W.IFEXITED(ended)) linux.W.EXITSTATUS(ended) else 2;
}

/// A crash or a misuse report of the code under test is a fault with a schedule like any other.
fn catchSignals() void {
    for ([_]linux.SIG{ .ABRT, .SEGV, .BUS, .ILL, .TRAP }) |signal| {
        const action: linux.Sigaction = .{
            .handler = .{ .handler = &onSignal },
            .mask = linux.sigemptyset(),
            .flags = 0,
        };
        _ = linux.sigaction(signal, &action, null);
    }
}

fn onSignal(signal: linux.SIG) callconv(.c) void {
    var buffer: [64]u8 = undefined;
    explore.fail(std.fmt.bufPrint(&buffer, "it crashed: signal {t}", .{signal}) catch "it crashed");
}

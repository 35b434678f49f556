"""Runs one program, waits for it and for every process it leaves behind, and writes what they used.

A script of its own, run as `python -I -S supervise.py PLAN`, because a process started by the
harness itself would show the harness's resident memory as its peak: ru_maxrss survives exec. What
this script's own copy shows is reported as `floor_kib`: a peak that is no higher says nothing.
As sub-reaper it inherits orphans (a daemon, a background job), so none is lost.

PLAN is a JSON file: argv, environment, cwd, stdin, stdout, stderr, report (paths); `count` asks for
instructions, `inspect` for a look at the program in the moment of its end (its mapped files and
the exact peak of its memory). The look costs a stop, so runs that are timed do without.
"""

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
PR_SET_PDEATHSIG = 1

PTRACE_CONT, PTRACE_SEIZE, PTRACE_LISTEN = 7, 0x4206, 0x4208
PTRACE_O_TRACEEXIT = 0x40
PTRACE_EVENT_EXIT, PTRACE_EVENT_STOP = 6, 128

SPENT = struct.Struct("=dqqq")
"""CPU seconds, minor and major faults, resident KiB; why the exec failed may follow."""

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241, "riscv64": 241}
PERF_INSTRUCTIONS = (0, 1)
"""Type and number: hardware, instructions."""
PERF_FLAG_FD_CLOEXEC = 8
# disabled, inherit, exclude_kernel, exclude_hv, enable_on_exec
PERF_FLAGS = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 6 | 1 << 12
# The value with the time it was wanted and the time it was counted.
PERF_FORMAT = 1 | 2

# Python ignores the first two, nohup the third, a shell's background job the others; the program
# would inherit that (CPython's tests fail without SIGINT).
INHERITED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


def become_program(plan: dict[str, Any], gate: int, spent: int) -> None:
    """In the child: set up files, signals and folder, then turn into the program."""
    try:
        os.setsid()
        for number, key, flags in (
            (0, "stdin", os.O_RDONLY),
            (1, "stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            handle = os.open(plan[key], flags, 0o600)
            os.dup2(handle, number)
            os.close(handle)
        os.chdir(plan["cwd"])
        for number in INHERITED:
            signal.signal(number, signal.SIG_DFL)
        os.read(gate, 1)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        os.write(spent, SPENT.pack(cpu(usage), usage.ru_minflt, usage.ru_majflt, usage.ru_maxrss))
        os.execvpe(plan["argv"][0], plan["argv"], plan["environment"])
    except OSError as error:
        os.write(spent, (error.strerror or "cannot be started").encode())
        # Its end would be the reader's end of file, and under inspection it stops before that.
        os.close(spent)
        os.write(2, f"{plan['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def open_counter(libc: ctypes.CDLL, pid: int, event: tuple[int, int] = PERF_INSTRUCTIONS) -> int:
    """A counter of a process and its children from its exec on; -1 where there can be none."""
    number = PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        return -1
    # struct perf_event_attr up to its first published size, 64 bytes.
    kind, config = event
    values = (kind, 64, config, 0, 0, PERF_FORMAT, PERF_FLAGS, 0, 0, 0)
    attributes = struct.pack("=IIQQQQQIIQ", *values)
    buffer = ctypes.create_string_buffer(attributes, 64)
    descriptor: int = libc.syscall(number, buffer, pid, -1, -1, PERF_FLAG_FD_CLOEXEC)
    return descriptor


def read_counter(descriptor: int) -> int | None:
    """What was counted, scaled up where the counter was shared; None where it never ran."""
    if descriptor < 0:
        return None
    value, wanted, counted = struct.unpack("=QQQ", os.read(descriptor, 24))
    return round(value * wanted / counted) if counted else None


def inspect(pid: int) -> dict[str, Any]:
    """The files that a process maps, its executable, and the peak of its memory."""
    folder = Path("/proc") / str(pid)
    found: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        found["exe"] = str((folder / "exe").readlink())
        lines = (folder / "maps").read_text(errors="replace").splitlines()
        files = (line.split(maxsplit=5)[5] for line in lines if line.count("/"))
        found["mapped"] = list(dict.fromkeys(files))
        for line in (folder / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                found["peak_kib"] = int(line.split()[1])
    return found


def go_on(libc: ctypes.CDLL, pid: int, status: int, report: dict[str, Any]) -> None:
    """Let a process that has stopped under inspection go on, after a look where it ends."""
    event, number = status >> 16, os.WSTOPSIG(status)
    if event == PTRACE_EVENT_EXIT:
        report["inspected"] = inspect(pid)
        number = 0
    elif event == PTRACE_EVENT_STOP:
        request = PTRACE_LISTEN if number != signal.SIGTRAP else PTRACE_CONT
        libc.ptrace(request, pid, None, None)
        return
    libc.ptrace(PTRACE_CONT, pid, None, ctypes.c_void_p(number))


def cpu(usage: resource.struct_rusage) -> float:
    """CPU time, user and system."""
    return usage.ru_utime + usage.ru_stime


def take_off(report: dict[str, Any], spent: int) -> None:
    """Take off what this script's copy used until its exec, which closes the pipe."""
    text = b""
    while part := os.read(spent, 4096):
        text += part
    if len(text) < SPENT.size:
        return
    cpu_s, minor, major, report["floor_kib"] = SPENT.unpack_from(text)
    report["cpu_s"] -= cpu_s
    report["minor_faults"] -= minor
    report["major_faults"] -= major
    report["not_started"] = text[SPENT.size :].decode()


def main() -> None:
    """Run the plan; the report is renamed into place when every process has ended."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    gate, opener = os.pipe()
    spent, spender = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        become_program(plan, gate, spender)
    os.close(spender)
    counter = open_counter(libc, pid) if plan.get("count") else -1
    if plan.get("inspect"):
        libc.ptrace(PTRACE_SEIZE, pid, None, ctypes.c_void_p(PTRACE_O_TRACEEXIT))
    report: dict[str, Any] = {
        "left_behind": 0, "cpu_s": 0.0, "minor_faults": 0, "major_faults": 0, "floor_kib": 0,
        "peak_kib": 0,
    }  # fmt: skip
    start = time.monotonic()
    os.close(opener)
    take_off(report, spent)
    while True:
        try:
            ended, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        if os.WIFSTOPPED(status):
            go_on(libc, ended, status, report)
            continue
        report["cpu_s"] += cpu(usage)
        report["minor_faults"] += usage.ru_minflt
        report["major_faults"] += usage.ru_majflt
        # Of the largest process: also one that was left behind, as a daemon is.
        report["peak_kib"] = max(report["peak_kib"], usage.ru_maxrss)
        if ended == pid:
            report["status"] = os.waitstatus_to_exitcode(status)
            report["seconds"] = time.monotonic() - start
        else:
            report["left_behind"] += 1
    report["instructions"] = read_counter(counter)
    part = Path(plan["report"] + ".part")
    part.write_text(json.dumps(report), encoding="utf-8")
    part.rename(plan["report"])


if __name__ == "__main__":
    main()

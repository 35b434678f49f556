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

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241, "riscv64": 241}
PERF_INSTRUCTIONS = (0, 1)
"""Type and number: hardware, instructions."""
PERF_FLAG_FD_CLOEXEC = 8
# disabled, inherit, exclude_kernel, exclude_hv, enable_on_exec
PERF_FLAGS = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 6 | 1 << 12
# The value with the time it was wanted and the time it was counted.
PERF_FORMAT = 1 | 2


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
        # Python ignores these two, and a program would inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        os.read(gate, 1)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        os.write(spent, json.dumps(list(usage)).encode())
        os.execvpe(plan["argv"][0], plan["argv"], plan["environment"])
    except OSError as error:
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
    attributes = struct.pack("=IIQQQQQIIQ", kind, 64, config, 0, 0, PERF_FORMAT, PERF_FLAGS, 0, 0, 0)
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


def add_usage(report: dict[str, Any], usage: resource.struct_rusage, sign: int = 1) -> None:
    """What a process and those it waited for have used."""
    report["cpu_s"] += sign * (usage.ru_utime + usage.ru_stime)
    report["minor_faults"] += sign * usage.ru_minflt
    report["major_faults"] += sign * usage.ru_majflt


def take_off(report: dict[str, Any], spent: int) -> None:
    """Take off what this script's copy used before it became the program."""
    text = os.read(spent, 4096)
    if text:
        usage = resource.struct_rusage(json.loads(text))
        add_usage(report, usage, -1)
        report["floor_kib"] = usage.ru_maxrss


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
        "left_behind": 0, "cpu_s": 0.0, "minor_faults": 0, "major_faults": 0, "floor_kib": 0
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
        add_usage(report, usage)
        if ended == pid:
            report["status"] = os.waitstatus_to_exitcode(status)
            report["seconds"] = time.monotonic() - start
            report["peak_kib"] = usage.ru_maxrss
        else:
            report["left_behind"] += 1
    report["instructions"] = read_counter(counter)
    part = Path(plan["report"] + ".part")
    part.write_text(json.dumps(report), encoding="utf-8")
    part.rename(plan["report"])


if __name__ == "__main__":
    main()

"""Runs one program, waits for it and for every process it leaves behind, and writes what they used.

A script of its own, run as `python -I -S supervise.py PLAN`, because a process started by the
harness itself would show the harness's resident memory as its peak: ru_maxrss survives exec.
As sub-reaper it inherits orphans (a daemon, a background job), so none is lost.

PLAN is a JSON file: argv, environment, cwd, stdin, stdout, stderr, report (paths).
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
PR_SET_PDEATHSIG = 1


def become_program(plan: dict[str, Any]) -> None:
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
        os.execvpe(plan["argv"][0], plan["argv"], plan["environment"])
    except OSError as error:
        os.write(2, f"{plan['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def main() -> None:
    """Run the plan; the report is renamed into place when every process has ended."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        become_program(plan)
    report: dict[str, float] = {"left_behind": 0}
    while True:
        try:
            ended, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        if ended == pid:
            report["status"] = os.waitstatus_to_exitcode(status)
            report["seconds"] = time.monotonic() - start
            report["peak_kib"] = usage.ru_maxrss
        else:
            report["left_behind"] += 1
    part = Path(plan["report"] + ".part")
    part.write_text(json.dumps(report), encoding="utf-8")
    part.rename(plan["report"])


if __name__ == "__main__":
    main()

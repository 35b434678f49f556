"""Runs one command in this process's place: signals go through, its end becomes an exit status.

The command stays in the terminal's foreground group, so what the terminal sends (Ctrl-C, Ctrl-Z)
reaches it directly; what a process sends to us is passed on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence

Spawn = Callable[[Sequence[str], Mapping[str, str]], int]

# Python ignores these two, and a program would inherit that.
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def exit_status(wait_status: int) -> int:
    """The status of a command that has ended, 128 and the number for a signal."""
    code = os.waitstatus_to_exitcode(wait_status)
    return 128 - code if code < 0 else code


def become(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Turn into the command; does not return."""
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    os.execve(argv[0], list(argv), dict(environment))


def spawn(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Start the command with the signal mask and the dispositions that we were started with."""
    return os.posix_spawn(
        argv[0], list(argv), dict(environment), setsigmask=[], setsigdef=IGNORED_BY_PYTHON
    )


def run(argv: Sequence[str], environment: Mapping[str, str], start: Spawn = spawn) -> int:
    """Run the command; its exit status, or 128 and the number of the signal that ended it.

    Only in a process of one thread: another one would take the signals, that of the end too.
    """
    every = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    old = signal.pthread_sigmask(signal.SIG_BLOCK, every)
    # Started with SIGCHLD ignored, nobody would be told of the end.
    old_action = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        pid = start(argv, environment)
        while True:
            found = signal.sigwaitinfo(every)
            if found.si_signo != signal.SIGCHLD:
                pass_on(pid, found)
                continue
            ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if ended and os.WIFSTOPPED(status):
                # So that the shell sees its job stopped; it continues both.
                os.kill(os.getpid(), signal.SIGSTOP)
            elif ended:
                return exit_status(status)
    finally:
        signal.signal(signal.SIGCHLD, old_action)
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def pass_on(pid: int, found: signal.struct_siginfo) -> None:
    """Pass on what a process sent; what the kernel sent to the terminal's group came there too."""
    if found.si_code <= 0:
        os.kill(pid, found.si_signo)

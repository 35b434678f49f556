"""liballoc.workload.launch: real processes under the supervisor."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from liballoc.workload.launch import Step, SupervisedExecutor, SupervisedRun

PATIENCE_S = 60.0


def start(folder: Path, *argv: str, stdin: str = "", **environment: str) -> SupervisedRun:
    base = {"PATH": os.defpath, **environment}
    return SupervisedExecutor(folder / "steps").start(Step(argv, base, folder, stdin))


def test_outputs_status_and_folder(tmp_path: Path) -> None:
    run = start(tmp_path, "sh", "-c", "pwd; echo $A; cat; echo oops >&2; exit 3", stdin="in", A="b")
    result = run.wait(PATIENCE_S)
    assert result.stdout.decode() == f"{tmp_path}\nb\nin"
    assert (result.stderr, result.status, result.timed_out) == (b"oops\n", 3, False)
    assert result.peak_kib > 0
    assert run.ended()
    assert run.pids() == []


def test_nothing_can_be_read_without_stdin(tmp_path: Path) -> None:
    assert start(tmp_path, "cat").wait(PATIENCE_S).stdout == b""


def test_a_signal_is_a_negative_status(tmp_path: Path) -> None:
    assert start(tmp_path, "sh", "-c", "kill -ABRT $$").wait(PATIENCE_S).status == -signal.SIGABRT


def test_a_program_that_is_not_there_is_127(tmp_path: Path) -> None:
    result = start(tmp_path, "no-such-program").wait(PATIENCE_S)
    assert result.status == 127
    assert b"no-such-program: No such file" in result.stderr


def test_a_pipe_that_closes_ends_the_writer(tmp_path: Path) -> None:
    # Python ignores SIGPIPE; a program under test must not inherit that.
    result = start(tmp_path, "bash", "-c", "yes | head -n1; echo ${PIPESTATUS[0]}").wait(PATIENCE_S)
    assert result.stdout == b"y\n141\n"


def test_what_hangs_is_ended_with_all_its_children(tmp_path: Path) -> None:
    text = "sleep 1000 & (setsid sleep 1001 &) ; echo $!; wait"
    run = start(tmp_path, "sh", "-c", text)
    while len(run.pids()) < 3:
        assert not run.ended()
    pids = run.pids()
    result = run.wait(0)
    assert result.timed_out
    assert result.status == -signal.SIGKILL
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_orphans_are_waited_for(tmp_path: Path) -> None:
    # The first process ends at once; the one it leaves behind writes later, when it may.
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    run = start(tmp_path, "sh", "-c", f"(setsid sh -c 'read x <{fifo}; echo late' &); echo first")
    fifo.write_text("go\n")
    assert run.wait(PATIENCE_S).stdout == b"first\nlate\n"


def test_a_signal_reaches_the_program(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    text = f"trap 'echo caught; exit 4' TERM; echo >{ready}; while :; do sleep 0.01; done"
    run = start(tmp_path, "sh", "-c", text)
    ready.read_text()
    run.signal(signal.SIGTERM)
    result = run.wait(PATIENCE_S)
    assert (result.status, result.stdout) == (4, b"caught\n")


def test_the_peak_is_the_programs_own(tmp_path: Path) -> None:
    # The harness itself holds 80 MiB more than the program does.
    ballast = bytearray(os.urandom(1 << 20) * 80)
    small = start(tmp_path / "a", sys.executable, "-I", "-S", "-c", "pass")
    assert small.wait(PATIENCE_S).peak_kib < 60 * 1024
    large = start(tmp_path / "b", sys.executable, "-I", "-S", "-c", "x = b'x' * (90 << 20)")
    assert large.wait(PATIENCE_S).peak_kib > 90 * 1024
    assert ballast


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

"""liballoc.workload.launch: real processes under the supervisor."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

from liballoc.workload import supervise
from liballoc.workload.launch import Outcome, Step, SupervisedExecutor, SupervisedRun

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


def test_an_ignored_signal_is_not_inherited(tmp_path: Path) -> None:
    # A shell's background job ignores SIGINT.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = start(tmp_path, "sh", "-c", "kill -INT $$; echo alive").wait(PATIENCE_S)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.status, result.stdout) == (-signal.SIGINT, b"")


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
    code = "x = b'x' * (90 << 20)"
    left = start(tmp_path / "c", "sh", "-c", f'{sys.executable} -I -S -c "{code}" &')
    assert left.wait(PATIENCE_S).peak_kib > 90 * 1024
    assert ballast


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()


def run_step(folder: Path, *argv: str, inspect: bool = False, count: bool = False) -> Outcome:
    step = Step(argv, {"PATH": os.defpath}, folder, inspect=inspect, count=count)
    return SupervisedExecutor(folder / f"steps-{inspect}").start(step).wait(PATIENCE_S)


def test_what_the_supervisors_copy_used_is_taken_off(tmp_path: Path) -> None:
    usage = run_step(tmp_path, "true", count=True).usage
    # The copy itself is a Python: 10 MiB, and more faults than `true` has.
    assert 0 <= usage.cpu_s < 5
    assert 0 < usage.minor_faults < 2000
    assert usage.floor_kib > 1024
    assert usage.instructions is None or usage.instructions > 10_000


def test_faults_and_time_of_children_count(tmp_path: Path) -> None:
    code = "x = bytearray(b'x' * (64 << 20))"
    child = f'{sys.executable} -I -S -c "{code}" & wait'
    usage = run_step(tmp_path, "sh", "-c", child).usage
    assert usage.minor_faults > 64 << 20 >> 16
    assert usage.cpu_s > 0


def test_an_inspected_program_is_seen_at_its_end(tmp_path: Path) -> None:
    # A stop and what follows it pass through the inspection.
    text = "(while kill -CONT $$ 2>/dev/null; do :; done) & kill -STOP $$"
    assert run_step(tmp_path, "sh", "-c", f"{text}; exit 3", inspect=True).status == 3
    code = "x = bytearray(b'x' * (64 << 20)); del x"
    for text, status in (
        (f"{code}; raise SystemExit(5)", 5),
        (f"{code}; import os; os.abort()", -signal.SIGABRT),
    ):
        ended = run_step(tmp_path / "a", sys.executable, "-I", "-S", "-c", text, inspect=True)
        assert ended.status == status
        assert ended.inspection is not None
        assert ended.inspection.peak_kib > 64 * 1024
        assert Path(ended.inspection.exe) == Path(sys.executable).resolve()
        assert any("libc.so" in name for name in ended.inspection.mapped)
        shutil.rmtree(tmp_path / "a" / "steps-True")
    assert run_step(tmp_path / "b", "true").inspection is None


@pytest.mark.parametrize("inspect", [False, True])
def test_what_cannot_be_started_says_why(tmp_path: Path, inspect: bool) -> None:
    found = run_step(tmp_path, "no-such-program", inspect=inspect)
    assert found.not_started == "No such file or directory"
    assert run_step(tmp_path / "a", "true", inspect=inspect).not_started == ""


def test_a_counter_counts_from_the_exec_on() -> None:
    # The task clock is a counter of the same kind that needs no hardware.
    libc = ctypes.CDLL(None, use_errno=True)
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        os.read(gate, 1)
        os.execv("/bin/sh", ["sh", "-c", "i=0; while [ $i -lt 9999 ]; do i=$((i + 1)); done"])
    counter = supervise.open_counter(libc, pid, (1, 1))
    os.close(opener)
    os.close(gate)
    os.waitpid(pid, 0)
    if counter < 0:
        assert supervise.read_counter(counter) is None
        pytest.skip("this machine gives no counters")
    counted = supervise.read_counter(counter)
    os.close(counter)
    assert counted is not None
    assert counted > 100_000


def test_exactly_what_was_used_before_is_taken_off() -> None:
    reader, writer = os.pipe()
    os.write(writer, supervise.SPENT.pack(0.25, 100, 1, 9000) + b"No such file")
    os.close(writer)
    report = {"cpu_s": 1.0, "minor_faults": 150, "major_faults": 1}
    supervise.take_off(report, reader)
    os.close(reader)
    assert report == {
        "cpu_s": 0.75, "minor_faults": 50, "major_faults": 0, "floor_kib": 9000,
        "not_started": "No such file",
    }  # fmt: skip

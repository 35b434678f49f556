"""What a sandbox takes away: system calls (C49), /proc and descriptors (C50)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.refusal import Refusal, Supervisor
from tests.faults.watchdog import run_watched
from tests.native import SKIPPED, Native, Outcome, Subject, subject_environment

SOURCES = Path(__file__).resolve().parent / "src"


def run(native: Native, subject: Subject, case: str) -> Outcome:
    command = [native.build(SOURCES / "sandbox.c"), case]
    outcome = run_watched(command, env=subject_environment(subject))
    if outcome.status == SKIPPED:
        pytest.skip(outcome.stderr.strip())
    return outcome


def test_C49_only_memory_calls_and_futex(native: Native, release: Subject) -> None:
    outcome = run(native, release, "only_memory_calls_and_futex")
    assert outcome.status == 0, outcome.ending


def test_the_filter_bites(native: Native, release: Subject) -> None:
    outcome = run(native, release, "without_mprotect_it_is_killed")
    assert outcome.status == -signal.SIGSYS, outcome.ending


@pytest.mark.parametrize("name", ["release", "glibc"])
def test_C50_no_descriptor_is_kept(
    native: Native, request: pytest.FixtureRequest, name: str
) -> None:
    outcome = run(native, request.getfixturevalue(name), "no_descriptor_is_kept")
    assert outcome.status == 0, outcome.ending


@pytest.mark.parametrize("error", ["ENOENT", "EPERM"])
@pytest.mark.parametrize("call", ["open", "openat"])
def test_C50_no_file_can_be_opened(
    native: Native, supervisor: Supervisor, call: str, error: str
) -> None:
    # No /proc, no /sys, no /etc: the library's own attempts all fail, under a limit too.
    refusal = Refusal(call, error, nth=1, onwards=True)
    mixed = native.build(SOURCES / "mixed.c")
    each = supervisor.run(refusal, [mixed, "one_thread", "1", "once"])
    assert each.outcome.status == 0, each.ending
    limited = ["sh", "-c", 'ulimit -v 524288; exec "$@"', "sh", mixed]
    each = supervisor.run(refusal, [*limited, "one_thread", "1", "for-ever"])
    assert each.outcome.status == 0, each.ending

"""Signals at random moments, and what the handlers of real programs do: C30.

A handler reports a crash and never returns, forks, or allocates and frees in pairs, while one or
four threads do small, medium and huge work. FAULTS_LONG=1 sends fifty times as many signals, with
more seeds; FAULTS_SEED=N runs one seed. A hang ends with the stacks of all threads, and the
command that repeats it. glibc hangs or aborts in each of these: they have no glibc run.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.faults.refusal import LONG
from tests.faults.watchdog import run_watched
from tests.native import SKIPPED, Native, Subject, subject_environment

SOURCES = Path(__file__).resolve().parent / "src"
SEEDS = [os.environ["FAULTS_SEED"]] if "FAULTS_SEED" in os.environ else ["1", "2", "3"]
COUNTS = {"pairs": 1000, "forks": 100, "crash_report": 100}
GUARD = 3000.0 if LONG else 240.0


@pytest.mark.parametrize("seed", SEEDS if LONG else SEEDS[:1])
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("case", COUNTS)
def test_C30_handler(native: Native, release: Subject, case: str, threads: int, seed: str) -> None:
    count = COUNTS[case] * (50 if LONG else 1)
    command = [native.build(SOURCES / "handlers.c"), case, seed, str(threads), str(count)]
    env = subject_environment(release)
    note = f"repeat with: LD_PRELOAD={release.file} {' '.join(map(str, command))}"
    outcome = run_watched(command, env=env, note=note, seconds=GUARD)
    assert outcome.status == 0, f"{note}\n{outcome.ending}"
    tally = re.fullmatch(r"signals (\d+) inside (\d+)\n", outcome.stdout)
    assert tally is not None, outcome.ending
    assert int(tally[1]) == count
    assert int(tally[2]) > 0, "no signal found a thread inside the library"


# The case of src/stopped.c, and every which instruction the short form and the long one try: every
# single one took longer than a test may.
STRIDES = {
    "by_the_thread": (131, 7),
    "by_another_thread": (131, 7),
    "while_another_waits": (131, 5),
    "two_slow_calls": (997, 61),
}


@pytest.mark.parametrize("case", STRIDES)
def test_C30_fork_at_every_instruction(native: Native, release: Subject, case: str) -> None:
    program = native.build(SOURCES / "stopped.c")
    env = {**subject_environment(release), "ALLOC_CONF": "thp:never"}
    stride = STRIDES[case][LONG]
    outcome = run_watched([program, case, str(stride)], env=env, seconds=GUARD)
    if outcome.status == SKIPPED:
        pytest.skip("only x86_64 can stop at every instruction")
    assert outcome.status == 0, outcome.ending

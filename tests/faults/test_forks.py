"""Fork storms, fork handlers that allocate, killed children, forks against first calls.

FAULTS_FORKS is the number of forks of each test (200 without it, 20,000 with FAULTS_LONG=1; the
soak form is 1000000, hours on two cores); FAULTS_SEED the seed. A hang ends with the stacks of all
threads and the command that repeats it. Rows C23, C24 and C25.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.refusal import LONG
from tests.faults.watchdog import run_watched
from tests.native import Native, subject_environment

SOURCE = Path(__file__).resolve().parent / "src" / "fork_storm.c"
SEED = os.environ.get("FAULTS_SEED", "1")
FORKS = int(os.environ.get("FAULTS_FORKS", "20000" if LONG else "200"))
SECONDS_PER_FORK = 2.0


@pytest.mark.parametrize("name", ["release", "glibc"])
@pytest.mark.parametrize("case", ["C23_storm", "C25_atfork", "C23_killed", "C24_first_calls"])
def test_forks(native: Native, request: pytest.FixtureRequest, name: str, case: str) -> None:
    subject = request.getfixturevalue(name)
    # glibc proves that the program is right; a few forks do that.
    forks = FORKS if subject.is_liballoc else 60
    command = [native.build(SOURCE), case, SEED, "4", "2", str(forks)]
    env = {
        **subject_environment(subject),
        **({"FORK_HANDLERS": "1"} if case == "C25_atfork" else {}),
    }
    words = " ".join(map(str, command))
    note = f"repeat with: LD_PRELOAD={subject.file or ''} {words}"
    guard = max(240.0, forks * SECONDS_PER_FORK)
    outcome = run_watched(command, env=env, note=note, seconds=guard)
    assert outcome.status == 0, f"{note}\n{outcome.ending}"
    assert outcome.stdout == f"forks {forks}\n", outcome.ending

"""Limits that a machine or its owner sets: address space, a cgroup, mappings, locked memory.

The same programs as for refused calls, now with the kernel refusing. Short and long form are the
same. Where the machine has no cgroup that this user may write to, that test is skipped and says
so. Rows C41, C43, C44 and C45.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.watchdog import run_watched
from tests.native import Case, Native, Outcome, Subject, cases_of, subject_environment

SOURCES = Path(__file__).resolve().parent / "src"
SEED = os.environ.get("FAULTS_SEED", "1")
MIB = 1 << 20
OUT_OF_MEMORY = 3
KILLED = -9


@pytest.fixture(scope="session")
def mixed(native: Native) -> Path:
    """The C program, see its source."""
    return native.build(SOURCES / "mixed.c")


def limited(kind: str, limit: int, *command: str | Path) -> list[str | Path]:
    """The command with a limit set before it starts; the shell's own words for it are in KiB."""
    return ["sh", "-c", f'ulimit -{kind} {limit >> 10}; exec "$@"', "sh", *command]


# On glibc what is no promise of liballoc's own.
MAPPINGS = [
    pytest.param(name, case, id=f"{name}-{case.id}")
    for name in ("release", "glibc")
    for case in cases_of(SOURCES / "mappings.c")
    if name == "release" or case.everywhere
]


@pytest.mark.parametrize(("name", "case"), MAPPINGS)
def test_mappings(name: str, case: Case, native: Native, request: pytest.FixtureRequest) -> None:
    subject = request.getfixturevalue(name)
    env = subject_environment(subject)
    outcome = run_watched([native.build(case.source), case.name], env=env)
    if outcome.status == 77:
        pytest.skip(outcome.stderr.strip())
    assert outcome.status == 0, outcome.ending


@pytest.mark.parametrize("limit", [24, 32, 48, 64, 100, 160, 320, 512, 8192])
@pytest.mark.parametrize("case", ["one_thread", "threads"])
def test_C41_address_space(release: Subject, mixed: Path, case: str, limit: int) -> None:
    command = limited("v", limit * MIB, mixed, case, SEED, "for-ever")
    outcome = run_watched(command, env=subject_environment(release), note=f"seed {SEED}")
    assert outcome.status in {0, OUT_OF_MEMORY}, outcome.ending
    assert set(outcome.stderr.splitlines()) <= {"mixed: out of memory"}, outcome.ending
    # `one_thread` holds about 120 MiB.
    if limit >= 512 and case == "one_thread":
        assert outcome.status == 0, outcome.ending


@pytest.mark.parametrize("limit", [512, 8192])
def test_C43_programs_in_a_small_address_space(release: Subject, limit: int) -> None:
    # C43: what a login shell or a batch system sets.
    script = "import json; print(len(json.dumps([str(n) for n in range(200000)])))"
    for command in (["ls", "-l", "/usr/include"], [sys.executable, "-I", "-c", script]):
        expected = run_watched(command)
        outcome = run_watched(limited("v", limit * MIB, *command), env=subject_environment(release))
        assert outcome == expected, outcome.ending


@pytest.fixture
def memory_cgroup() -> Iterator[tuple[Path, Path]]:
    """A cgroup of our own with a memory controller: its limit and its list of processes."""
    root = Path("/sys/fs/cgroup")
    for parent, limit in (
        (root, "memory.max"),
        (root / "memory", "memory.limit_in_bytes"),
    ):
        group = parent / f"liballoc-faults-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                if (group / limit).exists():
                    yield group / limit, group / "cgroup.procs"
                    return
            finally:
                group.rmdir()
    pytest.skip("no cgroup with a memory controller that this user may write to")


def run_in_cgroup(
    group: tuple[Path, Path], limit: int, *command: str | Path, **env: str
) -> Outcome:
    """Runs a command in the cgroup; where there is swap it must not help."""
    group[0].write_text(str(limit))
    words = ["sh", "-c", f'echo $$ > {group[1]}; exec "$@"', "sh", *command]
    return run_watched(words, env=env)


def test_C41_cgroup_limit(release: Subject, mixed: Path, memory_cgroup: tuple[Path, Path]) -> None:
    # The kernel kills rather than refuses. What is freed must be given back in time: each round
    # takes and frees far more than the limit, of which little is live at a time.
    # At its fullest it holds 62 MiB; it would hold 84 if nothing were given back before it ends.
    env = subject_environment(release)
    outcome = run_in_cgroup(memory_cgroup, 72 * MIB, mixed, "one_thread", SEED, "once", **env)
    assert outcome.status == 0, outcome.ending
    # And it is a limit.
    outcome = run_in_cgroup(memory_cgroup, 16 * MIB, mixed, "one_thread", SEED, "once", **env)
    assert outcome.status == KILLED, outcome.ending


def test_the_limits_are_ours_alone() -> None:
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY

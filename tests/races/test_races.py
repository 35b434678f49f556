"""The model of races: the real locks, inboxes and registry under every interleaving within bounds,
and the bugs that it must find.

A seeded bug (seeded.toml) is put into a copy of the sources, the model is built from that, and its
scenario must fail with its finding.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from liballoc.toolchain import zig

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD_TIMEOUT_S = 1800
RUN_TIMEOUT_S = 600


@dataclass(frozen=True)
class Bug:
    """One row of seeded.toml."""

    name: str
    breaks: str
    file: str
    find: str
    replace: str
    scenario: str
    finding: str


BUGS = [Bug(**row) for row in tomllib.loads((HERE / "seeded.toml").read_text())["bug"]]


def build(folder: Path) -> Path:
    """Builds the model of a checkout."""
    done = subprocess.run(
        [zig.find().executable, "build", "model", "--prefix", "zig-out"],
        cwd=folder, env=zig.build_environment(os.environ), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "zig-out" / "bin" / "model"


def run(model: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the model; it writes to stderr alone."""
    return subprocess.run(
        [model, *arguments], capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S
    )


@pytest.fixture(scope="session")
def model() -> Path:
    return build(ROOT)


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeded")
    for name in ("build.zig", "build.zig.zon"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "zig", folder / "zig")
    return folder


def test_every_scenario_is_searched_to_the_end(model: Path) -> None:
    listed = run(model, "--list").stderr.splitlines()
    done = run(model)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(listed) > len(lines) >= 15  # The long ones are for `./dev races`.
    for line in lines:
        assert re.fullmatch(
            r"[\w-]+: \d+ executions of at most \d+ points on \d+ shared atomics, complete within"
            r" 3 preemptions, 2 stale loads, 1 spurious events",
            line,
        ), line


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_seeded_bug_is_found(bug: Bug, copy: Path) -> None:
    path = copy / bug.file
    original = path.read_text()
    assert original.count(bug.find) == 1, f"{bug.name}: its text must stand once in {bug.file}"
    path.write_text(original.replace(bug.find, bug.replace))
    try:
        seeded = build(copy)
    finally:
        path.write_text(original)
    done = run(seeded, bug.scenario)
    assert done.returncode == 1, f"{bug.breaks}: not found\n{done.stderr}"
    assert bug.finding in done.stderr
    # The schedule that it prints leads there again.
    repeat = re.search(r"repeat with: model (.*)", done.stderr)
    assert repeat is not None
    again = run(seeded, *repeat[1].split())
    assert again.returncode == 1
    assert bug.finding in again.stderr
    assert "thread 0:" in again.stderr or "thread 1:" in again.stderr


@pytest.mark.parametrize(
    "arguments",
    [["no-such-scenario"], ["--preemptions"], ["--preemptions", "x"], ["--wrong", "1"],
     ["lock", "--replay", "00"], ["--replay", "0:00"]],
)  # fmt: skip
def test_bad_arguments(model: Path, arguments: list[str]) -> None:
    done = run(model, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(("usage: model", "model: no scenario"))


def test_a_search_that_is_given_up_is_no_success(model: Path) -> None:
    done = run(model, "lock", "--executions", "10")
    assert done.returncode == 1
    assert "NOT COMPLETE" in done.stderr

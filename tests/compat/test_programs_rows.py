"""Rows C59 to C62 of the compatibility table: real programs, which `preload-smoke` runs.

Each row names its workloads; all of them must be there, prove that they ran on the library, and be
judged by their output. One cheap program a row is run here, the rest by `nox -s preload-smoke`.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path

import pytest

from liballoc.workload.loader import load_folder
from liballoc.workload.schema import Workload
from liballoc.workload.smoke import OK, SKIPPED, SmokeRun
from tests.native import skip_missing


@dataclass(frozen=True)
class Row:
    """The workloads of a row, as globs, and the cheap one that is run here."""

    cheap: str
    workloads: tuple[str, ...]


ROWS = {
    "C59": Row("python-ctypes", ("python-*", "cpython-*", "pypi")),
    "C60": Row("perl", ("java", "lua", "node", "perl", "php", "ruby")),
    "C61": Row("redis", ("mariadb", "memcached", "nginx", "postgres", "redis")),
    "C62": Row(
        "bash",
        (
            "awk",
            "bash",
            "bash-scripts",
            "clang",
            "cmake",
            "curl",
            "gcc",
            "git",
            "gxx",
            "ls",
            "openssl",
            "rust",
            "tar",
            "xz",
        ),
    ),
}


@pytest.fixture(scope="module")
def workloads(root: Path) -> dict[str, Workload]:
    """All that are shipped, by name."""
    return {workload.name: workload for workload in load_folder(root / "workloads")}


def check_row(row: Row, workloads: dict[str, Workload], library: Path) -> None:
    """All workloads are there and prove themselves; the cheap one runs."""
    for pattern in row.workloads:
        assert fnmatch.filter(workloads, pattern), f"no workload is called {pattern}"
    cheap = workloads[row.cheap]
    assert any(fnmatch.fnmatchcase(cheap.name, pattern) for pattern in row.workloads)
    assert cheap.processes, f"{cheap.name} does not say which processes must run on the library"
    result = SmokeRun(cheap, library).run()
    if result.state == SKIPPED:
        skip_missing("; ".join(result.reasons))
    assert result.state == OK, result.reasons
    assert result.proven, "no process was seen running on the library"


def test_C59_python(workloads: dict[str, Workload], library: Path) -> None:
    check_row(ROWS["C59"], workloads, library)


def test_C60_interpreters(workloads: dict[str, Workload], library: Path) -> None:
    check_row(ROWS["C60"], workloads, library)


def test_C61_servers(workloads: dict[str, Workload], library: Path) -> None:
    check_row(ROWS["C61"], workloads, library)


def test_C62_tools(workloads: dict[str, Workload], library: Path) -> None:
    check_row(ROWS["C62"], workloads, library)


def test_the_proof_can_fail(workloads: dict[str, Workload], tmp_path: Path) -> None:
    # A preload that does nothing: the program runs, and is not counted.
    other = tmp_path / "liballoc.so"
    other.write_bytes(b"")
    assert SmokeRun(workloads["ls"], other).run().state != OK

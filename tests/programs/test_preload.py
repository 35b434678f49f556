"""The harness on real processes: a stand-in library, and wrong ones that must be found out."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from liballoc.workload.loader import load_file
from liballoc.workload.schema import Workload
from liballoc.workload.smoke import Result, SmokeRun

STAND_IN = Path(__file__).with_name("stand_in.c")

WORKLOAD = Workload(
    name="shell",
    why="A shell that starts another program.",
    argv=("bash", "-c", "echo one; echo two >&2; ls made; exit 3"),
    setup=(("sh", "-c", "echo data >made"),),
    outputs=("made",),
    status=3,
    seconds=60,
    packages=("bash",),
    processes=("bash", "ls"),
    process_count=2,
)


def compile_library(folder: Path, *flags: str) -> Path:
    library = folder / "stand_in.so"
    argv = ["gcc", "-shared", "-fPIC", "-O1", *flags, "-o", str(library), str(STAND_IN)]
    subprocess.run(argv, check=True, timeout=120)
    return library


def run(library: Path, workload: Workload = WORKLOAD) -> Result:
    return SmokeRun(workload, library).run()


def test_an_active_library_is_proven_in_parent_and_child(tmp_path: Path) -> None:
    result = run(compile_library(tmp_path))
    assert (result.state, result.reasons) == ("ok", [])
    assert {Path(process.exe).name for process in result.proven} == {"bash", "ls"}
    assert result.peak_kib_with > 0


def test_a_library_that_is_not_active_fails(tmp_path: Path) -> None:
    result = run(compile_library(tmp_path, "-DSILENT"))
    assert result.state == "FAIL"
    assert "library not active in bash (proof: stats)" in result.reasons


def test_a_library_that_is_heard_fails(tmp_path: Path) -> None:
    result = run(compile_library(tmp_path, "-DNOISY"))
    assert result.state == "FAIL"
    assert "stderr differs" in result.reasons[0]


def test_a_library_that_does_not_load_fails(tmp_path: Path) -> None:
    library = tmp_path / "text.so"
    library.write_text("no library\n")
    result = run(library)
    assert result.state == "FAIL"
    assert any("cannot be preloaded" in reason for reason in result.reasons)


def test_a_program_that_hangs_fails(tmp_path: Path) -> None:
    workload = dataclasses.replace(WORKLOAD, argv=("sleep", "1000"), seconds=0.5)
    result = run(compile_library(tmp_path), workload)
    assert "with the library: sleep: no end after 0.5 s" in result.reasons


@pytest.mark.parametrize("silent", [False, True])
def test_children_that_end_by_exit_are_proven_by_their_maps(
    root: Path, tmp_path: Path, silent: bool
) -> None:
    # The library writes nothing in a child that ends by _exit, so both kinds are the same here.
    (workload, _) = load_file(root / "workloads" / "python-fork.toml")
    result = run(compile_library(tmp_path, *(["-DSILENT"] if silent else [])), workload)
    assert (result.state, result.reasons) == ("ok", [])
    assert sum(process.how == "maps" for process in result.proven) == 4
    assert any(process.how == "stats" for process in result.proven) is not silent


def test_the_built_library_runs_ls(root: Path) -> None:
    library = root / "zig-out" / "lib" / "liballoc.so"
    if not library.is_file():
        pytest.skip("not built: ./dev build")
    (workload,) = load_file(root / "workloads" / "ls.toml")
    assert run(library, workload).reasons == []

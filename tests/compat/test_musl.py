"""COMPAT C57: the library under musl: preloaded, linked statically, opened by dlopen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.native import Native, Outcome, Subject, skip_missing

SOURCE = Path(__file__).resolve().parent / "src" / "musl_modes.c"
CASES = ["is_liballoc", "threads", "forks", "aligned", "libc_allocates", "errno_says_no_memory"]


class Musl(Native):
    """Compiles with Debian's musl-gcc."""

    def compiler(self, *, cxx: bool) -> list[str]:
        """There is no C++ library for it."""
        assert not cxx
        return ["musl-gcc"]

    def build_with_archive_last(self, archive: Path) -> Path:
        """The program with the archive behind libc on the command line."""
        return self._compile(SOURCE, [], ["-static", "-lc", str(archive)], "")


@pytest.fixture(scope="session")
def musl(tmp_path_factory: pytest.TempPathFactory) -> Musl:
    """The compiler and runner; skips where the package musl-tools is missing."""
    if shutil.which("musl-gcc") is None:
        skip_missing("missing package: musl-tools")
    return Musl(tmp_path_factory.mktemp("musl"))


def check(outcome: Outcome) -> None:
    assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending


@pytest.mark.parametrize("case", CASES)
def test_C57_preloaded(musl: Musl, preloaded: Subject, case: str) -> None:
    program = musl.build(SOURCE)
    assert b"ld-musl" in program.read_bytes()
    check(musl.run(program, case, subject=preloaded))


@pytest.mark.parametrize("case", CASES)
def test_C57_static(musl: Musl, static_library: Path, case: str) -> None:
    program = musl.build(SOURCE, Subject("static", static_library))
    assert b"ld-musl" not in program.read_bytes()
    check(musl.run(program, case))


@pytest.mark.parametrize("case", CASES)
def test_C57_archive_in_a_dynamic_program(musl: Musl, static_library: Path, case: str) -> None:
    check(musl.run(musl.build(SOURCE, Subject("archive", static_library)), case))


@pytest.mark.parametrize("file", ["library", "debug_library"])
def test_C57_dlopen_is_refused_cleanly(
    musl: Musl, file: str, request: pytest.FixtureRequest
) -> None:
    # musl keeps no room for initial-exec TLS of libraries that come late, not for a word of it.
    path = request.getfixturevalue(file)
    outcome = musl.run(musl.build(SOURCE), "by_dlopen", path)
    assert outcome.status == 1
    assert "initial-exec TLS resolves to dynamic definition" in outcome.stderr


def test_C57_dlopen_of_what_was_preloaded(musl: Musl, preloaded: Subject) -> None:
    path = preloaded.file
    assert path is not None
    check(musl.run(musl.build(SOURCE), "by_dlopen", path, subject=preloaded))


def test_C57_static_behind_libc(musl: Musl, static_library: Path) -> None:
    # An archive that comes too late brings nothing: all of it is musl's, never half of it.
    program = musl.build_with_archive_last(static_library)
    for case in CASES[1:]:
        check(musl.run(program, case))
    assert musl.run(program, CASES[0]).status == 1


def test_C57_musl_runs_on_its_own(musl: Musl) -> None:
    # The proof of the cases themselves.
    for case in CASES[1:]:
        check(musl.run(musl.build(SOURCE), case))
    assert musl.run(musl.build(SOURCE), CASES[0]).status == 1

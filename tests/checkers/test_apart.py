"""liballoc-apart under Valgrind and AddressSanitizer: malloc is theirs, and its own blocks are told
to them, with no option and in both forms.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkers.checkers import ASAN_FLAGS, ERROR_STATUS, SOURCES, VALGRIND, can_sanitize
from tests.checkers.test_checkers import CLEAN, EXPECTED, tools
from tests.native import Native, Outcome, skip_missing

__all__ = ["tools"]  # The fixture: without a checker nothing here is run.

# The program's calls of malloc under the names of alloc.h, which are all that it knows then.
RENAMED = (
    "-Dmalloc=alloc_malloc", "-Dfree=alloc_free", "-Dcalloc=alloc_calloc",
    "-Drealloc=alloc_realloc", "-Daligned_alloc=alloc_aligned_alloc",
    "-Dmemalign=alloc_aligned_alloc", "-Dmalloc_usable_size=alloc_usable_size",
)  # fmt: skip
FLAGS = {"errors.c": RENAMED, "heaps.c": (), "pools.c": ()}
ERRORS = [(source, case) for source in FLAGS for case in EXPECTED[source]]

Runner = Callable[..., Outcome]


@pytest.fixture(params=["shared", "archive"])
def run(
    request: pytest.FixtureRequest, native: Native, apart_library: Path, apart_archive: Path
) -> Runner:
    """Builds a program with one of the two forms, and runs a case of it."""
    shared = [str(apart_library), f"-Wl,-rpath,{apart_library.parent}"]
    link = shared if request.param == "shared" else [str(apart_archive)]

    def build_and_run(source: str, case: str, *flags: str) -> Outcome:
        program = native.build(SOURCES / source, flags=[*FLAGS[source], *flags], link=link)
        if flags:
            leaks = {"ASAN_OPTIONS": "detect_leaks=1"}
            return native.run(program, case, env=leaks, timeout=300)
        return native.run(VALGRIND[0], *VALGRIND[1:], program, case, timeout=300)

    return build_and_run


@pytest.mark.parametrize("source", FLAGS)
def test_clean_under_valgrind(run: Runner, source: str) -> None:
    outcome = run(source, "clean")
    assert outcome.status == 0, outcome.ending
    assert CLEAN in outcome.stderr


@pytest.mark.parametrize(("source", "case"), ERRORS, ids=lambda value: value)
def test_valgrind_reports(run: Runner, source: str, case: str) -> None:
    outcome = run(source, case)
    assert outcome.status == ERROR_STATUS, outcome.ending
    assert re.search(EXPECTED[source][case][0], outcome.stderr, re.DOTALL), outcome.stderr


@pytest.mark.parametrize("source", FLAGS)
def test_clean_under_asan(run: Runner, source: str) -> None:
    # No line about stepping aside either: it serves its own names.
    outcome = run(source, "clean", *ASAN_FLAGS)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "", ""), outcome.ending


@pytest.mark.parametrize(("source", "case"), ERRORS, ids=lambda value: value)
def test_asan_reports(run: Runner, source: str, case: str) -> None:
    expected = EXPECTED[source][case][1]
    outcome = run(source, case, *ASAN_FLAGS)
    if expected is None:
        assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending
        return
    assert outcome.status != 0
    assert re.search(expected, outcome.stderr), outcome.stderr


def test_asan_knows_blocks_of_malloc_that_only_we_hold(
    native: Native, apart_library: Path, tmp_path: Path
) -> None:
    source = tmp_path / "holds.c"
    source.write_text(
        "#include <alloc.h>\n#include <stdlib.h>\n"
        "static char **kept;\n"
        "int main(void) { kept = alloc_malloc(100); *kept = malloc(1234); alloc_free(malloc(1));\n"
        "return 0; }\n"
    )
    link = [str(apart_library), f"-Wl,-rpath,{apart_library.parent}"]
    include = f"-I{SOURCES.parents[2] / 'zig' / 'include'}"
    program = native.build(source, flags=[include, *ASAN_FLAGS], link=link)
    outcome = native.run(program, env={"ASAN_OPTIONS": "detect_leaks=1"})
    assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending


@pytest.mark.parametrize(("kind", "source"), [("thread", "heaps.c"), ("leak", "errors.c")])
def test_clean_under_other_sanitizers(
    native: Native, apart_library: Path, kind: str, source: str
) -> None:
    # ThreadSanitizer on one thread: it is not told that a block went from one to another.
    if not can_sanitize(kind):
        skip_missing(f"gcc has no -fsanitize={kind}")
    link = [str(apart_library), f"-Wl,-rpath,{apart_library.parent}"]
    flags = [*FLAGS[source], f"-fsanitize={kind}"]
    program = native.build(SOURCES / source, flags=flags, link=link)
    outcome = native.run(program, "clean", timeout=300)
    assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending

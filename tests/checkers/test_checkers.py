"""Programs with liballoc.a under Valgrind and AddressSanitizer: clean ones are, errors are seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.checkers.checkers import ASAN_FLAGS, ERROR_STATUS, OUR_MALLOC, Checked, missing
from tests.native import Native, cases_of, skip_missing

SOURCES = Path(__file__).resolve().parent / "src"
PROGRAMS = ("errors.c", "heaps.c", "operators.cpp", "pools.c")
CLEAN_CASES = [
    ("errors.c", "clean"),
    ("heaps.c", "clean"),
    ("heaps.c", "clean_stale_handle"),
    ("operators.cpp", "clean"),
    ("operators.cpp", "clean_aligned"),
    ("pools.c", "clean"),
]
CLEAN = "ERROR SUMMARY: 0 errors from 0 contexts"

# Case: what Valgrind says, what AddressSanitizer or liballoc says (None: it cannot see it).
WRITE, POISON = r"Invalid write of size 1", r"AddressSanitizer: use-after-poison"
READ = r"Invalid read of size 1"
EXPECTED: dict[str, dict[str, tuple[str, str | None]]] = {
    "errors.c": {
        "overflow_by_one": (WRITE + r".* is 0 bytes after a block of size 13 alloc'd", POISON),
        "overflow_of_a_whole_class": (READ + r".* 0 bytes after a block of size 64 ", POISON),
        "overflow_of_calloc": (READ + r".* 0 bytes after a block of size 100,000 ", POISON),
        "overflow_of_aligned": (WRITE + r".* 0 bytes after a block of size 100 ", POISON),
        "overflow_of_large": (WRITE + r".* 0 bytes after a block of size 5,242,880 ", POISON),
        "overflow_of_huge": (WRITE + r".* 0 bytes after a block of size 52,428,800 ", POISON),
        "overflow_after_shrinking": (WRITE + r".* 0 bytes after a block of size 25 ", POISON),
        "underflow": (WRITE + r".* 1 bytes before a block of size 13 ", POISON),
        "use_after_free": (WRITE + r".* 2 bytes inside a block of size 13 free'd", POISON),
        "use_after_realloc": (WRITE + r".* 2 bytes inside a block of size 100 free'd", POISON),
        "double_free": (r"Invalid free\(\).*size 13 free'd", r"liballoc: free\(.*: double free"),
        "interior_free": (
            r"Invalid free\(\).* 16 bytes inside a block of size 64 alloc'd",
            r"liballoc: free\(.*: interior pointer",
        ),
        "uninitialised": (r"Conditional jump or move depends on uninitialised", None),
        "leak": (r"1,234 bytes in 1 blocks are definitely lost", None),
    },
    "heaps.c": {
        "overflow_by_one": (WRITE + r".* is 0 bytes after a block of size 13 alloc'd", POISON),
        "use_after_destroy": (READ + r".* 2 bytes inside a block of size 13 free'd", POISON),
        "use_after_free": (WRITE + r".* 2 bytes inside a block of size 13 free'd", POISON),
    },
    "operators.cpp": {
        "overflow_of_new": (WRITE + r".* 0 bytes after a block of size 27 ", POISON),
        "overflow_of_aligned_new": (WRITE + r".* 0 bytes after a block of size 27 ", POISON),
    },
    "pools.c": {
        "overflow_of_pool": (WRITE + r".* 0 bytes after a block of size 13 client-", POISON),
        "overflow_of_mapped_pool": (READ + r".* 0 bytes after a block of size 64 client-", POISON),
        "underflow_of_pool": (WRITE + r".* 1 bytes before a block of size 64 client-", POISON),
        "use_after_pool_free": (WRITE + r".* run_use_after_pool_free", POISON),
        "overflow_of_fallback": (WRITE + r".* 0 bytes after a block of size 13 alloc'd", POISON),
        "overflow_of_shared_pool": (WRITE + r".* 0 bytes after a block of size 24 client", POISON),
        "use_after_shared_pool_free": (WRITE + r".* run_use_after_shared_pool_free", POISON),
        "overflow_of_router": (WRITE + r".* 0 bytes after a block of size 40 alloc'd", POISON),
        "overflow_of_medium_in_router": (READ + r".* 0 bytes after a block of size 300 ", POISON),
        "overflow_of_prepared_router": (WRITE + r".* 0 bytes after a block of size 13 ", POISON),
        "overflow_of_arena": (WRITE + r".* 0 bytes after a block of size 13 client-", POISON),
        "overflow_of_aligned_in_arena": (READ + r".* 0 bytes after a block of size 64 ", POISON),
        "use_after_arena_reset": (WRITE + r".* run_use_after_arena_reset", POISON),
        "use_after_arena_rewind": (WRITE + r".* run_use_after_arena_rewind", POISON),
    },
}
ERRORS = [(source, case) for source, cases in EXPECTED.items() for case in cases]


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Skip where Valgrind or libasan is missing, unless that is forbidden."""
    absent = missing()
    if absent:
        skip_missing(f"missing packages: {' '.join(absent)}")


@pytest.fixture(scope="session")
def checked(native: Native, static_library: Path) -> Checked:
    """Programs with the archive under test."""
    return Checked(native, static_library)


def test_every_case_is_expected() -> None:
    for program in PROGRAMS:
        cases = {case.name for case in cases_of(SOURCES / program)}
        clean = {case for source, case in CLEAN_CASES if source == program}
        assert cases == {*clean, *EXPECTED[program]}


@pytest.mark.parametrize(("source", "case"), CLEAN_CASES)
def test_clean_under_valgrind(checked: Checked, source: str, case: str) -> None:
    outcome = checked.valgrind(source, case, OUR_MALLOC)
    assert outcome.status == 0, outcome.ending
    assert CLEAN in outcome.stderr
    assert "All heap blocks were freed" in outcome.stderr
    # Valgrind knows of the blocks: it was our malloc, and it told.
    counted = re.search(r"total heap usage: ([\d,]+) allocs, ([\d,]+) frees", outcome.stderr)
    assert counted is not None
    # Objects that go with their arena or pool all at once are not counted as freed.
    assert counted[1] == counted[2] or source == "pools.c"
    assert int(counted[1].replace(",", "")) > 400


@pytest.mark.parametrize("source", PROGRAMS)
def test_clean_under_valgrinds_own_malloc(checked: Checked, source: str) -> None:
    # The default: Valgrind replaces malloc, ours is not called. Not so the aligned operator new
    # (Valgrind 3.19), whose blocks its operator delete does not know.
    outcome = checked.valgrind(source, "clean")
    assert outcome.status == 0, outcome.ending
    assert CLEAN in outcome.stderr


@pytest.mark.parametrize(("source", "case"), ERRORS, ids=lambda value: value)
def test_valgrind_reports(checked: Checked, source: str, case: str) -> None:
    outcome = checked.valgrind(source, case, OUR_MALLOC)
    assert outcome.status == ERROR_STATUS, outcome.ending
    assert re.search(EXPECTED[source][case][0], outcome.stderr, re.DOTALL), outcome.stderr
    assert "ERROR SUMMARY: 1 errors from 1 contexts" in outcome.stderr


def test_valgrind_by_default_reports_too(checked: Checked) -> None:
    outcome = checked.valgrind("errors.c", "overflow_by_one")
    assert outcome.status == ERROR_STATUS
    assert re.search(EXPECTED["errors.c"]["overflow_by_one"][0], outcome.stderr, re.DOTALL)


def test_preloaded_under_valgrind(native: Native, library: Path) -> None:
    program = native.build(SOURCES / "errors.c")
    for case, status in (("clean", 0), ("overflow_by_one", ERROR_STATUS)):
        arguments = (f"--error-exitcode={ERROR_STATUS}", OUR_MALLOC, program, case)
        preload = {"LD_PRELOAD": str(library)}
        outcome = native.run("valgrind", *arguments, env=preload, timeout=300)
        assert outcome.status == status, outcome.ending
        assert "liballoc.so" in outcome.stderr or status == 0, outcome.stderr


@pytest.mark.parametrize(("source", "case"), CLEAN_CASES)
@pytest.mark.parametrize("flags", [(), ("-static-libasan",)], ids=["shared", "static"])
def test_clean_under_asan(checked: Checked, source: str, case: str, flags: tuple[str, ...]) -> None:
    outcome = checked.asan(source, case, *flags)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "", ""), outcome.ending


@pytest.mark.parametrize(("source", "case"), ERRORS, ids=lambda value: value)
def test_asan_reports(checked: Checked, source: str, case: str) -> None:
    expected = EXPECTED[source][case][1]
    outcome = checked.asan(source, case)
    if expected is None:
        # Not its business, or not its heap: it must not be confused by it either.
        assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending
        return
    assert outcome.status != 0
    assert re.search(expected, outcome.stderr), outcome.stderr


def test_asan_without_whole_archive_keeps_its_own_malloc(
    checked: Checked, static_library: Path
) -> None:
    # libasan comes first on gcc's link line and defines malloc: the archive is not looked into.
    link = [*ASAN_FLAGS, str(static_library)]
    program = checked.native.build(SOURCES / "errors.c", flags=link)
    outcome = checked.native.run(program, "overflow_by_one")
    assert "heap-buffer-overflow" in outcome.stderr


def test_the_documents_transcript_is_what_comes_out(checked: Checked) -> None:
    from tests.checkers.transcript import BEGIN, DOCUMENT, END, generate

    written = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    assert written == generate(checked)

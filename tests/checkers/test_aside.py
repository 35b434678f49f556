"""COMPAT C19: preloaded into a program with a sanitizer, the library steps aside with one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkers.checkers import SOURCES, can_sanitize
from tests.native import Native, Outcome, skip_missing

LINE = "liballoc: {} is in this process: stepping aside, its malloc serves"
SANITIZERS = {
    "address": "AddressSanitizer",
    "thread": "ThreadSanitizer",
    "leak": "LeakSanitizer",
}


def run(native: Native, library: Path, kind: str, source: str, case: str) -> Outcome:
    """A program with a sanitizer, and the library preloaded."""
    if not can_sanitize(kind):
        skip_missing(f"gcc has no -fsanitize={kind}")
    program = native.build(SOURCES / source, flags=[f"-fsanitize={kind}"])
    return native.run(program, case, env={"LD_PRELOAD": str(library)}, timeout=300)


@pytest.mark.parametrize("source", ["errors.c", "operators.cpp"])
@pytest.mark.parametrize("kind", SANITIZERS)
def test_C19_clean_with_one_line(native: Native, library: Path, kind: str, source: str) -> None:
    outcome = run(native, library, kind, source, "clean")
    lines = outcome.stderr.splitlines()
    assert (outcome.status, lines) == (0, [LINE.format(SANITIZERS[kind])]), outcome.ending


@pytest.mark.parametrize(
    ("kind", "case", "report"),
    [
        ("address", "overflow_by_one", "heap-buffer-overflow"),
        ("address", "overflow_of_aligned", "heap-buffer-overflow"),
        ("address", "use_after_free", "heap-use-after-free"),
        ("address", "double_free", "attempting double-free"),
        ("address", "leak", "1234 byte(s) leaked in 1 allocation(s)"),
        ("leak", "leak", "1234 byte(s) leaked in 1 allocation(s)"),
        ("thread", "use_after_free", "heap-use-after-free"),
    ],
)
def test_C19_the_sanitizer_sees_its_own_heap(
    native: Native, library: Path, kind: str, case: str, report: str
) -> None:
    outcome = run(native, library, kind, "errors.c", case)
    assert outcome.status != 0
    assert report in outcome.stderr, outcome.stderr
    assert outcome.stderr.startswith(LINE.format(SANITIZERS[kind]))


def test_C19_linked_beside_asan(native: Native, library: Path) -> None:
    # libasan comes first then, and alloc.h's functions hand out its blocks.
    link = ["-fsanitize=address", str(library), f"-Wl,-rpath,{library.parent}"]
    program = native.build(SOURCES / "errors.c", flags=link)
    outcome = native.run(program, "overflow_by_one")
    assert "heap-buffer-overflow" in outcome.stderr

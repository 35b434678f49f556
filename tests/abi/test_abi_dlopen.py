"""dlopen: plugins, liballoc itself opened late, and blocks of a heap that is not ours."""

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.native import Case, Native, Outcome, Subject

SOURCES = Path(__file__).resolve().parent / "src"
PROGRAM = SOURCES / "plugins.c"
CTYPES = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.alloc_malloc.restype = ctypes.c_void_p
library.alloc_malloc.argtypes = [ctypes.c_size_t]
library.alloc_usable_size.restype = ctypes.c_size_t
library.alloc_usable_size.argtypes = [ctypes.c_void_p]
library.alloc_free.argtypes = [ctypes.c_void_p]
blocks = [library.alloc_malloc(size) for size in range(0, 100000, 77)]
assert all(blocks) and len(set(blocks)) == len(blocks)
for number, block in enumerate(blocks):
    assert library.alloc_usable_size(block) >= number * 77
    ctypes.memset(block, 1, number * 77)
    library.alloc_free(block)
print("fine")
"""


@pytest.fixture(scope="session")
def plugin(native: Native) -> Path:
    """A shared object that allocates."""
    return native.plugin(SOURCES / "plugins" / "allocates.c")


def run(
    native: Native, name: str, subject: Subject, opened: Path, conf: str | None = None
) -> Outcome:
    env = {} if conf is None else {"ALLOC_CONF": conf}
    return native.run(native.build(PROGRAM, subject), name, opened, subject=subject, env=env)


def check(outcome: Outcome) -> None:
    assert outcome.status == 0, outcome.ending


def test_C16_plugin_on_glibc(native: Native, glibc: Subject, plugin: Path) -> None:
    check(run(native, "C16_plugin_shares_the_heap", glibc, plugin))


def test_C16_plugin(native: Native, preloaded: Subject, plugin: Path) -> None:
    check(run(native, "C16_plugin_shares_the_heap", preloaded, plugin))


@pytest.mark.parametrize("file", ["library", "debug_library"])
def test_C16_liballoc_opened_late(
    native: Native, glibc: Subject, file: str, request: pytest.FixtureRequest
) -> None:
    check(run(native, "C16_liballoc_by_dlopen", glibc, request.getfixturevalue(file)))


@pytest.mark.parametrize("file", ["library", "debug_library"])
def test_C16_liballoc_through_ctypes(
    native: Native, file: str, request: pytest.FixtureRequest
) -> None:
    outcome = native.run(sys.executable, "-c", CTYPES, request.getfixturevalue(file))
    assert (outcome.status, outcome.stdout) == (0, "fine\n"), outcome.ending


@pytest.mark.parametrize("conf", [None, "foreign:forward"])
@pytest.mark.parametrize(
    "name", ["C17_foreign_free_is_forwarded", "C17_foreign_realloc_is_forwarded"]
)
def test_C17_foreign_blocks_are_forwarded(
    native: Native, preloaded: Subject, plugin: Path, name: str, conf: str | None
) -> None:
    check(run(native, name, preloaded, plugin, conf))


def test_C17_foreign_blocks_can_be_ignored(
    native: Native, preloaded: Subject, plugin: Path
) -> None:
    check(run(native, "C17_foreign_free_is_ignored", preloaded, plugin, "foreign:ignore"))


def test_ignoring_is_not_the_default(native: Native, preloaded: Subject, plugin: Path) -> None:
    outcome = run(native, "C17_foreign_free_is_ignored", preloaded, plugin)
    assert outcome.status == 1, outcome.ending


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("C17_foreign_free_aborts", "free"),
        ("C17_foreign_realloc_aborts", "realloc"),
        ("C17_foreign_usable_size_aborts", "malloc_usable_size"),
    ],
)
def test_C17_foreign_blocks_can_abort(
    native: Native, preloaded: Subject, plugin: Path, name: str, function: str
) -> None:
    outcome = run(native, name, preloaded, plugin, "foreign:abort")
    assert outcome.status == -signal.SIGABRT, outcome.ending
    pointer = outcome.stdout.strip()
    line = rf"liballoc: {function}\({re.escape(pointer)}\): foreign pointer\n"
    assert re.fullmatch(line, outcome.stderr), outcome.stderr


def test_default_forward_is_what_the_abort_test_turns_off(
    native: Native, preloaded: Subject, plugin: Path
) -> None:
    check(run(native, "C17_foreign_free_aborts", preloaded, plugin))


def test_cases_exist() -> None:
    # The names above are strings: each must be a case of the program.
    source = PROGRAM.read_text()
    names = set(
        re.findall(r'"(C1[67]_(?:foreign|plugin|liballoc)_\w+)"', Path(__file__).read_text())
    )
    assert len(names) >= 8
    missing = [name for name in names if f"({name})" not in source]
    assert missing == []
    assert (
        Case(PROGRAM, "C16_plugin_shares_the_heap", True).id == "plugins.C16_plugin_shares_the_heap"
    )

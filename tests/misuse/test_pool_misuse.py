"""Misuse of pools: one line that names the object and the places, and SIGABRT."""

import signal
from pathlib import Path

import pytest

from tests.misuse.table import FOLDER
from tests.native import Case, Native, Subject, cases_of

SOURCE = FOLDER / "src" / "pools.c"
SHARED = FOLDER / "src" / "shared_pools.c"


@pytest.mark.parametrize("which", ["library", "debug_library"])
@pytest.mark.parametrize("case", cases_of(SOURCE), ids=lambda case: case.name)
def test_reported(case: Case, which: str, native: Native, request: pytest.FixtureRequest) -> None:
    program = native.build(SOURCE, Subject("linked", request.getfixturevalue(which)))
    ending = native.run(program, case.name)
    assert ending.status == -signal.SIGABRT, ending.ending
    assert ending.stdout.startswith("liballoc: ")
    if which == "debug_library":
        # There what plain pools do not know of an object is known.
        known = ending.stderr.replace(", allocated at", "\0").split("\0")[0].rstrip("\n")
        assert known == ending.stdout.split(", allocated at")[0].rstrip("\n"), ending.ending
    else:
        assert ending.stderr == ending.stdout, ending.ending


@pytest.mark.parametrize("case", cases_of(SHARED), ids=lambda case: case.name)
def test_shared_reported(case: Case, native: Native, debug_library: Path) -> None:
    program = native.build(SHARED, Subject("linked", debug_library))
    ending = native.run(program, case.name)
    assert ending.status == -signal.SIGABRT, ending.ending
    assert ending.stdout.startswith("liballoc: ")
    assert ending.stderr == ending.stdout, ending.ending

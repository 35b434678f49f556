"""One test a cell of the table misuse x level, and the table in ARCHITECTURE.md."""

import re
import signal
from pathlib import Path

import pytest

from tests.misuse.table import BEGIN, END, FOLDER, LEVELS, Misuse, Outcome, load, program, render
from tests.native import ROOT, Native, Subject
from tests.native import Outcome as Ending

ROWS = load()
ENDED_BY_LIBC = {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS}


@pytest.fixture(scope="session")
def misuse_program(native: Native, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rows as one program, a case each."""
    source = tmp_path_factory.mktemp("misuse") / "misuse.cpp"
    source.write_text(program(ROWS))
    return native.build(source, flags=[f"-I{FOLDER / 'src'}"])


def check_caught(expected: Outcome, ending: Ending) -> None:
    assert ending.status == -signal.SIGABRT, ending.ending
    pointer = ending.stdout.split()[0]
    line = f"liballoc: {expected.function}({pointer}): {expected.reason}\n"
    assert ending.stderr == line, ending.ending


def check(expected: Outcome, ending: Ending) -> None:
    if expected.kind == "caught":
        check_caught(expected, ending)
    elif expected.kind == "forwarded":
        assert ending.status in ENDED_BY_LIBC, ending.ending
        assert "liballoc:" not in ending.stderr, ending.ending
    elif expected.kind == "fault":
        assert ending.status == -signal.SIGSEGV, ending.ending
    else:
        assert ending.status == 0, ending.ending
        assert ending.stdout.endswith("whole\n"), ending.ending
        assert ending.stderr == "", ending.ending


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_cell(
    row: Misuse, level: str, native: Native, misuse_program: Path, request: pytest.FixtureRequest
) -> None:
    name, fixture = {"level0": ("release", "library"), "debug": ("debug", "debug_library")}[level]
    subject = Subject(name, request.getfixturevalue(fixture))
    env = {"ALLOC_CONF": row.conf} if row.conf else {}
    check(row.outcomes[level], native.run(misuse_program, row.id, subject=subject, env=env))


def test_harmless_rows_on_glibc(native: Native, misuse_program: Path, glibc: Subject) -> None:
    # What the table calls harmless everywhere, the program itself must survive on any malloc.
    rows = [row for row in ROWS if row.outcomes["level0"].kind == "harmless" and not row.conf]
    assert rows
    for row in rows:
        check(row.outcomes["level0"], native.run(misuse_program, row.id, subject=glibc))


def test_names_are_unique() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert len({row.what for row in ROWS}) == len(ROWS)
    assert all(re.fullmatch(r"(C\d\d_)?[a-z_]+", row.id) for row in ROWS)


def test_table_in_the_architecture_document() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert text.count(BEGIN) == text.count(END) == 1, "the markers are missing"
    table = text[text.index(BEGIN) : text.index(END) + len(END)]
    assert table == render(), "paste the output of `python tests/misuse/table.py`"


def test_a_wrong_outcome_is_refused() -> None:
    for text in ("", "caught", "noticed", "silent: no", "harmless x"):
        with pytest.raises(ValueError, match="is no outcome"):
            Outcome.parse(text)

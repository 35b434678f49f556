"""The mutations do not rot: each applies, names tests that exist, and no P0 row is without one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator

from tests.mutations import catalogue
from tests.tidy import sources

TESTS = sources.ROOT / "tests"
ROWS = TESTS / "compat" / "rows.toml"
LABEL = re.compile(r"(?<![A-Za-z0-9])(?:test_)?(C\d\d)_\w|\"(C\d\d)\": \{")


# What tests of the harness itself say of rows is no test of a row.
NOT_OF_ROWS = ("unit", "tidy", "mutations")
# Where a row has many tests, each of which guards something else.
APART = ("checkers", "cross", "faults")
# A test function of Python or a case of C, with the row or rows that it begins with.
NAMED = re.compile(r"(?:def test_|(?:CASE|OURS)\()((?:C\d\d_)+\w+)")
ROW = re.compile(r"C\d\d(?=_)")


def texts(folders: Iterable[str], suffixes: set[str]) -> Iterator[str]:
    """Of every test file below the folders."""
    for folder in folders:
        for path in sorted((TESTS / folder).rglob("*")):
            if path.suffix in suffixes or path.name == "table.toml":
                yield path.read_text()


def rows_with_tests() -> set[str]:
    """Ids that stand before the name of a test or of a case."""
    folders = [path.name for path in TESTS.iterdir() if path.name not in NOT_OF_ROWS]
    found: set[str] = set()
    for text in texts(folders, {".py", ".c", ".cpp"}):
        found |= {match[1] or match[2] for match in LABEL.finditer(text)}
        found |= {row for name in NAMED.findall(text) for row in ROW.findall(name)}
    return found


def release_blockers() -> set[str]:
    """Rows of priority 0."""
    return {row["id"] for row in tomllib.loads(ROWS.read_text())["row"] if row["priority"] == 0}


def test_every_mutation_applies() -> None:
    for mutation in catalogue.load():
        changed = mutation.applied((sources.ROOT / mutation.file).read_text())
        assert mutation.replace in changed, mutation.name
        assert mutation.find != mutation.replace, mutation.name


def test_every_mutation_names_tests_that_exist() -> None:
    labelled = rows_with_tests()
    for mutation in catalogue.load():
        missing = [name for name in mutation.tests if not (sources.ROOT / name).exists()]
        assert not missing, mutation.name
        assert set(mutation.rows) <= labelled, mutation.name


def test_every_p0_row_with_a_test_has_a_mutation() -> None:
    wanted = release_blockers() & rows_with_tests()
    assert len(wanted) > 20
    broken = {row for mutation in catalogue.load() for row in mutation.rows}
    assert sorted(wanted - broken) == []


def test_every_p0_test_of_faults_and_machines_has_a_mutation() -> None:
    """In the folders of APART it is not enough that some mutation breaks the row.

    The rule: each test or case whose name begins with a row of priority 0 is named, in full, by the
    `select` of a mutation of that row, and that mutation selects no other test: it names no other,
    and a "[" follows where another test's name goes on.
    """
    found = {name for text in texts(APART, {".py", ".c"}) for name in NAMED.findall(text)}
    proven = set()
    for mutation in catalogue.load():
        names = re.findall(r"(?:C\d\d_)+\w+", mutation.select)
        if len(names) != 1:
            continue
        goes_on = any(other != names[0] and other.startswith(names[0]) for other in found)
        if not goes_on or f"{names[0]}[" in mutation.select:
            proven |= {(row, names[0]) for row in mutation.rows}
    blockers = release_blockers()
    wanted = {(row, name) for name in found for row in set(ROW.findall(name)) & blockers}
    assert len(wanted) > 15
    assert sorted(wanted - proven) == []

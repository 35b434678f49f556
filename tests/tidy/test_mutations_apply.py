"""The mutations do not rot: each applies, names tests that exist, and no P0 row is without one."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.mutations import catalogue
from tests.tidy import sources

TESTS = sources.ROOT / "tests"
ROWS = TESTS / "compat" / "rows.toml"
LABEL = re.compile(r"(?<![A-Za-z0-9])(?:test_)?(C\d\d)_\w|\"(C\d\d)\": \{")


def rows_with_tests() -> set[str]:
    """Ids that stand before the name of a test or of a case."""
    found: set[str] = set()
    for folder in ("abi", "compat", "elf", "misuse"):
        for path in (TESTS / folder).rglob("*"):
            if path.suffix in {".py", ".c", ".cpp"} or path.name == "table.toml":
                found |= {match[1] or match[2] for match in LABEL.finditer(path.read_text())}
    return found


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


@pytest.mark.skipif(not ROWS.is_file(), reason="the rows are not listed here yet")
def test_every_p0_row_with_a_test_has_a_mutation() -> None:
    rows = tomllib.loads(ROWS.read_text())["row"]
    wanted = {row["id"] for row in rows if row["priority"] == 0} & rows_with_tests()
    assert len(wanted) > 20
    broken = {row for mutation in catalogue.load() for row in mutation.rows}
    assert sorted(wanted - broken) == []

"""docs/compat.md is what rows.toml and the tests say, and every row is accounted for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.compat import table
from tests.compat.table import Row

JUNIT = """<testsuites><testsuite>
<testcase classname="a" name="test_C01_one[release]"/>
<testcase classname="a" name="test_C01_one[debug]"><skipped type="pytest.skip" message="why"/>
</testcase>
<testcase classname="a" name="test_preloaded[errno.C02_two]"><failure message="x"/></testcase>
<testcase classname="a" name="test_C02_three"><skipped type="pytest.xfail" message="slow"/>
</testcase>
<testcase classname="a" name="test_without_a_row"/>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """Row id -> its tests, as they are in this checkout."""
    return table.labels_of(table.collect())


@pytest.fixture(scope="module")
def document() -> str:
    """docs/compat.md."""
    assert table.DOCUMENT.is_file(), "docs/compat.md is missing: ./dev compat"
    return table.DOCUMENT.read_text()


def cells(document: str) -> dict[str, list[str]]:
    """Row id -> the cells of its line."""
    lines = re.findall(r"^\| (C\d\d \|.*) \|$", document, re.MULTILINE)
    rows = [re.split(r" (?<!\\)\| ", line) for line in lines]
    return {row[0]: row for row in rows}


def test_every_row_once_in_order() -> None:
    ids = [row.id for row in table.load_rows()]
    assert ids == [f"C{number:02}" for number in range(1, 71)]


def test_tests_belong_to_rows(labels: dict[str, set[str]]) -> None:
    assert set(labels) <= {row.id for row in table.load_rows()}


def test_document_is_not_stale(labels: dict[str, set[str]], document: str) -> None:
    found = cells(document)
    rows = table.load_rows()
    assert list(found) == [row.id for row in rows], "run ./dev compat"
    for row in rows:
        what = row.what.replace("|", "\\|")
        tests = table.tests_cell(labels.get(row.id, set()))
        assert found[row.id][1:4] == [str(row.priority), what, tests], "run ./dev compat"
        for text in (row.note, row.missing):
            assert text in document, "run ./dev compat"


def test_document_has_no_failure(document: str) -> None:
    assert table.FAILED not in document


def test_a_row_without_tests_says_why(labels: dict[str, set[str]]) -> None:
    silent = [row.id for row in table.load_rows() if row.id not in labels and not row.missing]
    assert silent == [], "write a test, or why there is none into rows.toml"


def test_results_are_read(tmp_path: Path) -> None:
    results = tmp_path / "results.xml"
    results.write_text(JUNIT)
    names, ended = table.read_results(results)
    assert len(names) == 5
    rows = [Row("C01", 0, "one"), Row("C02", 1, "two | or", note="n"), Row("C03", 2, "x", "", "m")]
    text = table.render(rows, table.labels_of(names), ended, "here")
    assert "| C01 | 0 | one | `C01_one` | passed (1), not shown here (1) |" in text
    tests = "`C02_three`, `C02_two`"
    assert f"| C02 | 1 | two \\| or | {tests} | FAILED (1), does not hold (1) |" in text
    assert "| C03 | 2 | x |  | no test |" in text
    assert "- **C02** (P1): n; does not hold: slow." in text
    assert "- **C03** (P2): m." in text


def test_names_that_are_no_ids() -> None:
    names = ["test_C123_no", "test_XC12_no", "test_c12_no", "test_C12", "x[a-C44_yes]"]
    assert table.labels_of(names) == {"C44": {"C44_yes"}}
    both = {"C48_C47_two_rows"}
    assert table.labels_of(["test_C48_C47_two_rows"]) == {"C48": both, "C47": both}


@pytest.mark.parametrize("arguments", [["/nowhere/results.xml"], ["a", "b"]])
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1

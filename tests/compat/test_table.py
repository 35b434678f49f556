"""docs/compat.md is what rows.toml and the tests say, and every row is accounted for."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.compat import table
from tests.compat.table import Row

JUNIT = """<testsuites><testsuite>
<testcase classname="a" name="test_C01_one[release]"/>
<testcase classname="a" name="test_C01_one[debug]"><skipped type="pytest.skip" message="why"/>
</testcase>
<testcase classname="a" name="test_preloaded[errno.C02_two]"><failure message="x"/></testcase>
<testcase classname="a" name="test_C02_three[C02_four]"/>
<testcase classname="a" name="test_C02_three"><skipped type="pytest.xfail" message="slow"/>
</testcase>
<testcase classname="a" name="test_without_a_row"/>
</testsuite></testsuites>"""


LINE = re.compile(r"^\| (C\d\d \|.*) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def labels() -> dict[str, Counter[str]]:
    """Row id -> its tests and how many there are of each, as they are in this checkout."""
    return table.count_labels(table.collect())


@pytest.fixture(scope="module")
def document() -> str:
    """docs/compat.md."""
    assert table.DOCUMENT.is_file(), "docs/compat.md is missing: ./dev compat"
    return table.DOCUMENT.read_text()


def cells(part: str) -> list[list[str]]:
    """The lines of a table, each as its cells."""
    return [re.split(r" (?<!\\)\| ", line) for line in LINE.findall(part)]


def total(status: str) -> int:
    """How many runs a status counts."""
    return sum(map(int, re.findall(r"\d+", status)))


def test_every_row_once_in_order() -> None:
    ids = [row.id for row in table.load_rows()]
    assert ids == [f"C{number:02}" for number in range(1, 71)]


def test_tests_belong_to_rows(labels: dict[str, Counter[str]]) -> None:
    assert set(labels) <= {row.id for row in table.load_rows()}


def test_no_folder_is_left_out(labels: dict[str, Counter[str]], root: Path) -> None:
    # Every function that is named by a row, wherever it is.
    texts = [path.read_text() for path in root.glob("tests/**/test_*.py")]
    named = {name for text in texts for name in re.findall(r"^def test_(C\d\d_\w+)", text, re.M)}
    assert len(named) > 100
    assert named <= {name for tests in labels.values() for name in tests}


def test_long_forms_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTS_LONG", "1")
    _, environment = table.pytest_command(table.load_rows())
    assert "FAULTS_LONG" not in environment
    assert "PATH" in environment


def test_document_is_not_stale(labels: dict[str, Counter[str]], document: str) -> None:
    overview, _, tests = document.partition(f"## {table.EACH_TEST}\n")
    rows = table.load_rows()
    expected = [
        [row.id, str(row.priority), row.what.replace("|", "\\|"), str(len(labels.get(row.id, ())))]
        for row in rows
    ]
    assert [line[:4] for line in cells(overview)] == expected, "run ./dev compat"
    for row in rows:
        for text in (row.note, row.missing):
            assert text in document, "run ./dev compat"
    # Names and counts: what can be known without running the tests.
    found = [(line[0], line[1].strip("`"), total(line[2])) for line in cells(tests)]
    counts = [(row.id, *each) for row in rows for each in sorted(labels.get(row.id, {}).items())]
    assert found == counts, "run ./dev compat"


def test_statuses_of_a_row_are_those_of_its_tests(document: str) -> None:
    overview, _, tests = document.partition(f"## {table.EACH_TEST}\n")
    sums: dict[str, Counter[str]] = {line[0]: Counter() for line in cells(overview)}
    for row, _, status in cells(tests):
        for word, count in re.findall(r"([\w ]+?) (\d+)(?:, )?", status):
            sums[row][word] += int(count)
    for line in cells(overview):
        assert line[4] == table.status(sums[line[0]]), line[0]


def test_document_has_no_failure(document: str) -> None:
    assert table.FAILED not in document


def test_a_row_without_tests_says_why(labels: dict[str, Counter[str]]) -> None:
    silent = [row.id for row in table.load_rows() if row.id not in labels and not row.missing]
    assert silent == [], "write a test, or why there is none into rows.toml"


def test_readme_names_the_rows_without_tests(document: str, root: Path) -> None:
    readme = (root / "README.md").read_text()
    silent = [row.id for row in table.load_rows() if row.missing]
    unfulfilled = [line[0] for line in cells(document) if table.EXPECTED in line[-1]]
    assert silent
    _, _, limits = readme.partition("## What it does not do")
    for row in {*silent, *unfulfilled}:
        assert row in limits, row
    assert f"the tests of {70 - len(silent)} of them" in readme


def test_results_are_read(tmp_path: Path) -> None:
    results = tmp_path / "results.xml"
    results.write_text(JUNIT)
    ended = table.read_results(results)
    rows = [Row("C01", 0, "one"), Row("C02", 1, "two | or", note="n"), Row("C03", 2, "x", "", "m")]
    text = table.render(rows, ended, "here")
    assert "| C01 | 0 | one | 1 | passed 1, not shown here 1 |" in text
    assert "| C02 | 1 | two \\| or | 2 | FAILED 1, passed 1, does not hold 1 |" in text
    assert "| C03 | 2 | x | 0 | no test |" in text
    assert "- **C02** (P1): n; does not hold: slow." in text
    assert "- **C03** (P2): m." in text
    assert text.endswith(
        "| C01 | `C01_one` | passed 1, not shown here 1 |\n"
        "| C02 | `C02_three` | passed 1, does not hold 1 |\n"
        "| C02 | `C02_two` | FAILED 1 |\n"
    )


def test_names_that_are_no_ids() -> None:
    names = ["test_C123_no", "test_XC12_no", "test_c12_no", "test_C12", "x[a-C44_yes]"]
    assert table.count_labels(names) == {"C44": {"C44_yes": 1}}
    both = {"C48_C47_two_rows": 2}
    names = ["test_C48_C47_two_rows[a]", "test_C48_C47_two_rows[b]"]
    assert table.count_labels(names) == {"C48": both, "C47": both}


@pytest.mark.parametrize("arguments", [["/nowhere/results.xml"], ["a", "b"]])
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1

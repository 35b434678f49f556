"""The table of covered rows: rows.toml, the collected tests, and how they ended, as Markdown.

    python -m tests.compat.table                  # runs the tests, then writes docs/compat.md
    python -m tests.compat.table RESULTS.xml      # writes it from a JUnit file of such a run

A test belongs to the row whose id is in its name or in the name of its parameter: `test_C44_maps`,
`test_preloaded[release-errno_kept.C14_success]`.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
DOCUMENT = ROOT / "docs" / "compat.md"
RESULTS = ROOT / "zig-out" / "reports" / "compat.xml"
# Where tests with ids are.
TEST_FOLDERS = ("tests/abi", "tests/compat", "tests/cross", "tests/elf", "tests/misuse")
PRIORITIES = (0, 1, 2)
LABEL = re.compile(r"(?<![A-Za-z0-9])((?:C\d\d_)+)\w+")
# Longer lists of tests are cut: the command above the table names all of them.
TESTS_SHOWN_MAX = 6
PASSED, FAILED, SKIPPED, EXPECTED = "passed", "FAILED", "not shown here", "does not hold"


@dataclass(frozen=True)
class Row:
    """A row of rows.toml."""

    id: str
    priority: int
    what: str
    note: str = ""
    missing: str = ""


@dataclass
class Ended:
    """How the tests of one row ended: counts by outcome, and the reasons of those not passed."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: str, reason: str) -> None:
        """One test more."""
        self.counts[outcome] += 1
        if reason:
            self.reasons[reason] = outcome


def load_rows(path: Path = FOLDER / "rows.toml") -> list[Row]:
    """The rows in the order of the file; a faulty one is refused with its id."""
    rows = [Row(**row) for row in tomllib.loads(path.read_text())["row"]]
    for row in rows:
        if not re.fullmatch(r"C\d\d", row.id) or row.priority not in PRIORITIES or not row.what:
            raise ValueError(f"{path.name}: {row.id}: id, priority or text is wrong")
    return rows


def labels_of(names: Iterable[str]) -> dict[str, set[str]]:
    """Row id -> names of its tests, out of the names that pytest gives tests."""
    found: dict[str, set[str]] = {}
    for name in names:
        for match in LABEL.finditer(name.replace("test_C", "C")):
            for row in match[1].rstrip("_").split("_"):
                found.setdefault(row, set()).add(match[0])
    return found


def collect() -> list[str]:
    """The names of all tests that pytest collects."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--no-header"]
    done = subprocess.run(
        [*command, *TEST_FOLDERS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ValueError(f"pytest collects nothing:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def run_tests() -> Path:
    """Runs the tests, whatever comes of them; the JUnit file."""
    # The document is about to be written: that it is stale is no failure here.
    stale = ["--deselect", "tests/compat/test_table.py"]
    command = [sys.executable, "-m", "pytest", *TEST_FOLDERS, *stale, f"--junitxml={RESULTS}"]
    subprocess.run(command, cwd=ROOT, check=False)
    return RESULTS


def outcome_of(case: ElementTree.Element) -> tuple[str, str]:
    """The outcome of a test in a JUnit file, and the reason when it did not pass."""
    for kind in ("failure", "error"):
        if case.find(kind) is not None:
            return FAILED, ""
    skipped = case.find("skipped")
    if skipped is None:
        return PASSED, ""
    expected = skipped.get("type") == "pytest.xfail"
    return (EXPECTED if expected else SKIPPED), skipped.get("message") or ""


def read_results(path: Path) -> tuple[list[str], dict[str, Ended]]:
    """The names of all tests of a JUnit file, and row id -> how its tests ended."""
    ended: dict[str, Ended] = {}
    names = []
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name") or ""
        names.append(name)
        for row in labels_of([name]):
            ended.setdefault(row, Ended()).add(*outcome_of(case))
    return names, ended


def status(row: Row, ended: Ended | None) -> str:
    """The cell of the table."""
    if ended is None:
        return "no test"
    order = (FAILED, PASSED, EXPECTED, SKIPPED)
    return ", ".join(f"{word} ({ended.counts[word]})" for word in order if ended.counts[word])


def tests_cell(labels: set[str]) -> str:
    """The names of a row's tests, without the id that stands beside them."""
    names = [f"`{label}`" for label in sorted(labels)]
    more = len(names) - TESTS_SHOWN_MAX
    return ", ".join(names[:TESTS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def gaps(row: Row, ended: Ended | None) -> list[str]:
    """What is not shown of a row, in sentences."""
    found = [text for text in (row.missing, row.note) if text]
    for reason, outcome in sorted((ended.reasons if ended else {}).items()):
        found.append(f"{outcome}: {reason}")
    return found


def render(rows: list[Row], labels: dict[str, set[str]], ended: dict[str, Ended], host: str) -> str:
    """The document."""
    lines = [
        "# Compatibility: the rows, their tests, and how they ended", "",
        "Made by `nox -s compat` from `tests/compat/rows.toml` and the tests: do not edit.", "",
        f"{host}. P0: no release without it; P1: before 1.0; P2: written down. Numbers count",
        "tests. `pytest -k C44` runs those of a row. *does not hold*: a test shows that the row is",
        "not fulfilled yet, and goes red when that changes.", "",
        "| id | P | what | tests | status |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        cells = [row.id, str(row.priority), row.what, tests_cell(labels.get(row.id, set()))]
        cells.append(status(row, ended.get(row.id)))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "## What is not shown, or does not hold", ""]
    for row in rows:
        found = gaps(row, ended.get(row.id))
        if found:
            lines.append(f"- **{row.id}** (P{row.priority}): " + "; ".join(found) + ".")
    return "\n".join(lines) + "\n"


def host() -> str:
    """The machine that the statuses are from."""
    libc, version = platform.libc_ver()
    release = platform.release().split("-")[0]
    return f"Statuses are from Linux {release}, {platform.machine()}, {libc} {version}"


def main(arguments: list[str]) -> int:
    """Writes the document; 1 when a test failed, 2 for bad input."""
    if len(arguments) > 1:
        print("usage: python -m tests.compat.table [RESULTS.xml]", file=sys.stderr)
        return 2
    try:
        names, ended = read_results(Path(arguments[0]) if arguments else run_tests())
        rows = load_rows()
    except (OSError, ElementTree.ParseError, ValueError) as error:
        print(f"compat table: {error}", file=sys.stderr)
        return 2
    text = render(rows, labels_of(names), ended, host())
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(text)
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")
    failed = sorted(row for row, result in ended.items() if result.counts[FAILED])
    if failed:
        print(f"compat table: tests failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The table of covered rows: rows.toml, the collected tests, and how they ended, as Markdown.

    python -m tests.compat.table                  # runs the tests, then writes docs/compat.md
    python -m tests.compat.table RESULTS.xml      # writes it from a JUnit file of such a run

A test belongs to the row whose id is in its name or in the name of its parameter: `test_C44_maps`,
`test_preloaded[release-errno_kept.C14_success]`.
"""

from __future__ import annotations

import os
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
TEST_FILES = "tests/*/test_*.py"
# These make other tests than the short form's, whose outcomes the document has.
LONG_FORMS = ("FAULTS_LONG", "FAULTS_FORKS", "FAULTS_SEED")
PRIORITIES = (0, 1, 2)
LABEL = re.compile(r"(?<![A-Za-z0-9])((?:C\d\d_)+)\w+")
PASSED, FAILED, SKIPPED, EXPECTED = "passed", "FAILED", "not shown here", "does not hold"
NO_TEST = "no test"
NOT_SHOWN, EACH_TEST = "What is not shown, or does not hold", "Each test"


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

    tests: dict[str, Counter[str]] = field(default_factory=dict)
    """By name; tests that differ in parameters alone are one."""
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """Of the whole row."""
        return sum(self.tests.values(), Counter())

    def add(self, label: str, outcome: str, reason: str) -> None:
        """One test more."""
        self.tests.setdefault(label, Counter())[outcome] += 1
        if reason:
            self.reasons[reason] = outcome


def load_rows(path: Path = FOLDER / "rows.toml") -> list[Row]:
    """The rows in the order of the file; a faulty one is refused with its id."""
    rows = [Row(**row) for row in tomllib.loads(path.read_text())["row"]]
    for row in rows:
        if not re.fullmatch(r"C\d\d", row.id) or row.priority not in PRIORITIES or not row.what:
            raise ValueError(f"{path.name}: {row.id}: id, priority or text is wrong")
    return rows


def labels_in(name: str) -> dict[str, str]:
    """Row id -> what a test is called there, out of the name that pytest gives it.

    The function's name where it has the id, else that of the parameter.
    """
    found: dict[str, str] = {}
    for match in LABEL.finditer(name.replace("test_C", "C")):
        for row in match[1].rstrip("_").split("_"):
            found.setdefault(row, match[0])
    return found


def count_labels(names: Iterable[str]) -> dict[str, Counter[str]]:
    """Row id -> names of its tests, each with how many there are that differ in parameters."""
    found: dict[str, Counter[str]] = {}
    for name in names:
        for row, label in labels_in(name).items():
            found.setdefault(row, Counter())[label] += 1
    return found


def pytest_command(rows: list[Row]) -> tuple[list[str], dict[str, str]]:
    """pytest for the tests of these rows, in whatever folder they are; and its environment."""
    # Each folder is named: only so does pytest see the options that one of them adds.
    folders = sorted({str(path.parent.relative_to(ROOT)) for path in ROOT.glob(TEST_FILES)})
    chosen = " or ".join(f"{row.id}_" for row in rows)
    environment = {name: text for name, text in os.environ.items() if name not in LONG_FORMS}
    return [sys.executable, "-m", "pytest", *folders, "-k", chosen], environment


def collect() -> list[str]:
    """The names of all tests that pytest collects for the rows."""
    command, environment = pytest_command(load_rows())
    done = subprocess.run(
        [*command, "--collect-only", "-q", "--no-header"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ValueError(f"pytest collects nothing:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def run_tests() -> Path:
    """Runs the tests in their short form, whatever comes of them; the JUnit file."""
    command, environment = pytest_command(load_rows())
    # Two at a time, as the session `tests` has them.
    command += ["-n", "2", "--dist", "worksteal", f"--junitxml={RESULTS}"]
    subprocess.run(command, cwd=ROOT, env=environment, check=False)
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


def read_results(path: Path) -> dict[str, Ended]:
    """Row id -> how its tests ended, out of a JUnit file."""
    ended: dict[str, Ended] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        for row, label in labels_in(case.get("name") or "").items():
            ended.setdefault(row, Ended()).add(label, *outcome_of(case))
    return ended


def status(counts: Counter[str]) -> str:
    """The cell of both tables, for a row and for a test."""
    order = (FAILED, PASSED, EXPECTED, SKIPPED)
    return ", ".join(f"{word} {counts[word]}" for word in order if counts[word]) or NO_TEST


def gaps(row: Row, ended: Ended | None) -> list[str]:
    """What is not shown of a row, in sentences."""
    found = [text for text in (row.missing, row.note) if text]
    for reason, outcome in sorted((ended.reasons if ended else {}).items()):
        found.append(f"{outcome}: {reason}")
    return found


def table_line(*cells: str) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def anchor(heading: str) -> str:
    """Where a link to a heading of the document goes."""
    return heading.lower().replace(",", "").replace(" ", "-")


def render(rows: list[Row], ended: dict[str, Ended], host: str) -> str:
    """The document."""
    not_shown, each_test = (
        f"[{heading}](#{anchor(heading)})" for heading in (NOT_SHOWN, EACH_TEST)
    )
    lines = [
        "# Compatibility: the rows, their tests, and how they ended", "",
        "Made by `nox -s compat` from `tests/compat/rows.toml` and the tests: do not edit.", "",
        f"{host}, from the short",
        "forms of the tests. P0: no release without it; P1: before 1.0; P2: written down. *tests*",
        f"counts names, which stand with a status each under {each_test}. Statuses count runs:",
        "most tests run for several parameters (release and debug library, sizes, calls).",
        "*not shown here*: this machine cannot show it. *does not hold*: a test shows that the row",
        f"is not fulfilled yet, and goes red when that changes. {not_shown} says",
        "what the tests of a row leave out. `pytest -k C44` runs those of a row.", "",
        "| id | P | what | tests | status |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        found = ended.get(row.id, Ended())
        count = str(len(found.tests))
        lines.append(table_line(row.id, str(row.priority), row.what, count, status(found.counts)))
    lines += ["", f"## {NOT_SHOWN}", ""]
    for row in rows:
        found_gaps = gaps(row, ended.get(row.id))
        if found_gaps:
            lines.append(f"- **{row.id}** (P{row.priority}): " + "; ".join(found_gaps) + ".")
    lines += ["", f"## {EACH_TEST}", "", "| id | test | status |", "|---|---|---|"]
    for row in rows:
        for label, counts in sorted(ended.get(row.id, Ended()).tests.items()):
            lines.append(table_line(row.id, f"`{label}`", status(counts)))
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
        ended = read_results(Path(arguments[0]) if arguments else run_tests())
        rows = load_rows()
    except (OSError, ElementTree.ParseError, ValueError) as error:
        print(f"compat table: {error}", file=sys.stderr)
        return 2
    text = render(rows, ended, host())
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(text)
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")
    failed = sorted(row for row, result in ended.items() if result.counts[FAILED])
    if failed:
        print(f"compat table: tests failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The table misuse x level: loads table.toml, writes the test program, renders the Markdown.

`python tests/misuse/table.py` prints what belongs between the markers in ARCHITECTURE.md.
"""

import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
BEGIN = "<!-- misuse:begin -->"
END = "<!-- misuse:end -->"
LEVELS = ("level0", "debug")
KINDS = ("caught", "forwarded", "fault", "silent", "harmless")


@dataclass(frozen=True)
class Outcome:
    """What comes of a misuse; function and reason are set when it is caught."""

    kind: str
    function: str = ""
    reason: str = ""

    @staticmethod
    def parse(text: str) -> "Outcome":
        """Reads `caught FUNCTION: REASON`, or one of the other words."""
        kind, _, rest = text.partition(" ")
        if kind not in KINDS or (kind == "caught") != bool(rest):
            raise ValueError(f"{text!r} is no outcome")
        function, _, reason = rest.partition(": ")
        return Outcome(kind, function, reason)

    @property
    def cell(self) -> str:
        """The cell of the Markdown table."""
        return f"caught: {self.reason}" if self.kind == "caught" else self.kind


@dataclass(frozen=True)
class Misuse:
    """One row."""

    id: str
    what: str
    snippet: str
    conf: str
    outcomes: dict[str, Outcome]


def load() -> list[Misuse]:
    """The rows in the order of the file."""
    rows = tomllib.loads((FOLDER / "table.toml").read_text())["misuse"]
    return [
        Misuse(
            row["id"],
            row["what"],
            row["snippet"],
            row.get("conf", ""),
            {level: Outcome.parse(row.get(level, row["level0"])) for level in LEVELS},
        )
        for row in rows
    ]


def program(rows: list[Misuse]) -> str:
    """The C++ source with one case a row."""
    cases = (f"CASE({row.id}) {{\n{textwrap.indent(row.snippet, '    ')}}}\n" for row in rows)
    return '#include "misuse.h"\n\n' + "\n".join(cases)


def render() -> str:
    """The table as ARCHITECTURE.md holds it, markers included."""
    lines = ["| misuse | level 0 | debug build |", "|---|---|---|"]
    for row in load():
        cells = [row.what, *(row.outcomes[level].cell for level in LEVELS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([BEGIN, *lines, END])


if __name__ == "__main__":
    print(render())

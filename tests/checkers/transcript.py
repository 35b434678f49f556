"""Writes docs/checkers.md: what Valgrind and AddressSanitizer say of programs with liballoc.a.

`python -m tests.checkers.transcript` prints the text, `--write` puts it into the document; a test
compares the two. Process ids and addresses are replaced: they differ from run to run.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from tests.checkers.checkers import OUR_MALLOC, Checked
from tests.native import ROOT, Native

DOCUMENT = ROOT / "docs" / "checkers.md"
BEGIN, END = "<!-- transcript:begin -->\n", "<!-- transcript:end -->\n"


def tidy(text: str) -> str:
    """Without what differs from run to run, and without Valgrind's copyright and command lines.

    The frames inside the library are one: how many there are is what the compiler puts in line.
    """
    text = re.sub(r"^==\d+==", "==PID==", text, flags=re.MULTILINE)
    text = re.sub(r"0x[0-9a-fA-F]+", "ADDRESS", text)
    skipped = ("Memcheck,", "Copyright", "Using Valgrind", "Command:", "For lists")
    lines = [line for line in text.splitlines() if not any(word in line for word in skipped)]
    lines = [re.sub(r"\(in .*\)", "(in the program)", line) for line in lines]
    nameless = [line.endswith("??? (in the program)") for line in lines]
    pairs = zip(lines, nameless, [False, *nameless], strict=False)
    return "\n".join(line for line, here, before in pairs if not (here and before))


def section(title: str, command: str, text: str) -> str:
    """One run."""
    return f"{title}\n\n    $ {command}\n" + "".join(
        f"    {line}".rstrip() + "\n" for line in text.splitlines() if line.strip()
    )


def generate(checked: Checked) -> str:
    """Every transcript."""
    parts = []
    for case in ("clean", "overflow_by_one", "leak"):
        report = tidy(checked.valgrind("errors.c", case, OUR_MALLOC).stderr)
        command = f"valgrind --leak-check=full {OUR_MALLOC} ./errors {case}"
        parts.append(section(f"`{case}` under Valgrind:", command, report))
    for case in ("clean", "overflow_by_one"):
        outcome = checked.asan("errors.c", case)
        lines = tidy(outcome.stderr).splitlines()
        first = [re.sub(r" at pc.*", "", line) for line in lines if "ERROR: Addr" in line]
        what = [*first, f"exit status {outcome.status}"]
        title = f"`{case}` with AddressSanitizer (its first line):"
        parts.append(section(title, f"./errors-asan {case}", "\n".join(what)))
    return "\n".join(parts)


def main() -> int:
    """Print, or write with `--write`."""
    with tempfile.TemporaryDirectory() as folder:
        archive = ROOT / "zig-out" / "lib" / "liballoc.a"
        text = generate(Checked(Native(Path(folder)), archive))
    if "--write" not in sys.argv[1:]:
        print(text, end="")
        return 0
    document = DOCUMENT.read_text()
    before, rest = document.split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + text + END + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Builds the programs of tests/checkers/src with liballoc.a, and runs them under a checker."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.native import Native, Outcome

SOURCES = Path(__file__).resolve().parent / "src"
ERROR_STATUS = 99

# Valgrind puts its own malloc in the place of every other, unless it is told not to.
OUR_MALLOC = "--soname-synonyms=somalloc=nouserintercepts"
VALGRIND = ("valgrind", "--leak-check=full", f"--error-exitcode={ERROR_STATUS}")
ASAN_FLAGS = ("-fsanitize=address",)


def missing() -> list[str]:
    """The Debian packages that the tests need and that are not there."""
    found = []
    if shutil.which("valgrind") is None:
        found.append("valgrind")
    if not can_sanitize("address"):
        found.append("libasan8")
    return found


def can_sanitize(kind: str) -> bool:
    """Whether gcc links the runtime of a sanitizer."""
    done = subprocess.run(
        ["gcc", f"-fsanitize={kind}", "-x", "c", "-", "-o", "/dev/null"],
        input="int main(void) { return 0; }", capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


@dataclass(frozen=True)
class Checked:
    """Compiler and runner of programs that link an archive."""

    native: Native
    archive: Path

    def program(self, source: str, flags: Sequence[str] = ()) -> Path:
        """The archive whole: a sanitizer's malloc comes first on the link line, and would do."""
        link = [f"-Wl,--whole-archive,{self.archive},--no-whole-archive"]
        return self.native.build(SOURCES / source, flags=[*flags, *link])

    def valgrind(self, source: str, case: str, *options: str) -> Outcome:
        """Under Memcheck."""
        program = self.program(source)
        command = (*VALGRIND, *options, str(program), case)
        return self.native.run(command[0], *command[1:], timeout=300)

    def asan(self, source: str, case: str, *flags: str) -> Outcome:
        """With AddressSanitizer compiled in."""
        program = self.program(source, [*ASAN_FLAGS, *flags])
        return self.native.run(program, case, env={"ASAN_OPTIONS": "detect_leaks=1"}, timeout=300)


def first_error(report: str) -> str:
    """What Valgrind or AddressSanitizer says first."""
    lines = [re.sub(r"^==\d+== ?", "", line) for line in report.splitlines()]
    known = re.compile(r"(Invalid|Conditional|ERROR: AddressSanitizer|[\d,]+ bytes in .* lost)")
    return next((line.strip() for line in lines if known.search(line)), "")

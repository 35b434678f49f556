"""The mutations: small changes of the library, each with the rows whose tests must go red.

A mutation is a text that stands exactly once in a file and what takes its place, so it survives
lines that move; one whose text is gone or no longer unique is refused before anything is built.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from liballoc.errors import UsageError
from liballoc.toolchain import variants

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
REQUIRED = {"name", "breaks", "rows", "file", "find", "replace", "tests"}
KEYS = REQUIRED | {"select", "archive", "machine"}


@dataclass(frozen=True)
class Mutation:
    """One change of one file; the README of this folder says what each key means."""

    name: str
    breaks: str
    rows: tuple[str, ...]
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]
    select: str
    archive: bool
    machine: str

    def applied(self, text: str) -> str:
        """The file's text with the change; refused where it does not fit exactly once."""
        count = text.count(self.find)
        if count != 1:
            raise UsageError(f"{self.name}: its text stands {count} times in {self.file}")
        return text.replace(self.find, self.replace)

    def apply(self, root: Path) -> None:
        """Changes the file in a checkout."""
        path = root / self.file
        if not path.is_file():
            raise UsageError(f"{self.name}: {self.file} is not there")
        path.write_text(self.applied(path.read_text()))


def _read(source: str, row: dict[str, object]) -> Mutation:
    missing, unknown = REQUIRED - set(row), set(row) - KEYS
    if missing or unknown:
        where = f"{source}: {row.get('name', 'a mutation without a name')}"
        raise UsageError(f"{where}: keys missing {sorted(missing)}, unknown {sorted(unknown)}")
    rows, tests = row["rows"], row["tests"]
    if not isinstance(rows, list) or not isinstance(tests, list) or not rows or not tests:
        raise UsageError(f"{source}: {row['name']}: rows and tests are lists, and not empty")
    machine = row.get("machine")
    if machine is not None and machine not in variants.ARCHITECTURES:
        raise UsageError(f"{source}: {row['name']}: no machine called {machine}")
    return Mutation(
        name=str(row["name"]),
        breaks=str(row["breaks"]),
        rows=tuple(map(str, rows)),
        file=str(row["file"]),
        find=str(row["find"]),
        replace=str(row["replace"]),
        tests=tuple(map(str, tests)),
        select=str(row.get("select", "")),
        archive=row.get("archive") is True,
        machine=str(row.get("machine", variants.DEFAULT_ARCHITECTURE)),
    )


def load(folder: Path = FOLDER) -> list[Mutation]:
    """Every mutation of every file of the folder."""
    found: list[Mutation] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            content = tomllib.loads(path.read_text())
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path.name}: {error}") from error
        found += [_read(path.name, row) for row in content.get("mutation", [])]
    names = [mutation.name for mutation in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"names stand twice: {', '.join(twice)}")
    return found


def choose(mutations: list[Mutation], wanted: list[str]) -> list[Mutation]:
    """Those with the given names or rows, in the catalogue's order; all when none are given."""
    known = {key for mutation in mutations for key in (mutation.name, *mutation.rows)}
    unknown = [key for key in wanted if key not in known]
    if unknown:
        raise UsageError(f"no mutation or row named {', '.join(unknown)}")
    return [m for m in mutations if not wanted or {m.name, *m.rows} & set(wanted)]

"""The results file of a measurement: a header, then a line a run, in a journal.

A file that is cut short, of another version or of something else is refused with one line; nothing
is ever written over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from liballoc.errors import UsageError
from liballoc.measure.record import FORMAT, WHAT, Header, Run, as_entry, read_header, read_run
from liballoc.results.journal import Journal

NAME = "results.jsonl"


class ResultsFile:
    """A results file that runs are appended to."""

    def __init__(self, path: Path, header: Header, *, resume: bool) -> None:
        self.done: list[Run] = []
        exists = path.exists()
        if exists and not resume:
            raise UsageError(f"{path}: is there already; --resume goes on with it")
        if resume:
            old, self.done = read(path)
            difference = header.difference(old)
            if difference:
                raise UsageError(f"{path}: cannot be resumed, it is of other {difference}")
        self._journal = Journal(path, resume=resume)
        if not resume:
            self._journal.add(header.as_entry())

    def add(self, run: Run) -> None:
        """Append a run; it is in the file when this returns."""
        self._journal.add(as_entry(run))
        self.done.append(run)

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._journal.__exit__(None, None, None)


def read(path: Path) -> tuple[Header, list[Run]]:
    """Header and runs of a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no results file: not UTF-8") from error
    if not text.endswith("\n"):
        raise UsageError(f"{path}: is cut short: its last line has no end")
    lines = text.splitlines()
    header = _header(path, lines[0])
    runs = []
    for number, line in enumerate(lines[1:], 2):
        try:
            runs.append(read_run(_entry(line, "run")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path}: line {number}: is no run: {error}") from error
    return header, runs


def _header(path: Path, line: str) -> Header:
    try:
        entry = _entry(line, "header")
        if entry.get("what") != WHAT:
            raise ValueError("of something else")
    except ValueError as error:
        raise UsageError(f"{path}: is no results file: {error}") from error
    if entry.get("format") != FORMAT:
        version = entry.get("format")
        raise UsageError(f"{path}: is of version {version!r}, this reads version {FORMAT}")
    try:
        return read_header(entry)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path}: its header lacks something: {error}") from error


def _entry(line: str, kind: str) -> dict[str, Any]:
    entry = json.loads(line)
    if not isinstance(entry, dict) or entry.get("kind") != kind:
        raise ValueError(f"no {kind}")
    return entry

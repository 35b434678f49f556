"""A journal: one JSON object a line, written before the next is made: a crash loses none."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from liballoc.errors import UsageError


class Journal:
    """Appends entries to a new file, or to one that is resumed; any thread may."""

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        try:
            self._file = path.open("a" if resume else "w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
        self._lock = threading.Lock()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write one entry through to the file."""
        line = json.dumps(entry) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The entries of a journal; its last line may be torn, no other."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    try:
        entries = [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: is no journal: {error}") from error
    if not all(isinstance(entry, dict) and "kind" in entry for entry in entries):
        raise UsageError(f"{path}: is no journal of a soak run")
    return entries

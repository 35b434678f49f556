"""Writes results as JSON, whole or not at all: a reader never meets half a file."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

from liballoc.errors import UsageError


def write_json(path: Path, value: object) -> None:
    """Write through a temporary file in the same folder, then rename over the old one."""
    text = json.dumps(value, indent=2, sort_keys=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise

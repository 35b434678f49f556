"""Writes results, whole or not at all: a reader never meets half a file."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

from liballoc.errors import UsageError


def make_folder(path: Path) -> None:
    """The folder of the tools' own reports; one that a user names must be there already."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be made: {error.strerror}") from error


def check_target(path: Path) -> None:
    """Whether `write_json` will be able to write there: asked before a long run, not after it."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        # A rename would put a file where a device was.
        raise UsageError(f"{path}: is no regular file")
    _make_temporary(path, target)[1].unlink()


def write_json(path: Path, value: object) -> None:
    """Write through a temporary file in the same folder, then rename over the old one."""
    text = json.dumps(value, indent=2, sort_keys=False) + "\n"
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """The same for anything, a picture."""
    # A link stays one: /dev/stdout is a link.
    target = path.resolve()
    handle, name = _make_temporary(path, target)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        name.chmod(0o644)
        name.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            name.unlink()
        raise


def _make_temporary(path: Path, target: Path) -> tuple[int, Path]:
    if not target.parent.is_dir():
        raise UsageError(f"{path}: no such folder: {target.parent}")
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    return handle, Path(name)

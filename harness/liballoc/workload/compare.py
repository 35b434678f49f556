"""Compares what a program did without the library with what it did on it."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liballoc.workload.launch import Outcome
from liballoc.workload.schema import Substitution

# A table cell or a log needs the first difference, not all of them.
DIFF_LINES_MAX = 6


@dataclass(frozen=True)
class Behaviour:
    """Everything of a run that must be equal: each command's end, and the files made."""

    outcomes: tuple[tuple[str, Outcome], ...]
    digests: Mapping[str, str] = field(default_factory=dict)


def digest_files(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file, or 'missing'."""
    found = {}
    for name in names:
        path = folder / name
        present = path.is_file()
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if present else "missing"
    return found


def normalise(data: bytes, stream: str, substitutions: Sequence[Substitution]) -> str:
    """Text with what may differ from run to run replaced."""
    text = data.decode("utf-8", "backslashreplace")
    for entry in substitutions:
        if entry.stream in (stream, "both"):
            text = re.sub(entry.pattern, entry.replace, text, flags=re.MULTILINE)
    return text


def differences(
    without: Behaviour, with_library: Behaviour, substitutions: Sequence[Substitution]
) -> list[str]:
    """What is not equal, in words; empty when nothing."""
    found: list[str] = []
    names = [name for name, _ in without.outcomes]
    if names != [name for name, _ in with_library.outcomes]:
        return ["the two runs did not start the same commands"]
    pairs = zip(without.outcomes, with_library.outcomes, strict=True)
    for (name, old), (_, new) in pairs:
        if old.status != new.status:
            found.append(
                f"{name}: exit status {old.status} without, {new.status} with the library"
                f"{_tail(new.stderr)}"
            )
        for stream in ("stdout", "stderr"):
            a = normalise(getattr(old, stream), stream, substitutions)
            b = normalise(getattr(new, stream), stream, substitutions)
            if a != b:
                found.append(f"{name}: {stream} differs:\n{_first_differences(a, b)}")
    for file, digest in without.digests.items():
        if with_library.digests[file] != digest:
            found.append(f"file {file} differs")
        if digest == "missing":
            found.append(f"file {file} was not made")
    return found


def _first_differences(a: str, b: str) -> str:
    lines = difflib.unified_diff(
        a.splitlines(), b.splitlines(), "without", "with", n=0, lineterm=""
    )
    kept = [line[:200] for line in lines if not line.startswith(("---", "+++", "@@"))]
    if not kept:
        return "only in line ends"
    return "\n".join(kept[:DIFF_LINES_MAX])


def _tail(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "backslashreplace").strip().splitlines()
    return f"; stderr ends: {lines[-1][:200]}" if lines else ""

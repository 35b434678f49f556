"""Runs allocbench for its tests: what it prints, how it ends, and on which malloc."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.native import ROOT, clean_environment

BINARY = ROOT / "zig-out" / "bin" / "allocbench"
LIBRARY = ROOT / "zig-out" / "lib" / "liballoc.so"
USAGE = "usage: allocbench "


@dataclass(frozen=True)
class Ended:
    """How a run ended. `status` is negative for a signal."""

    status: int
    stdout: str
    stderr: str


def run(
    *words: str,
    preload: Path | None = None,
    env: Mapping[str, str] | None = None,
    program: Path = BINARY,
) -> Ended:
    """Runs it with these words; a run that hangs fails the test."""
    environment = {**clean_environment(), **(env or {})}
    if preload:
        environment["LD_PRELOAD"] = str(preload)
    done = subprocess.run(
        [str(program), *words], env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def figures(*words: str, preload: Path | None = None) -> dict[str, Any]:
    """The one JSON object of a run that must be fine."""
    ended = run(*words, "--json", preload=preload)
    assert (ended.status, ended.stderr) == (0, ""), ended
    assert ended.stdout.count("\n") == 1
    found = json.loads(ended.stdout)
    assert isinstance(found, dict)
    return found


def profiles() -> list[str]:
    """The names of all profiles."""
    return [str(profile["name"]) for profile in figures("--list")["profiles"]]

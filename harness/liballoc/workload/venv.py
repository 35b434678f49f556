"""Virtual environments with what a workload takes from PyPI; each is made once and kept.

The folder's name is a digest of the interpreter and the pinned requirements, so that a changed
version makes a new environment instead of mending an old one.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from liballoc.errors import ToolMissingError

# Some hundred megabytes over a slow line; only a broken one takes longer.
INSTALL_TIMEOUT_S = 900

# The last file that is written: an environment without it was interrupted while being made.
STAMP = "installed"


def run_quietly(argv: Sequence[str]) -> str:
    """Run a command; '' when it went well, else its last line."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {INSTALL_TIMEOUT_S} s"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return "" if done.returncode == 0 else (lines or [f"exit status {done.returncode}"])[-1]


class Venvs:
    """The environments below one folder."""

    def __init__(self, folder: Path, run: Callable[[Sequence[str]], str] = run_quietly) -> None:
        self._folder = folder
        self._run = run

    def python_with(self, requirements: Sequence[str]) -> str:
        """The interpreter of an environment that has them; ToolMissingError when it fails."""
        wanted = "\n".join([sys.executable, sys.version, *sorted(requirements)])
        digest = hashlib.sha256(wanted.encode()).hexdigest()
        place = self._folder / digest[:16]
        python = str(place / "bin" / "python")
        stamp = place / STAMP
        if stamp.is_file():
            return python
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
        pip += ["--disable-pip-version-check", *requirements]
        for argv in ([sys.executable, "-m", "venv", str(place)], pip):
            failure = self._run(argv)
            if failure:
                raise ToolMissingError(f"{' '.join(requirements)} cannot be had: {failure}")
        stamp.write_text(wanted)
        return python

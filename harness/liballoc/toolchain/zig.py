"""Finds the Zig compiler of the ziglang package, checks its version, and knows its caches.

The compiler is never taken from PATH: the package pinned in pyproject.toml is the one that the
library is written for.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from liballoc.errors import ToolMissingError

VERSION = "0.17.0"

# `zig version` answers at once; only a broken installation takes this long.
VERSION_TIMEOUT_S = 60


@dataclass(frozen=True)
class Zig:
    """A compiler that has been found and whose version is right."""

    executable: Path
    version: str


def find_executable() -> Path:
    """The compiler inside the installed ziglang package."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise ToolMissingError(
            f"the Python package ziglang is missing: pip install ziglang=={VERSION}"
        )
    return Path(spec.origin).parent / "zig"


def find(executable: Path | None = None) -> Zig:
    """The compiler, or ToolMissingError saying what to install."""
    path = find_executable() if executable is None else executable
    try:
        answer = subprocess.run(
            [path, "version"],
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=VERSION_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolMissingError(f"{path} does not run: {error}") from error
    version = answer.stdout.strip()
    if version != VERSION:
        raise ToolMissingError(f"{path} is Zig {version}, needed is {VERSION}")
    return Zig(path, version)


def cache_dir(environment: Mapping[str, str]) -> Path:
    """Where the compiler keeps what it built: outside the tree, so that clones share it."""
    explicit = environment.get("ZIG_GLOBAL_CACHE_DIR")
    if explicit:
        return Path(explicit)
    base = environment.get("XDG_CACHE_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "liballoc" / "zig"
    home = environment.get("HOME")
    if not home or not Path(home).is_absolute():
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return Path(f"/tmp/liballoc-cache-{os.getuid()}/zig")
    return Path(home) / ".cache" / "liballoc" / "zig"


def build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which `zig build` runs.

    ZIG_DEBUG_CMD=1 compiles Zig's own build runner without optimisation, which takes seconds
    instead of minutes when the cache is empty; the library is not affected by it.
    """
    return {
        **environment,
        "ZIG_DEBUG_CMD": "1",
        "ZIG_GLOBAL_CACHE_DIR": str(cache_dir(environment)),
    }

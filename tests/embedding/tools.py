"""Programs that the tests of this folder need, and a checkout beside which theirs can lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from liballoc.toolchain.zig import build_environment
from tests.native import ROOT, clean_environment, skip_missing

# Debian's clang packages have their version in their programs' names.
NAMES = {"clang++": ["clang++", *(f"clang++-{version}" for version in range(20, 13, -1))]}
PACKAGES = {
    "cc": "gcc", "c++": "g++", "g++": "g++", "clang++": "clang-14", "pkg-config": "pkg-config",
    "cmake": "cmake", "cargo": "cargo", "rustc": "rustc", "ninja": "ninja-build",
}  # fmt: skip
OWN_PROGRAMS = Path(sys.executable).parent


def need(name: str) -> str:
    """A program's path; without it the test is skipped, or fails where no skip is allowed."""
    paths = (shutil.which(each) for each in NAMES.get(name, [name]))
    return next(filter(None, paths), None) or skip_missing(f"missing package: {PACKAGES[name]}")


def environment() -> dict[str, str]:
    """The caller's, without what could change a malloc; with this Python and Zig's warm cache."""
    path = os.pathsep.join((str(OWN_PROGRAMS), os.environ.get("PATH", os.defpath)))
    found = {**build_environment(clean_environment()), "PATH": path}
    if shutil.which("ninja") and not shutil.which("make"):
        found["CMAKE_GENERATOR"] = "Ninja"
    return found


def run(argv: Sequence[str | Path], folder: Path, **more: str) -> str:
    """What a command prints on stdout; it must end well."""
    __tracebackhide__ = True
    given: Mapping[str, str] = {**environment(), **more}
    done = subprocess.run(
        [str(word) for word in argv], cwd=folder, env=given, capture_output=True, text=True,
        timeout=600, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.args}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def copy_checkout(target: Path, libraries: Mapping[str, Path]) -> None:
    """What a user has: the sources that other builds read, the command, and the installed tree with
    the libraries under test.
    """
    ignored = shutil.ignore_patterns("target", "Cargo.lock", "__pycache__")
    shutil.copytree(ROOT / "zig", target / "zig", ignore=ignored)
    for name in ("build.zig", "build.zig.zon", "liballoc"):
        shutil.copy(ROOT / name, target / name)
    (target / "harness").symlink_to(ROOT / "harness")
    # ./liballoc finds here an environment in which all has been installed.
    (target / ".venv").mkdir()
    (target / ".venv" / "installed-measure").touch()
    for path in OWN_PROGRAMS.parent.iterdir():
        if path.name in {"bin", "lib", "lib64", "pyvenv.cfg"}:
            (target / ".venv" / path.name).symlink_to(path)
    installed = target / "zig-out"
    for name in ("pkgconfig", "cmake"):
        shutil.copytree(ROOT / "zig-out" / "lib" / name, installed / "lib" / name)
    shutil.copytree(ROOT / "zig" / "include", installed / "include")
    for name, path in libraries.items():
        shutil.copy(path, installed / "lib" / name)

"""How an allocator gets into a process, and whether it is really the one in use there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from liballoc.allocators.registry import MALLOC_FILES, Allocator
from liballoc.elf import program
from liballoc.errors import UsageError
from liballoc.toolchain.driver import find_root
from liballoc.toolchain.variants import Variant
from liballoc.workload.launch import Inspection

INSTALLED_FOLDERS = ("/usr/local/lib", "/usr/lib", "/lib")


def find_library(architecture: str, start: Path | None = None) -> Path:
    """liballoc.so for an architecture: the one this checkout has built, else one installed."""
    candidates: list[Path] = []
    here = Path(__file__) if start is None else start
    try:
        candidates.append(Variant("release", architecture).shared(find_root(here)))
    except UsageError:
        # An installed harness lies in no checkout.
        candidates.append(Path(__file__).parents[1] / "lib" / architecture / "liballoc.so")
    for folder in INSTALLED_FOLDERS:
        candidates.append(Path(folder) / f"{architecture}-linux-gnu" / "liballoc.so")
        candidates.append(Path(folder) / "liballoc.so")
    for path in candidates:
        if path.is_file():
            return path
    raise UsageError(f"{candidates[0]}: no such library; build it with ./dev build -- --all")


def value(libraries: Sequence[Path], present: str = "") -> str:
    """LD_PRELOAD with libraries before what is there."""
    return " ".join([*(str(path) for path in libraries), *([present] if present else [])])


def environment(base: Mapping[str, str], allocator: Allocator) -> dict[str, str]:
    """The environment in which a program runs on an allocator."""
    changed = dict(base)
    if allocator.path is not None:
        changed["LD_PRELOAD"] = value([allocator.path], base.get("LD_PRELOAD", ""))
    return changed


def mallocs(mapped: Sequence[str]) -> list[str]:
    """The file names among those mapped that bring a malloc."""
    names = (os.path.basename(path) for path in mapped)  # noqa: PTH119
    return [name for name in names if MALLOC_FILES.search(name)]


def why_inactive(allocator: Allocator, seen: Inspection | None) -> str:
    """Why the allocator is not the one in use in a program that was looked at; "" where it is.

    A library that is preloaded comes first in the order of look-up, behind the program itself.
    """
    if seen is None or not seen.mapped:
        return "it could not be verified: the program was not seen at its end"
    if allocator.path is not None and str(allocator.path) not in seen.mapped:
        return f"{allocator.path.name} was not mapped by {seen.exe} (static, set-uid or foreign?)"
    found = program.read(Path(seen.exe))
    if found is not None and found.has_malloc:
        return f"{seen.exe} has a malloc of its own"
    others = mallocs(seen.mapped)
    if allocator.path is None and others:
        return f"the program brings {', '.join(others)}"
    return ""

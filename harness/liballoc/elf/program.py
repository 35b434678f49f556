"""What a program's file says about preloading: architecture, loader, a malloc of its own."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from liballoc.elf.image import ARCHITECTURES

# Linux follows `#!` so often.
SCRIPT_DEPTH_MAX = 4
SCRIPT_LINE_MAX = 256


@dataclass(frozen=True)
class Program:
    """An executable file; the architecture is "" where it is none that the library is built for."""

    path: Path
    architecture: str
    loader: str
    """The path of the dynamic loader; "" for a static program, which nothing is preloaded into."""
    has_malloc: bool = False
    """Whether it defines malloc itself, which comes before any that is preloaded."""
    words: tuple[str, ...] = ()
    """What a script's `#!` lines put before its path: the interpreter and its argument."""


def find(name: str, path: str) -> Path:
    """The file that a command names; FileNotFoundError, PermissionError as exec would have them."""
    found = shutil.which(name, path=path)
    if found is not None:
        return Path(found)
    if "/" in name:
        places = [Path(name)]
    else:
        places = [Path(folder) / name for folder in path.split(os.pathsep)]
    if any(place.exists() for place in places):
        raise PermissionError(f"{name}: is no file that may be executed")
    raise FileNotFoundError(f"{name}: no such program")


def read(path: Path, depth: int = SCRIPT_DEPTH_MAX) -> Program | None:
    """Read a program, or the interpreter of a script; None where it is neither."""
    try:
        with path.open("rb") as file:
            start = file.read(SCRIPT_LINE_MAX)
            if start.startswith(b"\x7fELF"):
                file.seek(0)
                return _read_elf(path, ELFFile(file))
    except (OSError, ELFError, ValueError, KeyError, AttributeError):
        return None
    line = start.partition(b"\n")[0]
    if not line.startswith(b"#!") or depth == 0:
        return None
    words = line[2:].decode("utf-8", "surrogateescape").strip().split(maxsplit=1)
    found = read(Path(words[0]), depth - 1) if words else None
    if found is None:
        return None
    inner = found.words or (str(found.path),)
    return Program(
        found.path, found.architecture, found.loader, found.has_malloc, (*inner, *words[1:])
    )


def _read_elf(path: Path, elf: ELFFile) -> Program:
    loader = ""
    for segment in elf.iter_segments():
        found: Any = segment
        if found["p_type"] == "PT_INTERP":
            loader = found.get_interp_name()
    is_usual = elf.elfclass == 64 and elf.little_endian
    machine = str(elf["e_machine"])
    table: Any = elf.get_section_by_name(".dynsym")
    symbols = (table.get_symbol_by_name("malloc") or []) if table is not None else []
    return Program(
        path=path,
        architecture=ARCHITECTURES.get(machine, "") if is_usual else "",
        loader=loader,
        has_malloc=any(symbol["st_shndx"] != "SHN_UNDEF" for symbol in symbols),
    )

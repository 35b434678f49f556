"""Rules about names: what the library exports, what it leaves to others, in which versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from liballoc.elf.finding import Finding
from liballoc.elf.image import Image
from liballoc.errors import UsageError

GLIBC_VERSION_MAX = (2, 17)
GLIBC_VERSION = re.compile(r"GLIBC_(\d+)\.(\d+)")

# A call for general-dynamic TLS may allocate, and does so inside our malloc.
GENERAL_DYNAMIC_TLS = ("__tls_get_addr", "___tls_get_addr", "_dl_tlsdesc_dynamic")


def read_golden(path: Path) -> frozenset[str]:
    """The names of a golden file: one a line, '#' starts a comment."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return frozenset(line for line in lines if line)


def check_exports(image: Image, golden: frozenset[str]) -> Iterator[Finding]:
    """The exported names are the golden list, no more (memcpy, strdup) and no less."""
    names = {symbol.name for symbol in image.symbols if symbol.defined}
    yield Finding("exports: nothing is missing", _list(golden - names))
    yield Finding("exports: nothing beside the family", _list(names - golden))
    unusual = [
        symbol.name
        for symbol in image.symbols
        if symbol.defined and (symbol.kind != "STT_FUNC" or symbol.size == 0)
    ]
    yield Finding("exports: functions with a size", _list(unusual))


def check_undefined(image: Image, tolerated: frozenset[str]) -> Iterator[Finding]:
    """What is left to the process is weak, on the list, unversioned or old enough."""
    undefined = [symbol for symbol in image.symbols if not symbol.defined]
    strong = [symbol.name for symbol in undefined if symbol.bind != "STB_WEAK"]
    yield Finding("undefined: all weak", _list(strong))
    unknown = {symbol.name for symbol in undefined} - tolerated
    yield Finding("undefined: all on the list", _list(unknown))
    tls = [symbol.name for symbol in undefined if symbol.name in GENERAL_DYNAMIC_TLS]
    yield Finding("undefined: no __tls_get_addr", _list(tls))
    newer = [f"{s.name}@{s.version}" for s in undefined if s.version and not _is_old(s.version)]
    yield Finding("undefined: nothing newer than GLIBC_2.17", _list(newer))


def _is_old(version: str) -> bool:
    match = GLIBC_VERSION.match(version)
    if match is None:
        return False
    return (int(match[1]), int(match[2])) <= GLIBC_VERSION_MAX


def _list(names: Sequence[str] | set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))

"""Rules about how the library is loaded: dynamic section, segments, TLS, unwind tables."""

from __future__ import annotations

from collections.abc import Iterator

from liballoc.elf.finding import Finding
from liballoc.elf.image import PF_W, PF_X, Image

# By the beginning of the file's name; anything else must be the release library.
SONAMES = {
    "liballoc-debug": "liballoc-debug.so.1",
    "liballoc-apart": "liballoc-apart.so.1",
}
SONAME = "liballoc.so.1"

# A C++ exception that a new-handler throws passes through these frames; profilers through all.
UNWOUND = ("_Znw", "_Zna", "_Zdl", "_Zda")


def check_dynamic(image: Image) -> Iterator[Finding]:
    """Names of the file itself, the libraries it asks for, and its flags."""
    yield Finding("no DT_NEEDED", ", ".join(image.needed))
    stem = image.path.name.split(".")[0]
    is_right = image.soname == SONAMES.get(stem, SONAME)
    yield Finding("SONAME", "" if is_right else f"{image.soname!r}")
    for flag, reason in (
        ("NODELETE", "dlclose would unmap code that threads still run"),
        ("STATIC_TLS", "the word of TLS is not initial-exec"),
        ("BIND_NOW", "names are bound lazily"),
    ):
        yield Finding(flag, "" if flag in image.flags else reason)
    found = image.has_text_relocations or "TEXTREL" in image.flags
    yield Finding("no text relocations", "DT_TEXTREL" if found else "")


def check_segments(image: Image) -> Iterator[Finding]:
    """Nothing is both writable and executable, and relocated data becomes read-only."""
    both = [
        f"{segment.kind} at {segment.address:#x}"
        for segment in image.segments
        if segment.kind == "PT_LOAD" and segment.flags & PF_W and segment.flags & PF_X
    ]
    yield Finding("no segment writable and executable", ", ".join(both))
    kinds = [segment.kind for segment in image.segments]
    yield Finding("RELRO", "" if "PT_GNU_RELRO" in kinds else "no PT_GNU_RELRO")
    stacks = [segment for segment in image.segments if segment.kind == "PT_GNU_STACK"]
    reason = ""
    if not stacks:
        reason = "no PT_GNU_STACK, so the stack becomes executable"
    elif stacks[0].flags & PF_X:
        reason = "PT_GNU_STACK is executable"
    yield Finding("stack not executable", reason)


def check_tls(image: Image) -> Iterator[Finding]:
    """One word of initial-exec TLS, read through one relocation."""
    count = len(image.thread_pointer_relocations())
    reason = "" if count == 1 else f"{count} thread-pointer relocations"
    yield Finding("one thread-pointer relocation", reason)
    dynamic = [entry.kind for entry in image.relocations if "DTPMOD" in entry.kind]
    dynamic += [entry.kind for entry in image.relocations if "TLSDESC" in entry.kind]
    yield Finding("no dynamic TLS relocation", ", ".join(sorted(set(dynamic))))


def check_unwind(image: Image, malloc: str) -> Iterator[Finding]:
    """`.eh_frame` covers malloc, under the name that the library has for it, and every C++ operator
    from its first byte to its last.
    """
    wanted = [
        symbol
        for symbol in image.symbols
        if symbol.defined and (symbol.name == malloc or symbol.name.startswith(UNWOUND))
    ]
    bare = [
        symbol.name
        for symbol in wanted
        if not any(
            start <= symbol.address and symbol.address + symbol.size <= end
            for start, end in image.frames
        )
    ]
    reason = ", ".join(sorted(bare)) if wanted else f"neither {malloc} nor an operator is exported"
    yield Finding(".eh_frame covers malloc and the C++ operators", reason)

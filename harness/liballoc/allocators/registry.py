"""Which allocators this machine has: glibc, liballoc, those of packages, and NAME=PATH."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from liballoc import __version__
from liballoc.elf import image
from liballoc.errors import UsageError

BASELINE, OWN = "glibc", "liballoc"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

LIBRARY_FOLDERS = tuple(
    Path(folder) for folder in ("/usr/lib", "/lib", "/usr/lib64", "/usr/local/lib", "/opt/lib")
)
CACHE_LINE = re.compile(r"^\s+(\S+) \(([^)]*)\) => (\S+)$", re.MULTILINE)
# How the loader's cache spells this machine's own kind of library.
CACHE_ABI = {"x86_64": "x86-64", "aarch64": "AArch64", "riscv64": "double-float"}

Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Kind:
    """An allocator that packages bring: its name, its files from the best on, Debian's package."""

    name: str
    files: tuple[str, ...]
    package: str = ""


PEERS = (
    Kind("jemalloc", ("libjemalloc.so.2", "libjemalloc.so"), "libjemalloc2"),
    Kind(
        "mimalloc", ("libmimalloc.so.3*", "libmimalloc.so.2*", "libmimalloc.so"), "libmimalloc2.0"
    ),
    Kind("tcmalloc", ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"), "libtcmalloc-minimal4"),
    Kind("snmalloc", ("libsnmallocshim.so*",)),
    Kind("rpmalloc", ("librpmallocwrap.so*", "librpmalloc.so*")),
    Kind("hoard", ("libhoard.so*",)),
    Kind("scudo", ("libscudo.so*",)),
    Kind("hardened_malloc", ("libhardened_malloc.so*",)),
)
# Files that bring a malloc; a program may be linked with one of them.
MALLOC_FILES = re.compile(
    r"lib(jemalloc|mimalloc|tcmalloc|snmalloc|rpmalloc|hoard|scudo|hardened_malloc|alloc)\b"
    r"|lib(tcmalloc|alloc|mimalloc|snmalloc|rpmalloc)[_-]?\w*\.so"
)


@dataclass(frozen=True)
class Allocator:
    """One allocator; without a path nothing is preloaded."""

    name: str
    path: Path | None = None
    version: str = ""
    digest: str = ""
    """The beginning of the file's SHA-256, so that results tell builds apart."""


def run_quietly(argv: Sequence[str]) -> str:
    """What a command prints; "" where it is missing or fails."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/sbin", "/usr/sbin"])
    program = shutil.which(argv[0], path=path)
    if program is None:
        return ""
    done = subprocess.run(
        [program, *argv[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="replace", check=False, env={"PATH": path, "LC_ALL": "C"},
    )  # fmt: skip
    return done.stdout if done.returncode == 0 else ""


def machine() -> str:
    """The architecture of this machine."""
    return platform.machine()


def glibc(run: Run = run_quietly) -> Allocator:
    """The malloc of this machine's C library."""
    version = (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ").strip()
    package = run(["dpkg-query", "--show", "--showformat=${Version}", f"libc6:{debian_name()}"])
    return Allocator(BASELINE, None, package.strip() or version)


def debian_name() -> str:
    """The architecture as Debian's packages spell it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine(), machine())


def digest(path: Path) -> str:
    """Of a library's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def version_of(path: Path, run: Run = run_quietly) -> str:
    """The version of the package that a file came with; else what its name says."""
    for known in (path, Path(str(path).removeprefix("/usr"))):
        owner = run(["dpkg-query", "--search", str(known)]).partition(": ")[0]
        if owner:
            shown = run(["dpkg-query", "--show", "--showformat=${Version}", owner.split(",")[0]])
            return shown.strip()
    shown = run(["rpm", "--query", "--file", "--queryformat=%{VERSION}-%{RELEASE}", str(path)])
    if shown:
        return shown.strip()
    found = re.search(r"\.so\.([0-9.]+[0-9])$", path.name)
    return found[1] if found else ""


def own(path: Path) -> Allocator:
    """This project's library."""
    check(OWN, path)
    return Allocator(OWN, path.resolve(), __version__, digest(path))


def check(name: str, path: Path) -> None:
    """UsageError unless this machine's loader can preload the file."""
    if not path.is_file():
        raise UsageError(f"{name}: {path}: no such library")
    image.check_preloadable(path, machine())
    if any(character in str(path.resolve()) for character in " :"):
        raise UsageError(f"{name}: {path}: a path with a space or a colon cannot be preloaded")


def parse_peers(texts: Sequence[str], run: Run = run_quietly) -> list[Allocator]:
    """The NAME=PATH of a command line."""
    peers: dict[str, Allocator] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UsageError(f"{text!r} is not NAME=PATH")
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r}: a name is letters, digits and . _ + -")
        if name in peers or name in (BASELINE, OWN):
            raise UsageError(f"the name {name!r} is taken")
        check(name, Path(path))
        file = Path(path).resolve()
        peers[name] = Allocator(name, file, version_of(file, run), digest(file))
    return list(peers.values())


def find_peers(
    folders: Sequence[Path] = LIBRARY_FOLDERS, run: Run = run_quietly
) -> tuple[list[Allocator], list[str]]:
    """The allocators that are installed, and a line for each of Debian's that is not."""
    cache = read_cache(run(["ldconfig", "-p"]))
    found: list[Allocator] = []
    missing: list[str] = []
    for kind in PEERS:
        path = find_file(kind, cache, folders)
        if path is not None:
            found.append(Allocator(kind.name, path, version_of(path, run), digest(path)))
        elif kind.package:
            missing.append(f"{kind.name} is not installed (Debian package {kind.package})")
    return found, missing


def read_cache(text: str) -> dict[str, Path]:
    """The libraries of this machine in the loader's cache, by file name."""
    abi = CACHE_ABI.get(machine(), machine())
    found: dict[str, Path] = {}
    for name, what, path in CACHE_LINE.findall(text):
        if abi in what:
            found.setdefault(name, Path(path))
    return found


def find_file(kind: Kind, cache: Mapping[str, Path], folders: Sequence[Path]) -> Path | None:
    """The file of an allocator that this machine can load: the cache first, then the folders."""
    for pattern in kind.files:
        cached = [path for name, path in sorted(cache.items()) if Path(name).match(pattern)]
        for path in [*cached, *in_folders(pattern, folders)]:
            try:
                check(kind.name, path)
            except UsageError:
                continue
            return path.resolve()
    return None


def in_folders(pattern: str, folders: Sequence[Path]) -> Iterable[Path]:
    """The files of a name in the folders and in their part for this architecture."""
    for folder in folders:
        for place in (folder / f"{machine()}-linux-gnu", folder):
            yield from sorted(place.glob(pattern))


def choose(found: Sequence[Allocator], names: Sequence[str]) -> list[Allocator]:
    """Those named; the baseline is always among them, and first."""
    known = {allocator.name for allocator in found}
    for name in names:
        if name not in known:
            raise UsageError(f"no allocator {name!r} here; found: {', '.join(sorted(known))}")
    return [each for each in found if not names or each.name in (BASELINE, *names)]

"""The variants of the library and where the build puts them.

A variant is a mode (release, debug; apart: release code that leaves malloc alone) for an
architecture. The native or default architecture lies in zig-out itself, the others in
zig-out/<architecture>.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = ("x86_64", "aarch64", "riscv64")
# Of the drop-in.
MODES = ("release", "debug")
APART = "apart"
DEFAULT_ARCHITECTURE = "x86_64"


@dataclass(frozen=True)
class Variant:
    """One build of the library."""

    mode: str
    architecture: str

    @property
    def name(self) -> str:
        """As it is shown: 'release-x86_64'."""
        return f"{self.mode}-{self.architecture}"

    def shared(self, root: Path) -> Path:
        """The shared object."""
        return self._library(root, "so")

    def static(self, root: Path) -> Path:
        """The archive."""
        return self._library(root, "a")

    def _library(self, root: Path, suffix: str) -> Path:
        stem = "liballoc" if self.mode == "release" else f"liballoc-{self.mode}"
        return prefix(root, self.architecture) / "lib" / f"{stem}.{suffix}"


def target(architecture: str) -> str:
    """The triple that Zig knows it by."""
    return f"{architecture}-linux-gnu"


def prefix(root: Path, architecture: str) -> Path:
    """Where the build of an architecture is installed."""
    base = root / "zig-out"
    return base if architecture == DEFAULT_ARCHITECTURE else base / architecture


def all_variants(architectures: tuple[str, ...] = ARCHITECTURES) -> list[Variant]:
    """Every mode of the given architectures."""
    return [Variant(mode, arch) for arch in architectures for mode in (*MODES, APART)]

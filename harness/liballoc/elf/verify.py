"""All rules on one shared object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from liballoc.elf import disassembly, dynamic, exports, fast_path
from liballoc.elf.finding import Finding
from liballoc.elf.image import Image

APART = "liballoc-apart"
GOLDEN_FOLDER = Path("tests") / "elf" / "golden"


@dataclass(frozen=True)
class Golden:
    """Where the golden files are, and what a library is to call its malloc."""

    folder: Path
    prefix: str = ""

    def of(self, image: Image) -> Golden:
        """The golden files of a library: one that leaves malloc alone has names of its own."""
        if image.path.name.split(".")[0] == APART:
            return Golden(self.folder / "apart", "alloc_")
        return self

    @property
    def exports(self) -> Path:
        """Names that are exported."""
        return self.folder / "exports.txt"

    @property
    def undefined(self) -> Path:
        """Weak names that may be left to the process."""
        return self.folder / "undefined.txt"

    @property
    def fast_path(self) -> Path:
        """Counts of the hit paths."""
        return self.folder / "fast_path.json"


def verify(image: Image, golden: Golden) -> list[Finding]:
    """Every rule that reads the file only."""
    golden = golden.of(image)
    return [
        *exports.check_exports(image, exports.read_golden(golden.exports)),
        *exports.check_undefined(image, exports.read_golden(golden.undefined)),
        *dynamic.check_dynamic(image),
        *dynamic.check_segments(image),
        *dynamic.check_tls(image),
        *dynamic.check_unwind(image, f"{golden.prefix}malloc"),
        *disassembly.check_calloc(image, f"{golden.prefix}calloc"),
    ]


def verify_fast_path(image: Image, golden: Golden) -> list[Finding]:
    """The hit paths, which need the library to run."""
    return list(
        fast_path.compare(fast_path.measure(image), fast_path.read_golden(golden.fast_path))
    )

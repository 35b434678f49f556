"""Reads a shared object with pyelftools into plain dataclasses; the rules never touch the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from elftools.common.exceptions import ELFError
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

from liballoc.errors import UsageError

Result = TypeVar("Result")

PF_X, PF_W = 1, 2
DF_1_PIE = 0x08000000
ARCHIVE_MAGIC = b"!<arch>\n"

# Relocations that read a thread-pointer offset: one is one word of initial-exec TLS.
THREAD_POINTER_RELOCATIONS = {
    "EM_X86_64": {"R_X86_64_TPOFF64"},
    "EM_AARCH64": {"R_AARCH64_TLS_TPREL64", "R_AARCH64_TLS_TPREL"},
    "EM_RISCV": {"R_RISCV_TLS_TPREL64"},
}
ARCHITECTURES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_RISCV": "riscv64"}


@dataclass(frozen=True)
class Symbol:
    """An entry of the dynamic symbol table."""

    name: str
    address: int
    size: int
    defined: bool
    bind: str
    kind: str
    version: str = ""


@dataclass(frozen=True)
class Segment:
    """A program header."""

    kind: str
    flags: int
    address: int
    size: int


@dataclass(frozen=True)
class Relocation:
    """A dynamic relocation; the symbol's name is empty for relative ones."""

    kind: str
    offset: int
    symbol: str


@dataclass(frozen=True)
class Section:
    """A section that is loaded, with its bytes."""

    name: str
    address: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Image:
    """All that the rules ask about."""

    path: Path
    machine: str
    soname: str
    needed: tuple[str, ...]
    flags: frozenset[str]
    has_text_relocations: bool
    segments: tuple[Segment, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]
    code: tuple[Section, ...]
    frames: tuple[tuple[int, int], ...]

    @property
    def architecture(self) -> str:
        """As the variants are named."""
        return ARCHITECTURES[self.machine]

    def exported(self, name: str) -> Symbol | None:
        """The defined symbol of that name."""
        for symbol in self.symbols:
            if symbol.defined and symbol.name == name:
                return symbol
        return None

    def thread_pointer_relocations(self) -> list[Relocation]:
        """The relocations that read a thread-pointer offset."""
        kinds = THREAD_POINTER_RELOCATIONS[self.machine]
        return [entry for entry in self.relocations if entry.kind in kinds]

    def read(self, address: int, size: int) -> bytes:
        """Bytes of code at an address; shorter where the section ends."""
        for section in self.code:
            if section.address <= address < section.address + len(section.data):
                start = address - section.address
                return section.data[start : start + size]
        return b""


def load(path: Path) -> Image:
    """Read a shared object; UsageError when it is none."""
    return _with_elf(path, lambda elf: _read(path, elf, _machine(path, elf)))


def check_preloadable(path: Path, architecture: str) -> None:
    """UsageError when the loader of this architecture cannot preload the file."""
    _with_elf(path, lambda elf: _check_preloadable(path, elf, architecture))


def _with_elf(path: Path, use: Callable[[ELFFile], Result]) -> Result:
    try:
        with path.open("rb") as file:
            if file.read(len(ARCHIVE_MAGIC)) == ARCHIVE_MAGIC:
                raise UsageError(f"{path}: an archive, no shared object")
            return use(ELFFile(file))
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ELFError as error:
        raise UsageError(f"{path}: no ELF file: {str(error) or 'it is cut short'}") from error
    except Exception as error:
        # On a file that is cut or damaged pyelftools lets through whatever its parsers meet:
        # AttributeError, UnicodeDecodeError, construct's own and others.
        kind = type(error).__name__
        raise UsageError(f"{path}: a damaged ELF file: {kind}: {error}") from error


def _machine(path: Path, elf: ELFFile) -> str:
    machine = str(elf["e_machine"])
    is_usual = elf.elfclass == 64 and elf.little_endian
    if elf["e_type"] != "ET_DYN" or machine not in ARCHITECTURES or not is_usual:
        raise UsageError(f"{path}: no shared object for {', '.join(ARCHITECTURES.values())}")
    return machine


def _check_preloadable(path: Path, elf: ELFFile, architecture: str) -> None:
    own = ARCHITECTURES[_machine(path, elf)]
    if own != architecture:
        raise UsageError(f"{path}: a shared object for {own}, this machine is {architecture}")
    size = path.stat().st_size
    dynamic: Any = None
    for segment in elf.iter_segments():
        if segment["p_offset"] + segment["p_filesz"] > size:
            raise UsageError(f"{path}: a damaged ELF file: it is cut short")
        if segment["p_type"] == "PT_DYNAMIC":
            dynamic = segment
    if dynamic is None:
        raise UsageError(f"{path}: no dynamic section")
    for tag in dynamic.iter_tags("DT_FLAGS_1"):
        if tag.entry.d_val & DF_1_PIE:
            raise UsageError(f"{path}: a program, no shared library")


def _read(path: Path, elf: ELFFile, machine: str) -> Image:
    dynamic: Any = elf.get_section_by_name(".dynamic")
    if dynamic is None:
        raise UsageError(f"{path}: no dynamic section")
    tags = list(dynamic.iter_tags())
    return Image(
        path=path,
        machine=machine,
        soname=next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), ""),
        needed=tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        flags=frozenset(_flags(tags)),
        has_text_relocations=any(tag.entry.d_tag == "DT_TEXTREL" for tag in tags),
        segments=tuple(
            Segment(str(entry["p_type"]), entry["p_flags"], entry["p_vaddr"], entry["p_memsz"])
            for entry in elf.iter_segments()
        ),
        symbols=tuple(_symbols(elf)),
        relocations=tuple(_relocations(elf)),
        code=tuple(
            Section(section.name, section["sh_addr"], section.data())
            for section in elf.iter_sections()
            if section["sh_flags"] & 4 and section["sh_type"] == "SHT_PROGBITS"
        ),
        frames=tuple(_frames(elf)),
    )


# DT_FLAGS and DT_FLAGS_1, by bit (elf.h).
FLAGS = {0x4: "TEXTREL", 0x8: "BIND_NOW", 0x10: "STATIC_TLS"}
FLAGS_1 = {0x1: "BIND_NOW", 0x8: "NODELETE"}


def _flags(tags: list[Any]) -> Iterator[str]:
    for tag in tags:
        if tag.entry.d_tag == "DT_BIND_NOW":
            yield "BIND_NOW"
        for name, bits in (("DT_FLAGS", FLAGS), ("DT_FLAGS_1", FLAGS_1)):
            if tag.entry.d_tag == name:
                yield from (flag for bit, flag in bits.items() if tag.entry.d_val & bit)


def _symbols(elf: ELFFile) -> Iterator[Symbol]:
    table: Any = elf.get_section_by_name(".dynsym")
    if table is None:
        return
    versions: Any = elf.get_section_by_name(".gnu.version")
    needs: Any = elf.get_section_by_name(".gnu.version_r")
    for index, symbol in enumerate(table.iter_symbols()):
        if not symbol.name:
            continue
        version = ""
        if versions is not None and needs is not None:
            number = versions.get_symbol(index)["ndx"]
            found = needs.get_version(number) if isinstance(number, int) else None
            version = found[1].name if found else ""
        yield Symbol(
            name=symbol.name,
            address=symbol["st_value"],
            size=symbol["st_size"],
            defined=symbol["st_shndx"] != "SHN_UNDEF",
            bind=symbol["st_info"]["bind"],
            kind=symbol["st_info"]["type"],
            version=version,
        )


def _relocations(elf: ELFFile) -> Iterator[Relocation]:
    names = _relocation_names(elf["e_machine"])
    for section in elf.iter_sections():
        if not isinstance(section, RelocationSection):
            continue
        if not section["sh_flags"] & 2:
            continue
        symbols: Any = elf.get_section(section["sh_link"])
        for entry in section.iter_relocations():
            number = entry["r_info_sym"]
            symbol = symbols.get_symbol(number).name if number else ""
            kind = names.get(entry["r_info_type"], f"type {entry['r_info_type']}")
            yield Relocation(kind, entry["r_offset"], symbol)


def _relocation_names(machine: str) -> dict[int, str]:
    from elftools.elf import enums  # noqa: PLC0415 (a large module, needed here alone)

    tables = {
        "EM_X86_64": enums.ENUM_RELOC_TYPE_x64,
        "EM_AARCH64": enums.ENUM_RELOC_TYPE_AARCH64,
        # pyelftools names RISC-V's relocations nowhere; the psABI numbers them so.
        "EM_RISCV": {
            "R_RISCV_64": 2, "R_RISCV_RELATIVE": 3, "R_RISCV_COPY": 4, "R_RISCV_JUMP_SLOT": 5,
            "R_RISCV_TLS_DTPMOD64": 7, "R_RISCV_TLS_DTPREL64": 9, "R_RISCV_TLS_TPREL64": 11,
        },
    }  # fmt: skip
    return {number: name for name, number in tables[machine].items() if isinstance(number, int)}


def _frames(elf: ELFFile) -> Iterator[tuple[int, int]]:
    if elf.get_section_by_name(".eh_frame") is None:
        return
    for entry in elf.get_dwarf_info().EH_CFI_entries():
        if isinstance(entry, FDE):
            start = entry.header.initial_location
            yield start, start + entry.header.address_range

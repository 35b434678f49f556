"""Machines that qemu-user plays: what compiles for them, what runs them, what cannot be shown."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.native import Native, Outcome, Subject, subject_environment

# mallinfo2 came with 2.33. The libraries of the sysroot may be newer.
GLIBC = "2.33"
# qemu 7 keeps tables for every page that a program reserves: a terabyte takes 3 GiB and 20 s.
ADDRESS_SPACE = 16 << 30


@dataclass(frozen=True)
class Machine:
    """An architecture under qemu-user."""

    architecture: str
    sysroot: Path
    packages: tuple[str, str]

    @property
    def qemu(self) -> str:
        """The emulator's name."""
        return f"qemu-{self.architecture}"

    def missing(self) -> list[str]:
        """Debian packages that must be installed first."""
        found = []
        if shutil.which(self.qemu) is None:
            found.append(self.packages[0])
        if not (self.sysroot / "lib" / "libc.so.6").exists():
            found.append(self.packages[1])
        return found


MACHINES = (
    Machine("aarch64", Path("/usr/aarch64-linux-gnu"), ("qemu-user", "libc6-arm64-cross")),
    Machine("riscv64", Path("/usr/riscv64-linux-gnu"), ("qemu-user", "libc6-riscv64-cross")),
)


class Emulated(Native):
    """Compiles with `zig cc` and runs by qemu-user, with pages of a given size."""

    def __init__(self, folder: Path, machine: Machine, page: int = 4096, libc: str = "gnu") -> None:
        super().__init__(folder)
        self.machine = machine
        self.page = page
        self.libc = libc

    def compiler(self, *, cxx: bool) -> list[str]:
        """Zig brings headers and stubs of either libc for every machine: no cross gcc needed."""
        abi = f"gnu.{GLIBC}" if self.libc == "gnu" else self.libc
        target = f"{self.machine.architecture}-linux-{abi}"
        zig = [sys.executable, "-m", "ziglang", "c++" if cxx else "cc", "-target", target]
        # The list of cases is a section that nothing refers to; traps of zig cc are no test.
        return [*zig, "-Wl,--no-gc-sections", "-fno-sanitize=undefined", "-w"]

    def run(
        self,
        program: Path | str,
        *arguments: str | Path,
        subject: Subject | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
        **popen: object,
    ) -> Outcome:
        """As `Native.run`. The preload is for the program, not for qemu."""
        guest = {**subject_environment(subject), **(env or {})}
        settings = [text for key, value in guest.items() for text in ("-E", f"{key}={value}")]
        emulator = ["-L", str(self.machine.sysroot), "-p", str(self.page), *settings]
        limit = (ADDRESS_SPACE, ADDRESS_SPACE)
        popen["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_AS, limit)
        command = [self.machine.qemu, *emulator, program, *arguments]
        return super().run(
            command[0], *command[1:], subject=None, env=None, timeout=timeout, **popen
        )

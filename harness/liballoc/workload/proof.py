"""Proof that the library was active in the processes of a program.

Two kinds. A process that ends through exit() appends a line of statistics to the file named in
ALLOC_CONF. One that ends by _exit or a signal does not; it calls at the gate: a Unix socket, where
the harness reads /proc/PID/maps of the caller (or of the process whose id it sends) before it
answers. The caller waits for the answer, so the process is alive while it is looked at.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from liballoc.errors import CheckFailedError

REQUIRED_STATS = ("liballoc", "pid", "exe", "allocations", "frees")
PEERCRED = struct.Struct("3i")


@dataclass(frozen=True)
class Proven:
    """A process in which the library was active."""

    pid: int
    exe: str
    how: str


def read_stats(path: Path) -> list[Proven]:
    """The processes that wrote a line of statistics and allocated something."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise CheckFailedError(f"statistics, line {number}: no JSON: {line[:80]!r}") from error
        missing = [key for key in REQUIRED_STATS if key not in entry]
        if missing:
            raise CheckFailedError(f"statistics, line {number}: no {', '.join(missing)}")
        if entry["allocations"] > 0:
            found.append(Proven(entry["pid"], entry["exe"], "stats"))
    return found


def maps_library(pid: int, library: Path, proc: Path = Path("/proc")) -> Proven | None:
    """Look into a living process; None when it does not map the library, or is gone."""
    try:
        maps = (proc / str(pid) / "maps").read_text(errors="replace")
        exe = str((proc / str(pid) / "exe").readlink())
    except OSError:
        return None
    if any(line.endswith(f" {library}") for line in maps.splitlines()):
        return Proven(pid, exe, "maps")
    return None


def matches(exe: str, pattern: str, path: str) -> bool:
    """Whether an executable is what the pattern names.

    A pattern is a glob for the file's name, or the name of a program on PATH: Debian's
    redis-server is a link to redis-check-rdb, its gcc one to x86_64-linux-gnu-gcc-12.
    """
    if fnmatch.fnmatchcase(Path(exe).name, pattern):
        return True
    found = shutil.which(pattern, path=path)
    return found is not None and Path(found).resolve() == Path(exe)


def missing_patterns(patterns: Sequence[str], proven: Sequence[Proven], path: str) -> list[str]:
    """The patterns that no proven process matches."""
    return [
        pattern
        for pattern in patterns
        if not any(matches(process.exe, pattern, path) for process in proven)
    ]


class Gate:
    """The socket at which processes ask to be looked at; a context manager."""

    def __init__(self, path: Path, library: Path | None) -> None:
        self.path = path
        self.proven: list[Proven] = []
        self._library = library
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Gate:
        self.path.unlink(missing_ok=True)
        self._socket.bind(str(self.path))
        self._socket.listen(64)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # shutdown, not close alone: close leaves a thread in accept() waiting.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def look_at(self, pid: int) -> None:
        """Read the maps of a process and remember it when the library is there."""
        if self._library is not None:
            seen = maps_library(pid, self._library)
            if seen is not None:
                self.proven.append(seen)

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller:
                self._answer(caller)

    def _answer(self, caller: socket.socket) -> None:
        credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEERCRED.size)
        pid = PEERCRED.unpack(credentials)[0]
        caller.settimeout(10)
        try:
            request = caller.recv(64).decode("ascii", "replace").strip()
            self.look_at(int(request) if request.isdigit() else pid)
            caller.sendall(b"ok\n")
        except OSError:
            return


def clean_path(path: str, venv: str | None) -> str:
    """PATH without the harness's virtual environment: its programs are not those under test."""
    own = None if venv is None else os.path.join(venv, "bin")  # noqa: PTH118
    return os.pathsep.join(part for part in path.split(os.pathsep) if part and part != own)

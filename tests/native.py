"""Fixtures that compile small C and C++ programs and run them on liballoc and on glibc.

They are there for every test (tests/conftest.py). A program is compiled once per session and per
way of linking. Each run gets an environment without any trace of the caller's own preload or malloc
settings, so that a result depends on the subject alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEADERS = Path(__file__).resolve().parent / "abi" / "src"
SKIPPED = 77
CASE = re.compile(r"^(CASE|OURS)\((\w+)\)", re.MULTILINE)
FOREIGN = re.compile(r"^(LD_|ALLOC_|MALLOC_|GLIBC_TUNABLES|ABI_)")
FLAGS = [
    "-g", "-O1", "-fno-builtin", "-pthread", "-D_GNU_SOURCE", "-Wall", "-Wextra",
    "-Wno-alloc-size-larger-than", "-Wno-use-after-free", "-Wno-free-nonheap-object",
    "-Wno-mismatched-new-delete",
]  # fmt: skip


def skip_missing(reason: str) -> NoReturn:
    """Skips the test, or fails where no skip is allowed."""
    assert not os.environ.get("LIBALLOC_NO_SKIP"), reason
    pytest.skip(reason)


@dataclass(frozen=True)
class Subject:
    """The malloc a program runs on, and how it gets there."""

    name: str
    """`glibc`, `release`, `debug`: preloaded. `linked`, `static`, `static-pie`, `archive`: at link
    time."""
    file: Path | None = None

    @property
    def is_liballoc(self) -> bool:
        """Whether the promises of liballoc alone (`OURS`) may be asked for."""
        return self.name != "glibc"

    @property
    def is_preloaded(self) -> bool:
        """Whether the loader brings the library rather than the linker."""
        return self.name in {"release", "debug"}


@dataclass(frozen=True)
class Case:
    """One case of a test program; `everywhere` when glibc must pass it too."""

    source: Path
    name: str
    everywhere: bool

    @property
    def id(self) -> str:
        """How pytest and a reader name it."""
        return f"{self.source.stem}.{self.name}"


def cases_of(source: Path) -> list[Case]:
    """The cases a source file registers, in its order; one with a body for each machine, once."""
    found = dict.fromkeys(CASE.findall(source.read_text()))
    return [Case(source, name, kind == "CASE") for kind, name in found]


@dataclass(frozen=True)
class Outcome:
    """How a program ended. `status` is negative for a signal, as in `subprocess`."""

    status: int
    stdout: str
    stderr: str

    @property
    def ending(self) -> str:
        """The end in words, for assertions that a person reads."""
        text = f"signal {signal.Signals(-self.status).name}" if self.status < 0 else "exit"
        return f"{text} {self.status}\nstdout: {self.stdout[-1500:]}\nstderr: {self.stderr[-1500:]}"


class Native:
    """Compiler and runner of one test session; results are cached in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def build(
        self,
        source: Path,
        subject: Subject | None = None,
        flags: Sequence[str] = (),
        link: Sequence[str] = (),
    ) -> Path:
        """An executable of `source`; a subject that is not preloaded is linked into it."""
        linked = [*self._link_flags(subject), *link, "-ldl"]
        return self._compile(source, [*flags], linked, suffix="")

    def compiler(self, *, cxx: bool) -> list[str]:
        """The compiler's command; another machine has another."""
        return ["g++" if cxx else "gcc"]

    def plugin(self, source: Path, flags: Sequence[str] = (), link: Sequence[str] = ()) -> Path:
        """A shared object of `source`."""
        return self._compile(source, ["-shared", "-fPIC", *flags], link, suffix=".so")

    def run(
        self,
        program: Path | str,
        *arguments: str | Path,
        subject: Subject | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
        **popen: object,
    ) -> Outcome:
        """Runs a program under a subject. A program that hangs is killed and fails the test."""
        command = [str(program), *map(str, arguments)]
        environment = {**clean_environment(), **subject_environment(subject), **(env or {})}
        try:
            done = subprocess.run(  # type: ignore[call-overload]
                command, env=environment, timeout=timeout, capture_output=True, text=True,
                errors="replace", check=False, **popen,
            )  # fmt: skip
        except subprocess.TimeoutExpired as expired:
            pytest.fail(f"{' '.join(command)}: no end after {timeout} s: {expired.stderr!r}")
        return Outcome(done.returncode, done.stdout, done.stderr)

    def run_case(self, case: Case, subject: Subject, *arguments: str | Path) -> Outcome:
        """Builds and runs one case; skips where the case says that the machine cannot show it."""
        program = self.build(case.source, subject)
        outcome = self.run(program, case.name, *arguments, subject=subject)
        if outcome.status == SKIPPED:
            pytest.skip(outcome.stderr.strip())
        return outcome

    def check_case(self, case: Case, subject: Subject, *arguments: str | Path) -> None:
        """Runs one case and fails with what it printed."""
        __tracebackhide__ = True
        outcome = self.run_case(case, subject, *arguments)
        assert outcome.status == 0, outcome.ending

    def _link_flags(self, subject: Subject | None) -> list[str]:
        if subject is None or subject.file is None or subject.is_preloaded:
            return []
        if subject.name == "linked":
            return [str(subject.file), f"-Wl,-rpath,{subject.file.parent}"]
        static = [f"-{subject.name}"] if subject.name.startswith("static") else []
        return [*static, str(subject.file)]

    def _compile(
        self, source: Path, flags: Sequence[str], link: Sequence[str], suffix: str
    ) -> Path:
        cxx = source.suffix == ".cpp"
        standard = ["-std=gnu++17", "-fsized-deallocation"] if cxx else ["-std=gnu11"]
        headers = [f"-I{HEADERS}", f"-I{ROOT / 'zig' / 'include'}"]
        command = [*self.compiler(cxx=cxx), *FLAGS, *standard, *headers, *flags]
        key = hashlib.sha256(repr([command, source, link]).encode()).hexdigest()[:12]
        target = self.folder / f"{source.stem}-{key}{suffix}"
        if not target.exists():
            part = target.with_suffix(".part")
            done = subprocess.run(
                [*command, str(source), "-o", str(part), *link],
                env=clean_environment(), capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stderr}"
            part.rename(target)
        return target


def clean_environment() -> dict[str, str]:
    """The caller's environment without what could change a malloc."""
    return {key: value for key, value in os.environ.items() if not FOREIGN.match(key)}


def subject_environment(subject: Subject | None) -> dict[str, str]:
    """What preloads a subject, and what makes the program check that it came."""
    if subject is None or subject.file is None or not subject.is_preloaded:
        return {}
    return {"LD_PRELOAD": str(subject.file), "ABI_PROVIDER": str(subject.file)}


def built(variable: str, name: str) -> Path:
    """A file of the build, or the one that the environment names instead."""
    path = Path(os.environ.get(variable) or ROOT / "zig-out" / "lib" / name).resolve()
    if not path.is_file():
        pytest.fail(f"{path} is missing: build it with `nox -s build`, or set {variable}")
    return path


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Native]:
    """The compiler and runner."""
    yield Native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def library() -> Path:
    """The release library under test: liballoc.so, or what LIBALLOC_SO names."""
    return built("LIBALLOC_SO", "liballoc.so")


@pytest.fixture(scope="session")
def debug_library() -> Path:
    """The debug library under test: liballoc-debug.so, or what LIBALLOC_DEBUG_SO names."""
    return built("LIBALLOC_DEBUG_SO", "liballoc-debug.so")


@pytest.fixture(scope="session")
def static_library() -> Path:
    """The archive under test: liballoc.a, or what LIBALLOC_A names."""
    return built("LIBALLOC_A", "liballoc.a")


@pytest.fixture(scope="session")
def apart_library() -> Path:
    """The library that leaves malloc alone: liballoc-apart.so, or what LIBALLOC_APART_SO names."""
    return built("LIBALLOC_APART_SO", "liballoc-apart.so")


@pytest.fixture(scope="session")
def apart_archive() -> Path:
    """Its archive: liballoc-apart.a, or what LIBALLOC_APART_A names."""
    return built("LIBALLOC_APART_A", "liballoc-apart.a")


def make_subject(name: str, request: pytest.FixtureRequest) -> Subject:
    """The subject of a test's parameter; asks only for the file that it needs."""
    fixtures = {
        "release": "library",
        "linked": "library",
        "debug": "debug_library",
        "static": "static_library",
        "static-pie": "static_library",
        "archive": "static_library",
    }
    if name == "glibc":
        return Subject(name)
    return Subject(name, request.getfixturevalue(fixtures[name]))


@pytest.fixture
def release(library: Path) -> Subject:
    """The release library, preloaded."""
    return Subject("release", library)


@pytest.fixture(params=["release", "debug"])
def preloaded(request: pytest.FixtureRequest) -> Subject:
    """The release and the debug library, preloaded."""
    return make_subject(request.param, request)


@pytest.fixture
def glibc() -> Subject:
    """The process's own malloc, as the proof that a test is right."""
    return Subject("glibc")

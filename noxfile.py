"""The developer's sessions. `./dev` lists them, `./dev NAME` runs one.

All sessions share the environment that ./dev made: the compiler alone is 400 MB unpacked, one copy
is enough. Each session names the dependency groups of pyproject.toml that it needs; they are
installed once and again whenever pyproject.toml changes.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = True


def need(session: nox.Session, *groups: str) -> None:
    """Install the dependency groups into the running environment, unless they are there."""
    if sys.prefix == sys.base_prefix:
        session.error("no virtual environment is active; start sessions with ./dev")
    requirements = sorted(set(nox.project.dependency_groups(PYPROJECT, *groups)))
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    stamp = Path(sys.prefix) / f"installed-{'-'.join(groups)}"
    if stamp.exists() and stamp.read_text() == digest:
        return
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    session.run(*pip, *requirements)
    stamp.write_text(digest)


def python(session: nox.Session, *arguments: str) -> None:
    """Run this environment's Python with the harness importable."""
    path = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    environment = {"PYTHONPATH": str(ROOT / "harness"), "PATH": os.pathsep.join(path)}
    session.run(sys.executable, *arguments, env=environment)


def liballoc(session: nox.Session, *arguments: str) -> None:
    """Run a command of the harness."""
    python(session, "-m", "liballoc", *arguments)


@nox.session
def build(session: nox.Session) -> None:
    """Build the library, release and debug; `-- --all` for every architecture."""
    need(session, "harness")
    liballoc(session, "build", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Build, run the Zig unit tests, then pytest; arguments go to pytest."""
    need(session, "test")
    liballoc(session, "build")
    liballoc(session, "build", "--test")
    liballoc(session, "build", "--tsan")
    if session.posargs:
        python(session, "-m", "pytest", *session.posargs)
        return
    suites = (
        "unit", "elf", "programs", "abi", "compat", "misuse", "stress", "faults", "races", "fuzz",
        "embedding",
    )  # fmt: skip
    folders = [f"tests/{name}" for name in suites]
    coverage = ("--cov=liballoc", "--cov-report=term", "--cov-fail-under=90")
    # Two at a time: no test measures time, and most wait for processes.
    python(session, "-m", "pytest", "-n", "2", "--dist", "worksteal", *coverage, *folders)


@nox.session(default=False)
def compat(session: nox.Session) -> None:
    """Run the tests of the compatibility rows and write docs/compat.md from how they ended."""
    need(session, "test")
    liballoc(session, "build", "--all")
    python(session, "-m", "tests.compat.table")


@nox.session(default=False)
def races(session: nox.Session) -> None:
    """Explore every interleaving of every scenario of zig/model; arguments go to the model."""
    need(session, "harness")
    liballoc(session, "build", "--model")
    session.run("zig-out/bin/model", *(session.posargs or ["--long"]), external=True)


@nox.session(name="preload-smoke")
def preload_smoke(session: nox.Session) -> None:
    """Run real programs with and without the library; `-- --no-skip` fails where one is missing."""
    need(session, "harness")
    liballoc(session, "build")
    liballoc(session, "smoke", *session.posargs)


@nox.session
def elf(session: nox.Session) -> None:
    """Verify the built ELF files of every architecture, then the tests of the verification."""
    need(session, "test")
    liballoc(session, "build", "--all")
    liballoc(session, "elf", "--built", *session.posargs)
    python(session, "-m", "pytest", "tests/elf")


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, linting, types and the tidy tests."""
    need(session, "lint")
    places = ("harness", "tests", "workloads", "noxfile.py")
    python(session, "-m", "ruff", "check", *places)
    python(session, "-m", "ruff", "format", "--check", *places)
    python(session, "-m", "mypy")
    liballoc(session, "build", "--check-format")
    python(session, "-m", "pytest", "tests/tidy", "tests/mutations")


@nox.session(default=False)
def command(session: nox.Session) -> None:
    """Build what ./liballoc needs, the command for your own programs."""
    need(session, "measure")
    liballoc(session, "build")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure liballoc beside all other allocators here; `-- --full` for everything."""
    need(session, "measure")
    liballoc(session, "build")
    liballoc(session, "bench", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Mixed programs for an hour, memory and mappings watched; `-- --minutes N`, `--seed S`."""
    need(session, "measure")
    liballoc(session, "build")
    liballoc(session, "soak", *session.posargs)


@nox.session(default=False)
def mutate(session: nox.Session) -> None:
    """Break the library on purpose and demand red tests; `-- NAME ...` for some, `--jobs N`."""
    need(session, "test")
    python(session, "-m", "tests.mutations.mutate", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Fuzz the heap, the run allocator, the options and the C ABI; `-- --minutes N` (1)."""
    need(session, "test")
    liballoc(session, "build")
    python(session, "-m", "tests.fuzz.fuzz", *session.posargs)


@nox.session(default=False)
def cross(session: nox.Session) -> None:
    """Run tests on aarch64 and riscv64 under qemu-user; `-- --long` for all programs and pages."""
    need(session, "test")
    liballoc(session, "build", "--all")
    liballoc(session, "build", "--test", "--page-size", "65536")
    python(session, "-m", "pytest", "tests/cross", *session.posargs)


@nox.session(default=False)
def valgrind(session: nox.Session) -> None:
    """Programs with the library under Valgrind and the sanitizers; arguments go to pytest."""
    need(session, "test")
    liballoc(session, "build")
    python(session, "-m", "pytest", "tests/checkers", *session.posargs)

"""Runs `zig build`, `zig build test` and `zig fmt`, and checks that what they promise is there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liballoc.errors import CheckFailedError, UsageError
from liballoc.toolchain import variants
from liballoc.toolchain.zig import Zig, build_environment

# An empty cache compiles Zig's build runner, compiler_rt and libc stubs first.
BUILD_TIMEOUT_S = 1800

# Unit tests of what asks the system for memory by the page, by the beginning of their names.
PAGE_SIZE_TESTS = (
    "arena", "run allocator: r", "run allocator: t", "run allocator: f", "run allocator: a",
    "calloc", "look-up", "the system refuses",
)  # fmt: skip

Runner = Callable[[Sequence[str], Path, Mapping[str, str], int], int]


def run_process(
    argv: Sequence[str], cwd: Path, environment: Mapping[str, str], seconds: int
) -> int:
    """Run with the terminal's output; the exit status."""
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailedError(f"no end after {seconds} s: {' '.join(argv)}") from error
    return done.returncode


@dataclass(frozen=True)
class Driver:
    """Runs the compiler on one checkout; `runner` is exchanged in tests."""

    zig: Zig
    root: Path
    runner: Runner = run_process
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def build(self, architecture: str) -> None:
        """Build every mode of an architecture and check that the libraries are there."""
        place = variants.prefix(self.root, architecture)
        self._zig("build", "--prefix", str(place), f"-Dtarget={variants.target(architecture)}")
        for variant in variants.all_variants((architecture,)):
            for path in (variant.shared(self.root), variant.static(self.root)):
                if not path.is_file():
                    raise CheckFailedError(f"zig build ended well, yet {path} is missing")

    def test(self, page_size: int | None = None) -> None:
        """Run the Zig unit tests; as if pages had another size, those that depend on it."""
        if page_size is None:
            self._zig("build", "test")
            return
        filters = [f"-Dtest-filter={name}" for name in PAGE_SIZE_TESTS]
        self._zig("build", "test", f"-Dpage-size={page_size}", *filters)

    def step(self, name: str) -> None:
        """Run another step of build.zig: model, tsan."""
        self._zig("build", name, "--prefix", "zig-out")

    def check_format(self, paths: Sequence[str]) -> None:
        """`zig fmt --check`."""
        self._zig("fmt", "--check", *paths)

    def _zig(self, *arguments: str) -> None:
        argv = [str(self.zig.executable), *arguments]
        status = self.runner(argv, self.root, build_environment(self.environment), BUILD_TIMEOUT_S)
        if status != 0:
            raise CheckFailedError(f"exit status {status}: zig {' '.join(arguments)}")


def find_root(start: Path) -> Path:
    """The checkout that contains `start`: the nearest folder upwards with build.zig."""
    for folder in (start, *start.parents):
        if (folder / "build.zig").is_file():
            return folder
    raise UsageError(f"{start} is in no checkout of liballoc: no build.zig here or above")

"""The typed faces for Zig programs: as many instructions in line as they promise."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import pytest

from liballoc.toolchain import zig

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="counts of x86_64")


@pytest.fixture(scope="session")
def listing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The disassembly of zig/hotpath/typed.zig."""
    prefix = tmp_path_factory.mktemp("typed")
    done = subprocess.run(
        [zig.find().executable, "build", "typed", "--prefix", prefix],
        cwd=ROOT, env=zig.build_environment(os.environ), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    command = ["objdump", "-d", "--no-show-raw-insn", str(prefix / "lib" / "typed.o")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def hit_path(listing: str, name: str) -> list[str]:
    """The instructions of a function up to its first return, that left out: it is in line."""
    body = listing.split(f"<{name}>:\n")[1]
    lines = re.findall(r"^\s+[0-9a-f]+:\t(.*)$", body.split("\tret")[0], re.MULTILINE)
    return [line for line in lines if line.strip()]


@pytest.mark.parametrize(
    ("name", "instructions"),
    [("typed_pool_create", 6), ("typed_pool_destroy", 6), ("typed_arena_create", 4)],
)
def test_in_line(listing: str, name: str, instructions: int) -> None:
    path = hit_path(listing, name)
    assert len(path) == instructions, "\n".join(path)
    assert sum(line.startswith("j") for line in path) == 1
    assert not [line for line in path if line.startswith("call")]

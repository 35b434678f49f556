"""The lines of README's "Use it", as they stand there, put a small program on liballoc."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.native import ROOT, clean_environment

# alloc_stats is weak: it is there when the program's own malloc brought the library.
PROGRAM = r"""
#include <alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#pragma weak alloc_stats
static uint64_t in_use(void) {
    alloc_stats_t stats;
    return alloc_stats(&stats, sizeof stats) == 0 ? stats.bytes_in_use : 0;
}
int main(void) {
    if (!alloc_stats) return puts("without"), 0;
    uint64_t before = in_use();
    char *volatile block = malloc(3 << 20);
    memset(block, 1, 3 << 20);
    printf("counted %d\n", in_use() >= before + (3 << 20));
    free(block);
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "liballoc.so") && strstr(line, "r-xp")) printf("mapped\n");
    return 0;
}
"""


def lines_of_readme() -> list[str]:
    """The indented block under "Use it"."""
    section = re.search(r"^## Use it\n\n((?: {4}.*\n)+)", (ROOT / "README.md").read_text(), re.M)
    assert section, "README.md has no block under 'Use it'"
    return [line.strip() for line in section[1].splitlines()]


def link_lines() -> dict[str, str]:
    """README's link line, and the one that its comment stands for."""
    (line,) = [line for line in lines_of_readme() if line.startswith("gcc ")]
    shared, _, comment = line.partition("#")
    match = re.fullmatch(r" or (\S+\.a)", comment)
    assert match, line
    archive = re.sub(r"-L\S+ -lalloc -Wl,\S+", match[1], shared.strip())
    assert archive == f"gcc program.c {match[1]}"
    return {"shared": shared.strip(), "archive": archive}


@pytest.fixture
def checkout(tmp_path: Path, library: Path, static_library: Path) -> Path:
    """A folder with the build and a program.c, in which README's lines can be run."""
    build = tmp_path / "zig-out"
    (build / "lib").mkdir(parents=True)
    (build / "lib" / "liballoc.so").symlink_to(library)
    (build / "lib" / "liballoc.so.1").symlink_to(library)
    (build / "lib" / "liballoc.a").symlink_to(static_library)
    (build / "include").symlink_to(ROOT / "zig" / "include")
    (tmp_path / "program.c").write_text(PROGRAM)
    return tmp_path


def shell(line: str, folder: Path, **more: str) -> str:
    """What a line prints when a user pastes it."""
    environment: Mapping[str, str] = {**clean_environment(), "C_INCLUDE_PATH": "zig-out/include"}
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env={**environment, **more}, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout


@pytest.mark.parametrize(("form", "maps"), [("shared", "mapped\n"), ("archive", "")])
def test_the_link_lines_give_the_program_our_malloc(checkout: Path, form: str, maps: str) -> None:
    shell(link_lines()[form], checkout)
    assert shell("./a.out", checkout) == f"counted 1\n{maps}"


def test_without_the_library_the_program_says_so(checkout: Path) -> None:
    shell("gcc program.c", checkout)
    assert shell("./a.out", checkout) == "without\n"


def test_the_preload_lines_give_the_program_our_malloc(checkout: Path) -> None:
    shell("gcc program.c -o your-program", checkout)
    stats = checkout / "stats"
    plain, with_stats = (line for line in lines_of_readme() if "LD_PRELOAD=" in line)
    path = {"PATH": f"{checkout}:/usr/bin:/bin"}
    assert shell(plain, checkout, **path) == "counted 1\nmapped\n"
    assert "/tmp/stats" in with_stats
    shell(with_stats.replace("/tmp/stats", str(stats)), checkout, **path)
    assert '"exe"' in stats.read_text()

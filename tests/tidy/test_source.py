"""Rules that any source file can break: lengths, banned words, opening sentence, dead files."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

from tests.tidy import sources

FILE_LINES_MAX = 600
LINE_COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
RUNG_LINES_MAX = 299

LIBRARY_LAYERS = ("base", "os", "region", "slab", "heap", "guard", "observe", "pools", "abi")

# What must not stand in the library outside tests, and what to write instead.
BANNED_IN_LIBRARY = {
    "std.debug.print": "os/report, which needs no lock and no std.Io",
    "std.log": "os/report, which needs no lock and no std.Io",
    "std.Thread.": "os/lock: std.Thread needs start code that a library has not",
}

MARKERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
# Folders of a person or a build machine. /tmp and a file in it are on every machine and stand in
# examples; a folder in it is somebody's own.
MACHINE_PATHS = re.compile(
    r"(?<![\w.})~])/(?:(?:root|work|workspace|builds?)(?![\w-]|\.\w)|(?:home|Users)/\w"
    r"|(?:var/)?tmp/[\w.-]+/)"
)
# System calls, also through a name for their namespace. Types and constants, which begin with a
# capital, may be used anywhere.
SYSTEM_CALLS = re.compile(
    r"std\.os\.linux\b(?!\.[A-Z])|\bos\.linux\b(?<!std\.os\.linux)|std\.posix\b|std\.c\b"
    r"|\b(?:syscall|svc #?0|ecall)\b"
)


def relative(path: Path) -> str:
    return str(path.relative_to(sources.ROOT))


def test_files_are_at_most_600_lines() -> None:
    long = {
        relative(path): count
        for path in sources.all_files()
        # A table of data has one noun at any length.
        if path.suffix != ".toml" and (count := len(path.read_text().splitlines())) > FILE_LINES_MAX
    }
    assert not long, "split by noun"


def test_no_package_lies_among_the_sources() -> None:
    shown = subprocess.run(
        ["git", "ls-files", "*.whl", "*.tar.gz", "*.so", "*.a"], cwd=sources.ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not shown.stdout.split(), "pip gets packages; the compiler makes libraries"


def test_rungs_of_the_ladder_are_under_300_lines() -> None:
    folder = sources.ROOT / "zig" / "ladder"
    table = re.search(
        r"^pub const strategies = \.\{$(.*?)^\};$", (folder / "ladder.zig").read_text(), re.M | re.S
    )
    assert table
    rungs = re.findall(r'@import\("(\w+\.zig)"\)', table[1])
    assert len(rungs) == 8
    long = {
        n: c for n in rungs if (c := len((folder / n).read_text().splitlines())) > RUNG_LINES_MAX
    }
    assert not long, "a rung is read in one sitting"


def test_lines_are_at_most_100_columns() -> None:
    long = [
        f"{relative(path)}:{number}"
        for path in sources.all_files()
        if path.suffix != ".md"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE_COLUMNS_MAX
    ]
    assert not long, "\n".join(long)


def test_functions_are_at_most_70_lines() -> None:
    found = []
    for path in sources.all_files():
        if path.suffix == ".zig":
            functions = list(sources.zig_functions(path.read_text()))
        elif path.suffix == ".py":
            functions = list(sources.python_functions(path.read_text()))
        else:
            continue
        found += [
            f"{relative(path)}:{function.first} {function.name}: {function.length} lines"
            for function in functions
            if function.length > FUNCTION_LINES_MAX
        ]
    assert not found, "\n".join(found)


def test_library_uses_nothing_banned() -> None:
    found = []
    for path in sources.zig_files():
        parts = path.relative_to(sources.ROOT).parts
        if parts[0] != "zig" or parts[1] not in LIBRARY_LAYERS or path.stem.endswith("_test"):
            continue
        for number, line in sources.zig_without_tests(path.read_text()):
            found += [
                f"{relative(path)}:{number}: {word}: use {instead}"
                for word, instead in BANNED_IN_LIBRARY.items()
                if word in line
            ]
    assert not found, "\n".join(found)


def system_calls(layer: str, text: str) -> list[int]:
    """The lines of a Zig file that call the system beside the layer that may."""
    if layer == "os":
        return []
    return [number for number, line in sources.zig_without_tests(text) if SYSTEM_CALLS.search(line)]


def test_system_calls_only_in_os() -> None:
    found = []
    for path in sources.zig_files():
        parts = path.relative_to(sources.ROOT).parts
        if parts[0] == "zig" and (len(parts) == 2 or parts[1] in LIBRARY_LAYERS):
            lines = system_calls(parts[1], path.read_text())
            found += [f"{relative(path)}:{number}: belongs into zig/os" for number in lines]
    assert not found, "\n".join(found)


def test_no_unfinished_markers_and_no_machine_paths() -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in sources.all_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MARKERS.search(line) or MACHINE_PATHS.search(line)
    ]
    assert not found, "\n".join(found)


def test_every_file_says_what_it_is() -> None:
    silent = []
    for path in sources.all_files():
        text = path.read_text()
        if path.suffix == ".zig" and not text.startswith("//!"):
            silent.append(relative(path))
        if path.suffix == ".py" and text.strip() and not ast.get_docstring(ast.parse(text)):
            silent.append(relative(path))
    assert not silent, "\n".join(silent)


def test_no_dead_zig_file() -> None:
    files = [path for path in sources.zig_files() if path.name != "build.zig"]
    # A project of its own among the tests has a build file of its own.
    builds = [path for path in sources.zig_files() if path.name == "build.zig"]
    built = {
        (build.parent / name).resolve()
        for build in builds
        for name in re.findall(r'"([^"]+\.zig)"', build.read_text())
    }
    used = {
        (path.parent / name).resolve()
        for path in files
        for name in re.findall(r'@import\("([^"]+\.zig)"\)', path.read_text())
    }
    dead = [
        relative(path)
        for path in files
        if path.resolve() not in used | built
        and path.stem != path.parent.name  # a layer's root, built from the table
    ]
    assert not dead, "\n".join(dead)

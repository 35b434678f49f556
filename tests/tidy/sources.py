"""Which files the tidy tests read, and where their functions begin and end."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("zig", "harness", "tests", "workloads", ".ci")
TOP_FILES = ("build.zig", "build.zig.zon", "noxfile.py", "pyproject.toml", "dev")
SUFFIXES = {
    ".zig", ".py", ".c", ".h", ".cpp", ".hpp", ".toml", ".sh", ".js", ".pl", ".md", ".sql",
    ".json", ".map", ".txt",
}  # fmt: skip

ZIG_FUNCTION = re.compile(
    r"^(?P<indent> *)(?:pub |export |inline |noinline |extern )*fn (?P<name>\w+)"
)
ZIG_TEST = re.compile(r"^test\b")


@dataclass(frozen=True)
class Function:
    """A function of a source file, by its first and last line."""

    name: str
    first: int
    last: int

    @property
    def length(self) -> int:
        """Lines, the signature among them."""
        return self.last - self.first + 1


def all_files(root: Path = ROOT) -> list[Path]:
    """Every source and document; nothing that a build or a session made."""
    found = [root / name for name in TOP_FILES if (root / name).is_file()]
    found += sorted(root.glob("*.md"))
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            is_made = "__pycache__" in path.parts
            if path.is_file() and not is_made and (path.suffix in SUFFIXES or folder == ".ci"):
                found.append(path)
    return found


def zig_files(root: Path = ROOT) -> list[Path]:
    """The Zig sources, build.zig among them."""
    return [path for path in all_files(root) if path.suffix == ".zig"]


def python_files(root: Path = ROOT) -> list[Path]:
    """The Python sources."""
    return [path for path in all_files(root) if path.suffix == ".py"]


def zig_functions(text: str) -> Iterator[Function]:
    """Functions of formatted Zig: one ends at the first '}' that stands at its own indentation.

    A function that returns a type is a file within a file and is not measured.
    """
    lines = text.splitlines()
    for start, line in enumerate(lines):
        match = ZIG_FUNCTION.match(line)
        if match is None:
            continue
        head_end = next(
            (i for i in range(start, len(lines)) if lines[i].rstrip().endswith(("{", ";", "}"))),
            None,
        )
        if head_end is None or not lines[head_end].rstrip().endswith("{"):
            continue
        if re.search(r"\btype \{$", lines[head_end]):
            continue
        closing = match["indent"] + "}"
        end = next(
            (i for i in range(head_end + 1, len(lines)) if lines[i].startswith(closing)), None
        )
        if end is not None:
            yield Function(match["name"], start + 1, end + 1)


def python_functions(text: str) -> Iterator[Function]:
    """Functions and methods of a Python source."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(node.name, node.lineno, node.end_lineno or node.lineno)


def zig_without_tests(text: str) -> list[tuple[int, str]]:
    """The numbered lines of a Zig file that lie outside test blocks and are no comments."""
    kept: list[tuple[int, str]] = []
    in_test = False
    for number, line in enumerate(text.splitlines(), 1):
        if ZIG_TEST.match(line):
            in_test = not line.rstrip().endswith("}")
            continue
        if in_test:
            in_test = line != "}"
            continue
        if not line.lstrip().startswith("//"):
            kept.append((number, line))
    return kept


def manifest_version() -> str:
    """The version of build.zig.zon, from which the build takes it."""
    manifest = (ROOT / "build.zig.zon").read_text()
    version = re.search(r'^    \.version = "(\d+\.\d+\.\d+)",$', manifest, re.M)
    assert version, "build.zig.zon has no version"
    return version[1]

"""Layers: folders under zig/, the table in build.zig and the one in ARCHITECTURE.md are the same;
and Python's imports point down.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.tidy import sources

# Folders of zig/ that are no layer of the library.
NOT_LAYERS = {
    "allocbench", "build", "include", "hotpath", "ladder", "model", "package", "rust", "bench",
    "testing", "fuzz",
}  # fmt: skip

# The one place where another module can take the place of a part of the library.
SEAMS = {"zig/base/atomic.zig": {"model"}}

ROW = re.compile(r'\.\{ \.name = "(\w+)", \.imports = &\.\{(.*?)\} \}', re.DOTALL)
ALWAYS = {"std", "builtin", "build_options", "root"}

# Python, lowest first. A module imports from packages of lower numbers, and from its own.
PYTHON_LAYERS = {
    "errors": 0, "units": 0,
    "workload": 1, "toolchain": 1, "elf": 1,
    "allocators": 2,
    "measure": 3,
    "report": 4, "results": 4,
    "commands": 5,
    "cli": 6, "__main__": 7,
}  # fmt: skip


def build_table(text: str) -> dict[str, set[str]]:
    """The rows `.{ .name = "os", .imports = &.{"base"} }`."""
    return {name: set(re.findall(r'"(\w+)"', imports)) for name, imports in ROW.findall(text)}


def document_table(text: str) -> dict[str, set[str]]:
    """The rows `| os | base |` under the heading 'Layers'."""
    match = re.search(r"^## Layers$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, "ARCHITECTURE.md has no heading '## Layers'"
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]
        for line in match[1].splitlines()
        if line.startswith("|")
    ]
    assert len(rows) > 2, "ARCHITECTURE.md has no table under '## Layers'"
    return {row[0]: set(re.findall(r"\w+", row[1])) - {"none", "nothing"} for row in rows[2:]}


def upward_imports(package: Path) -> list[str]:
    """The imports of a Python package that do not point down."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts == ("__init__",):
            continue
        assert parts[0] in PYTHON_LAYERS, f"{path}: the layer {parts[0]} is not in the table"
        for name in imported(path.read_text(), package.name):
            target = name.split(".")[1]
            if target == parts[0]:
                continue
            if PYTHON_LAYERS.get(target, 99) >= PYTHON_LAYERS[parts[0]]:
                found.append(f"{path.relative_to(package)} imports {name}")
    return found


def imported(text: str, package: str) -> list[str]:
    """The modules of a package that a source imports."""
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide the layer"
            if node.module == package:
                names += [f"{package}.{a.name}" for a in node.names if a.name != "__version__"]
            elif node.module:
                names.append(node.module)
    return [name for name in names if name.startswith(f"{package}.")]


def test_folders_are_the_table() -> None:
    table = build_table((sources.ROOT / "build.zig").read_text())
    folders = {path.name for path in (sources.ROOT / "zig").iterdir() if path.is_dir()}
    assert folders - NOT_LAYERS == set(table)


def test_architecture_has_the_same_table() -> None:
    table = build_table((sources.ROOT / "build.zig").read_text())
    assert document_table((sources.ROOT / "ARCHITECTURE.md").read_text()) == table


def test_rows_import_only_rows_above() -> None:
    table = build_table((sources.ROOT / "build.zig").read_text())
    assert table
    seen: set[str] = set()
    for name, imports in table.items():
        assert imports <= seen, f"{name} imports {imports - seen}"
        seen.add(name)


def test_zig_files_import_what_their_row_says() -> None:
    table = build_table((sources.ROOT / "build.zig").read_text())
    wrong = []
    for path in sources.zig_files():
        parts = path.relative_to(sources.ROOT).parts
        if parts[0] != "zig" or parts[1] not in table:
            continue
        names = set(re.findall(r'@import\("(\w+)"\)', path.read_text()))
        beyond = names - table[parts[1]] - ALWAYS - SEAMS.get("/".join(parts), set())
        if beyond:
            wrong.append(f"{'/'.join(parts)} imports {', '.join(sorted(beyond))}")
    assert not wrong


def test_python_imports_point_down() -> None:
    assert not upward_imports(sources.ROOT / "harness" / "liballoc")


def test_an_upward_python_import_is_seen(tmp_path: Path) -> None:
    package = tmp_path / "liballoc"
    (package / "workload").mkdir(parents=True)
    (package / "workload" / "bad.py").write_text("from liballoc.commands import smoke\n")
    assert upward_imports(package) == ["workload/bad.py imports liballoc.commands"]


def test_an_unknown_python_layer_is_seen(tmp_path: Path) -> None:
    package = tmp_path / "liballoc"
    (package / "utilities").mkdir(parents=True)
    (package / "utilities" / "bad.py").write_text("")
    with pytest.raises(AssertionError, match="utilities"):
        upward_imports(package)


def test_the_tables_are_read() -> None:
    text = '.{ .name = "base", .imports = &.{} },\n.{ .name = "os", .imports = &.{"base"} },'
    assert build_table(text) == {"base": set(), "os": {"base"}}
    text = (
        "## Layers\n\n| layer | imports |\n|---|---|\n| base | - |\n| `os` | `base` |\n\n## Next\n"
    )
    assert document_table(text) == {"base": set(), "os": {"base"}}

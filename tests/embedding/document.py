"""The examples of docs/EMBEDDING.md: files, commands and the output that they are said to give.

A marker, a comment of its own line, stands before each fenced block: `file: NAME` is written into
the folder of its section, `run` is run there by a shell, `output` is what it prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.native import ROOT

DOCUMENT = ROOT / "docs" / "EMBEDDING.md"
MARKER = re.compile(r"<!-- (file: \S+|run|output) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block and what it is for."""

    kind: str
    text: str
    name: str = ""


@dataclass(frozen=True)
class Example:
    """The blocks of a section, in their order."""

    title: str
    blocks: tuple[Block, ...]


def examples(text: str) -> list[Example]:
    """The sections that have blocks."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    assert "```" not in parts[0], "a block stands before the first section"
    sections = zip(parts[1::2], parts[2::2], strict=True)
    found = [Example(title, tuple(blocks(title, body))) for title, body in sections]
    return [example for example in found if example.blocks]


def blocks(title: str, body: str) -> Iterator[Block]:
    """The blocks of a section; one that is not marked, or commands without output, is an error."""
    lines = body.splitlines()
    kinds = []
    marker = None
    number = 0
    while number < len(lines):
        line = lines[number]
        if not line.startswith("```"):
            marker = MARKER.fullmatch(line) or (marker if line == "" else None)
            number += 1
            continue
        assert marker, f"{title}: a block has no marker: {line}"
        end = lines.index("```", number + 1)
        kind, _, name = marker[1].partition(": ")
        kinds.append(kind)
        yield Block(kind, "".join(f"{each}\n" for each in lines[number + 1 : end]), name)
        marker, number = None, end + 1
    order = [kind for kind in kinds if kind != "file"]
    assert order == ["run", "output"] * (len(order) // 2), f"{title}: run and output are no pairs"
    assert order or not kinds, f"{title}: nothing is run"


def read() -> list[Example]:
    """The examples of the document as it stands."""
    return examples(DOCUMENT.read_text())


def write(example: Example, folder: Path) -> None:
    """Write the files of an example."""
    for block in example.blocks:
        if block.kind == "file":
            path = folder / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)

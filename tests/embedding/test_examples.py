"""Every example of docs/EMBEDDING.md does, as it stands there, what it is said to do."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from tests.embedding import document, tools

# What a section's commands need, by a word of them.
PROGRAMS = {
    "cc": ["cc"], "c++": ["c++"], "pkg-config": ["pkg-config"], "cmake": ["cmake", "cc"],
    "cargo": ["cargo", "rustc", "cc"],
}  # fmt: skip
EXAMPLES = document.read()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_the_example_prints_what_the_document_says(
    example: document.Example, checkout: Path
) -> None:
    commands = "".join(block.text for block in example.blocks if block.kind == "run")
    for word, programs in PROGRAMS.items():
        if re.search(rf"(?<![\w.-]){re.escape(word)}\s", commands):
            for program in programs:
                tools.need(program)
    folder = Path(tempfile.mkdtemp(prefix="app-", dir=checkout.parent))
    document.write(example, folder)
    shown = ""
    for block in example.blocks:
        if block.kind == "run":
            shown = tools.run(["sh", "-eu", "-c", block.text], folder)
        elif block.kind == "output":
            assert shown == block.text


def test_every_surface_has_its_example() -> None:
    titles = {example.title for example in EXAMPLES}
    assert titles == {
        "C: heaps", "C: arenas", "C: pools", "C: pools that threads share", "C: hft_alloc.h",
        "C: beside another malloc", "C++", "Rust", "Zig",
    }  # fmt: skip
    commands = "".join(b.text for each in EXAMPLES for b in each.blocks if b.kind == "run")
    for word in (
        "config --cflags --libs)", "--libs --static)", "--libs --apart)", "pkg-config", "cmake",
        "cargo run",
    ):  # fmt: skip
        assert word in commands, word


GOOD = "## A\n\n<!-- run -->\n```sh\ntrue\n```\n\n<!-- output -->\n```\n```\n"


def test_blocks_that_no_test_would_look_at_are_seen() -> None:
    (example,) = document.examples(GOOD)
    assert [(block.kind, block.text) for block in example.blocks] == [
        ("run", "true\n"),
        ("output", ""),
    ]
    bad = {
        "no marker": GOOD.replace("<!-- run -->", ""),
        "no pairs": GOOD.replace("<!-- output -->", "<!-- file: x -->"),
        "nothing is run": "## A\n\n<!-- file: x -->\n```\n```\n",
        "before the first": "```\n```\n" + GOOD,
    }
    for reason, text in bad.items():
        with pytest.raises(AssertionError, match=reason):
            document.examples(text)

"""liballoc.workload.loader: any document at all loads, or is one line `file: key: reason`.

Hypothesis draws the documents and prints, when one is not so, the smallest that it found and how
to draw it again.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from liballoc.workload import schema
from liballoc.workload.loader import WorkloadFileError, load_file
from liballoc.workload.schema import Key, Workload

# No time limits, and nothing kept from run to run.
SETTINGS = settings(max_examples=300, deadline=None, database=None, print_blob=True)

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(("", ".", "..", "/", "a/../b", "A=B", "\0", "a\nb", "{dir}", "(", "\\1", "x")),
)
SCALARS = st.one_of(
    TEXTS, st.booleans(), st.integers(), st.floats(), st.datetimes(), st.dates(), st.times()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
FITTING = {
    "string": TEXTS,
    "name": TEXTS,
    "integer": st.integers(),
    "status": st.integers(-70, 260),
    "number": st.floats(),
    "strings": st.lists(TEXTS, max_size=3),
    "command": st.lists(TEXTS, max_size=3),
    "commands": st.lists(st.lists(TEXTS, max_size=2), max_size=2),
    "variables": st.dictionaries(TEXTS, TEXTS, max_size=3),
}
GOOD: dict[str, Any] = {
    "workload": {
        "name": "x", "why": "y", "argv": ["a"], "packages": ["p"], "processes": ["a"],
    },
    "limits": {"seconds": 5},
    "server": {"ready": ["r"], "ready_output": "o", "load": [["l"]], "stop": ["s"]},
    "normalise": {"pattern": "a", "replace": "b"},
    "variants": {"name": "v", "environment": {"A": "b"}},
}  # fmt: skip


def values_of(key: Key) -> st.SearchStrategy[object]:
    """Mostly of the key's own type, and one that is right where the rules name some."""
    right = st.sampled_from(key.choices) if key.choices else FITTING[key.kind]
    return st.one_of(right, right, VALUES)


@st.composite
def tables(draw: st.DrawFn, name: str) -> object:
    """A good table with a few keys set, removed or added; seldom no table at all."""
    if draw(st.integers(0, 19)) == 0:
        return draw(VALUES)
    table = dict(GOOD[name])
    keys = {key.name: key for key in schema.TABLES[name]}
    for chosen in draw(st.lists(st.sampled_from(sorted(keys)), max_size=3)):
        table[chosen] = draw(values_of(keys[chosen]))
    if draw(st.integers(0, 9)) == 0:
        table.pop(draw(st.sampled_from(sorted(keys))), None)
    if draw(st.integers(0, 9)) == 0:
        table[draw(TEXTS)] = draw(VALUES)
    return table


@st.composite
def documents(draw: st.DrawFn) -> dict[str, object]:
    """Documents that are nearly right, so that every rule has its turn."""
    document = {name: draw(tables(name)) for name in schema.REQUIRED_TABLES}
    for name in schema.REPEATED_TABLES:
        if draw(st.booleans()):
            document[name] = draw(st.lists(tables(name), min_size=1, max_size=2))
    if draw(st.integers(0, 3)) == 0:
        document["server"] = draw(tables("server"))
        if isinstance(document["workload"], dict):
            document["workload"]["kind"] = "server"
    if draw(st.integers(0, 19)) == 0:
        document[draw(TEXTS)] = draw(VALUES)
    return document


def load(text: str) -> list[Workload] | None:
    """The workloads of a file with this text; none when it is refused as it must be."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.toml"
        file.write_bytes(text.encode())
        try:
            return load_file(file)
        except WorkloadFileError as error:
            line = str(error)
            assert line.startswith(f"{file}: ")
            assert line.removeprefix(f"{file}: ").count(": ") >= 1
            assert line.isprintable()
            assert error.exit_status == 2
            return None


def assert_can_be_started(workload: Workload) -> None:
    """Nothing in it that execve or a path refuses."""
    for argv in workload.commands():
        assert argv
        assert argv[0]
    strings = [text for argv in workload.commands() for text in argv]
    for name, value in workload.environment.items():
        assert name
        assert "=" not in name
        strings += [name, value]
    assert not any("\0" in text for text in strings)
    assert all(os.fsencode(text) or text == "" for text in strings)
    assert 0 < workload.seconds <= 86_400
    assert "/" not in workload.name


@SETTINGS
@given(documents())
def test_a_document_loads_or_is_one_line(document: dict[str, object]) -> None:
    for workload in load(tomli_w.dumps(document)) or ():
        assert_can_be_started(workload)


@SETTINGS
@given(st.text(max_size=60))
def test_a_text_loads_or_is_one_line(text: str) -> None:
    assert load(text) is None


@SETTINGS
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_table_at_all_is_one_line(document: dict[str, object]) -> None:
    assert load(tomli_w.dumps(document)) is None


def test_the_good_document_loads() -> None:
    document = {name: GOOD[name] for name in schema.REQUIRED_TABLES}
    document |= {name: [GOOD[name]] for name in schema.REPEATED_TABLES}
    loaded = load(tomli_w.dumps(document))
    assert loaded is not None
    assert [workload.name for workload in loaded] == ["x", "x+v"]

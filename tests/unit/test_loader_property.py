"""liballoc.workload.loader: any document at all loads, or is one line `file: key: reason`.

Hypothesis draws the documents and prints, when one is not so, the smallest that it found and how
to draw it again.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from liballoc.workload import schema
from liballoc.workload.loader import WorkloadFileError, load_file
from liballoc.workload.schema import Key, Workload

# No time limits, and nothing kept from run to run.
SETTINGS = settings(max_examples=100, deadline=None, database=None, print_blob=True)

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
    "number": st.one_of(st.floats(), st.sampled_from((math.nan, math.inf, 0, 5))),
    "boolean": st.booleans(),
    "requirements": st.lists(st.sampled_from(("a==1", "a", "a==", "-r==1", "a>=1")), max_size=3),
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
KEYS = [(table, key) for table, keys in schema.TABLES.items() for key in keys]


def values_of(key: Key) -> st.SearchStrategy[object]:
    """Mostly of the key's own type, and one that is right where the rules name some."""
    right = st.sampled_from(key.choices) if key.choices else FITTING[key.kind]
    return st.one_of(right, right, VALUES)


def good_document(with_server: bool) -> dict[str, Any]:
    """Every table, with what is right in it."""
    document: dict[str, Any] = {name: dict(GOOD[name]) for name in schema.REQUIRED_TABLES}
    document |= {name: [dict(GOOD[name])] for name in schema.REPEATED_TABLES}
    if with_server:
        document["server"] = dict(GOOD["server"])
        document["workload"]["kind"] = "server"
    return document


@st.composite
def changed_documents(draw: st.DrawFn, table: str, key: Key) -> dict[str, Any]:
    """A good one with one key changed."""
    document = good_document(with_server=table == "server")
    change(draw, document, table, key)
    return document


def change(draw: st.DrawFn, document: dict[str, Any], table: str, key: Key) -> None:
    """Sets one key to anything, now and then takes it away."""
    found = document[table][0] if table in schema.REPEATED_TABLES else document[table]
    if draw(st.integers(0, 19)) == 0:
        found.pop(key.name, None)
    else:
        found[key.name] = draw(values_of(key))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Nearly right ones: two keys changed, now and then a key or a table too much."""
    document = good_document(with_server=True)
    for table, key in draw(st.lists(st.sampled_from(KEYS), max_size=2)):
        change(draw, document, table, key)
    where = draw(st.sampled_from([{}, document, document["workload"], document["server"]]))
    where[draw(TEXTS)] = draw(VALUES)
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


@pytest.mark.parametrize(("table", "key"), KEYS, ids=[f"{t}.{key.name}" for t, key in KEYS])
@settings(SETTINGS, max_examples=40)
@given(data=st.data())
def test_a_key_with_any_value_loads_or_is_one_line(
    data: st.DataObject, table: str, key: Key
) -> None:
    document = data.draw(changed_documents(table, key))
    for workload in load(tomli_w.dumps(document)) or ():
        assert_can_be_started(workload)


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


def test_the_good_documents_load() -> None:
    for with_server in (False, True):
        loaded = load(tomli_w.dumps(good_document(with_server)))
        assert loaded is not None
        assert [workload.name for workload in loaded] == ["x", "x+v"]
